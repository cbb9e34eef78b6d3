//! Keeps documents, vectors and graph in step on disk, and survives crashes.
//!
//! One directory is one database: `sled/` for all that is small or not yet sealed, `segments/` for immutable files of
//! sealed rows, `lexicon/` for full-text search. In reading order:
//!
//! - [`Store`] is the front door; [`Document`] goes in, [`DocumentInfo`], [`StoredChunk`] and [`Answer`] come out.
//! - `write` changes, in batches that are on disk when they return; `recover` opens after whatever happened; `status` tells.
//! - `fsck` checks every byte and repairs: `rebuild` works out damaged records, `salvage` makes a segment anew from what is
//!   good in it.
//! - `seal` turns unsealed rows into a segment, `merge` several segments into one where `plan` finds it worth it, `compact`
//!   all of them; `draft` is a segment in the making.
//! - `filter` says which rows a search may return: [`Filter`] from text or JSON, and columns of metadata in segments.
//! - [`Reader`] searches in other processes what the writer's `manifest` names; `backup` copies a database and
//!   [`restore`] takes a copy back. [`Access`] is a store, or a reader where another process has the store.
//! - `collection` keeps disk and memory in step; `view` is what searches read, swapped as a whole; `passages` shapes what
//!   they answer.
//! - `lexicon` finds rows by their words, in an index of its own that can be made again at any time; `fuse` puts its
//!   hits and those of vectors together.
//! - `link` keeps what changes how queries are embedded.
//! - `tree` is the only file that knows sled; `key` and `record` say what is in it, byte by byte; `row`, `texts`,
//!   `listing`, `sealed`, `bitmap` are the parts of a collection; `lock`, `disk`, `map` are what we ask of the system.
//!
//! What a crash may lose: documents whose `put` had not returned, each whole or not at all. Nothing else.
//! `STORE.md` has the format.
//!
//! It knows no model and no HTTP, prints nothing, and starts no thread that outlives a call but rayon's.

mod store;

mod access;
mod backup;
mod compact;
mod draft;
mod fsck;
mod manifest;
mod merge;
mod plan;
mod reader;
mod rebuild;
mod recover;
mod refill;
mod salvage;
mod seal;
mod status;
mod write;

mod collection;
mod passages;
mod view;

mod fuse;
mod lexicon;
mod link;

mod document;
mod error;
mod filter;
mod request;
mod space;

mod bitmap;
mod listing;
mod row;
mod sealed;
mod texts;

mod key;
mod record;
mod swap;
mod tree;

mod disk;
mod lock;
mod map;

#[cfg(test)]
mod damage;

pub use access::Access;
pub use backup::restore;
pub use compact::Compacted;
pub use document::{Chunk, ContentStamps, Document, DocumentInfo, Source, StoredChunk};
pub use error::{Error, Result, RowProblem};
pub use filter::{Field, Filter, FilterError, Place};
pub use fsck::Finding;
pub use fuse::{Fusion, Ranked};
pub use index::{self, SegmentStats};
pub use lexicon::Lexicon;
pub use link::{Link, Links};
pub use reader::Reader;
pub use request::Request;
pub use space::Space;
pub use status::{CollectionStatus, SegmentStatus, Status};
pub use store::Store;
pub use view::{Answer, Hit};
