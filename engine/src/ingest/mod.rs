//! From a folder to texts that are ready to be cut.
//!
//! ```text
//! folder --walk--> Found --read--> bytes --extract--> Extracted --chunk--> chunks
//! ```
//!
//! [`walk()`] says which files there are, [`extract()`] turns one file into text with marks where
//! pages, headings and blocks begin, [`chunk()`] cuts it, [`sync()`] does all of it for what changed
//! since the last run, [`again()`] prepares texts that are kept for another model. Each reports what it leaves out and why: a caller that counts what it is given
//! can account for every file it saw. Nothing here opens a path outside the folder that was named,
//! follows what a file says, or prints.

mod again;
pub mod chunk;
mod document;
mod examine;
pub mod extract;
mod fit;
mod ledger;
mod sync;
pub mod walk;

pub use again::again;
pub use chunk::{Chunk, ChunkOptions, chunk};
pub use document::Document;
pub use examine::{
    IngestOptions, Outcome, Prepared, PreparedChunk, Stamp, chunk_hash, examine, prepare, settings,
};
pub use extract::{Extracted, Failure, Kind, Limits, Mark, MarkKind, Offsets, extract, read};
pub use fit::Piece;
pub use ledger::{FileReport, FileState, Ledger, Progress};
pub use sync::{Embedded, Embedding, Embeddings, Known, Records, add, embeddings, root, sync};
pub use walk::{Found, Refused, Walk, walk};
