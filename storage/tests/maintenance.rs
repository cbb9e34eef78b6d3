//! Maintenance in the background: few segments without anybody asking, within its limits; what fails is told.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use storage::{Maintenance, Store};
use tempfile::TempDir;

use crate::concurrent::{N_CHUNKS, check_whole, versioned};
use crate::content::{self, NOTES};
use crate::model::Model;

/// Far above what any of it takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn create(dir: &Path, how: Maintenance) -> Store {
    let store = Store::open(dir).unwrap();
    store.maintain(how);
    store.create(NOTES, &content::space()).unwrap();
    store
}

/// Waits until something holds that the background brings about.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Rows of each segment, and how many of them are dead.
fn segments(store: &Store) -> Vec<(usize, usize)> {
    let collection = store.status().unwrap().collections.remove(0);
    collection.segments.iter().map(|segment| (segment.rows, segment.dead)).collect()
}

fn n_files(dir: &Path) -> usize {
    fs::read_dir(dir.join("segments")).unwrap().count()
}

fn put(store: &Store, model: &mut Model, numbers: std::ops::Range<u64>, version: u64) {
    let documents: Vec<_> = numbers.map(|number| content::document(number, version)).collect();
    store.put(NOTES, &documents).unwrap();
    documents.into_iter().for_each(|document| model.put(document));
}

#[test]
fn who_only_puts_and_deletes_has_few_segments_and_little_that_is_dead() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), content::busy());
    let mut model = Model::default();
    for version in 0..60 {
        put(&store, &mut model, version % 5..version % 5 + 8, version);
    }
    for number in [1, 2, 5] {
        assert!(model.delete(&content::id(number)));
        store.delete(NOTES, &[content::id(number)]).unwrap();
    }
    wait_until("what is due is done", || {
        let segments = segments(&store);
        let is_alive = segments.iter().all(|(rows, dead)| 5 * dead <= *rows);
        let n_unsealed = store.unsealed(NOTES);
        let is_swept = n_files(dir.path()) == segments.len();
        n_unsealed < 8 && segments.len() <= 2 && is_alive && is_swept
    });
    model.check(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    model.check(&store);
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn searches_beside_it_see_each_document_whole_and_in_one_version() {
    const N_DOCUMENTS: u64 = 8;
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), content::busy());
    let all = |version| (0..N_DOCUMENTS).map(|n| versioned(n, version)).collect::<Vec<_>>();
    store.put(NOTES, &all(0)).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (store, is_done) = (&store, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let answer = crate::concurrent::search_all(store);
                    check_whole(&answer);
                    assert_eq!(answer.hits.len() as u64, N_DOCUMENTS * u64::from(N_CHUNKS));
                    let chunks = store.chunks(NOTES, &content::id(reader), 0..u32::MAX).unwrap();
                    assert_eq!(chunks.len(), N_CHUNKS as usize);
                }
            });
        }
        // One at a time too, so that seals meet documents that are replaced while they are at work.
        for version in 1..60 {
            for document in all(version) {
                store.put(NOTES, &[document]).unwrap();
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let answer = crate::concurrent::search_all(&store);
    assert!(answer.hits.iter().all(|hit| hit.chunk.text == "version 59"));
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn without_it_segments_stay_as_they_are_and_puts_seal_in_their_own_time() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), Maintenance::from(false).seal_at(8));
    let mut model = Model::default();
    for number in 0..12 {
        put(&store, &mut model, number..number + 1, 1);
        assert!(store.unsealed(NOTES) < 8, "a put that meets the limit seals");
    }
    let before = segments(&store);
    assert!(before.len() > 2, "{before:?}");
    store.maintain(content::busy());
    wait_until("the next change merges them", || {
        put(&store, &mut model, 20..21, 1);
        segments(&store).len() == 1
    });
    model.check(&store);
}

#[test]
fn what_would_leave_too_little_of_the_disk_is_not_done_and_told_and_puts_are_bounded() {
    const SEAL_AT: usize = 24;
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), content::busy().seal_at(SEAL_AT).leave_free(u64::MAX / 2));
    let mut model = Model::default();
    put(&store, &mut model, 0..12, 1);
    assert!((SEAL_AT..2 * SEAL_AT).contains(&store.unsealed(NOTES)), "{}", store.unsealed(NOTES));
    wait_until("it is told", || !store.status().unwrap().warnings.is_empty());
    let warnings = store.status().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains(NOTES), "{warnings:?}");
    assert!(warnings[0].contains("background") && warnings[0].contains("free"), "{warnings:?}");
    assert!(segments(&store).is_empty());
    for number in 20..60 {
        put(&store, &mut model, number..number + 1, 1);
        // One document has at most four rows.
        assert!(store.unsealed(NOTES) < 2 * SEAL_AT + 4, "{} rows wait", store.unsealed(NOTES));
    }
    assert!(!segments(&store).is_empty(), "a put that found twice the limit has sealed");
    store.compact(NOTES, &|| false).unwrap();
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new(), "it is done");
    model.check(&store);
}

#[test]
fn damage_is_told_and_not_copied_and_the_other_collections_go_on() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), Maintenance::from(false));
    let mut model = Model::default();
    put(&store, &mut model, 0..6, 1);
    store.seal(NOTES, &|| false).unwrap();
    let name = store.status().unwrap().collections[0].segments[0].name.clone();
    put(&store, &mut model, 6..12, 1);
    store.seal(NOTES, &|| false).unwrap();
    drop(store);
    let path = dir.path().join("segments").join(&name);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    fs::write(&path, &damaged).unwrap();

    let store = Store::open(dir.path()).unwrap();
    store.maintain(content::busy());
    store.create("other", &content::space()).unwrap();
    put(&store, &mut model, 20..21, 1);
    wait_until("it is told", || !store.status().unwrap().warnings.is_empty());
    let warnings = store.status().unwrap().warnings;
    assert!(warnings.iter().all(|warning| warning.contains(&name)), "{warnings:?}");
    assert!(path.exists());
    for version in 0..4 {
        let documents: Vec<_> = (0..8).map(|number| content::document(number, version)).collect();
        store.put("other", &documents).unwrap();
    }
    wait_until("the other one is sealed and merged", || {
        let other = store.status().unwrap().collections.into_iter().find(|it| it.name == "other");
        other.unwrap().segments.len() == 1 && store.unsealed("other") < 8
    });
    assert!(!store.check(true).unwrap().is_empty());
    wait_until("it was repaired", || store.status().unwrap().warnings.is_empty());
    let mut version = 2;
    wait_until("what was repaired is merged", || {
        store.put(NOTES, &[content::document(30, version)]).unwrap();
        version += 1;
        store.status().unwrap().collections[0].segments.len() == 1
    });
}

#[test]
fn a_store_that_is_dropped_ends_it_in_the_middle_of_anything() {
    let dir = TempDir::new().unwrap();
    let mut numbers = content::Numbers(7);
    let mut model = Model::default();
    for version in 0..20 {
        let store = Store::open(dir.path()).unwrap();
        store.maintain(content::busy());
        if version == 0 {
            store.create(NOTES, &content::space()).unwrap();
        }
        model.check(&store);
        put(&store, &mut model, 0..12, version);
        std::thread::sleep(Duration::from_micros(numbers.below(20_000)));
        drop(store);
        let is_part = |name: &str| name.ends_with(".part");
        let names = fs::read_dir(dir.path().join("segments")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.any(|name| is_part(&name)), "nothing goes on after it");
    }
}

#[test]
fn what_somebody_asks_for_comes_first() {
    let dir = TempDir::new().unwrap();
    let store = create(dir.path(), content::busy());
    let mut model = Model::default();
    for version in 0..30 {
        put(&store, &mut model, 0..12, version);
        match version % 4 {
            0 => assert!(store.compact(NOTES, &|| false).unwrap().complete),
            1 => assert_eq!(store.check(false).unwrap(), []),
            2 => drop(store.merge(NOTES, &|| false).unwrap()),
            _ => {
                store.seal(NOTES, &|| false).unwrap();
                assert_eq!(store.unsealed(NOTES), 0);
            }
        }
        model.check(&store);
    }
}
