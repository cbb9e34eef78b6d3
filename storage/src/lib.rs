//! Keeps documents, vectors and graph in step on disk, and survives crashes.
//!
//! One directory is one database: `sled/` for all that is small or not yet sealed, `segments/` for immutable files of
//! sealed rows, `lexicon/` for full-text search. In reading order:
//!
//! - [`Store`] is the front door; [`Document`] goes in, [`DocumentInfo`], [`StoredChunk`] and [`Answer`] come out.
//! - `write` changes, in batches that are on disk when they return; `status` tells what there is.
//! - `collection` keeps disk and memory in step: `records` for what is small or new, `segments` for the rest.
//! - `search` answers; `filter` says which rows it may return: [`Filter`] from text or JSON, and columns of metadata in
//!   segments; `lexicon` finds rows by their words, in an index of its own that can be made again at any time.
//! - `open` opens after whatever happened; `repair` checks every byte and mends what can be mended.
//! - [`Reader`] searches in other processes what the writer's `manifest` names; `backup` copies a database and
//!   [`restore`] takes a copy back. [`Access`] is a store, or a reader where another process has the store.
//! - `link` keeps what changes how queries are embedded.
//! - `maintenance` seals and merges in the background.
//! - `successor` builds a collection in another space, and puts that in its place.
//! - `disk` is what we ask of the system, `sync` the locks that a model checker may replace.
//!
//! What a crash may lose: documents whose `put` had not returned, each whole or not at all. Nothing else.
//! `STORE.md` has the format.
//!
//! It knows no model and no HTTP, prints nothing, and starts no thread that outlives a call but rayon's and the one of
//! [`Maintenance`], which ends with its store.

mod store;

mod collection;
mod status;
mod write;

mod document;
mod error;
mod row;
mod space;

mod backup;
mod disk;
mod filter;
mod lexicon;
mod link;
mod maintenance;
mod open;
mod reader;
mod records;
mod repair;
mod search;
mod segments;
mod successor;
mod sync;

pub use backup::restore;
pub use document::{Chunk, ContentStamps, Document, DocumentInfo, Source, StoredChunk};
pub use error::{Error, Result, RowProblem};
pub use filter::{Field, Filter, FilterError, Place};
pub use index::{self, Metric, SegmentStats, Vector};
pub use lexicon::Lexicon;
pub use link::{Link, Links};
pub use maintenance::Maintenance;
pub use open::access::Access;
pub use reader::Reader;
pub use repair::fsck::Finding;
pub use search::fuse::{Fusion, Ranked};
pub use search::request::Request;
pub use search::view::{Answer, Hit};
pub use segments::compact::Compacted;
pub use space::Space;
pub use status::{CollectionStatus, SegmentStatus, Status};
pub use store::Store;
pub use successor::{Finished, Successor, SuccessorStatus};
