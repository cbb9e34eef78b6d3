//! The files of one lexicon, as tantivy asks for them.
//!
//! Files are written, fsynced, and then only read or removed; they are read through maps. The two small files that
//! tantivy replaces (`meta.json`, `.managed.json`) get a checksum of their own, since tantivy has none for them. Its locks
//! are not needed: only the process that holds the database's lock writes, one commit at a time.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

use crate::disk::PART_SUFFIX;
use crate::disk::map;

const CHECKSUM_BYTES: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Directory {
    dir: PathBuf,
}

impl Directory {
    pub(super) fn new(dir: &Path) -> Directory {
        Directory { dir: dir.to_owned() }
    }
}

impl tantivy::Directory for Directory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let full = self.dir.join(path);
        let is_empty = fs::metadata(&full).map_err(|error| cannot_read(path, error))?.len() == 0;
        if is_empty {
            return Ok(Arc::new(OwnedBytes::empty()));
        }
        let map = map::map(&full).map_err(|error| cannot_read(path, io::Error::other(error)))?;
        Ok(Arc::new(OwnedBytes::new(map)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        fs::remove_file(self.dir.join(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_owned()),
            _ => DeleteError::IoError { io_error: Arc::new(error), filepath: path.to_owned() },
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.dir.join(path).try_exists().map_err(|error| cannot_read(path, error))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        // A commit that was killed may have left a file of this name; one that is mapped stays readable.
        let full = self.dir.join(path);
        let cannot_write = |error| OpenWriteError::wrap_io_error(error, path.to_owned());
        match fs::remove_file(&full) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot_write(error)),
            _ => {}
        }
        let file = File::create_new(&full).map_err(cannot_write)?;
        Ok(BufWriter::new(Box::new(Output { file })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut bytes = fs::read(self.dir.join(path)).map_err(|error| cannot_read(path, error))?;
        let at = bytes.len().saturating_sub(CHECKSUM_BYTES);
        if bytes.get(at..) != Some(&crc32fast::hash(&bytes[..at]).to_le_bytes()[..]) {
            let error = io::Error::new(ErrorKind::InvalidData, "the checksum does not match");
            return Err(cannot_read(path, error));
        }
        bytes.truncate(at);
        Ok(bytes)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let full = self.dir.join(path);
        let mut temporary = full.clone().into_os_string();
        temporary.push(PART_SUFFIX);
        let mut file = File::create(&temporary)?;
        file.write_all(data)?;
        file.write_all(&crc32fast::hash(data).to_le_bytes())?;
        file.sync_data()?;
        fs::rename(&temporary, &full)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn cannot_read(path: &Path, error: io::Error) -> OpenReadError {
    match error.kind() {
        ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_owned()),
        _ => OpenReadError::wrap_io_error(error, path.to_owned()),
    }
}

/// A file that is being written; fsynced when it is whole.
struct Output {
    file: File,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TerminatingWrite for Output {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.file.sync_data()
    }
}
