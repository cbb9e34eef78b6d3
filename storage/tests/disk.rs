//! Disks and directories that cannot hold a database: each has its own clear error, and nothing panics.
//!
//! Full and read-only disks are small file systems in memory, mounted by the test; where that is not allowed, the test
//! says so and ends.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use storage::{Error, Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES};

/// A file system in memory; unmounted when dropped.
struct Mount {
    dir: TempDir,
}

impl Mount {
    fn new(megabytes: usize) -> Option<Mount> {
        let dir = TempDir::new().unwrap();
        let size = format!("size={megabytes}m");
        if !mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], dir.path()) {
            eprintln!("skipped: this user may not mount a file system");
            return None;
        }
        Some(Mount { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn mount(options: &[&str], dir: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(options).arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Takes all free space but about `bytes_left`.
fn fill(path: &Path, bytes_left: usize) {
    let filler = path.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let block = vec![1; 64 << 10];
    let mut n_bytes = 0_u64;
    while file.write_all(&block).is_ok() {
        n_bytes += block.len() as u64;
    }
    file.set_len(n_bytes.saturating_sub(bytes_left as u64)).unwrap();
}

#[test]
fn a_filling_disk_refuses_writes_and_keeps_what_it_acknowledged() {
    let Some(mount) = Mount::new(48) else { return };
    let dir = mount.path().join("db");
    let store = Store::open(&dir).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let mut n_stored = 0;
    let error = loop {
        let documents: Vec<_> =
            (n_stored..n_stored + 20).map(|number| content::document(number, 1)).collect();
        match store.put(NOTES, &documents) {
            Ok(()) => n_stored += 20,
            Err(error) => break error,
        }
        assert!(n_stored < 100_000, "the disk never fills");
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(n_stored > 0);
    let check = |store: &Store, n_documents: u64| {
        let documents = store.documents(NOTES).unwrap();
        assert_eq!(documents.len() as u64, n_documents);
        for info in documents {
            let chunks = store.chunks(NOTES, &info.id, 0..u32::MAX).unwrap();
            assert_eq!(chunks.len(), info.n_chunks as usize);
        }
    };
    check(&store, n_stored);
    // There is room for deleting still, and for opening again.
    assert_eq!(store.delete(NOTES, &[content::id(0)]).unwrap(), 1);
    drop(store);
    let store = Store::open(&dir).unwrap();
    check(&store, n_stored - 1);

    fill(mount.path(), 0);
    for error in [
        store.put(NOTES, &[content::document(0, 1)]).unwrap_err(),
        store.delete(NOTES, &[content::id(1)]).unwrap_err(),
        store.seal(NOTES, &|| false).unwrap_err(),
        store.create("more", &content::space()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    }
    check(&store, n_stored - 1);
    store.search(NOTES, &Request::new(content::unit_vector(1), 5).exact()).unwrap();
    drop(store);
    let error = Store::open(&dir).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");

    fs::remove_file(mount.path().join("filler")).unwrap();
    check(&Store::open(&dir).unwrap(), n_stored - 1);
}

#[test]
fn a_disk_without_room_for_another_space_leaves_the_old_one_as_it_is() {
    let Some(mount) = Mount::new(64) else { return };
    let store = Store::open(&mount.path().join("db")).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let documents: Vec<_> = (0..200).map(|number| content::document(number, 1)).collect();
    store.put(NOTES, &documents).unwrap();
    fill(mount.path(), 18 << 20);
    let (mut n_built, mut is_full) = (0, false);
    // It fits at first, and no more when it is half built.
    while let Ok((_, ids)) = content::reembed(&store, 10) {
        n_built += ids.len();
        if n_built == 100 {
            fs::remove_file(mount.path().join("filler")).unwrap();
            fill(mount.path(), 1 << 20);
            let error = content::reembed(&store, 10).unwrap_err();
            assert!(matches!(error, Error::DiskFull { .. }), "{error}");
            is_full = true;
            break;
        }
    }
    assert!(is_full, "{n_built}");
    assert_eq!(store.space(NOTES).unwrap(), Some(content::space()));
    let all = Request::new(content::unit_vector(1), 10_000).exact();
    let n_hits = store.search(NOTES, &all).unwrap().hits.len();
    assert_eq!(n_hits, documents.iter().map(|document| document.chunks.len()).sum::<usize>());
    fs::remove_file(mount.path().join("filler")).unwrap();
    let (successor, ids) = content::reembed(&store, usize::MAX).unwrap();
    assert_eq!(ids.len(), 100, "nothing is built twice");
    successor.finish(&|| false).unwrap();
    assert_eq!(store.search(NOTES, &all).unwrap().hits.len(), n_hits);
}

#[test]
fn a_read_only_disk_is_an_error_of_its_own() {
    let Some(mount) = Mount::new(16) else { return };
    let dir = mount.path().join("db");
    drop(Store::open(&dir).unwrap());
    assert!(self::mount(&["-o", "remount,ro"], mount.path()), "remounting");
    let error = Store::open(&dir).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    let error = Store::open(&mount.path().join("new")).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_an_error_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(dir.path().join("probe"), "").is_ok() {
        eprintln!("skipped: permissions do not bind this user");
        return;
    }
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_and_a_directory_of_other_things_are_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [file.clone(), file.join("below"), dir.path().to_owned()] {
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn another_version_says_what_was_found_what_is_known_and_what_to_do() {
    let dir = TempDir::new().unwrap();
    drop(Store::open(dir.path()).unwrap());
    fs::write(dir.path().join("format"), "gemmule 7\n").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Format { found: 7, expected: 1, .. }), "{error}");
    assert!(error.to_string().contains("newer gemmule"));
}
