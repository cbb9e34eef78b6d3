//! Each kind of damage is planted, found, named, repaired; then nothing is found.

use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use index::Metric;
use index::mrl::Quant;
use tempfile::TempDir;

use super::*;
use crate::{Chunk, Document, Request, Space};

/// Wide enough for codes of a bit a number.
const WIDTH: usize = 64;
const NUMBER: u32 = key::FIRST_COLLECTION;

fn document(number: usize, n_chunks: usize) -> Document {
    let chunk = |idx: usize| {
        let mut vector = vec![f16::from_f32(0.1); WIDTH];
        vector[number % WIDTH] = f16::ONE;
        vector[(number + idx + 1) % WIDTH] = f16::from_f32(0.5);
        Chunk {
            text: format!("document {number} says {idx}"),
            hash: [(number * 16 + idx) as u8; 16],
            range: 0..1,
            page: None,
            headings: Vec::new(),
            n_tokens: 1,
            precision: None,
            vector: vector.into(),
        }
    };
    Document {
        id: format!("d{number}"),
        source: None,
        title: Some(format!("Title {number}")),
        meta: serde_json::Map::new(),
        chunks: (0..n_chunks).map(chunk).collect(),
    }
}

/// Documents d0 to d5 of two rows each in one segment, of which d1 is deleted, and d6 unsealed.
fn database() -> (TempDir, Store) {
    database_with(4, Quant::Int8)
}

/// The same with other codes.
fn database_with(dims: usize, quant: Quant) -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    let space = Space {
        model: "tiny".to_owned(),
        fingerprint: "f00d".to_owned(),
        document_prompt: String::new(),
        link: None,
        full_width: WIDTH,
        dims,
        quant,
    };
    store.create("c", &space).unwrap();
    store.put("c", &(0..6).map(|number| document(number, 2)).collect::<Vec<_>>()).unwrap();
    store.seal("c", &|| false).unwrap();
    store.delete("c", &["d1".to_owned()]).unwrap();
    store.put("c", &[document(6, 2)]).unwrap();
    assert_eq!(store.check(true).unwrap(), []);
    (dir, store)
}

fn reopen(dir: &Path, store: Store) -> Store {
    drop(store);
    let store = Store::open(dir).unwrap();
    store.maintain(false);
    store
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("segments").join(disk::names_in(&dir.join("segments")).unwrap().remove(0))
}

/// Where a part lies in a segment's file.
fn part(bytes: &[u8], tag: &[u8; 4]) -> Range<usize> {
    let entry = bytes[192..].chunks(32).find(|entry| entry.starts_with(tag)).unwrap();
    let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap()) as usize;
    number(8)..number(8) + number(16)
}

/// All hits of an exact search, as document and chunk, with their scores.
fn all(store: &Store) -> Vec<(String, u32, f32)> {
    let query: Vec<f32> = (0..WIDTH).map(|at| 1.0 + at as f32).collect();
    let hits = store.search("c", &Request::new(query, 100).exact()).unwrap().hits;
    let hits = hits.into_iter().map(|hit| (hit.document, hit.chunk.chunk_idx, hit.score));
    hits.collect()
}

/// Checks twice: what is found is told without repair, then repaired, and then nothing is found. Returns what was found.
fn repair(dir: &Path, store: Store) -> (Vec<Finding>, Store) {
    let told = store.check(false).unwrap();
    assert!(!told.is_empty() && told.iter().all(|finding| !finding.repaired), "{told:?}");
    let repaired = store.check(true).unwrap();
    let names = |findings: &[Finding]| findings.iter().map(|f| f.what.clone()).collect::<Vec<_>>();
    // Without a repair, what follows from the first damage is told as well. Removing documents whose rows are nowhere
    // leaves tombstones, which the same repair then finds.
    let is_told = |name: &String| name == "tombstones" || names(&told).contains(name);
    assert!(names(&repaired).iter().all(is_told), "{repaired:?}");
    let store = reopen(dir, store);
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    (repaired, store)
}

#[test]
fn damage_of_any_part_but_rows_and_texts_is_repaired_without_loss() {
    let of_int8 = [
        b".cod", b".scl", b".nof", b".nro", b".lof", b".lnk", b".ids", b"HASH", b"SUMS", b"MADE",
        b"DOCS",
    ];
    let of_binary = [b".cod", b".mea", b".lnk"];
    let int8 = of_int8.into_iter().map(|tag| (tag, 4, Quant::Int8));
    for (tag, dims, quant) in int8.chain(of_binary.map(|tag| (tag, WIDTH, Quant::Binary))) {
        let (dir, store) = database_with(dims, quant);
        let before = all(&store);
        drop(store);
        let path = segment(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let at = part(&bytes, tag).start + part(&bytes, tag).len() / 2;
        bytes[at] ^= 0x04;
        fs::write(&path, bytes).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        let (findings, store) = repair(dir.path(), store);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0].what.contains(&name) && findings[0].documents.is_empty(),
            "{findings:?}"
        );
        assert_eq!(store.check(false).unwrap(), [], "{tag:?}");
        assert_eq!(all(&store), before);
        assert_eq!(store.chunk_rows("c").unwrap().len(), 12, "{tag:?}");
        assert_eq!(disk::names_in(&dir.path().join("segments")).unwrap().len(), 1);
    }
}

#[test]
fn a_damaged_vector_keeps_its_text_and_names_its_document_until_that_is_put_again() {
    let (dir, store) = database();
    let before = all(&store);
    drop(store);
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let row = 4; // the first of d2
    let at = part(&bytes, b".row").start + row * 2 * WIDTH + 2 * WIDTH - 1;
    bytes[at] ^= 0x80;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    let findings = store.check(true).unwrap();
    assert!(findings.iter().all(|finding| finding.documents == ["d2"]), "{findings:?}");
    assert!(findings[0].repaired && findings[0].what.starts_with("segment"), "{findings:?}");
    let after = all(&store);
    assert_eq!(after.last().unwrap(), &("d2".to_owned(), 0, 0.0));
    let is_other = |hit: &&(String, u32, f32)| (&*hit.0, hit.1) != ("d2", 0);
    assert!(before.iter().filter(is_other).eq(after.iter().filter(is_other)));
    assert_eq!(store.chunks("c", "d2", 0..9).unwrap()[0].text, "document 2 says 0");

    let again = store.check(true).unwrap();
    assert!(again.len() == 1 && !again[0].repaired && again[0].documents == ["d2"], "{again:?}");
    store.put("c", &[document(2, 2)]).unwrap();
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(all(&store), before);
}

#[test]
fn a_damaged_vector_that_was_given_is_not_taken_for_zeros() {
    for metric in [Metric::Dot, Metric::L2] {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        store.create("c", &Space::of_vectors(WIDTH, metric)).unwrap();
        // d0 is all zeros, which is where it is and no damage.
        let given = |number: usize| {
            let mut document = document(number, 1);
            document.chunks[0].vector = vec![number as f32 * 0.1; WIDTH].into();
            document
        };
        store.put("c", &(0..6).map(given).collect::<Vec<_>>()).unwrap();
        store.seal("c", &|| false).unwrap();
        assert_eq!(store.check(false).unwrap(), []);
        drop(store);
        let path = segment(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let at = part(&bytes, b".row").start + 2 * 4 * WIDTH + 7;
        bytes[at] ^= 0x80;
        fs::write(&path, bytes).unwrap();

        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        let findings = store.check(true).unwrap();
        assert!(findings.iter().all(|finding| finding.documents == ["d2"]), "{findings:?}");
        let vector = |row: u64| store.vector("c", row).unwrap().unwrap().into_f32();
        assert!(vector(2).iter().all(|x| x.is_nan()));
        assert_eq!((vector(0), vector(5)), (vec![0.0; WIDTH], vec![0.5; WIDTH]));
        let request = Request::new(vec![0.2; WIDTH], 6).exact();
        let hits = store.search("c", &request).unwrap().hits;
        assert_eq!((hits.len(), &*hits[5].document), (6, "d2"), "last of all");
        assert!(store.check(false).unwrap().iter().all(|finding| finding.documents == ["d2"]));
        store.put("c", &[given(2)]).unwrap();
        assert_eq!(store.check(false).unwrap(), []);
    }
}

#[test]
fn a_damaged_text_takes_its_document_with_it_and_no_other_is_changed() {
    let (dir, store) = database();
    let before = all(&store);
    drop(store);
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let texts = part(&bytes, b"TEXT");
    let needle = b"document 3 says 0";
    let at = texts
        .clone()
        .find(|at| bytes[*at..].starts_with(b"3 says") || bytes[*at..].starts_with(&needle[9..12]));
    // lz4 may have cut the text: then any byte near the end of the section will do.
    let at = at.unwrap_or(texts.end - 3);
    bytes[at] ^= 0x01;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    let (findings, store) = repair(dir.path(), store);
    let lost = &findings[0].documents;
    assert!(!lost.is_empty(), "{findings:?}");
    assert_eq!(store.check(false).unwrap(), []);
    let kept: Vec<_> = before.into_iter().filter(|hit| !lost.contains(&hit.0)).collect();
    assert_eq!(all(&store), kept);
    lost.iter().for_each(|id| assert_eq!(store.document("c", id).unwrap(), None));
}

#[test]
fn a_document_record_is_put_back_from_its_segment_and_an_unsealed_one_is_named() {
    for (id, is_sealed) in [("d3", true), ("d6", false)] {
        let (dir, store) = database();
        let (before, info) = (all(&store), store.document("c", id).unwrap());
        let key = Key::document(NUMBER, id);
        store.tree().damage(&key, 0, |bytes| bytes[20] ^= 1);
        assert!(store.document("c", id).is_err());
        let (findings, store) = repair(dir.path(), store);
        assert!(findings.len() == 1 && findings[0].what == key.to_string(), "{findings:?}");
        assert_eq!(store.check(false).unwrap(), []);
        if is_sealed {
            assert!(findings[0].documents.is_empty());
            assert_eq!((all(&store), store.document("c", id).unwrap()), (before, info));
        } else {
            assert_eq!(findings[0].documents, [id]);
            assert_eq!(store.document("c", id).unwrap(), None);
            assert!(all(&store).iter().all(|hit| hit.0 != id));
        }
    }
}

#[test]
fn records_damaged_since_the_opening_are_found_and_written_again() {
    for key in [
        Key::Collection { number: NUMBER },
        Key::NextRow { collection: NUMBER },
        Key::Tombstones { collection: NUMBER, block: 0 },
    ] {
        let (dir, store) = database();
        let before = all(&store);
        store.tree().damage(&key, 0, |bytes| bytes[13] ^= 1);
        let (findings, store) = repair(dir.path(), store);
        assert!(findings.len() == 1 && findings[0].what == key.to_string(), "{findings:?}");
        assert_eq!((all(&store), store.check(false).unwrap()), (before, vec![]));
    }
}

#[test]
fn a_damaged_row_record_takes_its_document_with_it() {
    let (dir, store) = database();
    let key = Key::Row { collection: NUMBER, row: 13 };
    store.tree().damage(&key, 0, |bytes| bytes[20] ^= 1);
    let store = reopen(dir.path(), store);
    assert_eq!(store.status().unwrap().warnings.len(), 1);
    let (findings, store) = repair(dir.path(), store);
    assert_eq!(findings[0].what, key.to_string());
    assert_eq!(findings[1].documents, ["d6"], "{findings:?}");
    assert_eq!(store.check(false).unwrap(), []);
    assert!(all(&store).iter().all(|hit| hit.0 != "d6") && all(&store).len() == 10);
}

#[test]
fn a_segment_record_is_written_again_if_its_file_is_there_and_else_its_documents_are_named() {
    let key = Key::Segment { collection: NUMBER, first_row: 0 };
    let (dir, store) = database();
    let before = all(&store);
    store.tree().damage(&key, 0, |bytes| bytes[20] ^= 1);
    let store = reopen(dir.path(), store);
    assert_eq!(all(&store).len(), 2);
    let (findings, store) = repair(dir.path(), store);
    assert!(findings[0].what == key.to_string() && findings[0].documents.is_empty());
    assert_eq!((all(&store), store.check(false).unwrap()), (before, vec![]));

    fs::remove_file(segment(dir.path())).unwrap();
    let store = reopen(dir.path(), store);
    let (findings, store) = repair(dir.path(), store);
    let lost: Vec<&String> = findings.iter().flat_map(|finding| &finding.documents).collect();
    assert_eq!(lost, ["d0", "d2", "d3", "d4", "d5"]);
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(all(&store).len(), 2);
}

#[test]
fn tombstones_of_nothing_rows_of_nothing_and_files_of_nothing_are_found() {
    let (dir, store) = database();
    let before = all(&store);
    let collection = store.collection("c").unwrap();
    {
        let mut writer = store.writer();
        let ledger = writer.ledger(&collection);
        let mut change = Change::new(ledger);
        change.drop_rows(store.tree(), &collection, ledger, 900..903).unwrap();
        change.commit(store.tree(), &collection, ledger).unwrap();
    }
    let mut batch = Batch::default();
    batch.put(&Key::Row { collection: NUMBER, row: 50 }, &{
        let chunk = &document(7, 1).chunks[0];
        row::encode_row(&row::encode_info("d7", 0, chunk), chunk.vector.values())
    });
    store.tree().apply(batch).unwrap();
    let store = reopen(dir.path(), store);
    fs::write(dir.path().join(format!("segments/{:032x}.seg", 7)), "x").unwrap();
    let (findings, store) = repair(dir.path(), store);
    let whats: Vec<&str> = findings.iter().map(|finding| &*finding.what).collect();
    assert!(whats.len() == 3 && whats[0] == "rows" && whats[1] == "tombstones", "{whats:?}");
    assert!(whats[2].starts_with("file segments/"), "{whats:?}");
    assert_eq!((store.check(false).unwrap(), all(&store)), (vec![], before));
}

#[test]
fn a_damaged_graph_is_in_the_warnings_once_a_search_has_met_it() {
    let (dir, store) = database();
    drop(store);
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = part(&bytes, b".lnk").start;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    assert!(store.search("c", &Request::new(vec![0.3; WIDTH], 3)).unwrap().exact);
    let warnings = store.status().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("graph"), "{warnings:?}");
    store.check(true).unwrap();
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
}
