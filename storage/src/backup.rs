//! Copies of a database: made beside a writer at work, and taken back.
//!
//! A copy is written under a temporary name beside its own, opened once to see that it is a database, and renamed. Segments
//! never change, so a copy on the same file system shares them by hard links; what damages such a file damages it for
//! both. sled's content is written anew, which is also smaller.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{self, Need, PART_SUFFIX};
use crate::error::{Error, Result, io};
use crate::open::lock::Lock;
use crate::open::recover::{self, ENGINE_DIR, SEGMENTS_DIR};
use crate::segments::draft::SUFFIX;
use crate::store::Store;

impl Store {
    /// Writes a copy of the database as it is at this moment to `to`, a new or empty directory.
    ///
    /// Searches and writers go on; writers wait only while what is not in segments is read. The copy is a database: it can
    /// be opened, or [restored](restore). After a crash there is no `to`, or a whole one.
    ///
    /// # Errors
    /// [`Error::Target`] if `to` holds something; [`Error::DiskFull`] and errors of the disk.
    pub fn backup(&self, to: &Path) -> Result<()> {
        let copy = Copy::begin(to)?;
        // A file is unlinked only once no view holds it: as long as these are held, all named files stay.
        let (content, _views) = {
            let _writer = self.writer();
            let all = self.all();
            let successors = all.iter().filter_map(|collection| collection.successor());
            let views: Vec<_> =
                all.iter().cloned().chain(successors).map(|each| each.view()).collect();
            (self.tree().content()?, views)
        };
        disk::require(&copy.part, Need::Batch(content.n_bytes() as usize))?;
        copy.segments(&self.segments_dir())?;
        content.write(&copy.part.join(ENGINE_DIR))?;
        copy.finish()
    }
}

/// Makes a database in `to`, a new or empty directory, from a copy that [`Store::backup`] wrote, or from any database that
/// nobody has open for writing. `from` is left as it is.
///
/// # Errors
/// [`Error::NotADatabase`] and [`Error::Format`] for `from`, [`Error::Locked`] if a process is writing to it;
/// [`Error::Target`] if `to` holds something; [`Error::DiskFull`] and errors of the disk.
pub fn restore(from: &Path, to: &Path) -> Result<()> {
    recover::check_readable(from)?;
    let _lock = match Lock::take(from) {
        // Nobody can be writing to it.
        Err(Error::ReadOnly { .. }) => None,
        taken => Some(taken?),
    };
    let copy = Copy::begin(to)?;
    copy.segments(&from.join(SEGMENTS_DIR))?;
    for name in recover::engine_dirs() {
        let engine = from.join(&name);
        if engine.is_dir() {
            copy_dir(&engine, &copy.part.join(&name))?;
        }
    }
    copy.finish()
}

/// A database that is being written under a temporary name.
struct Copy {
    part: PathBuf,
    to: PathBuf,
}

impl Copy {
    fn begin(to: &Path) -> Result<Copy> {
        check_empty(to)?;
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(PART_SUFFIX);
        let part = to.with_file_name(name);
        // Only what an earlier copy has left may be removed.
        if recover::holds_only_ours(&part)? {
            disk::remove_dir(&part)?;
        }
        check_empty(&part)?;
        let segments = part.join(SEGMENTS_DIR);
        fs::create_dir_all(&segments).map_err(io("create", &segments))?;
        recover::write_format(&part)?;
        Ok(Copy { part, to: to.to_owned() })
    }

    /// Links or copies all segment files; those that no record names are removed when the copy is opened.
    fn segments(&self, from: &Path) -> Result<()> {
        let to = self.part.join(SEGMENTS_DIR);
        for name in disk::names_in(from)?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let (from, to) = (from.join(&name), to.join(&name));
            if fs::hard_link(&from, &to).is_ok() {
                continue;
            }
            match fs::copy(&from, &to) {
                // It was of no view that is held.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => {
                    copied.and_then(|_| File::open(&to)?.sync_all()).map_err(io("copy", &from))?;
                }
            }
        }
        disk::sync_dir(&to)
    }

    fn finish(self) -> Result<()> {
        let Copy { part, to } = self;
        disk::sync_dir(&part)?;
        drop(Store::open(&part)?);
        disk::sync_files(&part.join(ENGINE_DIR))?;
        // Over an empty directory too.
        fs::rename(&part, &to).map_err(io("rename", &part))?;
        match to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => disk::sync_dir(parent),
            None => disk::sync_dir(Path::new(".")),
        }
    }
}

fn check_empty(dir: &Path) -> Result<()> {
    let not_empty = |found: String| Error::Target { dir: dir.to_owned(), found };
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => match disk::names_in(dir)?.first() {
            Some(name) => Err(not_empty(format!("it holds {name}"))),
            None => Ok(()),
        },
        Ok(_) => Err(not_empty("it is a file".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("look at", dir)(error)),
    }
}

/// Copies a directory with all in it.
fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(io("create", to))?;
    for name in disk::names_in(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_dir(&from, &to)?;
        } else {
            fs::copy(&from, &to).map_err(io("copy", &from))?;
        }
    }
    disk::sync_files(to)
}
