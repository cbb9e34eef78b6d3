//! A copy made beside a writer is a database of one moment, and can be taken back.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use storage::{Error, Request, Store, restore};
use tempfile::TempDir;

use crate::concurrent::{check_whole, versioned};
use crate::content::{self, NOTES};
use crate::model::Model;

/// A database with sealed, replaced, deleted and unsealed documents.
fn database(dir: &TempDir) -> (Store, Model) {
    let store = Store::open(&dir.path().join("db")).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    store.add_root(NOTES, "/notes").unwrap();
    let mut model = Model::default();
    for (number, version) in (0..12).map(|n| (n, 1)).chain([(3, 2), (4, 2)]) {
        store.put(NOTES, &[content::document(number, version)]).unwrap();
        model.put(content::document(number, version));
        if number == 8 {
            store.seal(NOTES, &|| false).unwrap();
        }
    }
    store.delete(NOTES, &[content::id(1)]).unwrap();
    model.delete(&content::id(1));
    (store, model)
}

#[test]
fn a_copy_is_the_database_of_its_moment_and_can_be_taken_back() {
    let dir = TempDir::new().unwrap();
    let (store, model) = database(&dir);
    let (copy, back) = (dir.path().join("copy"), dir.path().join("back"));
    fs::create_dir(&copy).unwrap();
    store.backup(&copy).unwrap();
    store.put(NOTES, &[content::document(0, 7)]).unwrap();
    store.compact(NOTES, &|| false).unwrap();

    restore(&copy, &back).unwrap();
    for path in [&copy, &back] {
        let copy = Store::open(path).unwrap();
        model.check(&copy);
        assert_eq!(copy.check(false).unwrap(), []);
        assert_eq!(copy.roots(NOTES).unwrap(), ["/notes"]);
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 3, "no temporary directory is left");
    // What is done to one of them is not done to the others.
    let taken = Store::open(&back).unwrap();
    taken.delete(NOTES, &(0..12).map(content::id).collect::<Vec<_>>()).unwrap();
    taken.compact(NOTES, &|| false).unwrap();
    model.check(&Store::open(&copy).unwrap());
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn a_copy_made_beside_a_writer_has_every_change_whole() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("db")).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let all = |version| (0..6).map(|number| versioned(number, version)).collect::<Vec<_>>();
    store.put(NOTES, &all(0)).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1.. {
                store.put(NOTES, &all(version)).unwrap();
                match version % 7 {
                    0 => drop(store.merge(NOTES, &|| false).unwrap()),
                    1 | 4 => drop(store.seal(NOTES, &|| false).unwrap()),
                    _ => {}
                }
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for round in 0..6 {
            let path = dir.path().join(format!("copy {round}"));
            store.backup(&path).unwrap();
            let copy = Store::open(&path).unwrap();
            let request = Request::new(content::unit_vector(1), 1_000).exact();
            let answer = copy.search(NOTES, &request).unwrap();
            check_whole(&answer);
            assert_eq!(answer.hits.len(), 24);
            let version = &answer.hits[0].chunk.text;
            assert!(answer.hits.iter().all(|hit| hit.chunk.text == *version), "one moment");
            assert_eq!(copy.check(false).unwrap(), []);
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_copy_never_goes_over_other_things_and_what_an_earlier_one_left_is_no_hindrance() {
    let dir = TempDir::new().unwrap();
    let (store, model) = database(&dir);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("letter"), "text").unwrap();
    let part = dir.path().join("other.part");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("letter"), "text").unwrap();
    for path in [copy.clone(), dir.path().join("db"), dir.path().join("other"), copy.join("letter")]
    {
        let error = store.backup(&path).unwrap_err();
        assert!(matches!(error, Error::Target { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(copy.join("letter")).unwrap(), "text");
    let error = restore(&dir.path().join("db"), &dir.path().join("new")).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    let error = restore(&copy, &dir.path().join("new")).unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");

    let (new, part) = (dir.path().join("new"), dir.path().join("new.part"));
    fs::create_dir_all(part.join("sled")).unwrap();
    fs::write(part.join("sled/db"), "half").unwrap();
    store.backup(&new).unwrap();
    assert!(!part.exists());
    model.check(&Store::open(&new).unwrap());
}
