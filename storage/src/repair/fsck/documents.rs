//! Documents against rows.

use std::collections::{BTreeMap, BTreeSet};

use index::RowId;

use super::Check;
use crate::disk::{self, Need};
use crate::document::{DocumentInfo, StoredChunk, shorten};
use crate::error::Result;
use crate::records::key::Key;
use crate::records::tree::Batch;
use crate::repair::rebuild::Documents;
use crate::row;
use crate::search::view::View;
use crate::segments::listing;

/// What a walk over all live rows found.
#[derive(Default)]
struct Walk {
    /// For each document: rows that are as its record says.
    n_good: Vec<u32>,
    /// Rows of no readable record, with their documents.
    orphans: BTreeMap<u64, String>,
    /// Documents that have a row without a vector.
    without_vector: BTreeSet<String>,
    /// Rows whose information cannot be read.
    unreadable: Vec<u64>,
}

impl Check<'_> {
    /// Documents against rows: each row of each document is there once, live, and says the same.
    pub(super) fn documents(&mut self) -> Result<()> {
        let mut documents = Documents::read(self.store.tree(), self.number())?;
        let mut walk = self.walk(&documents);
        if !documents.damaged.is_empty() {
            self.damaged_documents(&documents, &walk)?;
            documents = Documents::read(self.store.tree(), self.number())?;
            walk = self.walk(&documents);
        }
        let mut lost: Vec<DocumentInfo> = Vec::new();
        for (info, n_good) in documents.readable.iter().zip(&walk.n_good) {
            if *n_good != info.n_chunks {
                let problem = format!("{n_good} of its {} rows are there", info.n_chunks);
                let what = format!("document {:?}", shorten(&info.id));
                let remedy = "restore a backup; a repair removes it: index it again";
                self.report(what, problem, remedy).documents.push(info.id.clone());
                lost.push(info.clone());
            }
        }
        for id in walk.without_vector {
            let what = format!("document {:?}", shorten(&id));
            let remedy = "embed the document again, its texts are kept";
            let finding = self.report(what, "a vector of it is lost", remedy);
            finding.documents.push(id);
            finding.repaired = false;
        }
        let of_damaged = |id: &String| documents.is_damaged(self.collection.number, id);
        let mut orphans: Vec<u64> = walk.unreadable;
        orphans.retain(|row| documents.of_row(*row).is_none());
        orphans.extend(walk.orphans.iter().filter(|(_, id)| !of_damaged(id)).map(|(row, _)| *row));
        if let Some(first) = orphans.first() {
            let problem =
                format!("{} live rows, from row {first}, are of no document", orphans.len());
            self.report("rows", problem, "a repair removes them");
        }
        if self.repair {
            self.remove(&lost)?;
            self.remove_rows(orphans.into_iter().map(|row| row..row + 1))?;
        }
        Ok(())
    }

    /// Records of documents that cannot be read: put back from the segment with their rows, or removed.
    fn damaged_documents(&mut self, documents: &Documents, walk: &Walk) -> Result<()> {
        let view = self.collection.view();
        let mut batch = Batch::default();
        let mut orphans = Vec::new();
        for (key, problem) in &documents.damaged {
            let number = self.number();
            let is_its = |(_, id): &(&u64, &String)| Key::document(number, id) == *key;
            let rows: Vec<(&u64, &String)> = walk.orphans.iter().filter(is_its).collect();
            let copy = rows.first().and_then(|(row, id)| listed(&view, id, **row));
            let remedy = match copy {
                Some(_) => "a repair puts it back as it was when it was sealed",
                None => "restore a backup; a repair removes it: index it again",
            };
            let finding = self.report(key, problem, remedy);
            if copy.is_none() {
                finding.documents.extend(rows.first().map(|(_, id)| (*id).clone()));
                orphans.extend(rows.iter().map(|(row, _)| **row));
            }
            for stored in self.store.tree().stored_keys(*key..=*key)? {
                batch.remove_stored(stored);
            }
            if let Some(copy) = copy {
                batch.put(key, &copy.encode()?);
            }
        }
        if self.repair {
            disk::require(self.store.dir(), Need::Removal(batch.n_bytes()))?;
            self.store.tree().apply(batch)?;
            self.remove_rows(orphans.into_iter().map(|row| row..row + 1))?;
        }
        Ok(())
    }

    fn walk(&self, documents: &Documents) -> Walk {
        let mut walk = Walk { n_good: vec![0; documents.readable.len()], ..Walk::default() };
        let mut visit = |row: u64, info: Result<StoredChunk>, is_lost: bool| {
            let Ok(chunk) = info else { return walk.unreadable.push(row) };
            let Some(at) = documents.of_row(row) else {
                walk.orphans.insert(row, chunk.document);
                return;
            };
            let info = &documents.readable[at];
            if chunk.document == info.id && u64::from(chunk.chunk_idx) == row - info.first_row {
                walk.n_good[at] += 1;
                if is_lost {
                    walk.without_vector.insert(chunk.document);
                }
            }
        };
        let (view, space) = (self.collection.view(), self.collection.space());
        for sealed in view.sealed() {
            let mut texts = sealed.texts();
            for position in sealed.live_rows() {
                let row = sealed.row_id(position);
                let info = match &mut texts {
                    Ok(texts) => texts.info(position.0).map_err(|problem| sealed.corrupt(problem)),
                    Err(_) => Err(sealed.corrupt("its texts cannot be read")),
                };
                let is_lost = space.is_lost(sealed.vector(position));
                visit(row, info.and_then(|info| row::decode_info(row, info)), is_lost);
            }
        }
        for run in view.unsealed() {
            for (idx, row) in run.rows().enumerate() {
                visit(row, row::decode_info(row, run.info(idx)), false);
            }
        }
        walk
    }
}

/// The copy of a document's record in the segment that has this row.
fn listed(view: &View, id: &str, row: u64) -> Option<DocumentInfo> {
    let sealed = view.sealed().iter().find(|sealed| sealed.find(row).is_some())?;
    let records = sealed.listing().ok()?.find(id).ok()?;
    let infos = records.iter().filter_map(|record| listing::decode(sealed.name(), record).ok());
    let is_live = |row: u64| sealed.find(row).is_some_and(|at: RowId| sealed.is_live(at));
    infos.into_iter().find(|info| info.id == id && info.rows().all(is_live))
}
