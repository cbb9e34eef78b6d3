//! Changes: put, touch, delete, create, roots. One writer at a time; each returns once the change is on disk.
//!
//! A call is cut into batches of about [`BATCH_BYTES`], so that memory and free space stay bounded. A document is always
//! whole in one batch: after a crash, or an error in the middle of a call, each document of the call is there whole, or
//! still as it was before.

use std::collections::HashSet;
use std::sync::Arc;

use crate::collection::{self, Change, Collection, CollectionRecord, Ledger};
use crate::disk::{self, Need};
use crate::document::{Chunk, Document, DocumentInfo, MAX_ID_BYTES, Source, shorten};
use crate::error::{Error, Result, RowProblem};
use crate::filter::fields::{self, Fields, MAX_META_DEPTH};
use crate::lexicon::{Lexicon, RowWords};
use crate::records::key::{self, Key};
use crate::records::record::{self, MAX_PAYLOAD_BYTES};
use crate::records::tree::Batch;
use crate::row::{self, Run};
use crate::search::view::View;
use crate::space::Space;
use crate::store::{Store, Writer};

/// A batch is closed once it holds this many bytes.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// A batch of removals is closed after this many documents.
const BATCH_REMOVALS: usize = 1024;
/// Longest name of a collection.
const MAX_NAME_CHARS: usize = 64;

impl Store {
    /// Creates a collection; does nothing if it exists in the same space.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Width`], [`Error::Narrow`]; [`Error::Space`] if it exists in another space; errors of the disk.
    pub fn create(&self, collection: &str, space: &Space) -> Result<()> {
        check_name(collection)?;
        space.check_codes()?;
        let mut writer = self.writer();
        if let Some(existing) = self.find(collection) {
            if existing.space().agrees_with(space) && existing.space().has_codes_of(space) {
                return Ok(());
            }
            return Err(existing.is_of_another_space(space));
        }
        let number = writer.next_collection;
        let mut batch = Batch::default();
        let payload = collection::encode_collection(collection, space);
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::Name { name: shorten(collection) });
        }
        batch.put(&Key::Collection { number }, &payload);
        disk::require(self.dir(), Need::Batch(batch.n_bytes()))?;
        self.tree().apply(batch)?;
        writer.next_collection += 1;
        writer.ledgers.insert(number, Ledger::default());
        let record = CollectionRecord { name: collection.to_owned(), space: space.clone() };
        let lexicon = Lexicon::new(self.dir(), number, collection);
        let view = View::new(Vec::new(), Vec::new(), lexicon);
        self.insert(Arc::new(Collection::new(number, record, view)));
        self.publish(&writer)
    }

    /// Stores documents; one with the id of a stored document replaces it. Of several with one id the last counts.
    ///
    /// When it returns `Ok`, all are on disk and found by searches. On an error, each is stored whole or not at all.
    /// When 32 Ki rows are unsealed they are sealed in the background, or here if there is no
    /// [maintenance](crate::Maintenance); at twice as many this waits for it.
    ///
    /// # Errors
    /// [`Error::Document`] and [`Error::Row`], before anything is written (but for a document with a record above 64 MiB,
    /// which is met on the way); [`Error::DiskFull`] and errors of the disk.
    pub fn put(&self, collection: &str, documents: &[Document]) -> Result<()> {
        let space = self.collection(collection)?.space();
        self.put_of(collection, &space, documents)
    }

    /// As [`put`](Store::put), with vectors of this space.
    ///
    /// # Errors
    /// [`Error::Space`] if the collection is in another one by now; as [`put`](Store::put).
    pub fn put_of(&self, collection: &str, space: &Space, documents: &[Document]) -> Result<()> {
        for document in documents {
            document.check(space)?;
        }
        let mut seen = HashSet::new();
        let mut last_of_each: Vec<&Document> =
            documents.iter().rev().filter(|document| seen.insert(document.id.as_str())).collect();
        last_of_each.reverse();
        let mut left = last_of_each.as_slice();
        while !left.is_empty() {
            self.make_room(&*self.collection(collection)?)?;
            left = self.put_batch(collection, space, left)?;
        }
        let collection = self.collection(collection)?;
        if !self.look_after(&collection) {
            self.make_room(&collection)?;
        }
        Ok(())
    }

    /// Stores as many of these documents as are one batch; returns the others.
    fn put_batch<'a>(
        &self,
        collection: &str,
        space: &Space,
        documents: &'a [&'a Document],
    ) -> Result<&'a [&'a Document]> {
        let (mut writer, collection) = self.to_change(collection)?;
        if !space.agrees_with(&collection.space()) {
            return Err(collection.is_of_another_space(space));
        }
        let ledger = writer.ledger(&collection);
        let mut change = Change::new(ledger);
        let mut left = documents;
        while let Some((document, rest)) = left.split_first() {
            let info = DocumentInfo::new(document, change.next_row);
            self.put_one(&mut change, &collection, ledger, info, &document.chunks)?;
            left = rest;
            if change.batch.n_bytes() >= BATCH_BYTES {
                break;
            }
        }
        if let Some(successor) = collection.successor() {
            let put = &documents[..documents.len() - left.len()];
            let ids: Vec<_> = put.iter().map(|document| document.id.clone()).collect();
            self.delete_rows(&mut writer, &successor, &ids)?;
        }
        self.commit(change, &collection, writer.ledger(&collection))?;
        Ok(left)
    }

    /// Adds a document to a change, in the place of one with its id; its first row is the change's next.
    pub(crate) fn put_one(
        &self,
        change: &mut Change,
        collection: &Collection,
        ledger: &Ledger,
        info: DocumentInfo,
        chunks: &[Chunk],
    ) -> Result<()> {
        let number = collection.number;
        if let Some(old) = collection::read_document(self.tree(), number, &info.id)? {
            change.retire(self.tree(), collection, ledger, &old)?;
        }
        change.batch.put(&Key::document(number, &info.id), &info.encode()?);
        let mut run = Run::new(change.next_row, &collection.space());
        let mut words = Vec::new();
        for (chunk_idx, (chunk, row)) in chunks.iter().zip(change.next_row..).enumerate() {
            let row_info = row::encode_info(&info.id, chunk_idx as u32, chunk);
            let payload = row::encode_row(&row_info, chunk.vector.values());
            if payload.len() > MAX_PAYLOAD_BYTES {
                let problem = format!(
                    "chunk {chunk_idx} has {} bytes, {MAX_PAYLOAD_BYTES} is the most",
                    payload.len()
                );
                return Err(Error::Document { id: shorten(&info.id), problem });
            }
            change.batch.put(&Key::Row { collection: number, row }, &payload);
            run.push(&row_info, chunk.vector.values());
            let title = info.title.as_deref();
            words.push(Arc::new(RowWords::new(row, title, &chunk.headings, &chunk.text)));
        }
        run.describe(&Fields::of_document(&info))?;
        change.add(run, words);
        Ok(())
    }

    /// Gives stored documents new stat stamps, for files whose content did not change. Unknown ids are skipped. What
    /// filters know as `time` and `indexed` stays; path and kind are to be those of the stored source.
    ///
    /// # Errors
    /// Errors of the disk; [`Error::Corrupt`] if a document's record is damaged.
    pub fn touch(&self, collection: &str, sources: &[(String, Source)]) -> Result<()> {
        let (mut writer, collection) = self.to_change(collection)?;
        if let Some(successor) = collection.successor() {
            self.touch_all(&mut writer, &successor, sources)?;
        }
        self.touch_all(&mut writer, &collection, sources)
    }

    fn touch_all(
        &self,
        writer: &mut Writer,
        collection: &Collection,
        sources: &[(String, Source)],
    ) -> Result<()> {
        let ledger = writer.ledger(collection);
        let mut change = Change::new(ledger);
        for (id, source) in sources {
            let Some(old) = collection::read_document(self.tree(), collection.number, id)? else {
                continue;
            };
            let key = Key::document(collection.number, id);
            for stored in self.tree().stored_keys(key..=key)? {
                change.batch.remove_stored(stored);
            }
            let info = DocumentInfo { source: Some(source.clone()), ..old };
            change.batch.put(&key, &info.encode()?);
            if change.batch.n_bytes() >= BATCH_BYTES {
                self.commit(change, collection, ledger)?;
                change = Change::new(ledger);
            }
        }
        self.commit(change, collection, ledger)
    }

    /// Deletes documents and returns how many of them existed.
    ///
    /// # Errors
    /// Errors of the disk; [`Error::Corrupt`] if a document's record is damaged.
    pub fn delete(&self, collection: &str, ids: &[String]) -> Result<usize> {
        let (mut writer, collection) = self.to_change(collection)?;
        self.delete_all(&mut writer, &collection, ids)
    }

    /// Deletes documents; the caller holds the writer's mutex.
    pub(crate) fn delete_all(
        &self,
        writer: &mut Writer,
        collection: &Collection,
        ids: &[String],
    ) -> Result<usize> {
        if let Some(successor) = collection.successor() {
            self.delete_rows(writer, &successor, ids)?;
        }
        let n_deleted = self.delete_rows(writer, collection, ids)?;
        // Though none of its rows was sealed, a document may be in a segment as it was before it was replaced.
        if n_deleted > 0 && !collection.view().sealed().is_empty() {
            self.publish(writer)?;
        }
        self.look_after(collection);
        Ok(n_deleted)
    }

    /// Deletes documents of this collection, or of a successor, alone.
    pub(crate) fn delete_rows(
        &self,
        writer: &mut Writer,
        collection: &Collection,
        ids: &[String],
    ) -> Result<usize> {
        let ledger = writer.ledger(collection);
        let mut n_deleted = 0;
        // An id given twice counts once: within a batch by the set, after it because its record is gone.
        for ids in ids.chunks(BATCH_REMOVALS) {
            let mut change = Change::new(ledger);
            for id in ids.iter().collect::<HashSet<_>>() {
                if let Some(old) = collection::read_document(self.tree(), collection.number, id)? {
                    change.retire(self.tree(), collection, ledger, &old)?;
                    n_deleted += 1;
                }
            }
            disk::require(self.dir(), Need::Removal(change.batch.n_bytes()))?;
            change.commit(self.tree(), collection, ledger)?;
        }
        Ok(n_deleted)
    }

    /// The root folders that were indexed into a collection, in order.
    ///
    /// # Errors
    /// Errors of the disk; [`Error::Corrupt`] if a record is damaged.
    pub fn roots(&self, collection: &str) -> Result<Vec<String>> {
        let collection = self.collection(collection)?;
        let mut roots = Vec::new();
        self.tree().scan(
            &key::prefix(collection.number, key::Tag::Root),
            &mut |key, payload| {
                roots.push(record::decode::<String>(key, &payload?)?);
                Ok(())
            },
        )?;
        roots.sort();
        Ok(roots)
    }

    /// Notes that a root folder is indexed into a collection.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn add_root(&self, collection: &str, root: &str) -> Result<()> {
        let (_writer, collection) = self.to_change(collection)?;
        let mut batch = Batch::default();
        batch.put(&Key::root(collection.number, root), &record::encode(&root.to_owned()));
        disk::require(self.dir(), Need::Batch(batch.n_bytes()))?;
        self.tree().apply(batch)
    }

    /// Forgets a root folder; its documents stay.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn remove_root(&self, collection: &str, root: &str) -> Result<()> {
        let (_writer, collection) = self.to_change(collection)?;
        let key = Key::root(collection.number, root);
        let mut batch = Batch::default();
        for stored in self.tree().stored_keys(key..=key)? {
            batch.remove_stored(stored);
        }
        disk::require(self.dir(), Need::Removal(0))?;
        self.tree().apply(batch)
    }

    pub(crate) fn commit(
        &self,
        change: Change,
        collection: &Collection,
        ledger: &mut Ledger,
    ) -> Result<()> {
        disk::require(self.dir(), Need::Batch(change.batch.n_bytes()))?;
        change.commit(self.tree(), collection, ledger)?;
        if collection.view().lexicon().is_due() {
            collection.commit_lexicon();
        }
        Ok(())
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(good) {
        return Err(Error::Name { name: shorten(name) });
    }
    Ok(())
}

impl Document {
    /// Checks all that [`Store::put`] asks of a document of this space but the size of its records.
    ///
    /// # Errors
    /// [`Error::Document`] for its id and its metadata; [`Error::Row`] for a vector.
    pub fn check(&self, space: &Space) -> Result<()> {
        let problem = if self.id.is_empty() {
            "its id is empty".to_owned()
        } else if self.id.len() > MAX_ID_BYTES {
            format!("its id has {} bytes, {MAX_ID_BYTES} is the most", self.id.len())
        } else if self.chunks.len() > u32::MAX as usize {
            format!("it has {} chunks", self.chunks.len())
        } else if fields::is_too_deep(&self.meta) {
            format!("its metadata is nested more than {MAX_META_DEPTH} deep; flatten it")
        } else {
            return check_chunks(&self.id, &self.chunks, space);
        };
        Err(Error::Document { id: shorten(&self.id), problem })
    }
}

/// Checks the vectors of a document's chunks.
pub(crate) fn check_chunks(id: &str, chunks: &[Chunk], space: &Space) -> Result<()> {
    for (chunk_idx, chunk) in chunks.iter().enumerate() {
        space.check_kept(chunk.vector.values()).map_err(|problem| {
            let of = format!("chunk {chunk_idx} of document {:?}", shorten(id));
            Error::Row { of, problem }
        })?;
    }
    Ok(())
}

/// Checks that a vector is as wide as its space and finite.
pub(crate) fn check_vector(
    mut values: impl ExactSizeIterator<Item = f32>,
    expected: usize,
) -> Result<(), RowProblem> {
    let found = values.len();
    if found != expected {
        return Err(RowProblem::Width { found, expected });
    }
    match values.position(|value| !value.is_finite()) {
        Some(position) => Err(RowProblem::NotFinite { position }),
        None => Ok(()),
    }
}
