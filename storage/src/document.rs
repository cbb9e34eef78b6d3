//! Documents and chunks: as they are given, as they are kept, as they are read.
//!
//! A document's rows are contiguous, so its record holds the first row and their number; the rows hold the rest.

use std::ops::Range;

use bincode::{Decode, Encode};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::records::key::Key;
use crate::records::record::{self, MAX_PAYLOAD_BYTES};

/// Longest id of a document.
pub(crate) const MAX_ID_BYTES: usize = 4096;

/// A document as it is given to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Names it in its collection; 1 to 4,096 bytes.
    pub id: String,
    /// The file it came from, if it came from one.
    pub source: Option<Source>,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// What the user says about it.
    pub meta: Map<String, Value>,
    /// Its text in pieces, in order.
    pub chunks: Vec<Chunk>,
}

/// The file that a document came from, as it was when it was read.
///
/// The order of the fields is the order in the document's record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Source {
    /// The root folder that was indexed.
    pub root: String,
    /// The file's absolute path.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The last change of its inode, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Its inode.
    pub inode: u64,
    /// blake3 of its bytes.
    pub content: [u8; 32],
    /// When it was indexed, in nanoseconds since 1970.
    pub indexed_at_ns: i64,
    /// Hash of how it was cut: chunk options and extractor version.
    pub settings: [u8; 16],
    /// What kind of file it is.
    pub kind: String,
}

/// When the content of a document came, by its source: what filters know as `time` and `indexed`.
///
/// [`Store::touch`](crate::Store::touch) changes the source's stamps and leaves these, because rows in segments keep
/// them too. The order of the fields is the order in the document's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContentStamps {
    /// The last change of the file, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When it was indexed, in nanoseconds since 1970.
    pub indexed_at_ns: i64,
}

/// A piece of a document with its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The text.
    pub text: String,
    /// Hash of the text and all else that its vector depends on.
    pub hash: [u8; 16],
    /// Byte range in the document's text.
    pub range: Range<u64>,
    /// Page in the source, if it has pages.
    pub page: Option<u32>,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Tokens of the model in the text.
    pub n_tokens: u32,
    /// What its vector was made in: the name of a precision of the engine. None if the vector was given.
    pub precision: Option<String>,
    /// Its vector as the collection's space keeps it ([`Space::kept`](crate::Space::kept)). `[full_width]`
    pub vector: index::Vector,
}

/// A stored document without its chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentInfo {
    /// Its id.
    pub id: String,
    /// The file it came from, if it came from one.
    pub source: Option<Source>,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// What the user says about it.
    pub meta: Map<String, Value>,
    /// How many chunks it has.
    pub n_chunks: u32,
    /// The row of its first chunk; the others follow.
    pub first_row: u64,
    /// When its content came, if it came from a file.
    pub content_stamps: Option<ContentStamps>,
}

/// A stored chunk without its vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// The id of its document.
    pub document: String,
    /// Its position in the document.
    pub chunk_idx: u32,
    /// The text.
    pub text: String,
    /// Byte range in the document's text.
    pub range: Range<u64>,
    /// Page in the source, if it has pages.
    pub page: Option<u32>,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Tokens of the model in the text.
    pub n_tokens: u32,
    /// Hash of the text and all else that its vector depends on.
    pub hash: [u8; 16],
    /// What its vector was made in: the name of a precision of the engine. None if the vector was given.
    pub precision: Option<String>,
}

/// The payload of a document's record, in this order.
#[derive(Encode, Decode)]
struct DocumentRecord {
    id: String,
    first_row: u64,
    n_chunks: u32,
    title: Option<String>,
    source: Option<Source>,
    /// A JSON object.
    meta: String,
    content_stamps: Option<ContentStamps>,
}

impl DocumentInfo {
    pub(crate) fn new(document: &Document, first_row: u64) -> DocumentInfo {
        DocumentInfo {
            id: document.id.clone(),
            source: document.source.clone(),
            title: document.title.clone(),
            meta: document.meta.clone(),
            n_chunks: document.chunks.len() as u32,
            first_row,
            content_stamps: document.source.as_ref().map(|source| ContentStamps {
                mtime_ns: source.mtime_ns,
                indexed_at_ns: source.indexed_at_ns,
            }),
        }
    }

    /// The rows of its chunks.
    pub(crate) fn rows(&self) -> Range<u64> {
        self.first_row..self.first_row.saturating_add(u64::from(self.n_chunks))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let record = DocumentRecord {
            id: self.id.clone(),
            first_row: self.first_row,
            n_chunks: self.n_chunks,
            title: self.title.clone(),
            source: self.source.clone(),
            meta: Value::Object(self.meta.clone()).to_string(),
            content_stamps: self.content_stamps,
        };
        let payload = record::encode(&record);
        if payload.len() > MAX_PAYLOAD_BYTES {
            let problem = format!(
                "its title, source and metadata have {} bytes, {MAX_PAYLOAD_BYTES} is the most",
                payload.len()
            );
            return Err(Error::Document { id: shorten(&self.id), problem });
        }
        Ok(payload)
    }

    pub(crate) fn decode(key: &Key, payload: &[u8]) -> Result<DocumentInfo> {
        let DocumentRecord { id, first_row, n_chunks, title, source, meta, content_stamps } =
            record::decode(key, payload)?;
        let meta = serde_json::from_str(&meta).map_err(|error| {
            Error::corrupt(key, format!("its metadata is no JSON object: {error}"))
        })?;
        Ok(DocumentInfo { id, source, title, meta, n_chunks, first_row, content_stamps })
    }
}

/// The start of an id, for messages.
pub(crate) fn shorten(id: &str) -> String {
    const MAX_CHARS: usize = 80;
    match id.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &id[..end]),
        None => id.to_owned(),
    }
}
