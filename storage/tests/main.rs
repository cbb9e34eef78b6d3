//! The store as its users see it: against a model, across crashes, on bad disks.
//!
//! - `model`: any sequence of operations agrees with a `BTreeMap`.
//! - `concurrent`: searches beside writers and seals see whole documents of one moment, and wait for nobody.
//! - `maintenance`: few segments without anybody asking, within limits; what fails is told and tried again.
//! - `latency`: how long searches take beside writers, seals and merges.
//! - `merge`: merging and compaction lose nothing, wait for nobody, give space back.
//! - `backup`: a copy made beside a writer is a database of one moment.
//! - `reader`: another process searches while this one writes.
//! - `successor`: a collection is built in another space beside its own, and then is there.
//! - `crash`: a child process is killed at random moments; what it acknowledged is there.
//! - `edges`: what is rare and must not matter.
//! - `faults`: a disk that fails at each call, and one that forgets what was not synced when the power goes.
//! - `filter`: searches among rows that pass a filter, against conditions written in Rust.
//! - `lock`: a second opener learns who has the database, at once.
//! - `damage`: flipped bits in each part of a segment, and their repair.
//! - `disk`: full, read-only, not a database, another version.
//! - `files`: our own files cut short.
//! - `kept`: databases of earlier formats open.
//! - `lexicon`: text search through seals, openings and damage.
//! - `beir`: text search against a reference, on sets that are not part of the repository.
//! - `content`: documents made for tests.

mod backup;
mod beir;
mod concurrent;
mod content;
mod crash;
mod damage;
mod disk;
mod edges;
mod faults;
mod files;
mod filter;
mod kept;
mod latency;
mod lexicon;

mod lock;
mod maintenance;
mod merge;
mod model;
mod reader;
mod successor;
