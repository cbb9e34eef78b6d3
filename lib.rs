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
//! [`Collection::sync`] indexes a folder and, run again, only what changed in it. This file joins
//! two crates: [`engine`] (files and text to vectors) and [`storage`] (vectors kept and found).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use engine::ingest::{self, Embedded, Records, Stamp};
use half::f16;

pub use engine::ingest::{Document, IngestOptions, Ledger, Progress};
pub use engine::{self, Embedder, Precision};
pub use storage::{self, Answer, DocumentInfo, Fusion, Hit, Space, Status, StoredChunk};

/// A database: one directory, opened for writing by one process.
pub struct Database {
    store: Arc<storage::Store>,
    precision: Option<Precision>,
}

/// A set of documents in one space: one model, one prompt.
pub struct Collection {
    store: Arc<storage::Store>,
    embedder: OnceLock<Embedder>,
    precision: Option<Precision>,
    name: String,
    space: Space,
}

impl Database {
    /// Opens the database in this directory, or creates it.
    ///
    /// # Errors
    /// [`Error::Storage`]: another process has it open, the path is a file, the disk is read-only or
    /// full, another version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Ok(Database { store: Arc::new(storage::Store::open(path.as_ref())?), precision: None })
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
        self.collection_with(name, None, None)
    }

    /// Opens a collection, or creates it with this model and width of the codes that are searched.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model cannot be loaded or has no such width; [`Error::Storage`] if
    /// the collection exists with another model or width.
    pub fn collection_with(
        &self,
        name: &str,
        model: Option<&str>,
        dims: Option<usize>,
    ) -> Result<Collection> {
        let embedder = OnceLock::new();
        let space = match self.store.space(name)? {
            // Nothing to compare: the model is loaded when it is first needed.
            Some(space) if model.is_none() && dims.is_none() => space,
            known => {
                let known = known.as_ref();
                let model = model.or(known.map(|space| &*space.model));
                let model = model.unwrap_or(engine::package::NANO);
                let loaded = Embedder::open_in(model, self.precision)?;
                // Another model is refused by its fingerprint, not by a width that it does not have.
                let same = known.filter(|space| space.fingerprint == loaded.package().fingerprint);
                let space = space_of(&loaded, dims.or(same.map(|space| space.dims)))?;
                self.store.create(name, &space)?;
                embedder.get_or_init(|| loaded);
                space
            }
        };
        let (store, precision, name) = (self.store.clone(), self.precision, name.to_owned());
        Ok(Collection { store, embedder, precision, name, space })
    }

    /// The collections and their spaces.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn collections(&self) -> Result<Vec<(String, Space)>> {
        Ok(self.store.collections()?)
    }

    /// What the database holds and what it weighs.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn status(&self) -> Result<Status> {
        Ok(self.store.status()?)
    }
}

fn space_of(embedder: &Embedder, dims: Option<usize>) -> Result<Space> {
    Ok(Space {
        model: embedder.package().name.clone(),
        fingerprint: embedder.package().fingerprint.clone(),
        document_prompt: embedder.document_prompt(None)?,
        link: None,
        full_width: embedder.full_width(),
        dims: embedder.width(dims)?,
    })
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
    /// not the model that made the vectors.
    pub fn embedder(&self) -> Result<&Embedder> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(embedder);
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
            self.store.seal_after_bulk(&self.name, &|| false)?;
        }
        Ok(ledger)
    }

    /// Turns the rows that are not in a segment yet into one, with a graph; they are scanned until
    /// then. [`sync`](Collection::sync) does it when it is worth it. False if there were none.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn seal(&self) -> Result<bool> {
        Ok(self.store.seal(&self.name, &|| false)?)
    }

    /// Begins a search.
    pub fn search(&self, query: impl Into<String>) -> Search<'_> {
        let (query, request) = (query.into(), storage::Request::new(Vec::new(), 10));
        Search { collection: self, query, request }
    }

    /// A document's record.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn get(&self, id: &str) -> Result<Option<DocumentInfo>> {
        Ok(self.store.document(&self.name, id)?)
    }

    /// Some of a document's chunks, by their number in it; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn chunks(&self, id: &str, chunk_idx: Range<u32>) -> Result<Vec<StoredChunk>> {
        Ok(self.store.chunks(&self.name, id, chunk_idx)?)
    }

    /// All documents, by id.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn list(&self) -> Result<Vec<DocumentInfo>> {
        Ok(self.store.documents(&self.name)?)
    }

    /// Deletes documents; returns how many of them there were.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn delete(&self, ids: &[String]) -> Result<usize> {
        Ok(self.store.delete(&self.name, ids)?)
    }

    fn records(&self, root: &str) -> Result<Kept<'_>> {
        let rows = self.store.chunk_rows(&self.name)?;
        Ok(Kept { collection: self, root: root.to_owned(), rows })
    }
}

/// A search in the making.
pub struct Search<'a> {
    collection: &'a Collection,
    query: String,
    /// All but the query's vector.
    request: storage::Request,
}

impl Search<'_> {
    /// At most this many hits; 10 if it is not said.
    #[must_use]
    pub fn limit(mut self, n_hits: usize) -> Self {
        self.request.k = n_hits;
        self
    }

    /// Compares the query with every row instead of walking the graph.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.request.exact = true;
        self
    }

    /// At most one hit a document: its best.
    #[must_use]
    pub fn group_by_document(mut self) -> Self {
        self.request.one_per_document = true;
        self
    }

    /// Prefers hits that differ from each other: from 0, the best by score, to 1. A little, such as
    /// 0.3, keeps repetitions out of an answer (maximal marginal relevance).
    #[must_use]
    pub fn diversity(mut self, diversity: f32) -> Self {
        self.request.diversity = diversity;
        self
    }

    /// How hits by meaning and hits by words become one list, or which of the two are asked for; both
    /// by their scores if it is not said.
    #[must_use]
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.request.fusion = fusion;
        self
    }

    /// Adds this many chunks before and after each hit, from the same document.
    #[must_use]
    pub fn context(mut self, n_chunks: u32) -> Self {
        self.request.n_context = n_chunks;
        self
    }

    /// Gives no more than this many tokens of text in all, context included; a hit that does not fit
    /// is left out and counted.
    #[must_use]
    pub fn max_tokens(mut self, n_tokens: u64) -> Self {
        self.request.max_tokens = Some(n_tokens);
        self
    }

    /// Finds the chunks that are closest to the query by meaning and by words.
    ///
    /// # Errors
    /// [`Error::EmptyQuery`]; [`Error::Engine`] if the query is longer than the model's window;
    /// [`Error::Storage`].
    pub fn run(mut self) -> Result<Answer> {
        if self.query.trim().is_empty() {
            return Err(Error::EmptyQuery);
        }
        let Collection { store, name, .. } = self.collection;
        if self.request.fusion != Fusion::TextOnly {
            let embedder = self.collection.embedder()?;
            self.request.vector = embedder.embed_one(embedder.prompt("query")?, &self.query)?;
        }
        self.request.text = Some(self.query);
        Ok(store.search(name, &self.request)?)
    }
}

/// The collection as [`ingest`] sees it: where vectors and stamps are kept.
struct Kept<'a> {
    collection: &'a Collection,
    /// The folder that is indexed, if it is one.
    root: String,
    /// Rows of chunks that were embedded before.
    rows: HashMap<[u8; 16], u64>,
}

impl Records for Kept<'_> {
    type Error = Error;

    fn vector(&mut self, hash: &[u8; 16]) -> Result<Option<Vec<f32>>> {
        let Some(&row) = self.rows.get(hash) else { return Ok(None) };
        let Collection { store, name, .. } = self.collection;
        Ok(store.vector(name, row)?.map(|row| row.into_iter().map(f16::to_f32).collect()))
    }

    fn keep(&mut self, documents: Vec<Embedded>) -> Result<()> {
        let Collection { store, name, .. } = self.collection;
        let documents: Vec<_> =
            documents.into_iter().map(|document| self.stored(document)).collect();
        Ok(store.put(name, &documents)?)
    }

    fn touch(&mut self, stamps: Vec<(String, Stamp)>) -> Result<()> {
        let Collection { store, name, .. } = self.collection;
        let with_kind = |(id, stamp): (String, Stamp)| {
            let known = store.document(name, &id)?.and_then(|info| info.source);
            Ok(known.map(|known| (id.clone(), self.source(id, &stamp, known.kind))))
        };
        let sources = stamps.into_iter().filter_map(|entry| with_kind(entry).transpose());
        Ok(store.touch(name, &sources.collect::<Result<Vec<_>>>()?)?)
    }

    fn remove(&mut self, paths: &[String]) -> Result<()> {
        self.collection.delete(paths).map(drop)
    }
}

impl Kept<'_> {
    fn stored(&self, document: Embedded) -> storage::Document {
        let Embedded { id, file, title, meta, chunks } = document;
        let kind = |kind: ingest::Kind| kind.name().to_owned();
        let source = file.map(|(stamp, of)| self.source(id.clone(), &stamp, kind(of)));
        let chunks = chunks.into_iter().map(|(chunk, vector)| storage::Chunk {
            text: chunk.text,
            hash: chunk.hash,
            range: chunk.range,
            page: chunk.page,
            headings: chunk.headings,
            n_tokens: chunk.tokens.ids.len() as u32,
            vector: vector.into_iter().map(f16::from_f32).collect(),
        });
        storage::Document { id, source, title, meta, chunks: chunks.collect() }
    }

    fn source(&self, path: String, stamp: &Stamp, kind: String) -> storage::Source {
        let Stamp { len, mtime_ns, ctime_ns, inode, seen_ns, content, settings } = *stamp;
        let (root, indexed_at_ns) = (self.root.clone(), seen_ns);
        #[rustfmt::skip]
        let source = storage::Source {
            root, path, len, mtime_ns, ctime_ns, inode, content, indexed_at_ns, settings, kind,
        };
        source
    }
}

fn stamp(source: &storage::Source) -> Stamp {
    let storage::Source { len, mtime_ns, ctime_ns, inode, content, settings, .. } = *source;
    Stamp { len, mtime_ns, ctime_ns, inode, seen_ns: source.indexed_at_ns, content, settings }
}

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// A file, a text or a model.
    Engine(engine::Error),
    /// The database.
    Storage(storage::Error),
    /// Under the collection's model name lies another model than the one that made its vectors.
    OtherModel {
        /// The collection.
        collection: String,
        /// The model's name or path.
        model: String,
    },
    /// A search for nothing.
    EmptyQuery,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Engine(error) => error.fmt(f),
            Error::Storage(error) => error.fmt(f),
            Error::OtherModel { collection, model } => write!(
                f,
                "the model '{model}' is not the one that made the vectors of collection \
                 '{collection}' any more: name the old model's path, or index into another collection"
            ),
            Error::EmptyQuery => write!(f, "the query is empty: there is nothing to search for"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Engine(error) => error.source(),
            Error::Storage(error) => error.source(),
            _ => None,
        }
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Error {
        Error::Engine(error)
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        Error::Storage(error)
    }
}
