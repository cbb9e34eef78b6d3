//! Compaction: all rows of a collection in one segment, nothing dead kept, the space given back.

use crate::disk;
use crate::error::Result;
use crate::open::recover::ENGINE_DIR;
use crate::segments::merge::{groups, merge, sweep};
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
    /// Searches go on meanwhile; writers wait for the sealing, and while sled is written anew. What is put meanwhile
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
        let collection = self.collection(collection)?;
        let bytes_before = self.files_bytes();
        self.seal(&collection.name, cancelled)?;
        let merging = self.merging();
        for group in groups(self, &collection) {
            let has_dead = group.iter().any(|sealed| sealed.n_dead() > 0);
            if (group.len() > 1 || has_dead) && !cancelled() {
                merge(self, &collection, &group, cancelled)?;
            }
        }
        drop(merging);
        let mut writer = self.writer();
        sweep(self, &mut writer);
        // Takes dead rows out of it.
        collection.commit_lexicon();
        let complete = !cancelled();
        if complete {
            self.tree().shrink()?;
        }
        Ok(Compacted { complete, bytes_before, bytes_after: self.files_bytes() })
    }

    fn files_bytes(&self) -> u64 {
        let engine = self.dir().join(ENGINE_DIR);
        let dirs = [self.dir(), &self.segments_dir(), &engine];
        let lexicons = self.all().into_iter().map(|each| each.view().lexicon().n_bytes());
        dirs.into_iter().map(disk::files_bytes).sum::<u64>() + lexicons.sum::<u64>()
    }
}
