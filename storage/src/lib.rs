//! Keeps documents, vectors and graph in step on disk, and survives crashes.
//!
//! One directory is one database: `sled/` for all that is small or not yet sealed, `segments/` for immutable files of
//! sealed rows, `lexicon/` for full-text search. In reading order:
//!
//! - [`Store`] is the front door; [`Document`] goes in, [`DocumentInfo`], [`StoredChunk`] and [`Answer`] come out.
//! - `write` changes, in batches that are on disk when they return; `seal` turns unsealed rows into a segment;
//!   `recover` opens after whatever happened; `status` tells.
//! - `collection` keeps disk and memory in step; `view` is what searches read, swapped as a whole.
//! - `lexicon` finds rows by their words, in an index of its own that can be made again at any time; `fuse` puts its
//!   hits and those of vectors together.
//! - `tree` is the only file that knows sled; `key` and `record` say what is in it, byte by byte; `row`, `texts`,
//!   `sealed`, `bitmap` are the parts of a collection; `lock`, `disk`, `map` are what we ask of the system.
//!
//! What a crash may lose: documents whose `put` had not returned, each whole or not at all. Nothing else.
//! `STORE.md` has the format.
//!
//! It knows no model and no HTTP, starts no thread of its own but rayon's and, while the lexicon is written, tantivy's,
//! and prints nothing.

mod store;

mod recover;
mod refill;
mod seal;
mod status;
mod write;

mod collection;
mod view;

mod fuse;
mod lexicon;

mod document;
mod error;
mod request;
mod space;

mod bitmap;
mod row;
mod sealed;
mod texts;

mod key;
mod record;
mod tree;

mod disk;
mod lock;
mod map;

#[cfg(test)]
mod damage;

pub use document::{Chunk, Document, DocumentInfo, Source, StoredChunk};
pub use error::{Error, Result, RowProblem};
pub use fuse::{Fusion, Ranked};
pub use index::SegmentStats;
pub use lexicon::Lexicon;
pub use request::Request;
pub use space::Space;
pub use status::{CollectionStatus, SegmentStatus, Status};
pub use store::Store;
pub use view::{Answer, Hit};
