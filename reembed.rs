//! Another model for a collection: its texts are embedded again, beside the vectors that it is searched by, and then those
//! take their place.
//!
//! Joins [`engine::ingest::again`], which prepares texts that are kept, with [`storage::Successor`], which keeps what is
//! built and swaps it. No file is read: it works for what was added by a program, and for folders that are away.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use engine::Embedder;
use engine::ingest::{self, Embedding, Embeddings, Piece, PreparedChunk};
use storage::{Chunk, DocumentInfo, Finished, Store, StoredChunk, Successor};

use crate::records::{kept, stored};
use crate::{Collection, Error, Result, space_of};

/// A batch ends at this many documents or chunks: a second or so of embedding.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_CHUNKS: u32 = 128;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reembedding {
    /// Chunks that are in the new space.
    pub chunks: usize,
    /// Chunks of the collection.
    pub chunks_total: usize,
    /// Tokens that went through the model in this run.
    pub tokens: usize,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reembedded {
    /// True if the collection is in the model's space; false if the run was stopped, and the next goes on.
    pub complete: bool,
    /// False if it was there before.
    pub changed: bool,
    /// Documents in the new space.
    pub documents: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Chunks that an earlier run, which did not come to its end, had put there.
    pub chunks_resumed: usize,
    /// Chunks that went through the model in this run; others have the text of one that did.
    pub chunks_embedded: usize,
    /// Tokens that went through the model in this run.
    pub tokens_embedded: usize,
    /// Seconds spent in the model.
    pub seconds_embedding: f64,
    /// Documents with a chunk that was too long for the model's window and was cut.
    pub cut: Vec<String>,
    /// Links of the old space, which fit no other and are gone.
    pub links_dropped: usize,
}

impl Collection {
    /// Embeds all texts again with another model, to be searched at this width of it or at its full width.
    ///
    /// Until all are there, searches go on in the old space, and documents may be added and deleted. `watch` is told of
    /// progress. Once `cancelled` says so the run stops and keeps what it has, and the next with the same model goes on; one
    /// with a third model begins anew. Chunks stay as they were cut, but those that the model cannot read at once;
    /// [`sync`](Collection::sync) finds their files unchanged. Other handles of this collection, here and in other
    /// processes, are of the old space: after the swap what they do is an error, and they are to be opened again.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model cannot be loaded or has no such width; [`Error::SameModel`] if it is the
    /// collection's own and the width is not; [`Error::Storage`], also if the collection's vectors were given, or there is
    /// no room for them a second time. The collection stays as it was.
    pub fn reembed(
        &mut self,
        model: &str,
        dims: Option<usize>,
        watch: &mut dyn FnMut(&Reembedding),
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Reembedded> {
        let collection = self.name.clone();
        if !self.space.has_model() {
            return Err(storage::Error::Given { collection }.into());
        }
        let embedder = Embedder::open_in(model, self.precision)?;
        let mut space = space_of(&embedder, dims)?;
        // Codes of the same kind, if they are not too narrow for it.
        if space.dims >= storage::index::BINARY_DIMS_MIN {
            space.quant = self.space.quant;
        }
        let store = self.access.store()?;
        let mut done = Reembedded { complete: true, ..Reembedded::default() };
        if self.space.agrees_with(&space) {
            let found = self.space.dims;
            if let Some(asked) = dims.filter(|dims| *dims != found) {
                return Err(Error::SameModel { collection, found, asked });
            }
        } else {
            let successor = store.begin_successor(&collection, &space)?;
            done = Run::new(store, &collection, &embedder, &successor, watch, cancelled)?.all()?;
            if !done.complete {
                let built = successor.status()?;
                return Ok(Reembedded { documents: built.documents, chunks: built.chunks, ..done });
            }
            self.space = space;
            self.embedder = OnceLock::from(embedder);
        }
        for info in self.list()? {
            done.documents += 1;
            done.chunks += info.n_chunks as usize;
        }
        Ok(done)
    }

    /// Gives up what [`reembed`](Collection::reembed) has built and not finished, and its room on the disk; false if there
    /// is nothing.
    pub fn abandon_reembed(&self) -> Result<bool> {
        Ok(self.access.store()?.drop_successor(&self.name)?)
    }
}

struct Run<'a> {
    store: &'a Store,
    collection: &'a str,
    embedder: &'a Embedder,
    successor: &'a Successor<'a>,
    /// Rows of chunks that are in the new space.
    rows: HashMap<[u8; 16], u64>,
    watch: &'a mut dyn FnMut(&Reembedding),
    cancelled: &'a (dyn Fn() -> bool + Sync),
    progress: Reembedding,
    done: Reembedded,
}

impl<'a> Run<'a> {
    fn new(
        store: &'a Store,
        collection: &'a str,
        embedder: &'a Embedder,
        successor: &'a Successor<'a>,
        watch: &'a mut dyn FnMut(&Reembedding),
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Run<'a>> {
        let (rows, chunks) = (successor.chunk_rows()?, successor.status()?.chunks);
        let progress = Reembedding { chunks, ..Reembedding::default() };
        let done = Reembedded { chunks_resumed: chunks, ..Reembedded::default() };
        #[rustfmt::skip]
        let run = Run { store, collection, embedder, successor, rows, watch, cancelled, progress, done };
        Ok(run)
    }

    /// Embeds what is missing until nothing is, then swaps.
    fn all(mut self) -> Result<Reembedded> {
        loop {
            let pending = self.successor.pending()?;
            let n_missing = pending.iter().map(|(_, n_chunks)| *n_chunks as usize).sum::<usize>();
            self.progress.chunks_total = self.progress.chunks + n_missing;
            let mut rest = &pending[..];
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(batch_len(rest));
                if !self.batch(batch)? {
                    return Ok(self.done);
                }
                rest = later;
            }
            match self.successor.finish(self.cancelled)? {
                Finished::Pending => {}
                Finished::Cancelled => return Ok(self.done),
                Finished::Swapped { n_links } => {
                    (self.done.complete, self.done.changed) = (true, true);
                    self.done.links_dropped = n_links;
                    return Ok(self.done);
                }
            }
        }
    }

    /// Embeds and keeps some documents; false if the run was stopped.
    fn batch(&mut self, batch: &[(String, u32)]) -> Result<bool> {
        let mut documents: Vec<(DocumentInfo, Vec<PreparedChunk>)> =
            Vec::with_capacity(batch.len());
        for (id, _) in batch {
            // Deleted since.
            let Some(info) = self.store.document(self.collection, id)? else { continue };
            let chunks = self.store.chunks(self.collection, id, 0..u32::MAX)?;
            let as_kept = chunks.into_iter().map(|chunk| {
                let StoredChunk { text, range, page, headings, .. } = chunk;
                Piece { text, range, page, headings }
            });
            let again = ingest::again(self.embedder, info.title.as_deref(), as_kept.collect());
            let (chunks, n_cut) =
                again.map_err(|error| Error::Text { id: id.clone(), error: Box::new(error) })?;
            if n_cut > 0 {
                self.done.cut.push(id.clone());
            }
            documents.push((info, chunks));
        }
        let Some(embeddings) = self.embed(&documents)? else { return Ok(false) };
        let documents: Vec<(DocumentInfo, Vec<Chunk>)> = documents
            .into_iter()
            .map(|(info, chunks)| {
                let embedded = |chunk: PreparedChunk| {
                    let embedding = &embeddings[&chunk.hash];
                    stored(chunk, embedding)
                };
                (info, chunks.into_iter().map(embedded).collect())
            })
            .collect();
        for ((_, chunks), first_row) in documents.iter().zip(self.successor.put(&documents)?) {
            let Some(first_row) = first_row else { continue };
            self.rows.extend(chunks.iter().map(|chunk| chunk.hash).zip(first_row..));
            self.progress.chunks += chunks.len();
        }
        (self.watch)(&self.progress);
        Ok(!(self.cancelled)())
    }

    /// What chunks became, by hash: those that are in the new space already and new ones; none if it was stopped.
    fn embed(
        &mut self,
        documents: &[(DocumentInfo, Vec<PreparedChunk>)],
    ) -> Result<Option<Embeddings>> {
        let began = Instant::now();
        let Run { embedder, successor, rows, watch, cancelled, progress, done, .. } = self;
        let mut known = |hash: &[u8; 16]| -> Result<Option<Embedding>> {
            let Some(&row) = rows.get(hash) else { return Ok(None) };
            let Some(vector) = successor.vector(row)? else { return Ok(None) };
            Ok(Some(kept(vector.into_f32(), successor.precision(row)?)))
        };
        let (before, n_before) = (*progress, (done.chunks_embedded, done.tokens_embedded));
        let chunks = documents.iter().flat_map(|(_, chunks)| chunks);
        let embeddings = ingest::embeddings(chunks, embedder, &mut known, |n_texts, n_tokens| {
            done.chunks_embedded = n_before.0 + n_texts;
            done.tokens_embedded = n_before.1 + n_tokens;
            let (chunks, tokens) = (before.chunks + n_texts, done.tokens_embedded);
            watch(&Reembedding { chunks, tokens, ..before });
            !cancelled()
        });
        progress.tokens = done.tokens_embedded;
        done.seconds_embedding += began.elapsed().as_secs_f64();
        embeddings
    }
}

/// How many of the documents ahead make a batch; at least one.
fn batch_len(rest: &[(String, u32)]) -> usize {
    let mut n_chunks = 0;
    let fits = rest.iter().take(BATCH_DOCUMENTS).take_while(|(_, n)| {
        n_chunks += n;
        n_chunks <= BATCH_CHUNKS
    });
    fits.count().max(1)
}
