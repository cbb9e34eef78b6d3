//! The writer's lock: one process at a time writes to a database, and a second one learns at once which.
//!
//! The lock is the operating system's, on `owner.json`; it goes with its process, however that ends. What the file
//! says is only for messages: left-over or half-written content does no harm.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result, io};

/// The file that carries the lock.
pub(crate) const FILE_NAME: &str = "owner.json";

/// Longest owner file that is read: ours is below 100 bytes.
const MAX_BYTES: u64 = 4096;

/// Held while the database is open; dropping it gives the lock back.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of a database or says who has it, without waiting.
    pub(crate) fn take(dir: &Path) -> Result<Lock> {
        let path = dir.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { dir: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        write_owner(&mut file).map_err(io("write", &path))?;
        Ok(Lock { file })
    }
}

/// How long ago the lock was taken last; `None` if that is not known.
pub(crate) fn age(dir: &Path) -> Option<Duration> {
    let taken = dir.join(FILE_NAME).metadata().and_then(|metadata| metadata.modified()).ok()?;
    SystemTime::now().duration_since(taken).ok()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child process that is between fork and exec.
        let _ = self.file.unlock();
    }
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let owner = serde_json::json!({
        "pid": std::process::id(),
        "started_at_unix_ms": started.as_millis() as u64,
    });
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{owner}\n").as_bytes())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let owner: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    owner.get("pid")?.as_u64()?.try_into().ok()
}
