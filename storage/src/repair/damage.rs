//! Tests of damage that needs the inside of the crate: records in sled, segment files cut at every byte.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use half::f16;
use index::mrl::Quant;
use tempfile::TempDir;

use crate::records::key::{Key, Tag};
use crate::records::record;
use crate::records::tree::{Batch, Tree};
use crate::segments::sealed::{Sealed, SegmentRecord};
use crate::{Chunk, Document, Error, Request, Space, Store};

const WIDTH: usize = 8;
const NUMBER: u32 = crate::records::key::FIRST_COLLECTION;

fn space() -> Space {
    Space {
        model: "tiny".to_owned(),
        fingerprint: "f00d".to_owned(),
        document_prompt: String::new(),
        link: None,
        full_width: WIDTH,
        dims: WIDTH,
        quant: Quant::default(),
    }
}

/// A document of `n_chunks` chunks, all of its own direction.
fn document(id: &str, axis: usize, n_chunks: usize) -> Document {
    let chunk = |idx: usize| {
        let mut vector = vec![f16::ZERO; WIDTH];
        vector[axis] = f16::ONE;
        Chunk {
            text: format!("{id} says {idx} ").repeat(20),
            hash: [axis as u8 * 16 + idx as u8; 16],
            range: 0..1,
            page: None,
            headings: Vec::new(),
            n_tokens: 1,
            precision: None,
            vector: vector.into(),
        }
    };
    let chunks = (0..n_chunks).map(chunk).collect();
    let meta = serde_json::Map::new();
    Document { id: id.to_owned(), source: None, title: None, meta, chunks }
}

/// A database with documents `a` (rows 0, 1) and `b` (rows 2, 3) in collection `c`.
fn two_documents() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create("c", &space()).unwrap();
    store.put("c", &[document("a", 0, 2), document("b", 1, 2)]).unwrap();
    (dir, store)
}

fn reopen(dir: &TempDir, store: Store) -> Store {
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store
}

/// Rows found by an exact search along an axis with a score above one half.
fn found(store: &Store, axis: usize) -> Vec<u64> {
    let mut query = vec![0.0; WIDTH];
    query[axis] = 1.0;
    let hits = store.search("c", &Request::new(query.clone(), 10).exact()).unwrap().hits;
    hits.into_iter().filter(|hit| hit.score > 0.5).map(|hit| hit.row).collect()
}

fn warning(store: &Store) -> String {
    let warnings = store.status().unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.into_iter().next().unwrap()
}

#[test]
fn any_flipped_byte_in_a_document_record_is_an_error_that_names_it() {
    let (_dir, store) = two_documents();
    let key = Key::document(NUMBER, "a");
    let n_bytes = record::wrap(&key, &store.tree().get(&key).unwrap().unwrap()).len();
    for at in 0..n_bytes {
        store.tree().damage(&key, 0, |bytes| bytes[at] ^= 0x10);
        for error in [
            store.document("c", "a").unwrap_err(),
            store.documents("c").unwrap_err(),
            store.chunks("c", "a", 0..9).unwrap_err(),
        ] {
            let hash = blake3::hash(b"a").to_string();
            assert!(matches!(&error, Error::Corrupt { key, .. } if key.contains(&hash)), "{error}");
        }
        store.tree().damage(&key, 0, |bytes| bytes[at] ^= 0x10);
    }
    store.tree().damage(&key, 0, |bytes| bytes[20] ^= 0x10);
    assert!(store.document("c", "b").unwrap().is_some());
    assert_eq!(found(&store, 0), [0, 1], "searches do not need the record");
}

#[test]
fn a_damaged_row_is_a_warning_and_putting_its_document_again_heals_it() {
    let (dir, store) = two_documents();
    store.tree().damage(&Key::Row { collection: NUMBER, row: 0 }, 0, |bytes| bytes[30] ^= 1);
    let store = reopen(&dir, store);
    assert!(warning(&store).contains("row 0 of collection number 1"), "{}", warning(&store));
    assert_eq!((found(&store, 0), found(&store, 1)), (vec![1], vec![2, 3]));
    assert!(store.chunks("c", "a", 0..2).unwrap_err().is_corruption());
    assert_eq!(store.chunks("c", "a", 1..2).unwrap().len(), 1);

    store.put("c", &[document("a", 0, 2)]).unwrap();
    let store = reopen(&dir, store);
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    assert_eq!((found(&store, 0), found(&store, 1)), (vec![4, 5], vec![2, 3]));
}

#[test]
fn a_record_that_lost_a_part_is_an_error_that_names_it() {
    let (dir, store) = two_documents();
    let mut large = document("large", 2, 1);
    large.chunks[0].text = "a long text ".repeat(2_000);
    large.meta.insert("long".to_owned(), "metadata ".repeat(3_000).into());
    store.put("c", &[large]).unwrap();
    assert!(store.tree().longest_value() <= record::PART_BYTES);
    assert!(!store.dir().join("sled/blobs").read_dir().unwrap().any(|_| true), "no blobs");
    store.tree().damage(&Key::document(NUMBER, "large"), 1, Vec::clear);
    let error = store.document("c", "large").unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    store.tree().damage(&Key::Row { collection: NUMBER, row: 4 }, 2, Vec::clear);
    let store = reopen(&dir, store);
    assert!(warning(&store).contains("row 4 of collection number 1"));
    assert_eq!(found(&store, 0), [0, 1]);
}

#[test]
fn a_damaged_counter_collection_or_tombstones_are_worked_out_or_left_alone() {
    for (key, is_manifest_lost) in [
        (Key::NextRow { collection: NUMBER }, false),
        (Key::Tombstones { collection: NUMBER, block: 0 }, false),
        (Key::Collection { number: NUMBER }, false),
        (Key::Collection { number: NUMBER }, true),
    ] {
        let (dir, store) = two_documents();
        store.seal("c", &|| false).unwrap();
        store.delete("c", &["a".to_owned()]).unwrap();
        store.tree().damage(&key, 0, |bytes| bytes[13] ^= 1);
        if is_manifest_lost {
            fs::write(dir.path().join("MANIFEST"), "torn").unwrap();
        }
        let store = reopen(&dir, store);
        assert!(warning(&store).contains(&key.to_string()), "{}", warning(&store));
        store.create("other", &space()).unwrap();
        if is_manifest_lost {
            assert!(store.search("c", &Request::new(vec![1.0; WIDTH], 1)).is_err());
            assert_eq!(segment_files(&dir).len(), 1, "what it holds is kept");
            let findings = store.check(true).unwrap();
            assert!(findings.len() == 1 && !findings[0].repaired, "{findings:?}");
            continue;
        }
        assert_eq!((found(&store, 0), found(&store, 1)), (vec![], vec![2, 3]));
        let findings = store.check(true).unwrap();
        assert!(findings.len() == 1 && findings[0].what == key.to_string(), "{findings:?}");
        store.put("c", &[document("d", 2, 1)]).unwrap();
        assert!(found(&store, 2)[0] > 3, "no row id is used twice");
        let store = reopen(&dir, store);
        assert_eq!(store.check(false).unwrap(), []);
        assert_eq!((found(&store, 0), found(&store, 1)), (vec![], vec![2, 3]));
        assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    }
}

#[test]
fn a_damaged_segment_record_is_a_warning_and_its_file_is_kept() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    store.put("c", &[document("d", 2, 1)]).unwrap();
    let key = Key::Segment { collection: NUMBER, first_row: 0 };
    store.tree().damage(&key, 0, |bytes| bytes[15] ^= 1);
    let store = reopen(&dir, store);
    assert!(warning(&store).contains("the segment from row 0"));
    assert_eq!(segment_files(&dir).len(), 1);
    assert_eq!((found(&store, 0), found(&store, 2)), (vec![], vec![4]));
    store.tree().damage(&key, 0, |bytes| bytes[15] ^= 1);
    let store = reopen(&dir, store);
    assert_eq!(found(&store, 0), [0, 1]);
}

#[test]
fn a_missing_segment_file_is_a_warning_and_the_rest_works() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    store.put("c", &[document("d", 2, 1)]).unwrap();
    let path = segment_files(&dir).pop().unwrap();
    fs::remove_file(&path).unwrap();
    let store = reopen(&dir, store);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(warning(&store).contains(name) && warning(&store).contains("4 rows of collection c"));
    assert!(matches!(store.chunks("c", "a", 0..9), Err(Error::Unreachable { row: 0, .. })));
    assert_eq!((found(&store, 0), found(&store, 2)), (vec![], vec![4]));

    store.put("c", &[document("a", 0, 1)]).unwrap();
    assert_eq!(store.delete("c", &["b".to_owned()]).unwrap(), 1);
    let store = reopen(&dir, store);
    assert_eq!((found(&store, 0), found(&store, 1)), (vec![5], vec![]));
    assert_eq!(store.chunks("c", "a", 0..9).unwrap().len(), 1);
}

#[test]
fn a_segment_file_cut_at_any_byte_is_an_error() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    let key = Key::Segment { collection: NUMBER, first_row: 0 };
    let payload = store.tree().get(&key).unwrap().unwrap();
    drop(store);
    let whole: SegmentRecord = record::decode(key, &payload).unwrap();
    let file = OpenOptions::new().write(true).open(&segment_files(&dir)[0]).unwrap();
    let segments_dir = dir.path().join("segments");
    assert!(Sealed::open(&segments_dir, whole.clone(), &space()).is_ok());
    for n_bytes in (0..whole.n_bytes).rev() {
        file.set_len(n_bytes).unwrap();
        let error = Sealed::open(&segments_dir, whole.clone(), &space()).err().unwrap();
        assert!(error.is_corruption() && error.to_string().contains(&whole.name), "{error}");
        // Even if the record said the same length, the file itself tells.
        let same_length = SegmentRecord { n_bytes, ..whole.clone() };
        let error = Sealed::open(&segments_dir, same_length, &space()).err().unwrap();
        assert!(error.is_corruption() || error.is_io(), "{error}");
    }
}

#[test]
fn files_that_no_record_names_are_removed_when_opening() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    drop(store);
    let kept = segment_files(&dir);
    let unnamed = dir.path().join(format!("segments/{:032x}.seg", 7));
    let half_written = dir.path().join(format!("segments/{:032x}.seg.part", 8));
    let foreign = dir.path().join("segments/notes.txt");
    for path in [&unnamed, &half_written, &foreign] {
        File::create(path).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    assert_eq!(segment_files(&dir), kept);
    assert!(!half_written.exists() && foreign.exists());
    assert_eq!(found(&store, 0), [0, 1]);
}

#[test]
fn a_merged_segment_stays_readable_until_nobody_holds_it_and_its_tombstones_go() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    store.put("c", &[document("d", 2, 2)]).unwrap();
    store.seal("c", &|| false).unwrap();
    store.delete("c", &["a".to_owned()]).unwrap();
    let tombstones = Key::Tombstones { collection: NUMBER, block: 0 };
    assert!(store.tree().get(&tombstones).unwrap().is_some());
    let old = store.collection("c").unwrap().view();
    assert!(store.merge("c", &|| false).unwrap());
    assert_eq!(segment_files(&dir).len(), 3, "the old view is held");
    assert_eq!(store.tree().get(&tombstones).unwrap(), None);
    assert_eq!(old.vector(0).unwrap().values().iter().next(), Some(1.0));
    assert!(store.vector("c", 0).unwrap().is_none());
    assert_eq!(
        (found(&store, 0), found(&store, 1), found(&store, 2)),
        (vec![], vec![2, 3], vec![4, 5])
    );
    drop(old);
    store.compact("c", &|| false).unwrap();
    assert_eq!(segment_files(&dir).len(), 1);
}

#[test]
fn segments_on_both_sides_of_a_lost_one_are_not_merged() {
    let (dir, store) = two_documents();
    store.seal("c", &|| false).unwrap();
    for (id, axis) in [("d", 2), ("e", 3), ("f", 4)] {
        store.put("c", &[document(id, axis, 2)]).unwrap();
        store.seal("c", &|| false).unwrap();
    }
    let middle = store.collection("c").unwrap().view().sealed()[1].name().to_owned();
    let path = dir.path().join("segments").join(middle);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let store = reopen(&dir, store);
    assert!(store.merge("c", &|| false).unwrap());
    assert!(!store.merge("c", &|| false).unwrap());
    assert_eq!(store.status().unwrap().collections[0].segments.len(), 2);
    store.compact("c", &|| false).unwrap();
    fs::write(&path, bytes).unwrap();
    let store = reopen(&dir, store);
    // The compaction took the words of the lost rows out of the lexicon.
    let warnings = store.status().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("lexicon of collection c"), "{warnings:?}");
    for axis in 0..5 {
        assert_eq!(found(&store, axis), [2 * axis as u64, 2 * axis as u64 + 1]);
    }
}

#[test]
fn a_crash_at_any_step_of_swapping_sled_leaves_all_records() {
    let (dir, store) = two_documents();
    let path = |name: &str| dir.path().join(name);
    let content = store.tree().content().unwrap();
    drop(store);
    let check = || {
        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        assert_eq!((found(&store, 0), found(&store, 1)), (vec![0, 1], vec![2, 3]));
        assert!(!path("sled.part").exists() && !path("sled.new").exists());
    };
    // Half written, or complete and not yet renamed: the old one counts.
    fs::create_dir(path("sled.part")).unwrap();
    fs::write(path("sled.part/db"), "half").unwrap();
    check();
    // Renamed to its second name: from here on the new one counts.
    content.write(&path("sled.new")).unwrap();
    check();
    content.write(&path("sled.new")).unwrap();
    fs::rename(path("sled"), path("sled.part")).unwrap();
    check();
    fs::create_dir(path("sled.part")).unwrap();
    crate::records::swap::finish(&path("sled")).unwrap();
    check();
}

fn segment_files(dir: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path().join("segments")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect()
}

#[test]
fn a_disk_that_fills_behind_the_check_is_an_error_and_no_acknowledged_batch_is_lost() {
    let dir = TempDir::new().unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path());
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !mount("size=8m") {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    const BATCH_ROWS: u64 = 200;
    let sled = dir.path().join("sled");
    let key = |row| Key::Row { collection: NUMBER, row };
    let tree = Tree::open(&sled).unwrap();
    let mut n_batches = 0;
    let error = loop {
        assert!(n_batches < 100, "the disk never fills");
        let mut batch = Batch::default();
        for row in n_batches * BATCH_ROWS..(n_batches + 1) * BATCH_ROWS {
            batch.put(&key(row), &[1; 5_000]);
        }
        match tree.apply(batch) {
            Ok(()) => n_batches += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Io { .. } | Error::Engine { .. }), "{error}");
    let refused = tree.apply(Batch::default()).unwrap_err();
    assert!(matches!(refused, Error::Broken { .. }), "{refused}");
    drop(tree);
    assert!(Tree::open(&sled).is_err(), "there is no room to open");

    assert!(mount("remount,size=64m"));
    let tree = Tree::open(&sled).unwrap();
    let mut n_rows = 0;
    tree.scan(&crate::records::key::prefix(NUMBER, Tag::Row), &mut |found, payload| {
        assert_eq!((found, payload?.len()), (key(n_rows), 5_000));
        n_rows += 1;
        Ok(())
    })
    .unwrap();
    let whole = [n_batches * BATCH_ROWS, (n_batches + 1) * BATCH_ROWS];
    assert!(n_batches > 0 && whole.contains(&n_rows), "{n_batches} batches, {n_rows} rows");
    drop(tree);
    let unmounted = Command::new("umount").arg("-l").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
}
