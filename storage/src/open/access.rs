//! A database as this process may have it: to write, or to read beside another process that writes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use index::Vector;

use crate::document::{DocumentInfo, StoredChunk};
use crate::error::{Error, Result};
use crate::filter::{Field, Filter};
use crate::link::Link;
use crate::open::lock;
use crate::reader::Reader;
use crate::search::request::Request;
use crate::search::view::Answer;
use crate::space::Space;
use crate::status::Status;
use crate::store::Store;

/// Who has the database open for less than this is waited for, as long as that: it may be reading only, and a reader
/// beside it would not see what is not sealed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// A [`Store`], or a [`Reader`] where another process has the store; what both can do.
#[derive(Debug)]
pub struct Access(Kind);

#[derive(Debug)]
enum Kind {
    Write(Box<Store>),
    Read { reader: Reader, dir: PathBuf, writer_pid: Option<u32> },
}

impl Access {
    /// Opens the database in `dir` as [`Store::open`] does, or for reading if another process has it open and has not just
    /// opened it, in which case it is waited for, a second at most.
    ///
    /// # Errors
    /// As [`Store::open`], but [`Error::Locked`] only if there is nothing to read yet.
    pub fn open(dir: &Path) -> Result<Access> {
        match open_soon(dir) {
            Err(Error::Locked { dir, pid: writer_pid }) => match Reader::open(&dir) {
                Ok(reader) => Ok(Access(Kind::Read { reader, dir, writer_pid })),
                // The writer is just making it, or will write a damaged manifest anew.
                Err(_) => Err(Error::Locked { dir, pid: writer_pid }),
            },
            opened => opened.map(Access::from),
        }
    }

    /// The store, for all that is not here.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process had it open when this was opened.
    pub fn store(&self) -> Result<&Store> {
        match &self.0 {
            Kind::Write(store) => Ok(store),
            Kind::Read { dir, writer_pid, .. } => {
                Err(Error::Locked { dir: dir.clone(), pid: *writer_pid })
            }
        }
    }

    /// When the process that writes published what is seen here; `None` if that is this process, which sees all.
    pub fn as_of(&self) -> Option<SystemTime> {
        match &self.0 {
            Kind::Write(_) => None,
            Kind::Read { reader, .. } => Some(reader.written_at()),
        }
    }

    /// As [`Reader::refresh`]; false if this process writes.
    ///
    /// # Errors
    /// As [`Reader::refresh`].
    pub fn refresh(&self) -> Result<bool> {
        match &self.0 {
            Kind::Write(_) => Ok(false),
            Kind::Read { reader, .. } => reader.refresh(),
        }
    }
}

fn open_soon(dir: &Path) -> Result<Store> {
    let began = Instant::now();
    loop {
        let opened = Store::open(dir);
        let is_locked = matches!(opened, Err(Error::Locked { .. }));
        let is_young = || lock::age(dir).is_some_and(|age| age < PATIENCE);
        if !is_locked || began.elapsed() >= PATIENCE || !is_young() {
            return opened;
        }
        std::thread::sleep(PAUSE);
    }
}

impl From<Store> for Access {
    fn from(store: Store) -> Access {
        Access(Kind::Write(Box::new(store)))
    }
}

/// Methods that call those of the same name, with their errors.
macro_rules! both {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Access {$(
            $(#[$doc])*
            pub fn $name(&self, $($argument: $type),*) -> Result<$result> {
                match &self.0 {
                    Kind::Write(store) => store.$name($($argument),*),
                    Kind::Read { reader, .. } => reader.$name($($argument),*),
                }
            }
        )*}
    };
}

both! {
    /// As [`Store::collections`].
    fn collections() -> Vec<(String, Space)>;
    /// As [`Store::space`].
    fn space(collection: &str) -> Option<Space>;
    /// As [`Store::status`] or [`Reader::status`].
    fn status() -> Status;
    /// As [`Store::document`] or [`Reader::document`].
    fn document(collection: &str, id: &str) -> Option<DocumentInfo>;
    /// As [`Store::documents`] or [`Reader::documents`].
    fn documents(collection: &str) -> Vec<DocumentInfo>;
    /// As [`Store::documents_where`].
    fn documents_where(collection: &str, filter: &Filter) -> Vec<DocumentInfo>;
    /// As [`Store::chunks`] or [`Reader::chunks`].
    fn chunks(collection: &str, id: &str, chunk_idx: Range<u32>) -> Vec<StoredChunk>;
    /// As [`Store::vector`] or [`Reader::vector`].
    fn vector(collection: &str, row: u64) -> Option<Vector>;
    /// As [`Store::search`].
    fn search(collection: &str, request: &Request) -> Answer;
    /// As [`Store::active_link`] or [`Reader::active_link`].
    fn active_link(collection: &str) -> Option<Arc<Link>>;
    /// As [`Store::count`].
    fn count(collection: &str, filter: &Filter) -> usize;
    /// As [`Store::fields`].
    fn fields(collection: &str) -> Vec<Field>;
}
