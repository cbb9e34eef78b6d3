//! What the file system is asked for: free space, and writes that survive a power cut.
//!
//! sled panics when the disk is full, in places that cannot be caught well, so each write first asks whether there is
//! room for it and for a reserve. Another program can still take that room in between; the reserve is there for that.

pub(crate) mod map;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{self, Error, Result};

/// Free bytes that must remain beside a batch or a segment.
const RESERVE_BYTES: u64 = 16 << 20;
/// The same when the batch mostly removes things, so that a full disk can be emptied.
const RESERVE_FOR_REMOVAL_BYTES: u64 = 8 << 20;
/// Free bytes that opening needs: sled writes a snapshot and a log segment when it opens.
const RESERVE_FOR_OPEN_BYTES: u64 = 4 << 20;
/// What sled writes for each byte put: measured 1.6 to 3.5, rounded up.
const ENGINE_FACTOR: u64 = 4;

/// What the free space is needed for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Opening the database.
    Open,
    /// A batch that adds this many bytes to sled.
    Batch(usize),
    /// A batch that removes, and adds this many bytes to sled.
    Removal(usize),
    /// A file of this many bytes.
    File(u64),
}

impl Need {
    fn bytes(self) -> u64 {
        match self {
            Need::Open => RESERVE_FOR_OPEN_BYTES,
            Need::Batch(n_bytes) => RESERVE_BYTES + ENGINE_FACTOR * n_bytes as u64,
            Need::Removal(n_bytes) => RESERVE_FOR_REMOVAL_BYTES + ENGINE_FACTOR * n_bytes as u64,
            Need::File(n_bytes) => RESERVE_BYTES.saturating_add(n_bytes),
        }
    }
}

/// Refuses a write that the disk has no safe room for.
pub(crate) fn require(dir: &Path, need: Need) -> Result<()> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|errno| error::io("ask for the free space of", dir)(errno.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = need.bytes();
    if free < needed {
        return Err(Error::DiskFull { dir: dir.to_owned(), free, needed });
    }
    Ok(())
}

/// Makes the names in a directory as durable as the files they name.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(error::io("sync directory", dir))
}

/// Writes a whole file under a temporary name, then gives it its own: after a crash it is there whole or not at all.
pub(crate) fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    write_named(dir, name, |out| out.write_all(bytes), |_| name.to_owned()).map(drop)
}

/// The same for a file that is written piece by piece and named by its content: `name` is given the xxh3-128 of all
/// bytes. Returns the name. Until then the file is called `temporary` and [`PART_SUFFIX`]; nobody else writes to that.
pub(crate) fn write_named(
    dir: &Path,
    temporary: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    name: impl FnOnce(u128) -> String,
) -> Result<String> {
    let temporary = dir.join(format!("{temporary}{PART_SUFFIX}"));
    let written = File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, Hashing { file, hasher: Xxh3::new() });
        write(&mut out)?;
        let Hashing { file, hasher } = out.into_inner()?;
        file.sync_all()?;
        Ok(hasher.digest128())
    });
    let name = match written {
        Ok(hash) => name(hash),
        Err(error) => {
            // Best effort: what stays is removed at the next open.
            let _ = fs::remove_file(&temporary);
            return Err(error::io("write", &temporary)(error));
        }
    };
    fs::rename(&temporary, dir.join(&name)).map_err(error::io("rename", &temporary))?;
    sync_dir(dir)?;
    Ok(name)
}

/// Bytes collected before they are hashed and written.
const BUFFER_BYTES: usize = 256 << 10;

/// A file, and the hash of what was written to it.
struct Hashing {
    file: File,
    hasher: Xxh3,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_bytes = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n_bytes]);
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The names of all that is directly in a directory, in order.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(error::io("list", dir))? {
        names.push(
            entry.map_err(error::io("list", dir))?.file_name().to_string_lossy().into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

/// Removes a directory and all in it, if it is there.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Makes the files directly in a directory durable, and their names.
pub(crate) fn sync_files(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(error::io("list", dir))? {
        let path = entry.map_err(error::io("list", dir))?.path();
        if path.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(error::io("sync", &path))?;
        }
    }
    sync_dir(dir)
}

/// How the name of a half-written file ends.
pub(crate) const PART_SUFFIX: &str = ".part";

/// Bytes of all files directly in a directory; what cannot be read counts nothing.
pub(crate) fn files_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(|metadata| metadata.is_file())
        .map(|metadata| metadata.len())
        .sum()
}
