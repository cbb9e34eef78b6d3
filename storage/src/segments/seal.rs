//! Sealing: a collection's unsealed rows become one immutable segment.
//!
//! The order is what makes it safe: the file is there, whole and on disk (`draft`); only then one batch names the segment
//! and drops the rows. A crash before the batch leaves a file that no record names, and the next open removes it; a crash
//! after it leaves nothing to do.
//!
//! The long part, building the segment, runs without the writer's mutex: puts and deletes go on. Of the rows that were taken,
//! those that went meanwhile are dead in the segment; rows that came meanwhile stay unsealed.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::collection::Collection;
use crate::disk::{self, Need};
use crate::document::DocumentInfo;
use crate::error::Result;
use crate::records::key::Key;
use crate::records::record;
use crate::records::tree::Batch;
use crate::row::{self, Run};
use crate::search::view::View;
use crate::segments::draft::{self, Draft};
use crate::segments::sealed::Sealed;
use crate::segments::taken::Taken;
use crate::store::{Store, Writer};

/// Scanning this many rows costs less than searching one more segment.
const CHEAP_TO_SCAN: usize = 4096;

/// The same while there is no segment at all.
const CHEAP_BEFORE_FIRST: usize = 256;

impl Store {
    /// Turns the unsealed rows of a collection into one segment; false if there are none or `cancelled` said so.
    ///
    /// Searches and writers go on meanwhile; what is put meanwhile stays unsealed. Nothing is lost or changed if it is
    /// cancelled or fails.
    ///
    /// # Errors
    /// [`Error::DiskFull`](crate::Error::DiskFull) and errors of the disk.
    pub fn seal(&self, collection: &str, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
        let sealing = self.sealing();
        let collection = self.collection(collection)?;
        let sealed = seal(self, &collection, cancelled)?;
        drop(sealing);
        self.look_after(&collection);
        Ok(sealed)
    }

    /// Seals if it is worth it, for the end of a bulk command: more rows than are cheap to scan, or enough for a first
    /// segment. Then merges segments while that is worth it, and writes the lexicon. False if there was nothing to do.
    ///
    /// # Errors
    /// As [`Store::seal`]. That a damaged segment cannot be merged is no error: [`Store::status`] has a warning.
    pub fn seal_after_bulk(
        &self,
        collection: &str,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        let view = self.collection(collection)?.view();
        let is_first = view.sealed().is_empty();
        let n_cheap = if is_first { CHEAP_BEFORE_FIRST } else { CHEAP_TO_SCAN };
        let mut any = view.n_unsealed() > n_cheap && self.seal(collection, cancelled)?;
        // Held any longer, it would keep the files of merged segments.
        drop(view);
        {
            let (_writer, collection) = self.to_change(collection)?;
            collection.commit_lexicon();
        }
        loop {
            match self.merge(collection, cancelled) {
                Ok(true) => any = true,
                Ok(false) => return Ok(any),
                Err(error) if error.is_corruption() => {
                    self.warn(format!(
                        "segments of collection {collection} are not merged: {error}"
                    ));
                    return Ok(any);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Seals a collection; the caller holds the mutex of seals. False if there is nothing to seal or `cancelled` said so.
pub(crate) fn seal(
    store: &Store,
    collection: &Collection,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<bool> {
    // Not the view: it would keep the files of segments that are merged meanwhile.
    let taken = collection.view().unsealed().to_vec();
    if taken.is_empty() {
        return Ok(false);
    }
    disk::require(store.dir(), Need::File(needed_bytes(collection, &taken)))?;
    let draft = gather(store, collection, &taken)?;
    let Some(sealed) = draft.write(&store.segments_dir(), cancelled)? else { return Ok(false) };
    publish(store, &mut store.writer(), collection, &taken, sealed)
}

/// Bytes that a segment of these rows takes, roughly.
pub(crate) fn needed_bytes(collection: &Collection, runs: &[Arc<Run>]) -> u64 {
    let text_bytes =
        runs.iter().flat_map(|run| (0..run.len()).map(|idx| run.info(idx).len())).sum();
    let n_rows = runs.iter().map(|run| run.len()).sum();
    draft::estimate_bytes(&collection.space(), n_rows, text_bytes)
}

/// Puts a segment in the place of the unsealed rows that it was made of: one batch, then the view. False, and the segment is
/// given up, if none of them is left, or another collection has taken the place of theirs.
fn publish(
    store: &Store,
    writer: &mut Writer,
    collection: &Collection,
    taken: &[Arc<Run>],
    sealed: Sealed,
) -> Result<bool> {
    let first_row = |run: &Arc<Run>| run.rows().start;
    let Taken { moved, gone, left } = Taken::sort(taken, collection.view().unsealed(), first_row);
    if moved.is_empty() || !store.is_current(collection) {
        draft::discard(&store.segments_dir(), sealed);
        return Ok(false);
    }
    let gone: Vec<u64> = gone.iter().flat_map(|run| run.rows()).collect();
    let ledger = writer.ledger(collection);
    let blocks = ledger.with_dead(&gone);

    let number = collection.number;
    let mut batch = Batch::default();
    let key = Key::Segment { collection: number, first_row: sealed.rows().start };
    batch.put(&key, &record::encode(sealed.record()));
    for run in &moved {
        for (idx, row) in run.rows().enumerate() {
            let payload_bytes = run.info(idx).len() + collection.space().row_bytes();
            batch.remove(&Key::Row { collection: number, row }, payload_bytes);
        }
    }
    for (block, bitmap) in &blocks {
        let key = Key::Tombstones { collection: number, block: *block };
        batch.put(&key, &bitmap.to_block());
    }
    disk::require(store.dir(), Need::Removal(batch.n_bytes()))?;
    store.tree().apply(batch)?;
    ledger.tombstones.extend(blocks);
    let sealed = sealed.with_dead(gone.into_iter());
    collection.update(|view| {
        let all = view.sealed().iter().cloned().chain([sealed]).collect();
        View::new(all, left, view.lexicon().clone())
    });
    // Before readers learn of the segment, so that they find its words.
    collection.commit_lexicon();
    store.publish(writer)?;
    store.tree().reopen()?;
    Ok(true)
}

/// Puts unsealed rows and their documents into a draft. A document that is changed meanwhile is left out or as it was.
fn gather(store: &Store, collection: &Collection, runs: &[Arc<Run>]) -> Result<Draft<'static>> {
    // Row ids are never used twice, so the first one and the collection make a seed that no other segment has had: two
    // collections that hold the same do not share a file, which one of them would remove.
    let first_row = runs.first().map_or(0, |run| run.rows().start);
    let of = [&collection.number.to_le_bytes()[..], &first_row.to_le_bytes()].concat();
    let mut draft = Draft::new(collection.space(), xxh3_64(&of));
    for run in runs {
        for (idx, (row, vector)) in run.iter().enumerate() {
            draft.push(row, vector, run.info(idx), run.fields()[idx].clone())?;
        }
        // Runs are documents, but one with a damaged row is cut in two: its first run has its first row.
        let start = run.rows().start;
        let document = row::decode_info(start, run.info(0))?.document;
        let key = Key::document(collection.number, &document);
        // One damaged record does not keep the others from being sealed; a full check reports it.
        let Ok(Some(record)) = store.tree().get(&key) else { continue };
        if DocumentInfo::decode(&key, &record).is_ok_and(|info| info.first_row == start) {
            draft.push_document(&document, &record);
        }
    }
    Ok(draft)
}
