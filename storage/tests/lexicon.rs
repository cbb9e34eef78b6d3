//! Text search end to end: through seals, openings, and a lexicon that was removed, damaged, or cannot be written.

use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use storage::{Chunk, Document, Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES};

/// More rows than the lexicon keeps in memory.
const N_MANY: u64 = 2_500;

fn document(number: u64) -> Document {
    let text = format!("fish number {number} swims by the {} reef", number % 7);
    let chunk = Chunk {
        range: 0..text.len() as u64,
        text,
        hash: [number as u8; 16],
        page: None,
        headings: vec!["Sea".to_owned()],
        n_tokens: 8,
        precision: None,
        vector: content::unit_vector(number % 5).into_iter().map(f16::from_f32).collect(),
    };
    let title = Some(format!("Title{number}"));
    Document {
        id: content::id(number),
        source: None,
        title,
        meta: Default::default(),
        chunks: vec![chunk],
    }
}

fn filled(dir: &Path, n_documents: u64) -> Store {
    let store = Store::open(dir).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let documents: Vec<_> = (0..n_documents).map(document).collect();
    store.put(NOTES, &documents).unwrap();
    store
}

fn found(store: &Store, text: &str) -> Vec<(u64, f32)> {
    let answer = store.search(NOTES, &Request::words(text, 5_000)).unwrap();
    answer.hits.iter().map(|hit| (hit.row, hit.score)).collect()
}

fn folder(dir: &TempDir) -> PathBuf {
    dir.path().join("lexicon/1")
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn lexicon_bytes(store: &Store) -> u64 {
    store.status().unwrap().collections[0].lexicon_bytes
}

const QUERIES: [&str; 4] = ["number 17", "\"3 reef\"", "title12* sea", "+fish -17 title18"];

#[test]
fn words_are_found_while_rows_wait_in_memory_on_disk_and_in_segments() {
    let dir = TempDir::new().unwrap();
    let store = filled(dir.path(), 300);
    assert_eq!(lexicon_bytes(&store), 0, "few rows wait in memory");
    let first: Vec<_> = QUERIES.iter().map(|query| found(&store, query)).collect();
    assert!(first.iter().all(|found| !found.is_empty()));
    let check = |store: &Store| {
        assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
        for (query, first) in QUERIES.iter().zip(&first) {
            assert_eq!(found(store, query), *first, "{query}");
        }
    };
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    check(&store);
    store.seal_after_bulk(NOTES, &|| false).unwrap();
    assert!(lexicon_bytes(&store) > 0, "a bulk command ends with all on disk");
    check(&store);
    store.seal(NOTES, &|| false).unwrap();
    check(&store);
    drop(store);
    check(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_lexicon_that_was_removed_or_damaged_is_made_again_when_opening() {
    let dir = TempDir::new().unwrap();
    let store = filled(dir.path(), N_MANY);
    assert!(lexicon_bytes(&store) > 0, "many rows do not wait in memory");
    store.seal(NOTES, &|| false).unwrap();
    store.delete(NOTES, &[content::id(1_700)]).unwrap();
    store.put(NOTES, &[document(3)]).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    let expected: Vec<_> = QUERIES.iter().map(|query| found(&store, query)).collect();
    drop(store);
    let check = |n_warnings: usize, doing: &str| {
        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        let warnings = store.status().unwrap().warnings;
        assert_eq!(warnings.len(), n_warnings, "{doing}: {warnings:?}");
        for (query, expected) in QUERIES.iter().zip(&expected) {
            assert_eq!(found(&store, query), *expected, "{doing}, {query}");
        }
    };
    check(0, "nothing");
    fs::remove_dir_all(dir.path().join("lexicon")).unwrap();
    check(0, "removed");
    check(0, "opened again");
    for idx in 0..files(&dir).len() {
        // A file's name changes each time the lexicon is made.
        let path = files(&dir).swap_remove(idx);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 4;
        fs::write(&path, bytes).unwrap();
        check(1, &format!("a flipped bit in {}", path.display()));
        check(0, "opened again");
    }
    let path = files(&dir).pop().unwrap();
    fs::write(&path, b"").unwrap();
    check(1, "an empty file");
}

#[test]
fn a_lexicon_that_cannot_be_written_refuses_nothing_and_is_warned_of() {
    let dir = TempDir::new().unwrap();
    let store = filled(dir.path(), 10);
    fs::write(dir.path().join("lexicon"), b"in the way").unwrap();
    store.put(NOTES, &(10..N_MANY).map(document).collect::<Vec<_>>()).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    assert_eq!(found(&store, "fish").len() as u64, N_MANY);
    let warnings = store.status().unwrap().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("lexicon of collection notes"),
        "{warnings:?}"
    );
    fs::remove_file(dir.path().join("lexicon")).unwrap();
    store.seal_after_bulk(NOTES, &|| false).unwrap();
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    assert_eq!(found(&store, "fish").len() as u64, N_MANY);
    drop(store);
    assert_eq!(found(&Store::open(dir.path()).unwrap(), "fish").len() as u64, N_MANY);
}

#[test]
fn collections_do_not_share_their_words() {
    let dir = TempDir::new().unwrap();
    let store = filled(dir.path(), 50);
    store.create("other", &content::space()).unwrap();
    store.put("other", &[document(1)]).unwrap();
    store.seal("other", &|| false).unwrap();
    assert_eq!(store.search("other", &Request::words("fish", 100)).unwrap().hits.len(), 1);
    assert_eq!(found(&store, "fish").len(), 50);
}
