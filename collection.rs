//! A collection: what goes in, what is there, what is done with it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use engine::ingest::{self, Document, IngestOptions, Ledger, Progress, Stamp};
use engine::{Embedder, Precision};
use storage::{Compacted, DocumentInfo, Field, Space, StoredChunk};

use crate::records::stamp;
use crate::tune::Active;
use crate::{Error, Quant, Result};

/// A set of documents in one space: one model, one prompt.
pub struct Collection {
    pub(crate) access: Arc<storage::Access>,
    pub(crate) embedder: OnceLock<Embedder>,
    pub(crate) precision: Option<Precision>,
    pub(crate) name: String,
    pub(crate) space: Space,
    /// The active link, once it has been read.
    pub(crate) active: Mutex<Active>,
}

impl Collection {
    /// The model and widths of this collection's vectors.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The collection's model, loaded when first asked for.
    ///
    /// # Errors
    /// [`Error::Engine`] if it cannot be loaded; [`Error::OtherModel`] if what lies under its name is
    /// not the model that made the vectors; [`Error::NoModel`] if none of ours made them.
    pub fn embedder(&self) -> Result<&Embedder> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(embedder);
        }
        if !self.space.has_model() {
            return Err(Error::NoModel { collection: self.name.clone() });
        }
        let loaded = Embedder::open_in(&self.space.model, self.precision)?;
        if loaded.package().fingerprint != self.space.fingerprint {
            let (collection, model) = (self.name.clone(), self.space.model.clone());
            return Err(Error::OtherModel { collection, model });
        }
        Ok(self.embedder.get_or_init(|| loaded))
    }

    /// Adds documents; one with a known id is replaced. On return they are on disk.
    ///
    /// # Errors
    /// [`Error::Engine`] or [`Error::Storage`]; then none of them was added.
    pub fn add(&self, documents: impl IntoIterator<Item = Document>) -> Result<Ledger> {
        let documents = documents.into_iter().collect();
        let options = IngestOptions::default();
        ingest::add(documents, self.embedder()?, &options, &mut self.records("")?)
    }

    /// Indexes a folder or a file: what is new or changed is embedded, what is gone is removed.
    ///
    /// # Errors
    /// As [`sync_with`](Collection::sync_with).
    pub fn sync(&self, path: impl AsRef<Path>) -> Result<Ledger> {
        self.sync_with(path, &IngestOptions::default(), &mut |_| true)
    }

    /// As [`sync`](Collection::sync). `watch` is told of progress; when it returns false the run
    /// stops, keeps what it has finished, and the next run goes on from there.
    ///
    /// # Errors
    /// [`Error::Engine`] if the path cannot be walked; [`Error::Storage`]. What is wrong with single
    /// files is in the ledger.
    pub fn sync_with(
        &self,
        path: impl AsRef<Path>,
        options: &IngestOptions,
        watch: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Ledger> {
        let root = ingest::root(path.as_ref())?;
        let known: BTreeMap<String, Stamp> = self
            .list()?
            .into_iter()
            .filter(|info| info.source.is_some() && Path::new(&info.id).starts_with(&root))
            .filter_map(|info| Some((info.id, stamp(&info.source?))))
            .collect();
        let mut records = self.records(&root.to_string_lossy())?;
        let ledger = ingest::sync(&root, self.embedder()?, options, &known, &mut records, watch)?;
        if !ledger.stopped {
            self.access.store()?.seal_after_bulk(&self.name, &|| false)?;
        }
        Ok(ledger)
    }

    /// Turns the rows that are not in a segment yet into one, with a graph; they are scanned until
    /// then. [`sync`](Collection::sync) does it when it is worth it. False if there were none.
    pub fn seal(&self) -> Result<bool> {
        Ok(self.access.store()?.seal(&self.name, &|| false)?)
    }

    /// Makes one segment of all rows, keeps nothing of what was deleted, and gives the space back.
    /// Searches go on meanwhile. It ends early, and harms nothing, once `cancelled` says so.
    pub fn compact(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        Ok(self.access.store()?.compact(&self.name, cancelled)?)
    }

    /// Gives it codes of this width and kind, made of the rows that are kept: nothing is embedded. Compacts it; once
    /// `cancelled` says so it ends early, and another call goes on.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model was not trained for this width; [`Error::Storage`], also for binary codes
    /// of fewer than 64 numbers.
    pub fn reindex(
        &mut self,
        dims: usize,
        quant: Quant,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compacted> {
        if self.space.has_model() {
            self.embedder()?.width(Some(dims))?;
        }
        let done = self.access.store()?.reindex(&self.name, dims, quant, cancelled)?;
        (self.space.dims, self.space.quant) = (dims, quant);
        Ok(done)
    }

    /// A document's record.
    pub fn get(&self, id: &str) -> Result<Option<DocumentInfo>> {
        Ok(self.access.document(&self.name, id)?)
    }

    /// Some of a document's chunks, by their number in it; those that do not exist are left out.
    pub fn chunks(&self, id: &str, chunk_idx: Range<u32>) -> Result<Vec<StoredChunk>> {
        Ok(self.access.chunks(&self.name, id, chunk_idx)?)
    }

    /// All documents, by id.
    pub fn list(&self) -> Result<Vec<DocumentInfo>> {
        Ok(self.access.documents(&self.name)?)
    }

    /// The documents that pass a [filter](crate::Search::filter), by id.
    ///
    /// # Errors
    /// [`Error::Filter`]; [`Error::Storage`], also if the filter asks for what is of chunks (`heading`,
    /// `page`, `chunk`, `tokens`).
    pub fn list_where(&self, filter: &str) -> Result<Vec<DocumentInfo>> {
        Ok(self.access.documents_where(&self.name, &filter.parse()?)?)
    }

    /// How many chunks pass a [filter](crate::Search::filter).
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Storage`].
    pub fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.access.count(&self.name, &filter.parse()?)?)
    }

    /// What there is to filter by: the fields of the chunks, their types and values.
    pub fn fields(&self) -> Result<Vec<Field>> {
        Ok(self.access.fields(&self.name)?)
    }

    /// Deletes documents; returns how many of them there were.
    pub fn delete(&self, ids: &[String]) -> Result<usize> {
        Ok(self.access.store()?.delete(&self.name, ids)?)
    }

    /// Deletes the documents that pass a [filter](crate::Search::filter); returns how many they were.
    ///
    /// # Errors
    /// As [`list_where`](Collection::list_where).
    pub fn delete_where(&self, filter: &str) -> Result<usize> {
        Ok(self.access.store()?.delete_where(&self.name, &filter.parse()?)?)
    }
}
