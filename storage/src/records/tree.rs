//! The only file that says `sled::`: one tree, batches that are durable when they return, records assembled from parts.
//!
//! sled 0.34.7 is used with care for what it really does:
//!
//! - Its `flush` never calls fsync, so [`Tree::apply`] does, on a second descriptor of the `db` file.
//! - A crash while it opens can leave `snap.*.generating`, which it then takes for a snapshot and refuses to open for
//!   ever; a torn `conf` or `snap.*` does the same. Both follow from the log and from the settings here, so we remove
//!   such files first, and sync `conf`, which it does not. The caller must hold the database's own lock.
//! - Its lock outlives it by a moment, until its threads let go of the file: opening waits for that.
//! - Its files never shrink: [`Tree::shrink`] writes what lives in it into new ones.
//! - It snapshots only when opened, and replays all that was logged since: [`Tree::reopen`] after bulk work.
//! - A thread that waits for a write is not woken when it fails: `flush` sees to that.
//! - It panics when the disk fills or its file is damaged. Each call is guarded, and after any failure the tree takes no
//!   more writes: what is on disk is then known only by opening again.
//! - Its iterators are no snapshots: a batch waits for running scans and a scan for the batch, so that no reader sees
//!   half of a record that has several parts.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{self, Need};
use crate::error::{Error, Result, io};
use crate::records::key::{Key, PART_BYTES as PART_NUMBER_BYTES};
use crate::records::record;
use crate::records::swap;

/// sled's page cache. Not a hard bound, by its documentation.
const CACHE_BYTES: u64 = 64 << 20;

/// How long opening waits for the file of a tree that was just closed, and how often it looks.
const RELEASE_WAIT: Duration = Duration::from_secs(10);
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// How long a flush may take before another one is made beside it.
const FLUSH_STALLS_AFTER: Duration = Duration::from_secs(1);

/// A transactional, ordered map from [`Key`] to payload.
pub(crate) struct Tree {
    dir: PathBuf,
    handle: RwLock<Option<Handle>>,
    broken: AtomicBool,
}

struct Handle {
    db: sled::Db,
    /// The file that sled appends to, opened a second time for fsync.
    file: File,
}

/// Changes that reach the disk together or not at all.
#[derive(Default)]
pub(crate) struct Batch {
    writes: sled::Batch,
    /// Bytes of the values put so far.
    n_bytes: usize,
    n_writes: usize,
}

impl Batch {
    /// Puts a record. A stored record of the same key must be removed by [`Batch::remove`] first if it can have more parts.
    pub(crate) fn put(&mut self, key: &Key, payload: &[u8]) {
        let record = record::wrap(key, payload);
        self.n_bytes += record.len();
        for (part, bytes) in record.chunks(record::PART_BYTES).enumerate() {
            let part = u16::try_from(part).expect("the payload limit keeps parts below 65,536");
            self.writes.insert(key.encode_part(part), bytes);
            self.n_writes += 1;
        }
    }

    /// Removes a record whose payload has this many bytes.
    pub(crate) fn remove(&mut self, key: &Key, payload_bytes: usize) {
        for part in 0..record::n_parts(payload_bytes) {
            self.remove_stored(key.encode_part(part));
        }
    }

    /// Removes one stored key, as [`Tree::stored_keys`] lists them.
    pub(crate) fn remove_stored(&mut self, stored: Vec<u8>) {
        self.writes.remove(stored);
        self.n_writes += 1;
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_writes == 0
    }
}

impl Tree {
    /// Opens or creates the tree in `dir`. The caller holds the database's lock.
    pub(crate) fn open(dir: &Path) -> Result<Tree> {
        let handle = open_handle(dir)?;
        Ok(Tree {
            dir: dir.to_owned(),
            handle: RwLock::new(Some(handle)),
            broken: AtomicBool::new(false),
        })
    }

    /// Closes and opens sled once, so that it snapshots; the next real opening is then fast.
    ///
    /// Readers of records wait for it; views in memory do not need it.
    pub(crate) fn reopen(&self) -> Result<()> {
        let mut handle = self.write();
        if let Err(error) = disk::require(&self.dir, Need::Open) {
            // Skipping it costs time at the next open, nothing else.
            return if matches!(error, Error::DiskFull { .. }) { Ok(()) } else { Err(error) };
        }
        close_handle(&mut handle);
        match open_handle(&self.dir) {
            Ok(opened) => *handle = Some(opened),
            Err(error) => {
                self.broken.store(true, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes what lives in sled into a new directory if the old one has become much larger, else reopens. The swap
    /// survives a crash at any moment; see `swap`.
    pub(crate) fn shrink(&self) -> Result<()> {
        let content = self.content()?;
        let n_bytes = content.n_bytes();
        if disk::files_bytes(&self.dir) <= SHRINK_FACTOR * n_bytes + SHRINK_SLACK_BYTES {
            drop(content);
            return self.reopen();
        }
        disk::require(&self.dir, Need::Batch(n_bytes as usize))?;
        let part = swap::part(&self.dir);
        let mut handle = self.write();
        content.write(&part)?;
        drop(content);
        if let Err(error) = swap::decide(&self.dir) {
            // The name may stand all the same: what were written here from now on would be lost at the next opening.
            self.broken.store(true, Ordering::Release);
            return Err(error);
        }
        close_handle(&mut handle);
        match swap::finish(&self.dir).and_then(|()| open_handle(&self.dir)) {
            Ok(opened) => *handle = Some(opened),
            Err(error) => {
                self.broken.store(true, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    /// All that is stored at this moment.
    ///
    /// The caller holds the writer's mutex if what follows must still find it so.
    pub(crate) fn content(&self) -> Result<Content> {
        self.with("read", |handle| {
            let pairs = handle.db.iter();
            let pairs = pairs.map(|pair| pair.map_err(|error| self.failed("read", error)));
            Ok(Content { pairs: pairs.collect::<Result<_>>()? })
        })
    }

    /// The payload of a record.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.scan(&key.encode(), &mut |found_key, payload| {
            if found_key == *key {
                found = Some(payload?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows each record whose key starts with `prefix`, in key order: its payload, or why it has none.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(Key, Result<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        self.with("read", |handle| {
            let mut parts: Option<Parts> = None;
            for entry in handle.db.scan_prefix(prefix) {
                let (stored, value) = entry.map_err(|error| self.failed("read", error))?;
                let (key, part) = split_stored(&stored)?;
                match &mut parts {
                    Some(parts) if parts.key == key => parts.push(part, &value),
                    _ => {
                        let mut next = Parts::new(key);
                        next.push(part, &value);
                        if let Some(done) = parts.replace(next) {
                            visit(done.key, done.finish())?;
                        }
                    }
                }
            }
            parts.map_or(Ok(()), |done| visit(done.key, done.finish()))
        })
    }

    /// How many records start with `prefix`; values are not checked.
    pub(crate) fn count(&self, prefix: &[u8]) -> Result<usize> {
        self.with("read", |handle| {
            let mut n_records = 0;
            for stored in handle.db.scan_prefix(prefix).keys() {
                let stored = stored.map_err(|error| self.failed("read", error))?;
                n_records += usize::from(stored.ends_with(&[0; PART_NUMBER_BYTES]));
            }
            Ok(n_records)
        })
    }

    /// The stored keys of all parts of the records from the first key to the last, both included.
    pub(crate) fn stored_keys(&self, keys: RangeInclusive<Key>) -> Result<Vec<Vec<u8>>> {
        let range = keys.start().encode_part(0)..=keys.end().encode_part(u16::MAX);
        self.with("read", |handle| {
            let stored = handle.db.range(range).keys();
            stored
                .map(|key| Ok(key.map_err(|error| self.failed("read", error))?.to_vec()))
                .collect()
        })
    }

    /// The stored keys that start with `prefix`, at most this many.
    pub(crate) fn stored_below(&self, prefix: &[u8], n_most: usize) -> Result<Vec<Vec<u8>>> {
        self.with("read", |handle| {
            let stored = handle.db.scan_prefix(prefix).keys().take(n_most);
            stored
                .map(|key| Ok(key.map_err(|error| self.failed("read", error))?.to_vec()))
                .collect()
        })
    }

    /// Writes a batch. When it returns `Ok`, the batch is on disk: flushed and fsynced.
    ///
    /// The caller has asked for the space it needs. On an error the batch may or may not have reached the disk, whole
    /// or not at all, and the tree takes no more writes.
    pub(crate) fn apply(&self, batch: Batch) -> Result<()> {
        let written = self.apply_then_sync(batch);
        if written.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        written
    }

    fn apply_then_sync(&self, batch: Batch) -> Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Error::Broken { dir: self.dir.clone() });
        }
        {
            let handle = self.write();
            let Some(handle) = handle.as_ref() else { return Err(self.closed()) };
            guard("write to", &self.dir, || {
                handle.db.apply_batch(batch.writes).map_err(|error| self.failed("write to", error))
            })?;
        }
        self.with("flush", |handle| {
            flush(&handle.db).map_err(|error| self.failed("flush", error))?;
            // Without this line the log is in the page cache only: sled's flush is sync_file_range.
            handle.file.sync_all().map_err(io("sync", &self.dir.join(DB_FILE)))
        })
    }

    fn with<T>(&self, doing: &'static str, run: impl FnOnce(&Handle) -> Result<T>) -> Result<T> {
        let handle = self.read();
        let Some(handle) = handle.as_ref() else { return Err(self.closed()) };
        guard(doing, &self.dir, || run(handle))
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Handle>> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Handle>> {
        self.handle.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> Error {
        Error::Broken { dir: self.dir.clone() }
    }

    fn failed(&self, doing: &'static str, error: sled::Error) -> Error {
        failed(doing, &self.dir, error)
    }
}

/// All that was stored in a tree at one moment.
pub(crate) struct Content {
    pairs: Vec<(sled::IVec, sled::IVec)>,
}

impl Content {
    /// Bytes of keys and values.
    pub(crate) fn n_bytes(&self) -> u64 {
        self.pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    /// Writes it as a fresh sled in `dir`, closed and on disk when this returns; what is in `dir` is removed first.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        disk::remove_dir(dir)?;
        let tree = Tree::open(dir)?;
        for pairs in self.pairs.chunks(CONTENT_BATCH_PAIRS) {
            let mut batch = Batch::default();
            for (key, value) in pairs {
                batch.writes.insert(key, value);
                batch.n_writes += 1;
            }
            tree.apply(batch)?;
        }
        tree.reopen()?;
        drop(tree);
        disk::sync_files(dir)
    }
}

/// Pairs written in one batch: with values of 7 KiB about 7 MiB.
const CONTENT_BATCH_PAIRS: usize = 1024;

/// sled is written anew once its files have more than this many times the bytes that live in it: a fresh one has up to
/// 3.5 times.
const SHRINK_FACTOR: u64 = 4;
/// ... and this much on top, which an empty one has nearly.
const SHRINK_SLACK_BYTES: u64 = 1 << 20;

#[cfg(test)]
impl Tree {
    /// Changes the stored bytes of one part of a record; removes them if `change` leaves none.
    pub(crate) fn damage(&self, key: &Key, part: u16, change: impl FnOnce(&mut Vec<u8>)) {
        let stored = key.encode_part(part);
        let mut batch = Batch::default();
        let mut bytes = None;
        self.with("read", |handle| {
            bytes = handle.db.get(&stored).expect("a read").map(|bytes| bytes.to_vec());
            Ok(())
        })
        .expect("an open tree");
        let mut bytes = bytes.expect("a stored part");
        change(&mut bytes);
        if bytes.is_empty() {
            batch.remove_stored(stored);
        } else {
            batch.writes.insert(stored, bytes);
        }
        self.apply(batch).expect("a write");
    }

    /// Length of the longest stored value.
    pub(crate) fn longest_value(&self) -> usize {
        let mut longest = 0;
        self.with("read", |handle| {
            for entry in handle.db.iter() {
                longest = longest.max(entry.expect("a read").1.len());
            }
            Ok(())
        })
        .expect("an open tree");
        longest
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        close_handle(self.handle.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The parts of one record as a scan meets them.
struct Parts {
    key: Key,
    bytes: Vec<u8>,
    n_parts: u16,
    in_order: bool,
}

impl Parts {
    fn new(key: Key) -> Parts {
        Parts { key, bytes: Vec::new(), n_parts: 0, in_order: true }
    }

    fn push(&mut self, part: u16, bytes: &[u8]) {
        self.in_order &= part == self.n_parts;
        self.n_parts = self.n_parts.saturating_add(1);
        self.bytes.extend_from_slice(bytes);
    }

    fn finish(&self) -> Result<Vec<u8>> {
        if !self.in_order {
            return Err(Error::corrupt(self.key, "one of its parts is missing"));
        }
        record::unwrap(&self.key, &self.bytes)
    }
}

fn split_stored(stored: &[u8]) -> Result<(Key, u16)> {
    let split = stored.split_last_chunk::<PART_NUMBER_BYTES>();
    split
        .and_then(|(key, part)| Some((Key::decode(key)?, u16::from_be_bytes(*part))))
        .ok_or_else(|| Error::corrupt(format!("key {stored:02x?}"), "no such key is ever written"))
}

const DB_FILE: &str = "db";
/// sled's settings.
const CONF_FILE: &str = "conf";

fn open_handle(dir: &Path) -> Result<Handle> {
    fs::create_dir_all(dir).map_err(io("create", dir))?;
    remove_torn(dir)?;
    let db = open_sled(dir);
    match (db, settle(dir)) {
        (Ok(db), Ok(file)) => Ok(Handle { db, file }),
        (Ok(db), Err(error)) => {
            close(db);
            Err(error)
        }
        (Err(error), _) => Err(error),
    }
}

/// Makes durable what sled did when it opened, and opens the file that it appends to.
fn settle(dir: &Path) -> Result<File> {
    disk::sync_files(dir)?;
    let path = dir.join(DB_FILE);
    File::open(&path).map_err(io("open", &path))
}

fn open_sled(dir: &Path) -> Result<sled::Db> {
    let give_up = Instant::now() + RELEASE_WAIT;
    loop {
        match guard("open", dir, || Ok(config(dir).open()))? {
            Err(sled::Error::Io(error)) if is_held(&error) && Instant::now() < give_up => {
                thread::sleep(RELEASE_POLL);
            }
            opened => return opened.map_err(|error| failed("open", dir, error)),
        }
    }
}

fn config(dir: &Path) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES)
        // Every batch is flushed and synced when it is written; nothing is left for a background thread.
        .flush_every_ms(None)
}

/// True if sled's own lock is held. We hold the database's, so it can only be left over: a job of sled's threads, or a
/// child process between fork and exec, still has the file of a tree that this process closed.
fn is_held(error: &std::io::Error) -> bool {
    // sled wraps the system's error into text, so there is no kind to look at.
    error.to_string().contains("could not acquire lock")
}

/// Removes what a crash during sled's opening left, and files whose checksum does not match: they would be read, and refused,
/// for ever. sled writes them anew, `conf` from its settings and a snapshot from its log.
fn remove_torn(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let path = entry.map_err(io("list", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_snapshot = name.starts_with("snap.");
        let is_torn = match &*name {
            _ if is_snapshot && name.ends_with(".generating") => true,
            // Behind what the checksum is of: it alone, or the length before compression and it.
            _ if is_snapshot => !is_whole(&path, 12)?,
            CONF_FILE => !is_whole(&path, 4)?,
            _ => false,
        };
        if is_torn {
            fs::remove_file(&path).map_err(io("remove", &path))?;
        }
    }
    Ok(())
}

/// True if the last four bytes of one of sled's files are the crc32 of all but the last `n_behind`.
fn is_whole(path: &Path, n_behind: usize) -> Result<bool> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    let Some((_, stored)) = bytes.split_last_chunk() else { return Ok(false) };
    let content = bytes.len().checked_sub(n_behind).filter(|n_bytes| *n_bytes > 0);
    Ok(content.is_some_and(|end| crc32fast::hash(&bytes[..end]) == u32::from_le_bytes(*stored)))
}

fn close(db: sled::Db) {
    // All that was acknowledged is on disk already. sled's drop flushes what it wrote itself, syncs its file and panics if
    // that fails.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _ = flush(&db);
        drop(db);
    }));
}

fn close_handle(handle: &mut Option<Handle>) {
    if let Some(Handle { db, .. }) = handle.take() {
        close(db);
    }
}

/// Flushes sled, and returns though a write fails.
///
/// sled writes in threads of its own, and where one fails, who waits for it may not be woken. Another flush that meets the
/// error wakes all that wait.
fn flush(db: &sled::Db) -> sled::Result<usize> {
    thread::scope(|scope| {
        let (flushing, done) = mpsc::channel::<()>();
        scope.spawn(move || {
            while done.recv_timeout(FLUSH_STALLS_AFTER) == Err(RecvTimeoutError::Timeout) {
                // Each in a thread, for it may have to be woken as well.
                scope.spawn(|| db.flush());
            }
        });
        let flushed = db.flush();
        drop(flushing);
        flushed
    })
}

/// Turns a panic inside sled into an error.
fn guard<T>(doing: &'static str, dir: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::Engine { doing, dir: dir.to_owned(), problem: format!("sled: {message}") })
    })
}

fn failed(doing: &'static str, dir: &Path, error: sled::Error) -> Error {
    match error {
        sled::Error::Io(error) => io(doing, dir)(error),
        sled::Error::Corruption { at, .. } => {
            Error::corrupt(format!("sled's log in {}", dir.display()), format!("at {at:?}"))
        }
        other => Error::Engine { doing, dir: dir.to_owned(), problem: other.to_string() },
    }
}
