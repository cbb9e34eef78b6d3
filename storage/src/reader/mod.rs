//! A database as another process sees it while somebody writes to it: read-only, without sled and without the lock.
//!
//! A reader searches what `MANIFEST` names: the rows in segments at one moment. Rows that were not sealed then it does not
//! see, nor, until the next manifest, what was changed since; [`Reader::written_at`] says how old it is. Documents'
//! records come from the segments, as they were when those were made; a document without chunks is in none.
//!
//! The writer may replace a segment and unlink its file after a reader has read the manifest and before it has opened the
//! file. There is a newer manifest then, so the reader begins again. A file that is mapped stays readable.

pub(crate) mod manifest;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use index::Vector;

use self::manifest::Manifest;
use crate::collection::{self, Collection, CollectionRecord};
use crate::document::{DocumentInfo, StoredChunk, shorten};
use crate::error::{Error, Result};
use crate::lexicon::Lexicon;
use crate::link::Link;
use crate::open::recover::{self, FORMAT, SEGMENTS_DIR};
use crate::search::request::Request;
use crate::search::view::{Answer, View};
use crate::segments::listing;
use crate::segments::sealed::Sealed;
use crate::space::Space;
use crate::status::{self, Status};

/// A database, open for reading beside its writer.
///
/// Methods may be called from many threads.
pub struct Reader {
    dir: PathBuf,
    state: RwLock<Arc<State>>,
}

/// What one manifest named.
struct State {
    checksum: u64,
    written_at: SystemTime,
    collections: BTreeMap<String, Collection>,
    warnings: Vec<String>,
}

impl Reader {
    /// Opens the database in `dir` for reading, whether or not another process has it open.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Format`]; [`Error::Manifest`] if the manifest is missing or damaged. A damaged
    /// segment is no error: [`Reader::status`] has a warning, the rest works.
    pub fn open(dir: &Path) -> Result<Reader> {
        recover::check_readable(dir)?;
        let state = RwLock::new(Arc::new(State::load(dir, None)?));
        Ok(Reader { dir: dir.to_owned(), state })
    }

    /// Follows the writer to its latest manifest; false if that is the one at hand. On an error the reader stays as it is.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&self) -> Result<bool> {
        let current = self.state();
        let (checksum, _) = manifest::read(&self.dir)?;
        if checksum == current.checksum {
            return Ok(false);
        }
        let next = Arc::new(State::load(&self.dir, Some(&current))?);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    /// When the manifest at hand was written, by the writer's clock: if clocks were set, that may still be to come.
    pub fn written_at(&self) -> SystemTime {
        self.state().written_at
    }

    /// All collections with their spaces, ordered by name.
    ///
    /// # Errors
    /// None at present.
    pub fn collections(&self) -> Result<Vec<(String, Space)>> {
        let state = self.state();
        let collections = state.collections.values();
        Ok(collections.map(|each| (each.name.clone(), each.space().as_ref().clone())).collect())
    }

    /// The space of a collection, if there is such a collection.
    ///
    /// # Errors
    /// None at present.
    pub fn space(&self, collection: &str) -> Result<Option<Space>> {
        Ok(self.state().collections.get(collection).map(|found| found.space().as_ref().clone()))
    }

    /// A document without its chunks, as it was when it was sealed.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Segment`] or [`Error::Corrupt`] if a segment's documents are damaged.
    pub fn document(&self, collection: &str, id: &str) -> Result<Option<DocumentInfo>> {
        let view = self.view(collection)?;
        document(&view, id)
    }

    /// All documents without their chunks, ordered by id.
    ///
    /// # Errors
    /// As [`Reader::document`].
    pub fn documents(&self, collection: &str) -> Result<Vec<DocumentInfo>> {
        let view = self.view(collection)?;
        documents(&view)
    }

    /// Chunks of a document; the range is cut to those it has, an unknown document has none.
    ///
    /// # Errors
    /// As [`Reader::document`].
    pub fn chunks(
        &self,
        collection: &str,
        id: &str,
        chunk_idx: Range<u32>,
    ) -> Result<Vec<StoredChunk>> {
        let view = self.view(collection)?;
        let Some(info) = document(&view, id)? else { return Ok(Vec::new()) };
        collection::chunks_of(&view, &info, &chunk_idx)?
            .map_err(|row| Error::Unreachable { collection: collection.to_owned(), row })
    }

    /// The vector of a row; of a dead row too, as long as it is kept.
    ///
    /// # Errors
    /// [`Error::NoCollection`].
    pub fn vector(&self, collection: &str, row: u64) -> Result<Option<Vector>> {
        Ok(self.view(collection)?.vector(row))
    }

    /// The rows closest to a query, as [`Store::search`](crate::Store::search) finds them.
    ///
    /// # Errors
    /// As [`Store::search`](crate::Store::search).
    pub fn search(&self, collection: &str, request: &Request) -> Result<Answer> {
        self.state().collection(collection)?.search(request)
    }

    /// The active link of a collection; the same one is the same allocation until the next refresh.
    ///
    /// # Errors
    /// [`Error::NoCollection`].
    pub fn active_link(&self, collection: &str) -> Result<Option<Arc<Link>>> {
        Ok(self.state().collection(collection)?.link())
    }

    /// What the manifest at hand names. sled's bytes are not known, and nothing is unsealed.
    ///
    /// # Errors
    /// As [`Reader::document`].
    pub fn status(&self) -> Result<Status> {
        let state = self.state();
        let mut warnings = state.warnings.clone();
        let mut collections = Vec::new();
        for collection in state.collections.values() {
            let n_documents = documents(&collection.view())?.len();
            collections.push(status::of(collection, n_documents, &mut warnings));
        }
        let path = self.dir.clone();
        Ok(Status { path, format: FORMAT, collections, engine_bytes: 0, warnings })
    }

    pub(crate) fn view(&self, collection: &str) -> Result<Arc<View>> {
        Ok(self.state().collection(collection)?.view())
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Opens all that the manifest names; what the state before has open is not opened again.
    fn load(dir: &Path, before: Option<&State>) -> Result<State> {
        let (mut checksum, mut manifest) = manifest::read(dir)?;
        loop {
            let state = State::open(dir, checksum, &manifest, before)?;
            let has_words = |each: &Collection| {
                each.view().sealed().is_empty() || each.view().lexicon().mark() > 0
            };
            if state.warnings.is_empty() && state.collections.values().all(has_words) {
                return Ok(state);
            }
            // A file may be gone because it was replaced, or a lexicon because its collection was: then there is a newer
            // manifest.
            let newer = manifest::read(dir)?;
            if newer.0 == checksum {
                return Ok(state);
            }
            (checksum, manifest) = newer;
        }
    }

    fn open(
        dir: &Path,
        checksum: u64,
        manifest: &Manifest,
        before: Option<&State>,
    ) -> Result<State> {
        let (mut collections, mut warnings) = (BTreeMap::new(), Vec::new());
        for entry in &manifest.collections {
            let ledger = entry.ledger().ok_or_else(|| Error::Manifest {
                path: dir.join(manifest::FILE_NAME),
                problem: "its tombstones are not as long as a block".to_owned(),
            })?;
            let old = before.and_then(|before| before.collections.get(&entry.name));
            let old = old.map(Collection::view);
            let mut segments = Vec::new();
            for record in &entry.segments {
                let mut opened = old.iter().flat_map(|view| view.sealed());
                let sealed = match opened.find(|sealed| sealed.record() == record) {
                    Some(sealed) => Ok(sealed.all_live()),
                    None => Sealed::open(&dir.join(SEGMENTS_DIR), record.clone(), &entry.space),
                };
                match sealed {
                    Ok(sealed) => segments.push(sealed.with_dead(ledger.dead_in(sealed.rows()))),
                    Err(error) => warnings.push(format!(
                        "{} rows of collection {} are not searched: {error}",
                        record.n_rows, entry.name
                    )),
                }
            }
            let record = CollectionRecord { name: entry.name.clone(), space: entry.space.clone() };
            // Rows that the writer has deleted since may be missing in it; none of those sealed is.
            let (lexicon, problem) =
                Lexicon::open(dir, entry.number, &entry.name, u64::MAX, &|_| 0);
            warnings.extend(problem.map(|problem| {
                format!("collection {} is not searched by words: {}", entry.name, problem.0)
            }));
            let view = View::new(segments, Vec::new(), lexicon);
            let collection = Collection::new(entry.number, record, view);
            collection.set_link(entry.link.clone().map(Arc::new));
            collections.insert(entry.name.clone(), collection);
        }
        Ok(State { checksum, written_at: manifest.written_at(), collections, warnings })
    }

    fn collection(&self, name: &str) -> Result<&Collection> {
        self.collections.get(name).ok_or_else(|| Error::NoCollection { name: shorten(name) })
    }
}

fn document(view: &View, id: &str) -> Result<Option<DocumentInfo>> {
    for sealed in view.sealed() {
        let records = sealed.listing()?.find(id).map_err(|problem| sealed.corrupt(problem))?;
        for record in records {
            let info = listing::decode(sealed.name(), &record)?;
            if info.id == id && is_live(sealed, &info) {
                return Ok(Some(info));
            }
        }
    }
    Ok(None)
}

fn documents(view: &View) -> Result<Vec<DocumentInfo>> {
    let mut documents = Vec::new();
    for sealed in view.sealed() {
        sealed.documents(&mut |info, _| {
            if is_live(sealed, &info) {
                documents.push(info);
            }
            Ok(())
        })?;
    }
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(documents)
}

fn is_live(sealed: &Sealed, info: &DocumentInfo) -> bool {
    sealed.find(info.first_row).is_some_and(|row| sealed.is_live(row))
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("dir", &self.dir).finish_non_exhaustive()
    }
}
