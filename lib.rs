//! An embedded vector database that does its own embedding.
//!
//! A folder goes in, answers come out: files are read, cut into chunks, embedded with a built-in
//! EmbeddingGemma, kept on disk and found again by meaning.
//!
//! ```
//! use gemmule::{Database, Document};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("notes.gemmule");
//! let db = Database::open(&path)?;
//! let notes = db.collection("notes")?;
//! notes.add([
//!     Document::new("id-1", "Ownership moves a value; the last owner frees it.").title("Rust"),
//!     Document::new("id-2", "Peel the apples and slice them thinly.").meta("lang", "en"),
//! ])?;
//! let answer = notes.search("who frees this memory?").limit(5).run()?;
//! assert_eq!(answer.hits[0].document, "id-1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Collection::sync`] indexes a folder and, run again, only what changed in it. The library
//! joins two crates: [`engine`] (files and text to vectors) and [`storage`] (vectors kept and found). A
//! function that returns a [`Result`] may fail with [`Error::Storage`]; where it says no more, with
//! nothing else.

mod collection;
mod error;
mod records;
mod reembed;
mod search;
mod tune;
mod vectors;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

pub use collection::Collection;
pub use engine::adalink::{self, Data};
pub use engine::ingest::{Document, IngestOptions, Ledger, Progress};
pub use engine::{self, Embedder, Precision};
pub use error::{Error, Result};
pub use reembed::{Reembedded, Reembedding};
pub use search::Search;
pub use storage::index::mrl::Quant;
pub use storage::{self, Answer, DocumentInfo, Fusion, Hit, Space, Status, StoredChunk, restore};
pub use storage::{Compacted, Field, Filter, Finding, Links, Maintenance, Metric};
pub use tune::{Evaluated, Tuned};

/// A database: one directory, opened for writing by one process, and for reading by others beside it.
pub struct Database {
    access: Arc<storage::Access>,
    precision: Option<Precision>,
}

impl Database {
    /// Opens the database in this directory, or creates it.
    ///
    /// # Errors
    /// [`Error::Storage`]: another process has it open, the path is a file, the disk is read-only or
    /// full, another version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        let store = storage::Store::open(path.as_ref())?;
        Ok(Database { access: Arc::new(store.into()), precision: None })
    }

    /// As [`open`](Database::open), but if another process is writing, opens what that has published
    /// so far for reading: see [`as_of`](Database::as_of). Methods that write are errors then, which
    /// name that process.
    ///
    /// # Errors
    /// As [`open`](Database::open); "open elsewhere" only if there is nothing to read yet.
    pub fn open_or_read(path: impl AsRef<Path>) -> Result<Database> {
        Ok(Database { access: Arc::new(storage::Access::open(path.as_ref())?), precision: None })
    }

    /// When what is seen here was published by the process that writes; `None` if all is seen, because
    /// that is this process.
    pub fn as_of(&self) -> Option<SystemTime> {
        self.access.as_of()
    }

    /// Follows the process that writes to what it has published last; false if there is nothing new.
    ///
    /// # Errors
    /// [`Error::Storage`]; what is seen stays as it was.
    pub fn refresh(&self) -> Result<bool> {
        Ok(self.access.refresh()?)
    }

    /// Models of collections that are opened from now on run in this precision; without one, in the
    /// fastest that is true enough to f32. Vectors of all precisions share a space.
    pub fn with_precision(self, precision: impl Into<Option<Precision>>) -> Database {
        Database { precision: precision.into(), ..self }
    }

    /// Opens a collection; a new one gets the built-in model at its full width.
    ///
    /// # Errors
    /// As [`collection_with`](Database::collection_with).
    pub fn collection(&self, name: &str) -> Result<Collection> {
        self.collection_with(name, None, None, None)
    }

    /// Opens a collection, or creates it with this model, and this width and kind of the codes that are searched.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model cannot be loaded or has no such width; [`Error::Storage`] if
    /// the collection exists with another model or other codes, or there are no such codes.
    pub fn collection_with(
        &self,
        name: &str,
        model: Option<&str>,
        dims: Option<usize>,
        quant: Option<Quant>,
    ) -> Result<Collection> {
        let embedder = OnceLock::new();
        let space = match self.access.space(name)? {
            // Nothing to compare: the model is loaded when it is first needed.
            Some(space) if model.is_none() && dims.is_none() && quant.is_none() => space,
            known => {
                let known = known.as_ref();
                let model = model.or(known.map(|space| &*space.model));
                let model = model.unwrap_or(engine::package::NANO);
                let loaded = Embedder::open_in(model, self.precision)?;
                // Another model is refused by its fingerprint, not by a width that it does not have.
                let same = known.filter(|space| space.fingerprint == loaded.package().fingerprint);
                let mut space = space_of(&loaded, dims.or(same.map(|space| space.dims)))?;
                space.quant = quant.or(same.map(|space| space.quant)).unwrap_or_default();
                self.access.store()?.create(name, &space)?;
                embedder.get_or_init(|| loaded);
                space
            }
        };
        let (access, precision, name) = (self.access.clone(), self.precision, name.to_owned());
        let active = Mutex::default();
        Ok(Collection { access, embedder, precision, name, space, active })
    }

    /// Opens a collection of vectors that no model of ours made, compared by `metric`, or creates it:
    /// [`add_vectors`](Collection::add_vectors) fills it, [`Search::vector`] asks it. What a score is, is said
    /// with the [`Metric`]s; with each of them higher is closer.
    ///
    /// # Errors
    /// [`Error::Storage`], also if the collection exists with a model, another width or another metric.
    pub fn collection_of_vectors(
        &self,
        name: &str,
        width: usize,
        metric: Metric,
    ) -> Result<Collection> {
        let known = self.access.space(name)?;
        let space = match known.filter(|known| known.takes_vectors(width, metric)) {
            Some(known) => known,
            None => {
                let space = Space::of_vectors(width, metric);
                self.access.store()?.create(name, &space)?;
                space
            }
        };
        let (access, name) = (self.access.clone(), name.to_owned());
        Ok(Collection {
            access,
            embedder: OnceLock::new(),
            precision: None,
            name,
            space,
            active: Mutex::default(),
        })
    }

    /// What is done in the background while this is open: rows are sealed, segments merged. `false`
    /// turns it off; a [`Maintenance`] says with how many threads and how much free disk. `true` is what
    /// there is if nothing is said. Does nothing if another process is writing.
    ///
    /// ```
    /// use gemmule::{Database, Maintenance};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("notes.gemmule");
    /// let limits = Maintenance::default().threads(2).leave_free(1 << 30);
    /// let db = Database::open(&path)?.maintenance(limits);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maintenance(self, how: impl Into<Maintenance>) -> Database {
        if let Ok(store) = self.access.store() {
            store.maintain(how);
        }
        self
    }

    /// The collections and their spaces.
    pub fn collections(&self) -> Result<Vec<(String, Space)>> {
        Ok(self.access.collections()?)
    }

    /// What the database holds and what it weighs.
    pub fn status(&self) -> Result<Status> {
        Ok(self.access.status()?)
    }

    /// Checks every byte, and with `repair` repairs what can be; an empty list says that all is well.
    /// After a repair, [`sync`](Collection::sync) reads the files anew that a finding names. Damage is no
    /// error.
    pub fn check(&self, repair: bool) -> Result<Vec<Finding>> {
        let store = self.access.store()?;
        let findings = store.check(repair)?;
        for finding in findings.iter().filter(|_| repair) {
            let Some(collection) = &finding.collection else { continue };
            let mut sources = Vec::new();
            for id in &finding.documents {
                if let Some(source) = store.document(collection, id)?.and_then(|info| info.source) {
                    // No file is cut by these settings, so this one counts as changed.
                    sources.push((id.clone(), storage::Source { settings: [0; 16], ..source }));
                }
            }
            store.touch(collection, &sources)?;
        }
        Ok(findings)
    }

    /// Copies the database to a new or empty directory; [`restore`] takes the copy back.
    ///
    /// # Errors
    /// [`Error::Storage`], also if the directory holds something.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<()> {
        Ok(self.access.store()?.backup(to.as_ref())?)
    }
}

pub(crate) fn space_of(embedder: &Embedder, dims: Option<usize>) -> Result<Space> {
    Ok(Space {
        model: embedder.package().name.clone(),
        fingerprint: embedder.package().fingerprint.clone(),
        document_prompt: embedder.document_prompt(None)?,
        link: None,
        full_width: embedder.full_width(),
        dims: embedder.width(dims)?,
        quant: Quant::default(),
    })
}
