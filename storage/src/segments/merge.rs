//! Merging: adjacent segments become one, without their dead rows.
//!
//! A row keeps its id, so documents' records stay as they are, and only neighbours in the order of rows are merged, so
//! that the row ranges of segments stay disjoint.
//!
//! The long part, reading the sources and building the new segment, runs without the writer's mutex: puts, deletes and
//! seals go on. Then, under the mutex, one batch replaces the sources' records and removes the tombstones of rows that are
//! gone; rows that died meanwhile are dead in the new segment too. Before the batch a crash leaves the old segments and
//! a file that no record names; after it the new one and old files that no record names. Either are removed by the next
//! opening; without a crash, old files go once no search reads them.
//!
//! Who calls [`Store::merge`] decides when there is time for it; so does the thread of `maintenance`, which gives way to
//! everyone who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::collection::Collection;
use crate::disk::{self, Need};
use crate::error::Result;
use crate::records::key::Key;
use crate::records::record;
use crate::records::tree::Batch;
use crate::search::view::View;
use crate::segments::bitmap::{BLOCK_ROWS, Bitmap};
use crate::segments::draft::{self, Draft};
use crate::segments::plan::plan;
use crate::segments::sealed::Sealed;
use crate::store::{Store, Writer};

impl Store {
    /// Does one step of merging if one is worth it: some small segments become one, or one that is more than a fifth dead
    /// is rewritten. False if nothing is worth doing, or `cancelled` said so.
    ///
    /// Searches and writers go on meanwhile, another merge waits. Nothing is lost or changed if it is cancelled or fails.
    ///
    /// # Errors
    /// [`Error::NoCollection`](crate::Error::NoCollection); [`Error::Segment`](crate::Error::Segment) or
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a segment to be merged is damaged: damage is not copied into a new
    /// segment; [`Error::DiskFull`](crate::Error::DiskFull) and errors of the disk.
    pub fn merge(&self, collection: &str, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
        let collection = self.collection(collection)?;
        let _merging = self.merging();
        let Some(sources) = due(self, &collection) else { return Ok(false) };
        let merged = merge(self, &collection, &sources, cancelled)?;
        drop(sources);
        sweep(self, &mut self.writer());
        Ok(merged)
    }
}

/// The segments of the merge that is worth doing first, if any is.
pub(crate) fn due(store: &Store, collection: &Collection) -> Option<Vec<Sealed>> {
    groups(store, collection).into_iter().find_map(|group| {
        let range = plan(&sizes(&group)).into_iter().next()?;
        Some(group[range].to_vec())
    })
}

/// What the plan asks of segments.
pub(crate) fn sizes(segments: &[Sealed]) -> Vec<(usize, usize)> {
    segments.iter().map(|each| (each.n_rows(), each.n_dead())).collect()
}

/// The segments of a collection that may become one: all, unless between some lie rows that could not be opened.
pub(crate) fn groups(store: &Store, collection: &Collection) -> Vec<Vec<Sealed>> {
    let mut writer = store.writer();
    let lost = &writer.ledger(collection).lost;
    let view = collection.view();
    let together = |a: &Sealed, b: &Sealed| lost.range(a.rows().start..b.rows().start).count() == 0;
    view.sealed().chunk_by(together).map(<[Sealed]>::to_vec).collect()
}

/// Merges segments that are neighbours; the caller holds the mutex of merges. False if it was cancelled or a source is no
/// longer there.
pub(crate) fn merge(
    store: &Store,
    collection: &Collection,
    sources: &[Sealed],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<bool> {
    let n_live: usize = sources.iter().map(|source| source.n_rows() - source.n_dead()).sum();
    disk::require(store.dir(), Need::File(needed_bytes(collection, sources)))?;
    let Some(draft) = gather(collection, sources, cancelled)? else { return Ok(false) };
    let made = draft.write(&store.segments_dir(), cancelled)?;
    if made.is_none() && n_live > 0 {
        return Ok(false);
    }
    replace(store, &mut store.writer(), collection, sources, made)
}

/// Bytes that one segment of the live rows of `sources` takes, roughly.
pub(crate) fn needed_bytes(collection: &Collection, sources: &[Sealed]) -> u64 {
    let n_live = sources.iter().map(|source| source.n_rows() - source.n_dead()).sum();
    let text_bytes = sources.iter().map(Sealed::text_bytes).sum();
    draft::estimate_bytes(&collection.space(), n_live, text_bytes)
}

/// Checks the sources and puts their live rows into a draft; `None` if cancelled.
fn gather<'a>(
    collection: &'a Collection,
    sources: &'a [Sealed],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Draft<'a>>> {
    // From the names of the sources, so that it differs from theirs and, in turn, from those of all before them.
    let names: String = sources.iter().map(Sealed::name).collect();
    let mut draft = Draft::new(collection.space(), xxh3_64(names.as_bytes()));
    for source in sources {
        if cancelled() {
            return Ok(None);
        }
        // Else damage would get a new checksum and never be noticed.
        source.verify()?;
        draft.extend(source)?;
        source.documents(&mut |document, record| {
            if source.find(document.first_row).is_some_and(|row| source.is_live(row)) {
                draft.push_document(&document.id, record);
            }
            Ok(())
        })?;
    }
    Ok(Some(draft))
}

/// Publishes `made` in the place of segments: one batch, then the view. False, and `made` is given up, if one of them is
/// no longer there, or another collection has taken the place of theirs.
///
/// Every row of `made` is a row of theirs; their rows that are not in `made` are gone, with their tombstones.
pub(crate) fn replace(
    store: &Store,
    writer: &mut Writer,
    collection: &Collection,
    sources: &[Sealed],
    made: Option<Sealed>,
) -> Result<bool> {
    let view = collection.view();
    let is_source = |each: &&Sealed| sources.iter().any(|source| source.name() == each.name());
    let (old, kept): (Vec<&Sealed>, Vec<&Sealed>) = view.sealed().iter().partition(is_source);
    if old.len() != sources.len() || !store.is_current(collection) {
        made.into_iter().for_each(|made| draft::discard(&store.segments_dir(), made));
        return Ok(false);
    }
    let ledger = writer.ledger(collection);
    // By range and not by what the segments say: a damaged one may be replaced. No other rows lie in these ranges.
    let dead: Vec<u64> = old.iter().flat_map(|each| ledger.dead_in(each.rows())).collect();
    let mut blocks: BTreeMap<u64, Bitmap> = BTreeMap::new();
    let is_kept = |row: u64| made.as_ref().is_some_and(|made| made.find(row).is_some());
    for row in dead.iter().filter(|row| !is_kept(**row)) {
        let block = row / BLOCK_ROWS;
        let known = || ledger.tombstones.get(&block).cloned().unwrap_or_default();
        blocks.entry(block).or_insert_with(known).remove((row % BLOCK_ROWS) as usize);
    }

    let number = collection.number;
    let mut batch = Batch::default();
    for each in &old {
        let key = Key::Segment { collection: number, first_row: each.rows().start };
        store.tree().stored_keys(key..=key)?.into_iter().for_each(|key| batch.remove_stored(key));
    }
    if let Some(made) = &made {
        let key = Key::Segment { collection: number, first_row: made.rows().start };
        batch.put(&key, &record::encode(made.record()));
    }
    for (block, bitmap) in &blocks {
        let key = Key::Tombstones { collection: number, block: *block };
        if bitmap.is_empty() {
            let stored = store.tree().stored_keys(key..=key)?;
            stored.into_iter().for_each(|stored| batch.remove_stored(stored));
        } else {
            batch.put(&key, &bitmap.to_block());
        }
    }
    disk::require(store.dir(), Need::Removal(batch.n_bytes()))?;
    store.tree().apply(batch)?;

    for (block, bitmap) in blocks {
        if bitmap.is_empty() {
            ledger.tombstones.remove(&block);
        } else {
            ledger.tombstones.insert(block, bitmap);
        }
    }
    let made = made.map(|made| made.with_dead(dead.into_iter()));
    let next: Vec<Sealed> = kept.into_iter().cloned().chain(made).collect();
    let old: Vec<Sealed> = old.into_iter().cloned().collect();
    drop(view);
    collection.update(|view| View::new(next, view.unsealed().to_vec(), view.lexicon().clone()));
    // Until the manifest no longer names them, their files stay: what it names must be there.
    store.publish(writer)?;
    old.iter().for_each(|each| writer.retired.add(each.name(), Arc::clone(each.segment())));
    Ok(true)
}

/// Removes the files of segments that were replaced and that no view holds any more; the others wait.
pub(crate) fn sweep(store: &Store, writer: &mut Writer) {
    writer.retired.sweep(|name| {
        // Best effort: what stays is removed at the next open.
        let _ = std::fs::remove_file(store.segments_dir().join(name));
    });
}
