//! Sealing: a collection's unsealed rows become one immutable segment.
//!
//! The order is what makes it safe: the file is written under a temporary name and fsynced, renamed to the name of its
//! content, the directory fsynced; only then one batch names the segment and drops the rows. A crash before the batch
//! leaves a file that no record names, and the next open removes it; a crash after it leaves nothing to do.

use xxhash_rust::xxh3::xxh3_128;

use index::{SegmentBuilder, Shape};

use crate::collection::Collection;
use crate::disk::{self, Need};
use crate::error::Result;
use crate::key::Key;
use crate::record;
use crate::row::Run;
use crate::sealed::{Sealed, SegmentRecord};
use crate::store::Store;
use crate::texts;
use crate::tree::Batch;
use crate::view::View;

/// How the names of segment files end.
pub(crate) const SUFFIX: &str = ".seg";

/// Scanning this many rows costs less than searching one more segment.
const CHEAP_TO_SCAN: usize = 4096;

/// The same while there is no segment at all.
const CHEAP_BEFORE_FIRST: usize = 256;

/// Rough size of a row's links, ids and checksums in a segment, for asking for space before the work is done.
const ROW_OVERHEAD_BYTES: usize = 512;

impl Store {
    /// Turns the unsealed rows of a collection into one segment; false if there are none or `cancelled` said so.
    ///
    /// Searches go on meanwhile; other writers wait. Nothing is lost or changed if it is cancelled or fails.
    ///
    /// # Errors
    /// [`Error::DiskFull`](crate::Error::DiskFull) and errors of the disk.
    pub fn seal(&self, collection: &str, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
        let collection = self.collection(collection)?;
        let _writer = self.writer();
        seal(self, &collection, cancelled)
    }

    /// Seals if it is worth it, for the end of a bulk command: more rows than are cheap to scan, or enough for a first
    /// segment. False if nothing was sealed; the lexicon is written then as well.
    ///
    /// # Errors
    /// As [`Store::seal`].
    pub fn seal_after_bulk(
        &self,
        collection: &str,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        let found = self.collection(collection)?;
        let view = found.view();
        let is_first = view.sealed().is_empty();
        let n_cheap = if is_first { CHEAP_BEFORE_FIRST } else { CHEAP_TO_SCAN };
        if n_cheap < view.n_unsealed() {
            return self.seal(collection, cancelled);
        }
        let _writer = self.writer();
        found.commit_lexicon();
        Ok(false)
    }
}

/// Seals a collection; the caller holds the writer's mutex.
pub(crate) fn seal(
    store: &Store,
    collection: &Collection,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<bool> {
    let view = collection.view();
    let runs = view.unsealed();
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(false) };
    let (first_row, last_row) = (first.rows().start, last.rows().end - 1);
    disk::require(store.dir(), Need::File(estimate_bytes(collection, &view)))?;
    let Some(bytes) = build(collection, &view, first_row, cancelled) else { return Ok(false) };

    let record = SegmentRecord {
        name: format!("{:032x}{SUFFIX}", xxh3_128(&bytes)),
        first_row,
        last_row,
        n_rows: view.n_unsealed() as u64,
        n_bytes: bytes.len() as u64,
    };
    disk::require(store.dir(), Need::File(bytes.len()))?;
    disk::write_file(&store.segments_dir(), &record.name, &bytes)?;
    drop(bytes);
    let sealed = Sealed::open(&store.segments_dir(), record.clone(), &collection.space)?;

    let number = collection.number;
    let mut batch = Batch::default();
    batch.put(&Key::Segment { collection: number, first_row }, &record::encode(&record));
    for run in runs {
        for (idx, row) in run.rows().enumerate() {
            let payload_bytes = run.info(idx).len() + 2 * collection.space.full_width;
            batch.remove(&Key::Row { collection: number, row }, payload_bytes);
        }
    }
    disk::require(store.dir(), Need::Removal(batch.n_bytes()))?;
    store.tree().apply(batch)?;
    let all = view.sealed().iter().cloned().chain([sealed]).collect();
    collection.swap(View::new(all, Vec::new(), view.lexicon().clone()));
    collection.commit_lexicon();
    store.tree().reopen()?;
    Ok(true)
}

fn build(
    collection: &Collection,
    view: &View,
    seed: u64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<Vec<u8>> {
    let shape = Shape { full: collection.space.full_width, dims: collection.space.dims };
    let mut builder = SegmentBuilder::new(shape, seed);
    for (row, vector) in view.unsealed().iter().flat_map(|run| run.iter()) {
        builder.push(row, vector);
    }
    builder.section(texts::TEXT, texts::write(infos(view)));
    let hashes = infos(view).flat_map(|info| *crate::row::hash_of(info));
    builder.section(texts::HASH, hashes.collect());
    builder.build(cancelled)
}

fn infos(view: &View) -> impl Iterator<Item = &[u8]> {
    let infos = |run: &'_ Run| 0..run.len();
    view.unsealed().iter().flat_map(move |run| infos(run).map(move |idx| run.info(idx)))
}

fn estimate_bytes(collection: &Collection, view: &View) -> usize {
    let row_bytes = 2 * collection.space.full_width + collection.space.dims + ROW_OVERHEAD_BYTES;
    let text_bytes: usize = infos(view).map(<[u8]>::len).sum();
    view.n_unsealed() * row_bytes + text_bytes
}
