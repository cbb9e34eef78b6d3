//! A folder brought into step with its records: only what changed is read, cut and embedded.
//!
//! The caller keeps the records ([`Records`]); this file decides what happens to each file and writes
//! the ledger. Work is done in small batches, each kept whole before the next begins, so that a run
//! that is stopped or killed loses at most one batch and the next run goes on from there.
//!
//! Removal is careful: only a file that is really gone loses its records. A folder that could not be
//! read, and a root in which there is no file any more (a disk that is not mounted), remove nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::document::Document;
use super::examine::{IngestOptions, Outcome, Prepared, PreparedChunk, Stamp, examine, prepare};
use super::extract::{Extracted, Failure, Kind};
use super::ledger::{FileReport, FileState, Ledger, Progress};
use super::walk::{Found, Refused, walk};
use crate::embedder::{Embedder, Tokens};
use crate::{Error, Precision, Result};

/// A batch ends at this many files or bytes, whichever comes first: a second or so of embedding.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 64 << 10;

/// A text with its vectors.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The document's id; for a file its absolute path.
    pub id: String,
    /// For a file: its record, and what it was taken for.
    pub file: Option<(Stamp, Kind)>,
    /// Its title.
    pub title: Option<String>,
    /// Its metadata.
    pub meta: Map<String, Value>,
    /// Its chunks, in order.
    pub chunks: Vec<(PreparedChunk, Embedding)>,
}

/// What a chunk became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedding {
    /// Of unit length and full width.
    pub vector: Vec<f32>,
    /// What it was made in; none if that is not known.
    pub precision: Option<Precision>,
}

/// The caller's side: where stamps and vectors are kept.
pub trait Records {
    /// What goes wrong there.
    type Error: From<Error>;

    /// What a chunk became that was embedded before.
    ///
    /// # Errors
    /// The caller's.
    fn embedding(&mut self, hash: &[u8; 16]) -> Result<Option<Embedding>, Self::Error>;

    /// Keeps documents; an older one of the same id is replaced. On return they are safe.
    ///
    /// # Errors
    /// The caller's.
    fn keep(&mut self, documents: Vec<Embedded>) -> Result<(), Self::Error>;

    /// Keeps new stamps for files whose content is as it was.
    ///
    /// # Errors
    /// The caller's.
    fn touch(&mut self, stamps: Vec<(String, Stamp)>) -> Result<(), Self::Error>;

    /// Removes files that are gone.
    ///
    /// # Errors
    /// The caller's.
    fn remove(&mut self, paths: &[String]) -> Result<(), Self::Error>;
}

/// The absolute path of a folder or file to index.
///
/// # Errors
/// [`Error::Io`] if there is nothing.
pub fn root(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|source| Error::Io {
        doing: "find the folder to index,",
        path: path.to_owned(),
        source,
    })
}

/// Brings the records of everything under `root` into step with the disk. `known` holds the stamps
/// on record of files under the root, by absolute path. `watch` is told of progress; when it returns
/// false the run stops.
///
/// # Errors
/// [`Error::Io`] if the root cannot be walked; the model's and the records' errors. What is wrong
/// with single files is in the ledger.
pub fn sync<R: Records>(
    root: &Path,
    embedder: &Embedder,
    options: &IngestOptions,
    known: &BTreeMap<String, Stamp>,
    records: &mut R,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Ledger, R::Error> {
    let entries: Vec<_> = walk(root)?.collect();
    let progress = Progress {
        files_total: entries.len(),
        bytes_total: entries.iter().flatten().map(|found| found.len).sum(),
        ..Progress::default()
    };
    let ledger = Ledger::default();
    let mut run = Run { embedder, options, known, records, watch, ledger, progress };
    let mut rest = &entries[..];
    while !rest.is_empty() && !run.ledger.stopped {
        let (batch, later) = rest.split_at(batch_len(rest));
        run.batch(batch)?;
        rest = later;
    }
    if !run.ledger.stopped {
        run.remove_missing(root, &entries)?;
    }
    Ok(run.ledger)
}

/// Embeds documents that a program hands over, and keeps them.
///
/// # Errors
/// The model's and the records' errors; then none of them is kept.
pub fn add<R: Records>(
    documents: Vec<Document>,
    embedder: &Embedder,
    options: &IngestOptions,
    records: &mut R,
) -> Result<Ledger, R::Error> {
    let cut = |document: Document| {
        let Document { id, text, title, meta } = document;
        let extracted = Extracted::plain(text, title);
        let chunks = prepare(&extracted, embedder, &options.chunk)?;
        Ok((id, None, extracted.title, meta, chunks))
    };
    let cut: Vec<Cut> = documents.into_iter().map(cut).collect::<Result<_>>()?;
    let (known, ledger, progress) = (&BTreeMap::new(), Ledger::default(), Progress::default());
    let watch = &mut |_: &Progress| true;
    let mut run = Run { embedder, options, known, records, watch, ledger, progress };
    run.embed_and_keep(cut)?;
    Ok(run.ledger)
}

/// A document that has no vectors yet.
type Cut = (String, Option<(Stamp, Kind)>, Option<String>, Map<String, Value>, Vec<PreparedChunk>);

struct Run<'a, R: Records> {
    embedder: &'a Embedder,
    options: &'a IngestOptions,
    known: &'a BTreeMap<String, Stamp>,
    records: &'a mut R,
    watch: &'a mut dyn FnMut(&Progress) -> bool,
    ledger: Ledger,
    progress: Progress,
}

impl<R: Records> Run<'_, R> {
    /// Examines a batch in parallel, then embeds and keeps what is fresh.
    fn batch(&mut self, entries: &[Result<Found, Refused>]) -> Result<(), R::Error> {
        let (embedder, options, known) = (self.embedder, self.options, self.known);
        let look = |entry: &Result<Found, Refused>| match entry {
            Err(refused) => Ok(Outcome::Left(refused.why.clone())),
            Ok(found) => match found.path.to_str() {
                None => Ok(Outcome::Left(Failure::Skipped("its name is not UTF-8".to_owned()))),
                Some(path) => examine(found, known.get(path), embedder, options),
            },
        };
        let outcomes: Vec<Outcome> = entries.par_iter().map(look).collect::<Result<_>>()?;

        let (mut fresh, mut touched, mut emptied) = (Vec::new(), Vec::new(), Vec::new());
        let mut reports = Vec::with_capacity(entries.len());
        for (entry, outcome) in entries.iter().zip(outcomes) {
            let path = path_of(entry);
            let id = path.to_string_lossy().into_owned();
            let is_known = self.known.contains_key(&id);
            let mut report = FileReport::new(path, FileState::Unchanged);
            match outcome {
                Outcome::Unchanged => {}
                Outcome::Touched(stamp) => touched.push((id, stamp)),
                Outcome::Fresh(prepared) => {
                    report.state = FileState::Indexed;
                    report.chunks = prepared.chunks.len();
                    report.tokens = prepared.chunks.iter().map(|c| c.tokens.ids.len()).sum();
                    fresh.push(cut(id, *prepared));
                }
                Outcome::Left(Failure::Skipped(reason)) => {
                    report.state = FileState::Skipped;
                    report.reason = Some(reason);
                    if is_known && entry.is_ok() {
                        emptied.push(id);
                    }
                }
                Outcome::Left(Failure::Failed(reason)) => {
                    report.state = FileState::Failed;
                    let kept = "; what was indexed of it before is kept";
                    report.reason = Some(if is_known { reason + kept } else { reason });
                }
            }
            reports.push(report);
        }
        if !self.embed_and_keep(fresh)? {
            self.ledger.stopped = true;
            return Ok(());
        }
        if !touched.is_empty() {
            self.records.touch(touched)?;
        }
        if !emptied.is_empty() {
            self.records.remove(&emptied)?;
        }
        self.ledger.files.extend(reports);
        self.progress.files += entries.len();
        self.progress.bytes += entries.iter().flatten().map(|found| found.len).sum::<u64>();
        self.ledger.stopped = !(self.watch)(&self.progress);
        Ok(())
    }

    /// Embeds the chunks that were never embedded before; false if the run was stopped.
    fn embed_and_keep(&mut self, cut: Vec<Cut>) -> Result<bool, R::Error> {
        if cut.is_empty() {
            return Ok(true);
        }
        let chunks = cut.iter().flat_map(|(.., chunks)| chunks);
        let began = Instant::now();
        let before = self.progress;
        let (embedder, records) = (self.embedder, &mut *self.records);
        let (progress, watch) = (&mut self.progress, &mut *self.watch);
        let mut known = |hash: &[u8; 16]| records.embedding(hash);
        let embedded = embeddings(chunks, embedder, &mut known, |n_texts, n_tokens| {
            progress.chunks = before.chunks + n_texts;
            progress.tokens = before.tokens + n_tokens;
            watch(progress)
        });
        self.ledger.seconds_embedding += began.elapsed().as_secs_f64();
        self.ledger.chunks_embedded += self.progress.chunks - before.chunks;
        self.ledger.tokens_embedded += self.progress.tokens - before.tokens;
        let Some(embeddings) = embedded? else { return Ok(false) };
        let documents = cut.into_iter().map(|(id, file, title, meta, chunks)| {
            let embedded = |chunk: PreparedChunk| {
                let embedding = embeddings[&chunk.hash].clone();
                (chunk, embedding)
            };
            let chunks = chunks.into_iter().map(embedded).collect();
            Embedded { id, file, title, meta, chunks }
        });
        let documents = documents.collect();
        self.records.keep(documents)?;
        Ok(true)
    }

    /// Removes the records of files that the walk did not meet.
    fn remove_missing(
        &mut self,
        root: &Path,
        entries: &[Result<Found, Refused>],
    ) -> Result<(), R::Error> {
        let met: HashSet<&Path> = entries.iter().flatten().map(|found| &*found.path).collect();
        // What lies below a folder that could not be read was not looked at.
        let closed: Vec<&Path> = entries
            .iter()
            .filter_map(|entry| entry.as_ref().err())
            .filter(|refused| matches!(refused.why, Failure::Failed(_)))
            .map(|refused| &*refused.path)
            .collect();
        let is_missing = |path: &&String| {
            let path = Path::new(path);
            !met.contains(path) && !path.ancestors().any(|part| closed.contains(&part))
        };
        let missing: Vec<String> = self.known.keys().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        if met.is_empty() {
            self.ledger.warnings.push(format!(
                "{} holds no file any more, but {} of its files are indexed: nothing was removed \
                 (is a disk not mounted?); to drop them, use delete",
                root.display(),
                missing.len()
            ));
            return Ok(());
        }
        self.records.remove(&missing)?;
        let gone = |path| FileReport::new(PathBuf::from(path), FileState::Removed);
        self.ledger.files.extend(missing.into_iter().map(gone));
        Ok(())
    }
}

/// Embeddings by the hash of their chunk.
pub type Embeddings = HashMap<[u8; 16], Embedding>;

/// What a chunk became that was embedded before, by its hash.
pub type Known<'a, E> = dyn FnMut(&[u8; 16]) -> Result<Option<Embedding>, E> + 'a;

/// What chunks become, by hash: those that `known` has, the others embedded, each text once. `None` if `done`, which is
/// told as by [`Embedder::embed`], stopped it.
///
/// # Errors
/// Those of `known` and of the model.
pub fn embeddings<'a, E: From<Error>>(
    chunks: impl Iterator<Item = &'a PreparedChunk>,
    embedder: &Embedder,
    known: &mut Known<'_, E>,
    done: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Embeddings>, E> {
    let mut embeddings = Embeddings::new();
    let (mut hashes, mut texts): (Vec<[u8; 16]>, Vec<Tokens>) = (Vec::new(), Vec::new());
    for chunk in chunks {
        if embeddings.contains_key(&chunk.hash) {
            continue;
        }
        let known = known(&chunk.hash)?;
        if known.is_none() {
            hashes.push(chunk.hash);
            texts.push(chunk.tokens.clone());
        }
        embeddings.insert(chunk.hash, known.unwrap_or_default());
    }
    match embedder.embed(&texts, done) {
        Err(Error::Cancelled) => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(fresh) => {
            let precision = Some(embedder.precision());
            let made = fresh.into_iter().map(|vector| Embedding { vector, precision });
            embeddings.extend(hashes.into_iter().zip(made));
        }
    }
    Ok(Some(embeddings))
}

fn cut(id: String, prepared: Prepared) -> Cut {
    let Prepared { stamp, kind, title, meta, chunks } = prepared;
    (id, Some((stamp, kind)), title, meta, chunks)
}

fn path_of(entry: &Result<Found, Refused>) -> PathBuf {
    match entry {
        Ok(found) => found.path.clone(),
        Err(refused) => refused.path.clone(),
    }
}

/// How many of the entries ahead make a batch; at least one.
fn batch_len(rest: &[Result<Found, Refused>]) -> usize {
    let mut bytes = 0;
    let fits = rest.iter().take(BATCH_FILES).take_while(|entry| {
        bytes += entry.as_ref().map_or(0, |found| found.len);
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests;
