//! A collection's successor: the same documents in another space, built beside it and then in its place.
//!
//! It is a collection under a number of its own to which no name leads, with rows, segments and a lexicon as others have.
//! How far it is, is what it holds: a document in it is the one that the collection has, and is never looked at again. For
//! that, what is put, deleted or touched in the collection leaves the successor, or is touched there, *before* that;
//! a crash in between costs the embedding of a document and nothing else. So the collection can be searched and changed
//! all the time, and a run that was killed goes on with what is missing.
//!
//! When nothing is missing, all rows are sealed and every byte is read once; then one batch gives the name to the
//! successor's number and drops the old one. Dropping is a record of its own (`STORE.md`): what is under a dropped number is
//! removed afterwards, by this process or by the next opening, and its files as those of merged segments are.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use index::Vector;

use crate::collection::{self, Change, Collection, CollectionRecord, Ledger};
use crate::disk::{self, Need};
use crate::document::{Chunk, DocumentInfo};
use crate::error::{Error, Result};
use crate::lexicon::{LEXICON_DIR, Lexicon};
use crate::records::key::{self, Key, Tag};
use crate::records::record;
use crate::records::tree::{Batch, Tree};
use crate::search::view::View;
use crate::segments::{draft, merge, seal};
use crate::space::Space;
use crate::store::{Store, Writer};
use crate::write::{BATCH_BYTES, check_chunks};

/// Keys of a dropped number that are removed in one batch.
const PURGED_KEYS: usize = 4096;

/// How far a collection is in another space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessorStatus {
    /// The other space.
    pub space: Space,
    /// Documents that are there.
    pub documents: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Segments that hold chunks already.
    pub segments: usize,
    /// Bytes of the files of these segments.
    pub bytes: u64,
}

/// What came of finishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The collection is in the new space. Its links, which were made for the old one, are gone.
    Swapped {
        /// How many there were.
        n_links: usize,
    },
    /// Documents are missing: some were put meanwhile.
    Pending,
    /// It was cancelled; all that was built is kept.
    Cancelled,
}

/// A collection being built in another space. Two of the same collection and space build the same one.
#[derive(Debug)]
pub struct Successor<'a> {
    store: &'a Store,
    name: String,
    space: Space,
    /// Of the collection, and of what is built.
    numbers: (u32, u32),
}

impl Store {
    /// Begins to build a collection in another space, or goes on where that was left. What was built in a third one is
    /// given up.
    ///
    /// # Errors
    /// [`Error::NoCollection`], [`Error::Width`]; [`Error::Given`] if a model made none of the vectors;
    /// [`Error::Superseded`] if the collection is in this space; [`Error::DiskFull`] if there is no room for its rows a
    /// second time; errors of the disk.
    pub fn begin_successor(&self, collection: &str, space: &Space) -> Result<Successor<'_>> {
        space.check_codes()?;
        let (mut writer, collection) = self.to_change(collection)?;
        if !(collection.space().has_model() && space.has_model()) {
            return Err(Error::Given { collection: collection.name.clone() });
        }
        if collection.space().agrees_with(space) {
            return Err(superseded(&collection.name, space));
        }
        let known = collection.successor().filter(|known| known.space().agrees_with(space));
        self.require_room(&collection, known.as_deref(), space)?;
        let number = match known {
            Some(known) => {
                if !known.space().has_codes_of(space) {
                    let key =
                        Key::Successor { collection: collection.number, number: known.number };
                    self.write_space(&key, space)?;
                    known.set_space(space.clone());
                }
                known.number
            }
            None => self.create_successor(&mut writer, &collection, space)?,
        };
        Ok(Successor {
            store: self,
            name: collection.name.clone(),
            space: space.clone(),
            numbers: (collection.number, number),
        })
    }

    /// Gives up what was built of a collection in another space, and its room on the disk; false if there was nothing.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; errors of the disk.
    pub fn drop_successor(&self, collection: &str) -> Result<bool> {
        let (mut writer, collection) = self.to_change(collection)?;
        self.give_up(&mut writer, &collection)
    }

    fn create_successor(
        &self,
        writer: &mut Writer,
        collection: &Collection,
        space: &Space,
    ) -> Result<u32> {
        self.give_up(writer, collection)?;
        let number = writer.next_collection;
        self.write_space(&Key::Successor { collection: collection.number, number }, space)?;
        writer.next_collection += 1;
        writer.ledgers.insert(number, Ledger::default());
        let record = CollectionRecord { name: collection.name.clone(), space: space.clone() };
        let lexicon = Lexicon::new(self.dir(), number, &collection.name);
        let view = View::new(Vec::new(), Vec::new(), lexicon);
        collection.set_successor(Some(Arc::new(Collection::new(number, record, view))));
        Ok(number)
    }

    fn write_space(&self, key: &Key, space: &Space) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(key, &record::encode(space));
        disk::require(self.dir(), Need::Batch(batch.n_bytes()))?;
        self.tree().apply(batch)
    }

    /// Refuses to begin what would not fit: the rows that are still to be embedded, as they will lie in segments.
    fn require_room(
        &self,
        collection: &Collection,
        built: Option<&Collection>,
        space: &Space,
    ) -> Result<()> {
        let view = collection.view();
        let n_rows = view.n_live_before(u64::MAX);
        let n_built = built.map_or(0, |built| built.view().n_live_before(u64::MAX));
        let n_left = n_rows.saturating_sub(n_built);
        let text_bytes: usize = view.sealed().iter().map(|sealed| sealed.text_bytes()).sum();
        let text_bytes = text_bytes as u64 * n_left as u64 / n_rows.max(1) as u64;
        let n_bytes = draft::estimate_bytes(space, n_left, text_bytes as usize);
        disk::require(self.dir(), Need::File(n_bytes))
    }

    /// The state of what is built of a collection, if anything is.
    pub(crate) fn successor_status(
        &self,
        collection: &Collection,
    ) -> Result<Option<SuccessorStatus>> {
        let Some(built) = collection.successor() else { return Ok(None) };
        let documents = self.tree().count(&key::prefix(built.number, Tag::Document))?;
        let view = built.view();
        Ok(Some(SuccessorStatus {
            space: built.space().as_ref().clone(),
            documents,
            chunks: view.n_live_before(u64::MAX),
            segments: view.sealed().len(),
            bytes: view.sealed().iter().map(|sealed| sealed.n_bytes()).sum(),
        }))
    }

    /// As [`Store::drop_successor`], under the writer's mutex.
    pub(crate) fn give_up(&self, writer: &mut Writer, collection: &Collection) -> Result<bool> {
        let (mut batch, mut numbers) = (Batch::default(), Vec::new());
        for (number, _) in read(self.tree(), collection.number)? {
            let key = Key::Successor { collection: collection.number, number };
            self.tree().stored_keys(key..=key)?.into_iter().for_each(|k| batch.remove_stored(k));
            batch.put(&Key::Dropped { number }, &[]);
            numbers.push(number);
        }
        if numbers.is_empty() {
            return Ok(false);
        }
        disk::require(self.dir(), Need::Removal(batch.n_bytes()))?;
        self.tree().apply(batch)?;
        let built = collection.successor();
        collection.set_successor(None);
        self.clear_away(writer, built, &numbers);
        Ok(true)
    }

    /// Removes the files and records of dropped numbers. What cannot be removed now is by the next opening.
    fn clear_away(&self, writer: &mut Writer, dropped: Option<Arc<Collection>>, numbers: &[u32]) {
        if let Some(dropped) = dropped {
            for sealed in dropped.view().sealed() {
                writer.retired.add(sealed.name(), Arc::clone(sealed.segment()));
            }
        }
        merge::sweep(self, writer);
        let purge = |number: &u32| purge(self.dir(), self.tree(), *number);
        if let Err(error) = numbers.iter().try_for_each(purge).and_then(|()| self.tree().shrink()) {
            self.warn(format!("the next opening gives the room of an old space back: {error}"));
        }
        numbers.iter().for_each(|number| drop(writer.ledgers.remove(number)));
    }
}

impl Successor<'_> {
    /// The ids of the documents that are still missing in it, in the order of their rows, each with its number of chunks.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Corrupt`] if a document's record is damaged; errors of the disk.
    pub fn pending(&self) -> Result<Vec<(String, u32)>> {
        let (collection, built) = self.find()?;
        let built = self.ids(&built)?;
        let mut pending = Vec::new();
        self.scan_documents(&collection, &mut |info| {
            if !built.contains(&info.id) {
                pending.push((info.first_row, info.id, info.n_chunks));
            }
        })?;
        pending.sort();
        Ok(pending.into_iter().map(|(_, id, n_chunks)| (id, n_chunks)).collect())
    }

    /// How many documents and chunks are there already.
    ///
    /// # Errors
    /// [`Error::Superseded`]; errors of the disk.
    pub fn status(&self) -> Result<SuccessorStatus> {
        let (collection, _) = self.find()?;
        let status = self.store.successor_status(&collection)?;
        status.ok_or_else(|| superseded(&self.name, &self.space))
    }

    /// The row of each chunk hash in it, as [`Store::chunk_rows`].
    ///
    /// # Errors
    /// [`Error::Superseded`]; as [`Store::chunk_rows`].
    pub fn chunk_rows(&self) -> Result<HashMap<[u8; 16], u64>> {
        self.find()?.1.view().chunk_rows()
    }

    /// The vector of a row in it.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub fn vector(&self, row: u64) -> Result<Option<Vector>> {
        Ok(self.find()?.1.view().vector(row))
    }

    /// The precision that the vector of a row in it was made in.
    ///
    /// # Errors
    /// [`Error::Superseded`]; as [`Store::precision`].
    pub fn precision(&self, row: u64) -> Result<Option<String>> {
        self.find()?.1.view().precision(row)
    }

    /// Puts documents, each as the collection has it and with its chunks in the new space. Returns the first row of each;
    /// none for one that is no longer as it is given: that one is pending again, or gone.
    ///
    /// # Errors
    /// [`Error::Superseded`]; else as [`Store::put`].
    pub fn put(&self, documents: &[(DocumentInfo, Vec<Chunk>)]) -> Result<Vec<Option<u64>>> {
        for (info, chunks) in documents {
            check_chunks(&info.id, chunks, &self.space)?;
        }
        let (mut writer, collection, built) = self.find_to_change()?;
        let (store, ledger) = (self.store, writer.ledger(&built));
        let mut change = Change::new(ledger);
        let (mut seen, mut rows) = (HashSet::new(), Vec::with_capacity(documents.len()));
        for (info, chunks) in documents {
            let now = collection::read_document(store.tree(), collection.number, &info.id)?;
            if now.as_ref() != Some(info) || !seen.insert(&info.id) {
                rows.push(None);
                continue;
            }
            let (first_row, n_chunks) = (change.next_row, chunks.len() as u32);
            rows.push(Some(first_row));
            let info = DocumentInfo { first_row, n_chunks, ..info.clone() };
            store.put_one(&mut change, &built, ledger, info, chunks)?;
            if change.batch.n_bytes() >= BATCH_BYTES {
                store.commit(change, &built, ledger)?;
                change = Change::new(ledger);
            }
        }
        store.commit(change, &built, ledger)?;
        drop(writer);
        // Maintenance does not know it.
        if built.view().n_unsealed() >= store.maintenance().seal_rows() {
            let _sealing = store.sealing();
            seal::seal(store, &built, &|| false)?;
        }
        Ok(rows)
    }

    /// If no document is missing, puts the new space in the place of the old one; room on the disk is given back.
    ///
    /// Searches and writers go on in the old space, and then in the new one.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Successor`] if what was built is damaged; [`Error::DiskFull`] and errors of the
    /// disk. The collection stays as it is, unless the error came when it was swapped already.
    pub fn finish(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Finished> {
        loop {
            let (_, built) = self.find()?;
            let sealing = self.store.sealing();
            seal::seal(self.store, &built, cancelled)?;
            drop(sealing);
            let sound = match self.store.merge_all(&built, cancelled) {
                // Many segments are searched as one is, if slower; once the old space is gone there may be room.
                Err(Error::DiskFull { .. }) => Ok(()),
                merged => merged,
            };
            let verify = || built.view().sealed().iter().try_for_each(|sealed| sealed.verify());
            match sound.and_then(|()| verify()) {
                Err(error) if error.is_corruption() => {
                    drop(built);
                    self.store.drop_successor(&self.name)?;
                    let (collection, problem) = (self.name.clone(), error.to_string());
                    return Err(Error::Successor { collection, problem });
                }
                sound => sound?,
            }
            if cancelled() {
                return Ok(Finished::Cancelled);
            }
            let (mut writer, collection, built) = self.find_to_change()?;
            if built.view().n_unsealed() == 0 {
                return self.take_place(&mut writer, collection, built);
            }
        }
    }

    fn take_place(
        &self,
        writer: &mut Writer,
        collection: Arc<Collection>,
        built: Arc<Collection>,
    ) -> Result<Finished> {
        let store = self.store;
        let (wanted, found) = (self.ids(&collection)?, self.ids(&built)?);
        if !wanted.is_subset(&found) {
            return Ok(Finished::Pending);
        }
        // A repair takes documents out of the collection alone.
        let stray: Vec<String> = found.difference(&wanted).cloned().collect();
        store.delete_rows(writer, &built, &stray)?;

        let (tree, number) = (store.tree(), collection.number);
        let n_links = tree.count(&key::prefix(number, Tag::Link))?;
        let mut batch = Batch::default();
        for key in [
            Key::Collection { number },
            Key::Successor { collection: number, number: built.number },
        ] {
            tree.stored_keys(key..=key)?.into_iter().for_each(|key| batch.remove_stored(key));
        }
        batch.put(&Key::Dropped { number }, &[]);
        let record = collection::encode_collection(&self.name, &built.space());
        batch.put(&Key::Collection { number: built.number }, &record);
        tree.scan(&key::prefix(number, Tag::Root), &mut |key, payload| {
            let path: String = record::decode(key, &payload?)?;
            batch.put(&Key::root(built.number, &path), &record::encode(&path));
            Ok(())
        })?;
        disk::require(store.dir(), Need::Batch(batch.n_bytes()))?;
        tree.apply(batch)?;
        store.insert(built);
        // Until the manifest names the new space, what the old one has must stay.
        store.publish(writer)?;
        store.clear_away(writer, Some(collection), &[number]);
        Ok(Finished::Swapped { n_links })
    }

    /// The collection and what is built of it.
    fn find(&self) -> Result<(Arc<Collection>, Arc<Collection>)> {
        let collection = self.store.collection(&self.name)?;
        match collection.successor() {
            Some(built) if (collection.number, built.number) == self.numbers => {
                Ok((collection, built))
            }
            _ => Err(superseded(&self.name, &self.space)),
        }
    }

    /// The same under the writer's mutex.
    fn find_to_change(&self) -> Result<(MutexGuard<'_, Writer>, Arc<Collection>, Arc<Collection>)> {
        let writer = self.store.writer();
        let (collection, built) = self.find()?;
        Ok((writer, collection, built))
    }

    fn ids(&self, of: &Collection) -> Result<HashSet<String>> {
        let mut ids = HashSet::new();
        self.scan_documents(of, &mut |info| {
            ids.insert(info.id);
        })?;
        Ok(ids)
    }

    fn scan_documents(&self, of: &Collection, visit: &mut dyn FnMut(DocumentInfo)) -> Result<()> {
        self.store.tree().scan(&key::prefix(of.number, Tag::Document), &mut |key, payload| {
            visit(DocumentInfo::decode(&key, &payload?)?);
            Ok(())
        })
    }
}

fn superseded(collection: &str, space: &Space) -> Error {
    Error::Superseded { collection: collection.to_owned(), space: Box::new(space.clone()) }
}

/// Under which number a collection is built, and in which space; more than one only if damage was met.
pub(crate) fn read(tree: &Tree, collection: u32) -> Result<Vec<(u32, Result<Space>)>> {
    let mut built = Vec::new();
    tree.scan(&key::prefix(collection, Tag::Successor), &mut |key, payload| {
        if let Key::Successor { number, .. } = key {
            built.push((number, payload.and_then(|payload| record::decode(key, &payload))));
        }
        Ok(())
    })?;
    Ok(built)
}

/// The numbers that were dropped and have records still.
pub(crate) fn dropped(tree: &Tree) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    tree.scan(&key::dropped(), &mut |key, _| {
        if let Key::Dropped { number } = key {
            numbers.push(number);
        }
        Ok(())
    })?;
    Ok(numbers)
}

/// Removes the records and the lexicon of a dropped number, and at last the record that says so.
pub(crate) fn purge(dir: &Path, tree: &Tree, number: u32) -> Result<()> {
    loop {
        let stored = tree.stored_below(&number.to_be_bytes(), PURGED_KEYS)?;
        let is_last = stored.is_empty();
        let mut batch = Batch::default();
        stored.into_iter().for_each(|key| batch.remove_stored(key));
        if is_last {
            disk::remove_dir(&dir.join(LEXICON_DIR).join(number.to_string()))?;
            batch.remove(&Key::Dropped { number }, 0);
        }
        disk::require(dir, Need::Removal(0))?;
        tree.apply(batch)?;
        if is_last {
            return Ok(());
        }
    }
}
