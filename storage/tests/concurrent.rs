//! Searches beside writers and seals: each sees whole documents of one moment, and waits for nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use half::f16;
use serde_json::Map;
use storage::{Answer, Chunk, Document, Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES};

pub(crate) const N_CHUNKS: u32 = 4;

/// A document whose chunks all say their version.
pub(crate) fn versioned(number: u64, version: u64) -> Document {
    let chunk = |idx: u32| Chunk {
        text: format!("version {version}"),
        hash: [idx as u8; 16],
        range: 0..9,
        page: None,
        headings: Vec::new(),
        n_tokens: 2,
        precision: None,
        vector: content::unit_vector(number * 7 + u64::from(idx))
            .into_iter()
            .map(f16::from_f32)
            .collect(),
    };
    let chunks = (0..N_CHUNKS).map(chunk).collect();
    Document { id: content::id(number), source: None, title: None, meta: Map::new(), chunks }
}

pub(crate) fn search_all(store: &Store) -> Answer {
    store.search(NOTES, &Request::new(content::unit_vector(1), 10_000).exact()).unwrap()
}

/// Checks that each document is there whole and in one version.
pub(crate) fn check_whole(answer: &Answer) {
    let mut versions: HashMap<&str, Vec<&str>> = HashMap::new();
    for hit in &answer.hits {
        versions.entry(&hit.document).or_default().push(&hit.chunk.text);
    }
    for (id, texts) in versions {
        assert_eq!(texts.len(), N_CHUNKS as usize, "{id}: {texts:?}");
        assert!(texts.iter().all(|text| *text == texts[0]), "{id}: {texts:?}");
    }
}

#[test]
fn searches_beside_a_writer_see_each_document_whole_and_in_one_version() {
    const N_DOCUMENTS: u64 = 8;
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let all = |version| (0..N_DOCUMENTS).map(|n| versioned(n, version)).collect::<Vec<_>>();
    store.put(NOTES, &all(0)).unwrap();
    let is_done = AtomicBool::new(false);
    let n_searches = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (store, is_done, n_searches) = (&store, &is_done, &n_searches);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let answer = search_all(store);
                    check_whole(&answer);
                    assert_eq!(answer.hits.len() as u64, N_DOCUMENTS * u64::from(N_CHUNKS));
                    let chunks = store.chunks(NOTES, &content::id(reader), 0..u32::MAX).unwrap();
                    assert!(chunks.iter().all(|chunk| chunk.text == chunks[0].text));
                    assert_eq!(chunks.len(), N_CHUNKS as usize);
                    n_searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for version in 1..60 {
            store.put(NOTES, &all(version)).unwrap();
            if version % 10 == 0 {
                store.seal(NOTES, &|| false).unwrap();
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(n_searches.into_inner() > 0);
    assert!(search_all(&store).hits.iter().all(|hit| hit.chunk.text == "version 59"));
}

#[test]
fn a_search_in_the_middle_of_a_seal_does_not_wait_for_it() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    store.put(NOTES, &(0..200).map(|n| versioned(n, 1)).collect::<Vec<_>>()).unwrap();
    let n_searches = AtomicUsize::new(0);
    // The seal holds the writer's mutex while it asks: a search that waited for it would never come back.
    let cancelled = || {
        if n_searches.fetch_add(1, Ordering::Relaxed) < 3 {
            assert_eq!(search_all(&store).hits.len(), 800);
            assert_eq!(store.documents(NOTES).unwrap().len(), 200);
        }
        false
    };
    assert!(store.seal(NOTES, &cancelled).unwrap());
    assert!(n_searches.into_inner() > 0, "the seal asked");
    assert_eq!(search_all(&store).hits.len(), 800);
}

#[test]
fn a_put_of_very_many_rows_takes_several_batches_and_seals_them() {
    const N_DOCUMENTS: u64 = 34;
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let documents: Vec<Document> = (0..N_DOCUMENTS)
        .map(|number| {
            let mut document = versioned(number, 1);
            document.chunks = document.chunks.iter().cycle().take(1_000).cloned().collect();
            document.chunks.iter_mut().for_each(|chunk| chunk.text = "some words ".repeat(30));
            document
        })
        .collect();
    store.put(NOTES, &documents).unwrap();
    // What came after the batch that reached 32 Ki.
    let n_left = store.unsealed(NOTES);
    assert!(
        n_left <= 34_000 - 32 * 1024,
        "34,000 rows are more than 32 Ki, {n_left} are not sealed"
    );
    store.put(NOTES, &documents[..1]).unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let status = store.status().unwrap();
    assert_eq!(status.warnings, Vec::<String>::new());
    let collection = &status.collections[0];
    assert_eq!((collection.documents, collection.chunks), (N_DOCUMENTS as usize, 34_000));
    assert_eq!(
        (collection.unsealed, collection.dead, collection.segments.len()),
        (n_left + 1_000, 1_000, 1)
    );
    let chunks = store.chunks(NOTES, &content::id(33), 990..2_000).unwrap();
    assert_eq!(chunks.len(), 10);
    assert!(chunks.iter().zip(990..).all(|(chunk, idx)| chunk.chunk_idx == idx));
}
