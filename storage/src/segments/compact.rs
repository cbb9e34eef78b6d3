//! Compaction: all rows of a collection in one segment, nothing dead kept, the space given back. And reindexing, which is
//! one with codes of another width or kind.

use index::mrl::Quant;

use crate::collection::{self, Collection};
use crate::disk::{self, Need};
use crate::error::Result;
use crate::open::recover::ENGINE_DIR;
use crate::records::key::Key;
use crate::records::tree::Batch;
use crate::segments::merge::{groups, merge, sweep};
use crate::segments::sealed::Sealed;
use crate::space::Space;
use crate::store::Store;

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// False if `cancelled` ended it early; what was done until then stays done.
    pub complete: bool,
    /// Bytes of the database's files before.
    pub bytes_before: u64,
    /// Bytes of the database's files after. Files that a search still reads are counted; they go soon after it.
    pub bytes_after: u64,
}

impl Store {
    /// Seals a collection, merges its segments into one without dead rows, and gives the space back, that of sled too.
    ///
    /// Searches and writers go on meanwhile; writers wait while sled is written anew. What is put meanwhile
    /// stays beside the one segment. A segment that could not be opened is left, and what lies on both sides of it is not
    /// merged. Needs room for the new segment beside the old ones.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn compact(
        &self,
        collection: &str,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compacted> {
        let bytes_before = self.files_bytes();
        self.seal(collection, cancelled)?;
        self.merge_all(&*self.collection(collection)?, cancelled)?;
        let (mut writer, collection) = self.to_change(collection)?;
        sweep(self, &mut writer);
        self.maintenance().forget(&collection.name);
        let complete = !cancelled();
        if complete {
            // Takes dead rows out of it.
            collection.commit_lexicon();
            self.tree().shrink()?;
        }
        Ok(Compacted { complete, bytes_before, bytes_after: self.files_bytes() })
    }

    /// Makes one segment of all sealed rows, with the codes that the collection has now and nothing dead.
    pub(crate) fn merge_all(
        &self,
        collection: &Collection,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        let _merging = self.merging();
        let space = collection.space();
        for group in groups(self, collection) {
            let is_stale = |sealed: &Sealed| sealed.n_dead() > 0 || !sealed.has_codes_of(&space);
            if (group.len() > 1 || group.iter().any(is_stale)) && !cancelled() {
                merge(self, collection, &group, cancelled)?;
            }
        }
        Ok(())
    }

    /// Gives a collection codes of this width and kind, made of the full-width rows that are kept: nothing is embedded. Then
    /// compacts it, so that all its rows have them.
    ///
    /// If it is cancelled or killed, new rows of the collection get the new codes, and rows that still have the old codes are searched
    /// by those; another call, or [`Store::compact`], goes on.
    ///
    /// # Errors
    /// [`Error::Width`](crate::Error::Width), [`Error::Narrow`](crate::Error::Narrow); as [`Store::compact`].
    pub fn reindex(
        &self,
        collection: &str,
        dims: usize,
        quant: Quant,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compacted> {
        let (writer, found) = self.to_change(collection)?;
        let space = Space { dims, quant, ..found.space().as_ref().clone() };
        space.check_codes()?;
        if !space.has_codes_of(&found.space()) {
            let mut batch = Batch::default();
            let payload = collection::encode_collection(&found.name, &space);
            batch.put(&Key::Collection { number: found.number }, &payload);
            disk::require(self.dir(), Need::Batch(batch.n_bytes()))?;
            self.tree().apply(batch)?;
            found.set_space(space);
            self.publish(&writer)?;
        }
        drop(writer);
        self.compact(collection, cancelled)
    }

    fn files_bytes(&self) -> u64 {
        let engine = self.dir().join(ENGINE_DIR);
        let dirs = [self.dir(), &self.segments_dir(), &engine];
        let lexicons = self.all().into_iter().map(|each| each.view().lexicon().n_bytes());
        dirs.into_iter().map(disk::files_bytes).sum::<u64>() + lexicons.sum::<u64>()
    }
}
