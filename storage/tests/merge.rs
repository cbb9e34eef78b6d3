//! Merging and compaction: nothing is lost, nobody waits, space is given back. Only what a test asks for is merged: there is no
//! maintenance beside it.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use storage::index::mrl::Quant;
use storage::{Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES, WIDTH};
use crate::model::{Model, check_compact};

fn create(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    store
}

/// Puts one version of some documents and seals them.
fn put_and_seal(store: &Store, model: &mut Model, numbers: std::ops::Range<u64>, version: u64) {
    let documents: Vec<_> = numbers.map(|number| content::document(number, version)).collect();
    store.put(NOTES, &documents).unwrap();
    documents.into_iter().for_each(|document| model.put(document));
    store.seal(NOTES, &|| false).unwrap();
}

fn n_segments(store: &Store) -> usize {
    store.status().unwrap().collections[0].segments.len()
}

fn segment_files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("segments")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn small_segments_become_one_and_hold_the_same() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    assert!(!store.merge(NOTES, &|| false).unwrap(), "nothing is there");
    for version in 0..4 {
        put_and_seal(&store, &mut model, 3 * version..3 * version + 6, version);
    }
    assert_eq!(n_segments(&store), 4);
    assert!(store.merge(NOTES, &|| false).unwrap());
    assert!(!store.merge(NOTES, &|| false).unwrap(), "there is one segment, and nothing is dead");
    assert_eq!((n_segments(&store), segment_files(dir.path()).len()), (1, 1));
    model.check(&store);
    drop(store);
    model.check(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_segment_is_rewritten_once_a_fifth_of_it_is_dead() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..12, 1);
    let mut n_deleted = 0;
    while !store.merge(NOTES, &|| false).unwrap() {
        let status = store.status().unwrap().collections.remove(0);
        assert!(5 * status.dead <= status.segments[0].rows, "{status:?}");
        let id = content::id(n_deleted);
        store.delete(NOTES, std::slice::from_ref(&id)).unwrap();
        model.delete(&id);
        n_deleted += 1;
    }
    assert!(n_deleted > 1);
    assert_eq!(store.status().unwrap().collections[0].dead, 0);
    model.check(&store);
}

#[test]
fn what_is_written_while_a_merge_is_at_work_is_there_after_it() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let model = RefCell::new(Model::default());
    for version in 0..3 {
        put_and_seal(&store, &mut model.borrow_mut(), 4 * version..4 * version + 4, 1);
    }
    // The merge asks this without the writer's mutex: a put that waited for it would never come back.
    let is_first = Mutex::new(true);
    let model = Mutex::new(model);
    let cancelled = || {
        if !std::mem::take(&mut *is_first.lock().unwrap()) {
            return false;
        }
        let model = model.lock().unwrap();
        let mut model = model.borrow_mut();
        store.delete(NOTES, &[content::id(0)]).unwrap();
        model.delete(&content::id(0));
        for number in [1, 11, 20] {
            store.put(NOTES, &[content::document(number, 2)]).unwrap();
            model.put(content::document(number, 2));
        }
        store.seal(NOTES, &|| false).unwrap();
        store.put(NOTES, &[content::document(2, 3)]).unwrap();
        model.put(content::document(2, 3));
        model.check(&store);
        false
    };
    assert!(store.merge(NOTES, &cancelled).unwrap());
    let model = model.into_inner().unwrap().into_inner();
    model.check(&store);
    assert_eq!(n_segments(&store), 2);
    assert!(store.status().unwrap().collections[0].dead > 0, "they died while it was at work");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    model.check(&store);
    assert!(store.merge(NOTES, &|| false).unwrap());
    model.check(&store);
    check_compact(&store, dir.path());
}

/// The width of the codes of each segment.
fn code_widths(store: &Store) -> Vec<u64> {
    let segments = store.status().unwrap().collections.remove(0).segments;
    let width = |stats: &storage::SegmentStats| {
        let codes = stats.parts.iter().find(|part| part.part.to_string() == "\".cod\"").unwrap();
        codes.bytes / stats.nodes as u64
    };
    segments.iter().map(|each| width(&each.stats)).collect()
}

#[test]
fn a_collection_gets_codes_of_another_width_step_by_step() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..6, 1);
    put_and_seal(&store, &mut model, 6..12, 1);
    let narrow = content::space().dims as u64;
    assert_eq!(code_widths(&store), [narrow, narrow]);
    for dims in [0, WIDTH + 1] {
        let error = store.reindex(NOTES, dims, Quant::Int8, &|| false).unwrap_err();
        assert!(matches!(error, storage::Error::Width { .. }), "{error}");
    }
    assert!(!store.reindex(NOTES, WIDTH, Quant::Int8, &|| true).unwrap().complete);
    assert_eq!(code_widths(&store), [narrow, narrow], "stopped before the first segment");
    // What comes now has the new width, and both are searched side by side.
    put_and_seal(&store, &mut model, 12..18, 1);
    assert_eq!(code_widths(&store), [narrow, narrow, WIDTH as u64]);
    model.check(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    assert_eq!(store.space(NOTES).unwrap().unwrap().dims, WIDTH);
    model.check(&store);
    assert!(store.compact(NOTES, &|| false).unwrap().complete, "a compaction finishes it");
    assert_eq!(code_widths(&store), [WIDTH as u64]);
    model.check(&store);
    assert!(store.reindex(NOTES, 1, Quant::Int8, &|| false).unwrap().complete);
    model.check(&store);
    drop(store);
    model.check(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_collection_gets_binary_codes_step_by_step_and_int8_ones_again() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..6, 1);
    put_and_seal(&store, &mut model, 6..12, 1);
    let int8 = content::space().dims as u64;
    let narrow = store.reindex(NOTES, 63, Quant::Binary, &|| false).unwrap_err();
    assert!(matches!(narrow, storage::Error::Narrow { dims: 63 }), "{narrow}");
    assert!(narrow.is_invalid_input());
    assert!(!store.reindex(NOTES, WIDTH, Quant::Binary, &|| true).unwrap().complete);
    // Two words of bits and one for what their estimate needs; both kinds are searched side by side.
    let binary = 3 * 8;
    put_and_seal(&store, &mut model, 12..18, 1);
    assert_eq!(code_widths(&store), [int8, int8, binary]);
    model.check(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.space(NOTES).unwrap().unwrap().quant, Quant::Binary);
    assert_eq!(store.check(false).unwrap(), []);
    let reader = storage::Reader::open(dir.path()).unwrap();
    assert_eq!(reader.space(NOTES).unwrap().unwrap().quant, Quant::Binary);
    model.check(&store);
    assert!(store.compact(NOTES, &|| false).unwrap().complete, "a compaction finishes it");
    assert_eq!(code_widths(&store), [binary]);
    model.check(&store);
    // The same width, so that only the codes are made anew.
    assert!(store.reindex(NOTES, WIDTH, Quant::Int8, &|| false).unwrap().complete);
    assert_eq!(code_widths(&store), [WIDTH as u64]);
    model.check(&store);
    drop(store);
    model.check(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_cancelled_merge_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..6, 1);
    put_and_seal(&store, &mut model, 6..12, 1);
    let before = segment_files(dir.path());
    for n_asks in 0..4 {
        let left = Mutex::new(n_asks);
        let cancelled = || {
            let mut left = left.lock().unwrap();
            *left -= 1;
            *left < 0
        };
        assert!(!store.merge(NOTES, &cancelled).unwrap());
        assert!(!store.compact(NOTES, &|| true).unwrap().complete);
        assert_eq!(segment_files(dir.path()), before);
    }
    model.check(&store);
}

#[test]
fn damage_is_not_copied_into_a_new_segment_and_bulk_work_goes_on() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..6, 1);
    let path = dir.path().join("segments").join(&segment_files(dir.path())[0]);
    put_and_seal(&store, &mut model, 6..12, 1);
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    let error = store.merge(NOTES, &|| false).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name), "{error}");
    assert!(!store.seal_after_bulk(NOTES, &|| false).unwrap());
    let warnings = store.status().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains(name), "{warnings:?}");
    assert_eq!(n_segments(&store), 2);
}

#[test]
fn compaction_gives_space_back_that_of_sled_too_and_all_is_found_after_it() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    for version in 0..6 {
        let documents: Vec<_> = (0..400).map(|n| content::document(n, version)).collect();
        store.put(NOTES, &documents).unwrap();
        store.seal(NOTES, &|| false).unwrap();
    }
    let ids: Vec<String> = (12..400).map(content::id).collect();
    store.delete(NOTES, &ids).unwrap();
    // As the model's rows must be those of the store, its documents are put again.
    let first_row = 1 + store.chunk_rows(NOTES).unwrap().into_values().max().unwrap();
    model.start_at(first_row);
    for number in 0..12 {
        store.put(NOTES, &[content::document(number, 9)]).unwrap();
        model.put(content::document(number, 9));
    }
    let sled_before = store.status().unwrap().engine_bytes;
    let compacted = store.compact(NOTES, &|| false).unwrap();
    assert!(compacted.complete);
    let sled_after = store.status().unwrap().engine_bytes;
    assert!(sled_after * 4 < sled_before, "sled had {sled_before} bytes and has {sled_after}");
    assert!(compacted.bytes_after * 4 < compacted.bytes_before, "{compacted:?}");
    check_compact(&store, dir.path());
    model.check(&store);
    let files = segment_files(dir.path());
    store.compact(NOTES, &|| false).unwrap();
    assert_eq!(segment_files(dir.path()), files, "nothing is written for nothing");
    store.put(NOTES, &[content::document(3, 10)]).unwrap();
    model.put(content::document(3, 10));
    drop(store);
    model.check(&Store::open(dir.path()).unwrap());
}

#[test]
fn a_collection_whose_rows_are_all_dead_ends_without_a_segment() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    put_and_seal(&store, &mut model, 0..6, 1);
    let ids: Vec<String> = (0..6).map(content::id).collect();
    assert_eq!(store.delete(NOTES, &ids).unwrap(), 6);
    ids.iter().for_each(|id| assert!(model.delete(id)));
    assert!(store.merge(NOTES, &|| false).unwrap());
    assert_eq!((n_segments(&store), segment_files(dir.path()).len()), (0, 0));
    model.check(&store);
    put_and_seal(&store, &mut model, 0..6, 2);
    drop(store);
    model.check(&Store::open(dir.path()).unwrap());
}

#[test]
fn bulk_work_ends_with_few_segments() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path());
    let mut model = Model::default();
    for version in 0..5 {
        put_and_seal(&store, &mut model, 0..12, version);
    }
    assert!(store.seal_after_bulk(NOTES, &|| false).unwrap());
    assert_eq!(n_segments(&store), 1);
    assert!(!store.seal_after_bulk(NOTES, &|| false).unwrap());
    model.check(&store);
    let request = Request::new(content::unit_vector(1), 3);
    assert_eq!(store.search(NOTES, &request).unwrap().hits.len(), 3);
}
