//! The ecosystem's cache of models, as other tools keep it:
//!
//! ```text
//! CACHE/models--ORG--NAME/
//!   refs/main                  the commit that a branch stood at when it was pulled
//!   blobs/ETAG                 a file's bytes; ETAG.incomplete while they arrive
//!   snapshots/COMMIT/FILE      a relative link to its blob
//!   gemmule-sums.json          ours: the SHA-256 of each file when it was first pulled
//! CACHE/.locks/models--ORG--NAME/ETAG.lock
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::published::{Wanted, is_commit};
use super::{Reporter, Stage};
use crate::{Error, Result};

/// The lock of one pull of a repository.
pub(super) const OWN_LOCK: &str = "gemmule";
/// Between two looks at a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 256 << 10;

/// The part of the cache that belongs to one repository.
pub(super) struct Repo {
    folder: PathBuf,
    locks: PathBuf,
}

/// The recorded sums of all commits: file names to sums, by commit.
///
/// A model's files are recorded together, so what is missing then is missing in the repository.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Sums(BTreeMap<String, BTreeMap<String, String>>);

impl Repo {
    pub(super) fn new(cache: &Path, repo: &str) -> Repo {
        let name = format!("models--{}", repo.replace('/', "--"));
        Repo { folder: cache.join(&name), locks: cache.join(".locks").join(&name) }
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that the wanted revision stood at when it was pulled.
    pub(super) fn commit(&self, wanted: &Wanted) -> Option<String> {
        if let Some(commit) = wanted.commit() {
            return Some(commit.to_owned());
        }
        let text = fs::read_to_string(self.reference(&wanted.revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The files of a commit, if all that are wanted and published are there.
    pub(super) fn whole(&self, wanted: &Wanted, commit: &str, sums: &Sums) -> Option<Vec<String>> {
        let snapshot = self.snapshot(commit);
        let is_there = |name: &&str| snapshot.join(name).is_file();
        // Other tools leave an empty file where they asked for one that is not published.
        let absent = self.folder.join(".no_exist").join(commit);
        let (required, optional) = (wanted.required(), wanted.optional());
        let recorded = |name: &str| sums.get(commit, name).is_some();
        let was_pulled = required.iter().all(|name| recorded(name));
        let is_settled = |name: &&str| {
            is_there(name) || was_pulled && !recorded(name) || absent.join(name).exists()
        };
        if !required.iter().all(&is_there) || !optional.iter().all(is_settled) {
            return None;
        }
        let optional = optional.iter().copied().filter(is_there);
        Some(required.into_iter().chain(optional).map(str::to_owned).collect())
    }

    /// Waits until no other process holds the lock of `name`; it is free again when dropped.
    ///
    /// An etag's lock is the one that other tools take to write that blob.
    pub(super) fn lock(&self, name: &str, reporter: &mut Reporter) -> Result<File> {
        create_folder(&self.locks)?;
        let path = self.locks.join(format!("{name}.lock"));
        let failed = io_error("lock", &path);
        let file = File::options().create(true).append(true).open(&path).map_err(&failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => reporter.report(Stage::Locked)?,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            sleep(LOCK_POLL);
        }
    }

    /// Puts a blob into a snapshot under a file's name.
    pub(super) fn place(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        self.place_by(link, commit, file, etag)
    }

    /// The same by a given way to make a link; where that fails, by a copy.
    pub(super) fn place_by(
        &self,
        link: impl Fn(&Path, &Path) -> io::Result<()>,
        commit: &str,
        file: &str,
        etag: &str,
    ) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        let depth = 1 + file.split('/').count(); // folders between the file and the repository's
        let target: PathBuf = std::iter::repeat_n("..", depth).chain(["blobs", etag]).collect();
        if fs::read_link(&path).is_ok_and(|present| present == target) {
            return Ok(());
        }
        let temporary = beside(&path, "tmp");
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let _ = fs::remove_file(&temporary); // left by a process that was killed
        if link(&target, &temporary).is_err() {
            fs::copy(self.blob(etag), &temporary).map_err(io_error("copy a file to", &path))?;
        }
        fs::rename(&temporary, &path).map_err(io_error("place a file at", &path))
    }

    /// Writes down which commit a revision stands at.
    pub(super) fn write_reference(&self, wanted: &Wanted, commit: &str) -> Result<()> {
        match wanted.commit() {
            Some(_) => Ok(()),
            None => write_whole(&self.reference(&wanted.revision), commit.as_bytes()),
        }
    }

    fn sums_path(&self) -> PathBuf {
        self.folder.join("gemmule-sums.json")
    }

    /// The recorded sums; none if nothing was pulled yet.
    ///
    /// # Errors
    /// If they are there and cannot be read: forgetting them would be trusting anything.
    pub(super) fn sums(&self) -> Result<Sums> {
        let path = self.sums_path();
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sums::default()),
            read => read.map_err(io_error("read the recorded sums", &path))?,
        };
        serde_json::from_slice(&json).map_err(|error| Error::File {
            path,
            line: Some(error.line() as u64),
            problem: format!("not the recorded sums of models ({error}); delete it to forget them"),
        })
    }

    /// Records the sums of a commit whose files are all there. What is recorded stays.
    ///
    /// The lock is [`OWN_LOCK`]: two processes must not write at once.
    pub(super) fn record<'a>(
        &self,
        commit: &str,
        files: impl Iterator<Item = (&'a str, &'a str)>,
        _lock: &File,
    ) -> Result<()> {
        let mut sums = self.sums()?;
        let known = sums.0.entry(commit.to_owned()).or_default();
        for (name, sum) in files {
            known.entry(name.to_owned()).or_insert_with(|| sum.to_owned());
        }
        let path = self.sums_path();
        let json = serde_json::to_vec_pretty(&sums).map_err(io::Error::from);
        write_whole(&path, &json.map_err(io_error("write the sums to", &path))?)
    }
}

impl Sums {
    pub(super) fn get(&self, commit: &str, file: &str) -> Option<&str> {
        self.0.get(commit)?.get(file).map(String::as_str)
    }
}

/// Hashes the first `bytes` bytes of a file.
pub(super) fn hash(path: &Path, bytes: u64, reporter: &mut Reporter) -> Result<Sha256> {
    let failed = io_error("read", path);
    let mut file = File::open(path).map_err(&failed)?.take(bytes);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(&failed)? {
            0 => return Ok(hasher),
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
        reporter.done = bytes - file.limit();
        reporter.report(Stage::Verifying)?;
    }
}

/// SHA-256 in hex.
pub(super) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path whose name is longer by `.extension`.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

pub(super) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(io_error("create the folder", path))
}

/// Makes what was renamed inside a folder last.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(io_error("sync the folder", path))?;
    }
    Ok(())
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// Replaces a small file as a whole.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    create_folder(folder)?;
    let temporary = beside(path, "tmp");
    let failed = io_error("write", path);
    fs::write(&temporary, bytes).map_err(&failed)?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(&failed)?;
    fs::rename(&temporary, path).map_err(&failed)?;
    sync_folder(folder)
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(any(unix, windows)))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
