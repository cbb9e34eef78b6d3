//! The full check: every record, every byte of every segment, and whether they agree. And repair of what can be repaired.
//!
//! Opening looks at headers only and leaves out what is damaged. This reads all of it, in an order in which each step may
//! rely on the ones before: segments that could not be opened, segments, records, documents against rows, tombstones,
//! files.

mod documents;

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::sync::Arc;

use crate::collection::{self, Change, Collection};
use crate::disk::{self, Need, PART_SUFFIX};
use crate::document::DocumentInfo;
use crate::error::{Result, io};
use crate::link;
use crate::reader::manifest;
use crate::records::key::{self, Key, Tag};
use crate::records::record;
use crate::records::tree::Batch;
use crate::repair::rebuild::Documents;
use crate::repair::salvage::{Salvage, salvage};
use crate::row;
use crate::search::view::View;
use crate::segments::draft::SUFFIX;
use crate::segments::merge;
use crate::segments::sealed::{Sealed, SegmentRecord};
use crate::store::{Store, Writer};
use crate::successor;

/// Something that a full check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The record or file.
    pub what: String,
    /// The collection that it is of, if that is known.
    pub collection: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What can be done, and what a repair does.
    pub remedy: String,
    /// Documents that must be indexed, or embedded, again.
    pub documents: Vec<String>,
    /// True if it was repaired just now.
    pub repaired: bool,
}

impl Store {
    /// Checks everything, and with `repair` repairs what can be. An empty list says that all is well.
    ///
    /// Reads every byte of the database. Searches go on meanwhile, writers wait. A repair removes what cannot be read: where
    /// there is a backup that holds it, restoring it is better.
    ///
    /// # Errors
    /// Errors of the disk. Damage is no error, it is a finding.
    pub fn check(&self, repair: bool) -> Result<Vec<Finding>> {
        // A segment that is being made is in no record yet.
        let (_merging, _sealing) = (self.merging(), self.sealing());
        let mut writer = self.writer();
        let mut findings = Vec::new();
        let mut all_known = true;
        self.tree().scan(&key::collections(), &mut |key, payload| {
            let Key::Collection { number } = key else { return Ok(()) };
            let is_used = self.all().iter().any(|collection| collection.number == number);
            if let Err(error) = payload
                && !is_used
            {
                all_known = false;
                findings.push(Finding {
                    what: key.to_string(),
                    collection: None,
                    problem: error.to_string(),
                    remedy: "restore a backup; the other collections work".to_owned(),
                    documents: Vec::new(),
                    repaired: false,
                });
            }
            Ok(())
        })?;
        for collection in self.all() {
            let (store, writer) = (self, &mut *writer);
            let mut check = Check { store, writer, collection, repair, findings };
            check.run()?;
            findings = check.findings;
        }
        for collection in self.all() {
            findings.extend(self.check_successor(&mut writer, &collection, repair)?);
        }
        if all_known {
            self.check_files(&writer, repair, &mut findings)?;
        }
        if let Err(error) = manifest::read(self.dir()) {
            findings.push(Finding {
                what: format!("file {}", manifest::FILE_NAME),
                collection: None,
                problem: error.to_string(),
                remedy: "a repair writes it anew; only readers in other processes need it"
                    .to_owned(),
                documents: Vec::new(),
                repaired: repair,
            });
        }
        if repair {
            self.publish(&writer)?;
            merge::sweep(self, &mut writer);
            if findings.iter().all(|finding| finding.repaired) {
                self.forget_warnings();
                self.maintenance().forget_all();
            }
        }
        Ok(findings)
    }

    /// Looks at what is built of a collection in another space. Any damage is reason enough to build it anew.
    fn check_successor(
        &self,
        writer: &mut Writer,
        collection: &Collection,
        repair: bool,
    ) -> Result<Option<Finding>> {
        let mut problem = None;
        for (_, space) in successor::read(self.tree(), collection.number)? {
            problem = match (space, collection.successor()) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(_), None) => Some("it could not be opened".to_owned()),
                (Ok(_), Some(built)) => {
                    let (store, findings) = (self, Vec::new());
                    let (collection, writer) = (built, &mut *writer);
                    let mut check = Check { store, writer, collection, repair: false, findings };
                    check.run()?;
                    check.findings.first().map(|found| format!("{}: {}", found.what, found.problem))
                }
            };
        }
        let Some(problem) = problem else { return Ok(None) };
        if repair {
            self.give_up(writer, collection)?;
        }
        Ok(Some(Finding {
            what: format!("the new space of collection {}", collection.name),
            collection: Some(collection.name.clone()),
            problem,
            remedy: "the old space does not need it: a repair gives it up, and reembed begins anew"
                .to_owned(),
            documents: Vec::new(),
            repaired: repair,
        }))
    }

    /// Files in the folder of segments that belong to nothing.
    fn check_files(
        &self,
        writer: &Writer,
        repair: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        let mut named: BTreeSet<String> = writer.retired.names().map(str::to_owned).collect();
        let all = self.all();
        let successors = all.iter().filter_map(|collection| collection.successor());
        for collection in all.iter().cloned().chain(successors) {
            let prefix = key::prefix(collection.number, Tag::Segment);
            let mut is_known = true;
            self.tree().scan(&prefix, &mut |key, payload| {
                match payload.and_then(|p| record::decode::<SegmentRecord>(key, &p)) {
                    Ok(record) => is_known &= named.insert(record.name),
                    Err(_) => is_known = false,
                }
                Ok(())
            })?;
            if !is_known {
                return Ok(());
            }
        }
        let dir = self.segments_dir();
        for name in disk::names_in(&dir)? {
            let is_ours = name.ends_with(SUFFIX) || name.ends_with(PART_SUFFIX);
            if !is_ours || named.contains(&name) {
                continue;
            }
            if repair {
                let path = dir.join(&name);
                fs::remove_file(&path).map_err(io("remove", &path))?;
            }
            findings.push(Finding {
                what: format!("file segments/{name}"),
                collection: None,
                problem: "no record names it".to_owned(),
                remedy: "it does no harm; a repair, or the next opening, removes it".to_owned(),
                documents: Vec::new(),
                repaired: repair,
            });
        }
        Ok(())
    }
}

/// The check of one collection.
struct Check<'a> {
    store: &'a Store,
    writer: &'a mut Writer,
    collection: Arc<Collection>,
    repair: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn run(&mut self) -> Result<()> {
        self.lost_segments()?;
        self.segments()?;
        self.records()?;
        self.documents()?;
        self.tombstones()
    }

    fn number(&self) -> u32 {
        self.collection.number
    }

    fn report(
        &mut self,
        what: impl ToString,
        problem: impl ToString,
        remedy: &str,
    ) -> &mut Finding {
        self.findings.push(Finding {
            what: what.to_string(),
            collection: Some(self.collection.name.clone()),
            problem: problem.to_string(),
            remedy: remedy.to_owned(),
            documents: Vec::new(),
            repaired: self.repair,
        });
        self.findings.last_mut().expect("one was just pushed")
    }

    /// Segments that could not be opened: a record that is lost is written again if its file is found.
    fn lost_segments(&mut self) -> Result<()> {
        let dir = self.store.segments_dir();
        for first_row in self.writer.ledger(&self.collection).lost.clone() {
            let key = Key::Segment { collection: self.number(), first_row };
            let payload = self.store.tree().get(&key);
            let read = payload
                .and_then(|p| p.map(|p| record::decode::<SegmentRecord>(key, &p)).transpose());
            let found = match &read {
                Ok(Some(record)) => {
                    Sealed::adopt(&dir, &record.name, first_row, &self.collection.space())
                }
                _ => disk::names_in(&dir)?
                    .into_iter()
                    .filter(|name| name.ends_with(SUFFIX))
                    .find_map(|name| {
                        Sealed::adopt(&dir, &name, first_row, &self.collection.space())
                    }),
            };
            let problem = match read {
                Ok(Some(record)) => {
                    let opened = Sealed::open(&dir, record, &self.collection.space());
                    opened.err().map_or_else(
                        || "it was not there when opening".to_owned(),
                        |e| e.to_string(),
                    )
                }
                Ok(None) => continue,
                Err(error) => error.to_string(),
            };
            let remedy = match found {
                Some(_) => "its file is whole: the record is written again",
                None => {
                    "restore a backup; a repair gives the segment up and names its documents below"
                }
            };
            self.report(key, problem, remedy);
            if self.repair {
                let mut batch = Batch::default();
                for stored in self.store.tree().stored_keys(key..=key)? {
                    batch.remove_stored(stored);
                }
                if let Some(found) = &found {
                    batch.put(&key, &record::encode(found.record()));
                }
                self.store.tree().apply(batch)?;
                let ledger = self.writer.ledger(&self.collection);
                ledger.lost.remove(&first_row);
                if let Some(found) = found {
                    let found = found.with_dead(ledger.dead_in(found.rows()));
                    self.collection.update(|view| {
                        let all = view.sealed().iter().cloned().chain([found]).collect();
                        View::new(all, view.unsealed().to_vec(), view.lexicon().clone())
                    });
                }
            }
        }
        Ok(())
    }

    /// Every byte of every segment; what is damaged is made anew from what is good.
    fn segments(&mut self) -> Result<()> {
        let view = self.collection.view();
        for sealed in view.sealed() {
            let Err(error) = sealed.verify() else { continue };
            let collection = Arc::clone(&self.collection);
            let documents = Documents::read(self.store.tree(), self.number())?;
            let ledger = self.writer.ledger(&collection);
            let Salvage { draft, without_vector, lost } =
                salvage(&collection, sealed, &documents, ledger)?;
            let remedy = match (without_vector.is_empty(), lost.is_empty()) {
                (true, true) => "nothing is lost: a repair makes the segment anew from its rows",
                (false, true) => {
                    "a repair makes it anew; embed the documents again, their texts are kept"
                }
                _ => {
                    "restore a backup; a repair makes it anew without what is damaged: index the documents again"
                }
            };
            let finding = self.report(format!("segment {}", sealed.name()), error, remedy);
            finding.documents = lost.iter().chain(&without_vector).cloned().collect();
            if self.repair {
                let is_lost = |info: &&DocumentInfo| lost.contains(&info.id);
                let lost: Vec<_> = documents.readable.iter().filter(is_lost).cloned().collect();
                self.remove(&lost)?;
                let made = draft.write(&self.store.segments_dir(), &|| false)?;
                let sources = std::slice::from_ref(sealed);
                merge::replace(self.store, self.writer, &collection, sources, made)?;
            }
        }
        Ok(())
    }

    /// Records that cannot be read, but those of documents and segments.
    fn records(&mut self) -> Result<()> {
        let (number, tree) = (self.number(), self.store.tree());
        let mut damaged: Vec<(Key, String, &str)> = Vec::new();
        tree.scan(&key::prefix(number, Tag::Row), &mut |key, payload| {
            let Key::Row { row, .. } = key else { return Ok(()) };
            let space = self.collection.space();
            let read = payload.and_then(|payload| row::decode_row(&key, &payload, &space));
            if let Err(error) = read.and_then(|(info, _)| row::decode_info(row, &info)) {
                damaged.push((key, error.to_string(), "a repair removes it, and its document"));
            }
            Ok(())
        })?;
        tree.scan(&key::prefix(number, Tag::Root), &mut |key, payload| {
            let read = payload.and_then(|payload| record::decode::<String>(key, &payload));
            if let Err(error) = read {
                let remedy = "a repair removes it; index its folder again";
                damaged.push((key, error.to_string(), remedy));
            }
            Ok(())
        })?;
        for (key, problem) in link::damaged(tree, number)? {
            damaged.push((key, problem, "a repair removes it; install the link again"));
        }
        let mut batch = Batch::default();
        for (key, problem, remedy) in damaged {
            for stored in tree.stored_keys(key..=key)? {
                batch.remove_stored(stored);
            }
            self.report(key, problem, remedy);
        }
        // What these say is known from the opening, or was worked out then.
        let blocks = self.writer.ledger(&self.collection).tombstones.keys();
        let blocks = blocks.map(|block| Key::Tombstones { collection: number, block: *block });
        let known = [Key::Collection { number }, Key::NextRow { collection: number }];
        for key in known.into_iter().chain(blocks).collect::<Vec<_>>() {
            let Err(error) = tree.get(&key) else { continue };
            self.report(key, error, "a repair writes it again: what it says is known, or follows from the other records");
            let ledger = self.writer.ledger(&self.collection);
            match key {
                Key::Tombstones { block, .. } => {
                    let bitmap = ledger.tombstones.get(&block).cloned().unwrap_or_default();
                    batch.put(&key, &bitmap.to_block());
                }
                Key::Collection { .. } => {
                    batch.put(
                        &key,
                        &collection::encode_collection(
                            &self.collection.name,
                            &self.collection.space(),
                        ),
                    );
                }
                _ => batch.put(&key, &ledger.next_row.to_le_bytes()),
            }
        }
        if self.repair && !batch.is_empty() {
            disk::require(self.store.dir(), Need::Removal(batch.n_bytes()))?;
            tree.apply(batch)?;
        }
        Ok(())
    }

    /// Tombstones of rows that are nowhere.
    fn tombstones(&mut self) -> Result<()> {
        let view = self.collection.view();
        let ledger = self.writer.ledger(&self.collection);
        // A segment that could not be opened has rows that nobody knows.
        if !ledger.lost.is_empty() {
            return Ok(());
        }
        let is_somewhere = |row: u64| view.sealed().iter().any(|sealed| sealed.find(row).is_some());
        let stray: Vec<u64> =
            ledger.dead_in(0..u64::MAX).filter(|row| !is_somewhere(*row)).collect();
        let Some(first) = stray.first() else { return Ok(()) };
        if self.repair {
            let mut batch = Batch::default();
            let blocks = ledger.clear(&stray);
            for (block, bitmap) in blocks {
                batch.put(
                    &Key::Tombstones { collection: self.collection.number, block },
                    &bitmap.to_block(),
                );
            }
            self.store.tree().apply(batch)?;
        }
        let problem =
            format!("{} of them, from row {first}, are of rows that are nowhere", stray.len());
        self.report("tombstones", problem, "they do no harm; a repair removes them");
        Ok(())
    }

    fn remove(&mut self, documents: &[DocumentInfo]) -> Result<()> {
        let (store, collection) = (self.store, Arc::clone(&self.collection));
        let ledger = self.writer.ledger(&collection);
        let mut change = Change::new(ledger);
        for info in documents {
            change.retire(store.tree(), &collection, ledger, info)?;
        }
        change.commit(store.tree(), &collection, ledger)
    }

    fn remove_rows(&mut self, rows: impl Iterator<Item = Range<u64>>) -> Result<()> {
        let (store, collection) = (self.store, Arc::clone(&self.collection));
        let ledger = self.writer.ledger(&collection);
        let mut change = Change::new(ledger);
        for rows in rows {
            change.drop_rows(store.tree(), &collection, ledger, rows)?;
        }
        change.commit(store.tree(), &collection, ledger)
    }
}

#[cfg(test)]
mod tests;
