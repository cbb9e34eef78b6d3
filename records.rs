//! What ingest asks of a collection: vectors that are known, stamps of files; and where it puts documents.

use std::collections::HashMap;

use engine::Precision;
use engine::ingest::{self, Embedded, Embedding, PreparedChunk, Records, Stamp};
use half::f16;
use storage::{Space, Vector};

use crate::{Collection, Error, Result};

impl Collection {
    /// `root`: the folder that is indexed, or nothing.
    pub(crate) fn records(&self, root: &str) -> Result<Kept<'_>> {
        let (store, root) = (self.access.store()?, root.to_owned());
        let (collection, space) = (self.name.as_str(), &self.space);
        Ok(Kept { store, collection, space, root, rows: store.chunk_rows(collection)? })
    }
}

/// The collection as [`ingest`] sees it: where vectors and stamps are kept.
pub(crate) struct Kept<'a> {
    store: &'a storage::Store,
    collection: &'a str,
    /// That of the vectors that are kept.
    space: &'a Space,
    /// The folder that is indexed, if it is one.
    root: String,
    /// Rows of chunks that were embedded before.
    rows: HashMap<[u8; 16], u64>,
}

impl Records for Kept<'_> {
    type Error = Error;

    fn embedding(&mut self, hash: &[u8; 16]) -> Result<Option<Embedding>> {
        let Some(&row) = self.rows.get(hash) else { return Ok(None) };
        // A repair leaves zeros where a vector is lost: it is embedded again.
        let vector = self.store.vector(self.collection, row)?.map(Vector::into_f32);
        let Some(vector) = vector.filter(|row| row.iter().any(|value| *value != 0.0)) else {
            return Ok(None);
        };
        // Where the row's text is damaged, what made its vector is not known: it is embedded again.
        let precision = self.store.precision(self.collection, row).ok();
        Ok(precision.map(|precision| kept(vector, precision)))
    }

    fn keep(&mut self, documents: Vec<Embedded>) -> Result<()> {
        let documents: Vec<_> =
            documents.into_iter().map(|document| self.stored(document)).collect();
        self.store.put_of(self.collection, self.space, &documents)?;
        // A text that comes again in this run is not embedded again.
        for document in &documents {
            let Some(info) = self.store.document(self.collection, &document.id)? else { continue };
            let hashes = document.chunks.iter().map(|chunk| chunk.hash);
            self.rows.extend(hashes.zip(info.first_row..));
        }
        Ok(())
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
        let chunks = chunks.into_iter().map(|(chunk, embedding)| stored(chunk, &embedding));
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

/// What a chunk became, as the store has it.
pub(crate) fn kept(vector: Vec<f32>, precision: Option<String>) -> Embedding {
    Embedding { vector, precision: precision.and_then(|name| Precision::named(&name)) }
}

/// A chunk with what it became, as it is kept.
pub(crate) fn stored(chunk: PreparedChunk, embedding: &Embedding) -> storage::Chunk {
    storage::Chunk {
        text: chunk.text,
        hash: chunk.hash,
        range: chunk.range,
        page: chunk.page,
        headings: chunk.headings,
        n_tokens: chunk.tokens.ids.len() as u32,
        precision: embedding.precision.map(|precision| precision.name().to_owned()),
        vector: embedding.vector.iter().copied().map(f16::from_f32).collect(),
    }
}

pub(crate) fn stamp(source: &storage::Source) -> Stamp {
    let storage::Source { len, mtime_ns, ctime_ns, inode, content, settings, .. } = *source;
    Stamp { len, mtime_ns, ctime_ns, inode, seen_ns: source.indexed_at_ns, content, settings }
}
