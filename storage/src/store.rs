//! The front door: one directory, open for writing by this process alone, shared by its threads.
//!
//! Reading is here; `write` changes, `seal` makes segments, `recover` opens, `status` tells.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use index::{Segment, Vector};

use crate::collection::{self, Collection, Ledger};
use crate::document::{DocumentInfo, StoredChunk};
use crate::error::{Error, Result};
use crate::maintenance::Upkeep;
use crate::open::lock::Lock;
use crate::open::recover::{self, Recovered};
use crate::reader::manifest;
use crate::records::key;
use crate::records::tree::Tree;
use crate::search::request::Request;
use crate::search::view::Answer;
use crate::segments::retired::Retired;
use crate::space::Space;

/// A database, open for reading and writing.
///
/// Methods may be called from many threads. Writers wait for each other; searches wait for nobody.
pub struct Store {
    // First: maintenance ends before what it works on.
    _end: Option<EndOfMaintenance>,
    inner: Arc<Inner>,
}

/// What the handles of one open database share.
struct Inner {
    dir: PathBuf,
    collections: RwLock<BTreeMap<String, Arc<Collection>>>,
    writer: Mutex<Writer>,
    /// Held through a merge, so that no two do the same work. Taken before the mutex of seals.
    merging: Mutex<()>,
    /// The same of seals. Taken before the writer's mutex.
    sealing: Mutex<()>,
    tree: Tree,
    /// What was found damaged, when it was opened and since.
    warnings: Mutex<Vec<String>>,
    maintenance: Upkeep,
    // Last, so that the lock is given back after sled is closed.
    _lock: Lock,
}

/// Ends the thread of maintenance when the store is dropped.
struct EndOfMaintenance(Arc<Inner>);

impl Drop for EndOfMaintenance {
    fn drop(&mut self) {
        self.0.maintenance.end();
    }
}

/// What only the holder of the writer's mutex may see.
pub(crate) struct Writer {
    pub(crate) ledgers: HashMap<u32, Ledger>,
    pub(crate) next_collection: u32,
    /// Segments that were replaced, whose files are still there because a search may read them.
    pub(crate) retired: Retired<Segment>,
}

impl Writer {
    pub(crate) fn ledger(&mut self, collection: &Collection) -> &mut Ledger {
        self.ledgers.entry(collection.number).or_default()
    }
}

impl Store {
    /// Opens the database in `dir`, creating it if there is nothing yet, and takes the writer's lock.
    ///
    /// # Errors
    /// [`Error::Locked`] at once if it is open elsewhere; [`Error::NotADatabase`], [`Error::Format`],
    /// [`Error::ReadOnly`], [`Error::DiskFull`]; [`Error::Corrupt`] if a record that all depends on is damaged. A damaged
    /// segment or row is no error: [`Store::status`] has a warning, the rest works.
    pub fn open(dir: &Path) -> Result<Store> {
        let Recovered { lock, tree, collections, ledgers, next_collection, warnings } =
            recover::open(dir)?;
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            collections: RwLock::new(collections),
            writer: Mutex::new(Writer { ledgers, next_collection, retired: Retired::default() }),
            merging: Mutex::new(()),
            sealing: Mutex::new(()),
            tree,
            warnings: Mutex::new(warnings),
            maintenance: Upkeep::default(),
            _lock: lock,
        });
        Ok(Store { _end: Some(EndOfMaintenance(Arc::clone(&inner))), inner })
    }

    /// Another handle, for the thread of maintenance, which ends before the store does.
    pub(crate) fn handle(&self) -> Store {
        Store { _end: None, inner: Arc::clone(&self.inner) }
    }

    /// All collections with their spaces, ordered by name.
    ///
    /// # Errors
    /// None at present.
    pub fn collections(&self) -> Result<Vec<(String, Space)>> {
        let collections = self.all().into_iter();
        Ok(collections.map(|each| (each.name.clone(), each.space().as_ref().clone())).collect())
    }

    /// The space of a collection, if there is such a collection.
    ///
    /// # Errors
    /// None at present.
    pub fn space(&self, collection: &str) -> Result<Option<Space>> {
        Ok(self.find(collection).map(|found| found.space().as_ref().clone()))
    }

    /// A document without its chunks.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Corrupt`] if its record is damaged; errors of the disk.
    pub fn document(&self, collection: &str, id: &str) -> Result<Option<DocumentInfo>> {
        let collection = self.collection(collection)?;
        collection::read_document(&self.inner.tree, collection.number, id)
    }

    /// All documents without their chunks, ordered by id.
    ///
    /// # Errors
    /// As [`Store::document`].
    pub fn documents(&self, collection: &str) -> Result<Vec<DocumentInfo>> {
        let collection = self.collection(collection)?;
        let mut documents = Vec::new();
        let prefix = key::prefix(collection.number, key::Tag::Document);
        self.inner.tree.scan(&prefix, &mut |key, payload| {
            documents.push(DocumentInfo::decode(&key, &payload?)?);
            Ok(())
        })?;
        documents.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(documents)
    }

    /// Chunks of a document; the range is cut to those it has, an unknown document has none.
    ///
    /// # Errors
    /// As [`Store::document`]; [`Error::Unreachable`] if they lie in a segment that could not be opened.
    pub fn chunks(
        &self,
        collection: &str,
        id: &str,
        chunk_idx: Range<u32>,
    ) -> Result<Vec<StoredChunk>> {
        let collection = self.collection(collection)?;
        match self.try_chunks(&collection, id, &chunk_idx)? {
            Ok(chunks) => Ok(chunks),
            Err(_) => {
                // A writer may have replaced the document between its record and the view: look while none is at work.
                let _writer = self.writer();
                self.try_chunks(&collection, id, &chunk_idx)?
                    .map_err(|row| Error::Unreachable { collection: collection.name.clone(), row })
            }
        }
    }

    fn try_chunks(
        &self,
        collection: &Collection,
        id: &str,
        chunk_idx: &Range<u32>,
    ) -> Result<Result<Vec<StoredChunk>, u64>> {
        let Some(info) = collection::read_document(&self.inner.tree, collection.number, id)? else {
            return Ok(Ok(Vec::new()));
        };
        collection::chunks_of(&collection.view(), &info, chunk_idx)
    }

    /// The row of each chunk hash, rows of replaced and deleted documents too as long as their vectors are kept.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Segment`] or [`Error::Corrupt`] if a segment's hashes are damaged.
    pub fn chunk_rows(&self, collection: &str) -> Result<HashMap<[u8; 16], u64>> {
        self.collection(collection)?.view().chunk_rows()
    }

    /// The vector of a row; of a dead row too, as long as it is kept.
    ///
    /// # Errors
    /// [`Error::NoCollection`].
    pub fn vector(&self, collection: &str, row: u64) -> Result<Option<Vector>> {
        Ok(self.collection(collection)?.view().vector(row))
    }

    /// The precision that the vector of a row was made in, of a dead row too; none if it was given or is not kept.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Segment`] or [`Error::Corrupt`] if the row's text is damaged.
    pub fn precision(&self, collection: &str, row: u64) -> Result<Option<String>> {
        self.collection(collection)?.view().precision(row)
    }

    /// The rows closest to a query: graphs of segments and a scan of unsealed rows, or, if it is to be exact, all rows;
    /// the rows that match its words; or both.
    ///
    /// Never waits for a writer.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Row`] if the query has another width or is not finite; [`Error::Segment`] or
    /// [`Error::Corrupt`] if the text of a hit is damaged.
    pub fn search(&self, collection: &str, request: &Request) -> Result<Answer> {
        self.collection(collection)?.search(request)
    }

    /// How many rows of a collection are not yet in a segment; 0 if there is no such collection.
    pub fn unsealed(&self, collection: &str) -> usize {
        self.find(collection).map_or(0, |found| found.view().n_unsealed())
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Collection>> {
        self.inner.collections.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn collection(&self, name: &str) -> Result<Arc<Collection>> {
        self.find(name).ok_or_else(|| Error::NoCollection { name: crate::document::shorten(name) })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Collection>> {
        let collections = self.inner.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.values().cloned().collect()
    }

    /// The writer's mutex, and the collection of this name as it is while that is held: before, another one may take its
    /// place.
    pub(crate) fn to_change(
        &self,
        name: &str,
    ) -> Result<(MutexGuard<'_, Writer>, Arc<Collection>)> {
        let writer = self.writer();
        let collection = self.collection(name)?;
        Ok((writer, collection))
    }

    /// True if this is what its name stands for, or what is to become that. The caller holds the writer's mutex.
    pub(crate) fn is_current(&self, collection: &Collection) -> bool {
        self.find(&collection.name).is_some_and(|named| {
            named.number == collection.number
                || named.successor().is_some_and(|next| next.number == collection.number)
        })
    }

    pub(crate) fn insert(&self, collection: Arc<Collection>) {
        let mut collections =
            self.inner.collections.write().unwrap_or_else(PoisonError::into_inner);
        collections.insert(collection.name.clone(), collection);
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the manifest that readers in other processes follow.
    pub(crate) fn publish(&self, writer: &Writer) -> Result<()> {
        let collections = self.all();
        manifest::write(&self.inner.dir, collections.iter().map(|each| &**each), &writer.ledgers)
    }

    /// Takes the mutex of merges; the background gives way.
    pub(crate) fn merging(&self) -> MutexGuard<'_, ()> {
        let _asking = self.inner.maintenance.ask();
        self.inner.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the mutex of seals; the background gives way.
    pub(crate) fn sealing(&self) -> MutexGuard<'_, ()> {
        let _asking = self.inner.maintenance.ask();
        self.wait_for_seal()
    }

    /// Takes the mutex of seals once the seal at work is done.
    pub(crate) fn wait_for_seal(&self) -> MutexGuard<'_, ()> {
        self.inner.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mutex of merges, for the background: not if somebody else has it or waits for it.
    pub(crate) fn try_merging(&self) -> Option<MutexGuard<'_, ()>> {
        self.try_lock(&self.inner.merging)
    }

    /// The same of seals.
    pub(crate) fn try_sealing(&self) -> Option<MutexGuard<'_, ()>> {
        self.try_lock(&self.inner.sealing)
    }

    fn try_lock<'a>(&self, mutex: &'a Mutex<()>) -> Option<MutexGuard<'a, ()>> {
        if self.inner.maintenance.gives_way() {
            return None;
        }
        match mutex.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn maintenance(&self) -> &Upkeep {
        &self.inner.maintenance
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(crate) fn segments_dir(&self) -> PathBuf {
        self.inner.dir.join(recover::SEGMENTS_DIR)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.inner.tree
    }

    /// What was found damaged so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn forget_warnings(&self) {
        self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes damage that is no error for who met it; once, however often it is met.
    pub(crate) fn warn(&self, warning: String) {
        let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
