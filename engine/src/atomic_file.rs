//! A file that is either whole or not there: written under another name, flushed to the disk, then
//! renamed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file under construction; dropped without [`AtomicFile::commit`], it is removed.
pub(crate) struct AtomicFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`, so that the rename stays on one disk.
    pub(crate) fn create(path: &Path) -> io::Result<AtomicFile> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        // What a process of the same id left behind long ago is nobody's.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        Ok(AtomicFile { file, temporary, path: path.to_owned(), is_committed: false })
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, replacing what had it. On return it survives a crash.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.is_committed = true;
        // The name is on the disk once its folder is; only Unix lets one open a folder.
        if cfg!(unix) {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // Nothing can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
