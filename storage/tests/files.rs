//! Our own small files cut short, segment files with flipped bytes, sled's torn snapshot.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use storage::{Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES};
use crate::faults;

fn database() -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let documents: Vec<_> = (0..12).map(|number| content::document(number, 1)).collect();
    store.put(NOTES, &documents).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    store.put(NOTES, &[content::document(50, 1)]).unwrap();
    dir
}

fn segment(dir: &TempDir) -> PathBuf {
    fs::read_dir(dir.path().join("segments")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_version_file_cut_at_any_byte_is_an_error_that_names_it() {
    let dir = database();
    let path = dir.path().join("format");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole, b"gemmule 1\n");
    for n_bytes in 0..whole.len() {
        fs::write(&path, &whole[..n_bytes]).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains("format"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(Store::open(dir.path()).unwrap_err().to_string().contains("missing"));
    fs::write(&path, whole).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().documents(NOTES).unwrap().len(), 13);
}

#[test]
fn a_short_segment_is_a_warning_and_the_rest_is_found() {
    let dir = database();
    let path = segment(&dir);
    let whole = fs::read(&path).unwrap();
    let step = whole.len() / 20;
    for n_bytes in (0..whole.len()).step_by(step).chain([1, whole.len() - 1]) {
        fs::write(&path, &whole[..n_bytes]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let warnings = store.status().unwrap().warnings;
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(name), "{warnings:?}");
        let answer =
            store.search(NOTES, &Request::new(content::unit_vector(1), 100).exact()).unwrap();
        assert_eq!(answer.hits.len(), content::document(50, 1).chunks.len());
    }
    fs::write(&path, &whole).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.status().unwrap().warnings.is_empty());
    assert_eq!(
        store.search(NOTES, &Request::new(content::unit_vector(1), 1).exact()).unwrap().hits.len(),
        1
    );
}

#[test]
fn a_segment_with_a_flipped_byte_never_panics_and_never_shows_a_wrong_text() {
    let dir = database();
    let path = segment(&dir);
    let whole = fs::read(&path).unwrap();
    let right = {
        let store = Store::open(dir.path()).unwrap();
        store.search(NOTES, &Request::new(content::unit_vector(1), 100).exact()).unwrap().hits
    };
    let mut n_noticed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(&path, &flipped).unwrap();
        let read = || {
            let store = Store::open(dir.path()).unwrap();
            let n_warnings = store.status().unwrap().warnings.len();
            for exact in [false, true] {
                match store
                    .search(NOTES, &Request { exact, ..Request::new(content::unit_vector(1), 100) })
                {
                    Ok(answer) => answer.hits.iter().for_each(|hit| {
                        // Its row or score may be wrong: only a full check of a segment finds that.
                        assert!(right.iter().any(|right| right.chunk == hit.chunk), "byte {at}");
                    }),
                    Err(error) => {
                        assert!(error.is_corruption(), "{error}");
                        return 1;
                    }
                }
            }
            n_warnings
        };
        n_noticed += catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("byte {at}"));
    }
    assert!(n_noticed > 0, "headers and texts are checked");
}

#[test]
fn a_torn_snapshot_of_sled_does_not_keep_the_database_closed() {
    let dir = database();
    let sled = dir.path().join("sled");
    let snapshot = fs::read_dir(&sled)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .expect("sled wrote a snapshot when it was opened again after sealing");
    let bytes = fs::read(&snapshot).unwrap();
    let torn = sled.join("snap.00000000FFFFFFFF.generating");
    for n_bytes in [0, 1, bytes.len() / 2, bytes.len()] {
        fs::write(&torn, &bytes[..n_bytes]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.documents(NOTES).unwrap().len(), 13);
        assert!(!torn.exists());
    }
}

#[test]
fn settings_and_snapshots_of_sled_cut_or_flipped_at_any_byte_lose_nothing() {
    let dir = database();
    // A log of many pieces, some of them used again.
    let store = Store::open(dir.path()).unwrap();
    for version in 2..40 {
        let documents: Vec<_> = (0..12).map(|number| content::document(number, version)).collect();
        store.put(NOTES, &documents).unwrap();
        if version % 9 == 0 {
            store.seal(NOTES, &|| false).unwrap();
        }
    }
    let expected = store.documents(NOTES).unwrap();
    drop(store);
    let sled = dir.path().join("sled");
    let names = fs::read_dir(&sled).unwrap().map(|entry| entry.unwrap().path());
    let small = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "conf" || name.starts_with("snap.")
    };
    let small: Vec<PathBuf> = names.filter(small).collect();
    assert_eq!(small.len(), 2, "{small:?}");
    // sled changes its files when it opens, so each opening is of a copy.
    let files: Vec<_> = fs::read_dir(&sled).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> = files.into_iter().filter(|path| path.is_file()).collect();
    let whole: Vec<_> = files.iter().map(|path| (path, fs::read(path).unwrap())).collect();
    let mut n_bytes_cut = 0;
    for (path, bytes) in whole.iter().filter(|(path, _)| small.contains(path)) {
        let step = 1 + bytes.len() as u64 / faults::rounds(40);
        for at in (faults::seed() % step..bytes.len() as u64).step_by(step as usize) {
            let mut flipped = bytes.clone();
            flipped[at as usize] ^= 1 << (at % 8);
            for damaged in [&bytes[..at as usize], &flipped, &vec![0; bytes.len()]] {
                for (file, bytes) in &whole {
                    fs::write(file, bytes).unwrap();
                }
                fs::write(path, damaged).unwrap();
                let store = Store::open(dir.path()).unwrap_or_else(|error| {
                    panic!("byte {at} of {}: {error}", path.display());
                });
                assert_eq!(store.documents(NOTES).unwrap(), expected);
                store.put(NOTES, &[content::document(70, 1)]).unwrap();
                drop(store);
                let store = Store::open(dir.path()).unwrap();
                assert_eq!(store.documents(NOTES).unwrap().len(), expected.len() + 1);
                drop(store);
                for entry in fs::read_dir(&sled).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_file() {
                        fs::remove_file(path).unwrap();
                    }
                }
                n_bytes_cut += 1;
            }
        }
    }
    let fault = "sled's `conf` and snapshot cut, flipped, zeroed";
    faults::Tally { rounds: n_bytes_cut, critical: n_bytes_cut, ..faults::Tally::default() }
        .finish(fault);
}
