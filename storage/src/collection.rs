//! One collection: its name and space, the view that searches read, and what only the writer knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bincode::{Decode, Encode};

use crate::document::{DocumentInfo, StoredChunk, shorten};
use crate::error::{Error, Result};
use crate::lexicon::RowWords;
use crate::link::Link;
use crate::records::key::Key;
use crate::records::record;
use crate::records::tree::{Batch, Tree};
use crate::row::Run;
use crate::search::current::Current;
use crate::search::request::Request;
use crate::search::view::{Answer, View};
use crate::segments::bitmap::{BLOCK_ROWS, Bitmap};
use crate::space::Space;

/// The payload of a collection's record, in this order.
#[derive(Encode, Decode)]
pub(crate) struct CollectionRecord {
    pub(crate) name: String,
    pub(crate) space: Space,
}

/// A collection as readers see it.
pub(crate) struct Collection {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Only the width of its codes ever changes.
    space: RwLock<Arc<Space>>,
    view: Current<View>,
    /// What queries go through.
    link: RwLock<Option<Arc<Link>>>,
    /// The same documents in another space, as far as they are there; see `successor`.
    successor: RwLock<Option<Arc<Collection>>>,
}

impl Collection {
    pub(crate) fn new(number: u32, record: CollectionRecord, view: View) -> Collection {
        let CollectionRecord { name, space } = record;
        Collection {
            number,
            name,
            space: RwLock::new(Arc::new(space)),
            view: Current::new(view),
            link: RwLock::default(),
            successor: RwLock::default(),
        }
    }

    pub(crate) fn space(&self) -> Arc<Space> {
        Arc::clone(&self.space.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on new segments have codes of this space. The caller has put it on disk.
    pub(crate) fn set_space(&self, space: Space) {
        *self.space.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(space);
    }

    /// The current view; it stays as it is while it is held.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load()
    }

    /// The link that queries go through.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// What is to take its place.
    pub(crate) fn successor(&self) -> Option<Arc<Collection>> {
        self.successor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_successor(&self, successor: Option<Arc<Collection>>) {
        *self.successor.write().unwrap_or_else(PoisonError::into_inner) = successor;
    }

    /// Puts the tail of the lexicon on disk. A failure is told by [`Store::status`](crate::Store::status); nothing but
    /// memory and time depends on it. The caller holds the writer's mutex.
    pub(crate) fn commit_lexicon(&self) {
        self.update(|view| view.with_lexicon(view.lexicon().commit(&|row| view.is_live(row))));
    }

    /// The answer to a request, from the current view.
    pub(crate) fn search(&self, request: &Request) -> Result<Answer> {
        let space = self.space();
        if let Some(asked) = request.space.as_ref().filter(|asked| !asked.agrees_with(&space)) {
            return Err(self.is_of_another_space(asked));
        }
        if request.asks_vector() {
            space
                .check(request.vector.iter().copied())
                .map_err(|problem| Error::Row { of: "the query".to_owned(), problem })?;
        }
        if !(0.0..=1.0).contains(&request.diversity) {
            return Err(Error::Diversity { found: request.diversity });
        }
        self.view().search(request)
    }

    /// Makes what `next` makes of the current view the current one. The caller holds the writer's mutex, so that what it
    /// has put on disk is what searches find.
    pub(crate) fn update(&self, next: impl FnOnce(&View) -> View) {
        self.view.update(next);
    }

    /// The error for what was made for another space.
    pub(crate) fn is_of_another_space(&self, asked: &Space) -> Error {
        Error::Space {
            collection: self.name.clone(),
            existing: Box::new(self.space().as_ref().clone()),
            asked: Box::new(asked.clone()),
        }
    }
}

/// What only the writer knows of a collection; guarded by the writer's mutex.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The id of the next row. Never goes back, so ids are never used twice.
    pub(crate) next_row: u64,
    /// Dead sealed rows by block, as stored.
    pub(crate) tombstones: BTreeMap<u64, Bitmap>,
    /// First rows of segments that could not be opened.
    pub(crate) lost: BTreeSet<u64>,
    /// Blocks of tombstones that could not be read and are to be worked out.
    pub(crate) damaged: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn is_dead(&self, row: u64) -> bool {
        let block = self.tombstones.get(&(row / BLOCK_ROWS));
        block.is_some_and(|bitmap| bitmap.contains((row % BLOCK_ROWS) as usize))
    }

    /// The blocks that change if these rows are dead too.
    pub(crate) fn with_dead(&self, rows: &[u64]) -> BTreeMap<u64, Bitmap> {
        let mut changed: BTreeMap<u64, Bitmap> = BTreeMap::new();
        for row in rows {
            let block = row / BLOCK_ROWS;
            let known = || self.tombstones.get(&block).cloned().unwrap_or_default();
            changed.entry(block).or_insert_with(known).insert((row % BLOCK_ROWS) as usize);
        }
        changed
    }

    /// Takes rows from the dead ones; returns the blocks that changed.
    pub(crate) fn clear(&mut self, rows: &[u64]) -> BTreeMap<u64, Bitmap> {
        let mut changed = BTreeMap::new();
        for row in rows {
            if let Some(bitmap) = self.tombstones.get_mut(&(row / BLOCK_ROWS)) {
                bitmap.remove((row % BLOCK_ROWS) as usize);
                changed.insert(row / BLOCK_ROWS, bitmap.clone());
            }
        }
        changed
    }

    /// The dead rows of a range, rising.
    pub(crate) fn dead_in(&self, rows: Range<u64>) -> impl Iterator<Item = u64> {
        // A damaged segment may say that its last row comes before its first.
        let end = rows.end.max(rows.start).div_ceil(BLOCK_ROWS);
        let blocks = self.tombstones.range(rows.start / BLOCK_ROWS..end);
        let all = blocks.flat_map(|(block, bitmap)| {
            let set = (0..BLOCK_ROWS).filter(|idx| bitmap.contains(*idx as usize));
            set.map(|idx| block.saturating_mul(BLOCK_ROWS).saturating_add(idx))
        });
        all.filter(move |row| rows.contains(row))
    }
}

/// A change in the making: the batch for the disk and, in step with it, what changes in memory once it is there.
pub(crate) struct Change {
    pub(crate) batch: Batch,
    pub(crate) next_row: u64,
    blocks: BTreeMap<u64, Bitmap>,
    dropped: Vec<Range<u64>>,
    dead: Vec<Range<u64>>,
    added: Vec<Arc<Run>>,
    words: Vec<Arc<RowWords>>,
}

impl Change {
    pub(crate) fn new(ledger: &Ledger) -> Change {
        Change {
            batch: Batch::default(),
            next_row: ledger.next_row,
            blocks: BTreeMap::new(),
            dropped: Vec::new(),
            dead: Vec::new(),
            added: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Adds rows and their words; their records are put by the caller.
    pub(crate) fn add(&mut self, run: Run, words: Vec<Arc<RowWords>>) {
        self.words.extend(words);
        assert_eq!(run.rows().start, self.next_row);
        self.next_row = run.rows().end;
        if run.len() > 0 {
            self.added.push(Arc::new(run));
        }
    }

    /// Removes a document's record and rows: unsealed rows are dropped, sealed ones get a tombstone.
    pub(crate) fn retire(
        &mut self,
        tree: &Tree,
        collection: &Collection,
        ledger: &Ledger,
        document: &DocumentInfo,
    ) -> Result<()> {
        let key = Key::document(collection.number, &document.id);
        for stored in tree.stored_keys(key..=key)? {
            self.batch.remove_stored(stored);
        }
        self.drop_rows(tree, collection, ledger, document.rows())
    }

    /// Removes rows: unsealed ones are dropped, sealed ones get a tombstone.
    pub(crate) fn drop_rows(
        &mut self,
        tree: &Tree,
        collection: &Collection,
        ledger: &Ledger,
        rows: Range<u64>,
    ) -> Result<()> {
        let Some(last) = rows.end.checked_sub(1).filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let row_key = |row| Key::Row { collection: collection.number, row };
        for stored in tree.stored_keys(row_key(rows.start)..=row_key(last))? {
            self.batch.remove_stored(stored);
        }
        if collection.view().has_unsealed(&rows) {
            self.dropped.push(rows);
            return Ok(());
        }
        for row in rows.clone() {
            let block = row / BLOCK_ROWS;
            let bitmap = self
                .blocks
                .entry(block)
                .or_insert_with(|| ledger.tombstones.get(&block).cloned().unwrap_or_default());
            bitmap.insert((row % BLOCK_ROWS) as usize);
        }
        self.dead.push(rows);
        Ok(())
    }

    /// Puts the change on disk, then into memory. The caller has asked for the space.
    pub(crate) fn commit(
        mut self,
        tree: &Tree,
        collection: &Collection,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let number = collection.number;
        for (block, bitmap) in &self.blocks {
            let key = Key::Tombstones { collection: number, block: *block };
            self.batch.put(&key, &bitmap.to_block());
        }
        if self.next_row != ledger.next_row {
            let key = Key::NextRow { collection: number };
            self.batch.put(&key, &self.next_row.to_le_bytes());
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        tree.apply(self.batch)?;
        ledger.next_row = self.next_row;
        ledger.tombstones.append(&mut self.blocks);
        if !(self.dropped.is_empty() && self.dead.is_empty() && self.added.is_empty()) {
            let gone = [self.dropped.as_slice(), self.dead.as_slice()].concat();
            collection.update(|view| {
                let lexicon = view.lexicon().changed(&gone, self.words);
                view.changed(&self.dropped, &self.dead, self.added).with_lexicon(lexicon)
            });
        }
        Ok(())
    }
}

/// Reads a document's record and checks that it is this document's.
pub(crate) fn read_document(tree: &Tree, number: u32, id: &str) -> Result<Option<DocumentInfo>> {
    let key = Key::document(number, id);
    let Some(payload) = tree.get(&key)? else { return Ok(None) };
    let info = DocumentInfo::decode(&key, &payload)?;
    if info.id != id {
        return Err(Error::corrupt(key, format!("it is of document {:?}, not of {id:?}", info.id)));
    }
    Ok(Some(info))
}

/// Chunks of a document, the range cut to those it has; or the first of their rows that the view does not have.
pub(crate) fn chunks_of(
    view: &View,
    info: &DocumentInfo,
    chunk_idx: &Range<u32>,
) -> Result<Result<Vec<StoredChunk>, u64>> {
    let end = chunk_idx.end.min(info.n_chunks);
    let start = chunk_idx.start.min(end);
    let row = |chunk_idx: u32| info.first_row.saturating_add(u64::from(chunk_idx));
    let found = view.chunks(row(start)..row(end))?;
    // With damaged ids a segment gives chunks of another document.
    let is_its =
        |(chunk, idx): (&StoredChunk, u32)| chunk.document == info.id && chunk.chunk_idx == idx;
    if found.iter().flatten().zip(start..).all(is_its) {
        return Ok(found);
    }
    let what = format!("the segment with document {:?}", shorten(&info.id));
    Err(Error::corrupt(what, "it has other rows in the place of the document's"))
}

/// Reads the record of the next row.
pub(crate) fn decode_next_row(key: &Key, payload: &[u8]) -> Result<u64> {
    let bytes = payload
        .try_into()
        .map_err(|_| Error::corrupt(key, format!("it has {} bytes, not 8", payload.len())))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Encodes a collection's record.
pub(crate) fn encode_collection(name: &str, space: &Space) -> Vec<u8> {
    record::encode(&CollectionRecord { name: name.to_owned(), space: space.clone() })
}
