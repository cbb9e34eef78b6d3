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
//! two crates: [`engine`] (files and text to vectors) and [`storage`] (vectors kept and found). A
//! function that returns a [`Result`] may fail with [`Error::Storage`]; where it says no more, with
//! nothing else.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use engine::ingest::{self, Embedded, Records, Stamp};
use half::f16;

mod tune;

pub use engine::adalink::{self, Data};
pub use engine::ingest::{Document, IngestOptions, Ledger, Progress};
pub use engine::{self, Embedder, Precision};
pub use storage::{self, Answer, DocumentInfo, Fusion, Hit, Space, Status, StoredChunk, restore};
pub use storage::{Compacted, Field, Filter, Finding, Links};
pub use tune::{Evaluated, Tuned};

/// A database: one directory, opened for writing by one process, and for reading by others beside it.
pub struct Database {
    access: Arc<storage::Access>,
    precision: Option<Precision>,
}

/// A set of documents in one space: one model, one prompt.
pub struct Collection {
    access: Arc<storage::Access>,
    embedder: OnceLock<Embedder>,
    precision: Option<Precision>,
    name: String,
    space: Space,
    /// The active link, once it has been read.
    active: Mutex<tune::Active>,
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
        let space = match self.access.space(name)? {
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
                self.access.store()?.create(name, &space)?;
                embedder.get_or_init(|| loaded);
                space
            }
        };
        let (access, precision, name) = (self.access.clone(), self.precision, name.to_owned());
        let active = Mutex::default();
        Ok(Collection { access, embedder, precision, name, space, active })
    }

    /// Opens a collection of vectors that no model of ours made, compared by cosine, or creates it:
    /// [`add_vectors`](Collection::add_vectors) fills it, [`Search::vector`] asks it.
    ///
    /// # Errors
    /// [`Error::Storage`], also if the collection exists with a model or another width.
    pub fn collection_of_vectors(&self, name: &str, width: usize) -> Result<Collection> {
        let space = Space::of_vectors(width);
        if self.access.space(name)?.is_none_or(|known| !known.agrees_with(&space)) {
            self.access.store()?.create(name, &space)?;
        }
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

    /// Adds vectors of one's own, with an id each or with a [`Document`] that has a text and metadata too;
    /// one with a known id is replaced. They are scaled to unit length and kept in f16.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let db = gemmule::Database::open(folder.path().join("colours.gemmule"))?;
    /// let colours = db.collection_of_vectors("colours", 3)?;
    /// colours.add_vectors(["red", "green", "olive"], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])?;
    /// let answer = colours.search("").vector([0.1, 0.9, 0.0]).run()?;
    /// assert_eq!(answer.hits[0].document, "green");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::HasModel`] if a model makes this collection's vectors; [`Error::Unpaired`]; [`Error::Storage`]
    /// names the row that has another width, is not finite or all zeros. Then none of them was added.
    pub fn add_vectors<D: Into<Document>, V: AsRef<[f32]>>(
        &self,
        ids: impl IntoIterator<Item = D>,
        rows: impl IntoIterator<Item = V>,
    ) -> Result<()> {
        if self.space.has_model() {
            let (collection, model) = (self.name.clone(), self.space.model.clone());
            return Err(Error::HasModel { collection, model });
        }
        let ids: Vec<Document> = ids.into_iter().map(Into::into).collect();
        let rows: Vec<V> = rows.into_iter().collect();
        if ids.len() != rows.len() {
            return Err(Error::Unpaired { n_ids: ids.len(), n_rows: rows.len() });
        }
        let given = |(row_idx, (document, row)): (usize, (Document, V))| {
            let unit = self.space.unit(row.as_ref()).map_err(|problem| {
                let of = format!("row {row_idx} (document {:?})", document.id);
                storage::Error::Row { of, problem }
            })?;
            let Document { id, text, title, meta } = document;
            let chunk = storage::Chunk {
                range: 0..text.len() as u64,
                text,
                // No text is embedded here: no vector is looked up by its hash.
                hash: [0; 16],
                page: None,
                headings: Vec::new(),
                n_tokens: 0,
                vector: unit.into_iter().map(f16::from_f32).collect(),
            };
            Ok(storage::Document { id, source: None, title, meta, chunks: vec![chunk] })
        };
        let documents = ids.into_iter().zip(rows).enumerate().map(given);
        let documents: Vec<_> = documents.collect::<Result<_>>()?;
        Ok(self.access.store()?.put(&self.name, &documents)?)
    }

    /// The chunks of a document with their vectors as they are kept, in order; none if there is no such
    /// document.
    ///
    /// # Errors
    /// [`Error::Storage`], also if a row lies in a segment that could not be opened.
    pub fn vectors(&self, id: &str) -> Result<Vec<(StoredChunk, Vec<f32>)>> {
        let Some(info) = self.get(id)? else { return Ok(Vec::new()) };
        let chunks = self.chunks(id, 0..info.n_chunks)?;
        let with_vector = |(row, chunk): (u64, StoredChunk)| {
            let vector = self.access.vector(&self.name, row)?.ok_or_else(|| {
                storage::Error::Unreachable { collection: self.name.clone(), row }
            })?;
            Ok((chunk, vector.into_iter().map(f16::to_f32).collect()))
        };
        (info.first_row..).zip(chunks).map(with_vector).collect()
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

    /// Gives it codes of another width, cut from the rows that are kept: nothing is embedded. Compacts it; once
    /// `cancelled` says so it ends early, and another call goes on.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model was not trained for this width; [`Error::Storage`].
    pub fn reindex(
        &mut self,
        dims: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compacted> {
        if self.space.has_model() {
            self.embedder()?.width(Some(dims))?;
        }
        let done = self.access.store()?.reindex(&self.name, dims, cancelled)?;
        self.space.dims = dims;
        Ok(done)
    }

    /// Begins a search.
    pub fn search(&self, query: impl Into<String>) -> Search<'_> {
        let (query, request) = (query.into(), storage::Request::new(Vec::new(), 10));
        let (vector, through) = (None, Through::Active);
        Search { collection: self, query, vector, request, through, wrong: None }
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

    /// The documents that pass a [filter](Search::filter), by id.
    ///
    /// # Errors
    /// [`Error::Filter`]; [`Error::Storage`], also if the filter asks for what is of chunks (`heading`,
    /// `page`, `chunk`, `tokens`).
    pub fn list_where(&self, filter: &str) -> Result<Vec<DocumentInfo>> {
        Ok(self.access.documents_where(&self.name, &filter.parse()?)?)
    }

    /// How many chunks pass a [filter](Search::filter).
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

    /// Deletes the documents that pass a [filter](Search::filter); returns how many they were.
    ///
    /// # Errors
    /// As [`list_where`](Collection::list_where).
    pub fn delete_where(&self, filter: &str) -> Result<usize> {
        Ok(self.access.store()?.delete_where(&self.name, &filter.parse()?)?)
    }

    fn records(&self, root: &str) -> Result<Kept<'_>> {
        let (store, root) = (self.access.store()?, root.to_owned());
        Ok(Kept { store, collection: &self.name, root, rows: store.chunk_rows(&self.name)? })
    }
}

/// A search in the making.
pub struct Search<'a> {
    collection: &'a Collection,
    query: String,
    /// What is compared instead of the query's own vector.
    vector: Option<Vec<f32>>,
    /// All but the query's vector.
    request: storage::Request,
    through: Through,
    /// What is wrong with the filter.
    wrong: Option<storage::FilterError>,
}

/// Which link a query goes through.
enum Through {
    Active,
    Named(String),
    None,
}

impl Search<'_> {
    /// At most this many hits; 10 if it is not said.
    #[must_use]
    pub fn limit(mut self, n_hits: usize) -> Self {
        self.request.k = n_hits;
        self
    }

    /// Compares this vector instead of the query's own; the query is then for words only, and may be
    /// empty. It is scaled to unit length.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
        self
    }

    /// Compares the query with every row instead of walking the graph.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.request.exact = true;
        self
    }

    /// Only chunks that pass: conditions as in SQL, such as `lang = 'en' AND year >= 2020`, or JSON that
    /// begins with `{`. [`Filter`] says which fields there are. As many hits as are wanted are found,
    /// however few chunks pass.
    #[must_use]
    pub fn filter(mut self, filter: &str) -> Self {
        match filter.parse::<Filter>() {
            Ok(filter) => self.request.filter = Some(filter),
            Err(error) => self.wrong = Some(error),
        }
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

    /// Sends the query through this link of the collection, or through none, whichever is active.
    #[must_use]
    pub fn link(mut self, name: Option<&str>) -> Self {
        self.through = name.map_or(Through::None, |name| Through::Named(name.to_owned()));
        self
    }

    fn adapter(&self) -> Result<Option<Arc<adalink::Adapter>>> {
        match &self.through {
            Through::Active => self.collection.adapter(),
            Through::None => Ok(None),
            Through::Named(name) => {
                let (adapter, _) = adalink::Adapter::from_bytes(&self.collection.link(name)?)?;
                Ok(Some(Arc::new(adapter)))
            }
        }
    }

    /// Finds the chunks that are closest to the query by meaning and by words.
    ///
    /// # Errors
    /// [`Error::Filter`] if the filter cannot be read; [`Error::EmptyQuery`]; [`Error::Engine`] if the
    /// query is longer than the model's window; [`Error::NoModel`] if there is none to embed it;
    /// [`Error::Storage`].
    pub fn run(mut self) -> Result<Answer> {
        if let Some(error) = self.wrong {
            return Err(error.into());
        }
        let asks_vector = self.request.fusion != Fusion::TextOnly;
        let has_words = !self.query.trim().is_empty();
        let Collection { access, name, space, .. } = self.collection;
        match self.vector.take().filter(|_| asks_vector) {
            Some(given) => {
                let of = || "the query".to_owned();
                self.request.vector = space
                    .unit(&given)
                    .map_err(|problem| storage::Error::Row { of: of(), problem })?;
            }
            None if !has_words => return Err(Error::EmptyQuery),
            None if asks_vector => {
                let embedder = self.collection.embedder()?;
                let (prompt, adapter) = (embedder.prompt("query")?, self.adapter()?);
                self.request.vector =
                    embedder.embed_one_with(prompt, &self.query, adapter.as_deref())?;
            }
            None => {}
        }
        self.request.text = has_words.then_some(self.query);
        Ok(access.search(name, &self.request)?)
    }
}

/// The collection as [`ingest`] sees it: where vectors and stamps are kept.
struct Kept<'a> {
    store: &'a storage::Store,
    collection: &'a str,
    /// The folder that is indexed, if it is one.
    root: String,
    /// Rows of chunks that were embedded before.
    rows: HashMap<[u8; 16], u64>,
}

impl Records for Kept<'_> {
    type Error = Error;

    fn vector(&mut self, hash: &[u8; 16]) -> Result<Option<Vec<f32>>> {
        let Some(&row) = self.rows.get(hash) else { return Ok(None) };
        // A repair leaves zeros where a vector is lost: it is embedded again.
        let is_lost = |row: &Vec<f16>| row.iter().all(|value| *value == f16::ZERO);
        let vector = self.store.vector(self.collection, row)?.filter(|row| !is_lost(row));
        Ok(vector.map(|row| row.into_iter().map(f16::to_f32).collect()))
    }

    fn keep(&mut self, documents: Vec<Embedded>) -> Result<()> {
        let documents: Vec<_> =
            documents.into_iter().map(|document| self.stored(document)).collect();
        Ok(self.store.put(self.collection, &documents)?)
    }

    fn touch(&mut self, stamps: Vec<(String, Stamp)>) -> Result<()> {
        let Kept { store, collection, .. } = *self;
        let with_kind = |(id, stamp): (String, Stamp)| {
            let known = store.document(collection, &id)?.and_then(|info| info.source);
            Ok(known.map(|known| (id.clone(), self.source(id, &stamp, known.kind))))
        };
        let sources = stamps.into_iter().filter_map(|entry| with_kind(entry).transpose());
        Ok(store.touch(collection, &sources.collect::<Result<Vec<_>>>()?)?)
    }

    fn remove(&mut self, paths: &[String]) -> Result<()> {
        Ok(self.store.delete(self.collection, paths).map(drop)?)
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
    /// A text is no filter.
    Filter(storage::FilterError),
    /// Under the collection's model name lies another model than the one that made its vectors.
    OtherModel {
        /// The collection.
        collection: String,
        /// The model's name or path.
        model: String,
    },
    /// No model of ours made the collection's vectors, so no text can become one.
    NoModel {
        /// The collection.
        collection: String,
    },
    /// A model makes the collection's vectors, so none can be given.
    HasModel {
        /// The collection.
        collection: String,
        /// The model's name or path.
        model: String,
    },
    /// There is not one id for each row.
    Unpaired {
        /// Ids that were given.
        n_ids: usize,
        /// Rows that were given.
        n_rows: usize,
    },
    /// A search for nothing.
    EmptyQuery,
    /// None of the queries to tune by has an answer in the collection.
    NoQueries {
        /// The collection.
        collection: String,
    },
    /// The collection's queries go through no link.
    NoActiveLink {
        /// The collection.
        collection: String,
    },
    /// A link was made for other vectors.
    LinkSpace {
        /// The link.
        name: String,
        /// The space it was made for.
        found: String,
        /// The collection's.
        expected: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Engine(error) => error.fmt(f),
            Error::Storage(error) => error.fmt(f),
            Error::Filter(error) => error.fmt(f),
            Error::OtherModel { collection, model } => write!(
                f,
                "the model '{model}' is not the one that made the vectors of collection \
                 '{collection}' any more: name the old model's path, or index into another collection"
            ),
            Error::NoQueries { collection } => write!(
                f,
                "none of the queries has an answer in collection '{collection}': answers are ids as \
                 `list` shows them"
            ),
            Error::NoActiveLink { collection } => {
                write!(f, "the queries of collection '{collection}' go through no link: name one")
            }
            Error::LinkSpace { name, found, expected } => write!(
                f,
                "link '{name}' was made for other vectors: for {found}, the collection has \
                 {expected}; make it anew with `tune run`"
            ),
            Error::NoModel { collection } => write!(
                f,
                "the vectors of collection '{collection}' were given, and there is no model that makes \
                 vectors like them of a text: ask with a vector, or for words only"
            ),
            Error::HasModel { collection, model } => write!(
                f,
                "the model '{model}' makes the vectors of collection '{collection}', and those of others \
                 cannot be compared with them: put them into another collection"
            ),
            Error::Unpaired { n_ids, n_rows } => {
                write!(f, "could not add vectors: {n_ids} ids for {n_rows} rows")
            }
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

impl From<storage::FilterError> for Error {
    fn from(error: storage::FilterError) -> Error {
        Error::Filter(error)
    }
}
