//! Records that follow from others: what is damaged is worked out again.

use crate::collection::Ledger;
use crate::document::DocumentInfo;
use crate::error::Result;
use crate::records::key::{self, Key, Tag};
use crate::records::record;
use crate::records::tree::Tree;
use crate::segments::bitmap::{BLOCK_ROWS, Bitmap};
use crate::segments::sealed::{Sealed, SegmentRecord};

/// Rows that are skipped when the next row is worked out: deleted rows have left no trace, and an id is never used twice.
const SKIPPED_ROWS: u64 = 1 << 32;

/// The documents of a collection as far as their records can be read.
#[derive(Default)]
pub(crate) struct Documents {
    /// In the order of their rows.
    pub(crate) readable: Vec<DocumentInfo>,
    /// The keys of the others, and why.
    pub(crate) damaged: Vec<(Key, String)>,
}

impl Documents {
    pub(crate) fn read(tree: &Tree, number: u32) -> Result<Documents> {
        let mut documents = Documents::default();
        tree.scan(&key::prefix(number, Tag::Document), &mut |key, payload| {
            let read = payload.and_then(|payload| DocumentInfo::decode(&key, &payload));
            match read {
                Ok(info) if Key::document(number, &info.id) == key => documents.readable.push(info),
                Ok(_) => documents.damaged.push((key, "it is of another document".to_owned())),
                Err(error) => documents.damaged.push((key, error.to_string())),
            }
            Ok(())
        })?;
        documents.readable.sort_by_key(|info| (info.first_row, info.n_chunks));
        Ok(documents)
    }

    /// The place of the document that a row belongs to.
    pub(crate) fn of_row(&self, row: u64) -> Option<usize> {
        let at = self.readable.partition_point(|info| info.rows().end <= row);
        self.readable.get(at).is_some_and(|info| info.rows().contains(&row)).then_some(at)
    }

    /// True if the record of this document is there but cannot be read.
    pub(crate) fn is_damaged(&self, number: u32, id: &str) -> bool {
        let wanted = Key::document(number, id);
        self.damaged.iter().any(|(key, _)| *key == wanted)
    }
}

/// The next row: above every row that any record speaks of.
pub(crate) fn next_row(tree: &Tree, number: u32) -> Result<u64> {
    let documents = Documents::read(tree, number)?;
    let mut end = documents.readable.iter().map(|info| info.rows().end).max().unwrap_or(0);
    tree.scan(&key::prefix(number, Tag::Row), &mut |key, _| {
        if let Key::Row { row, .. } = key {
            end = end.max(row.saturating_add(1));
        }
        Ok(())
    })?;
    tree.scan(&key::prefix(number, Tag::Segment), &mut |key, payload| {
        if let Key::Segment { first_row, .. } = key {
            let record = payload.and_then(|payload| record::decode::<SegmentRecord>(key, &payload));
            let last_row = record.map_or(first_row, |record| record.last_row);
            end = end.max(last_row.saturating_add(1));
        }
        Ok(())
    })?;
    Ok(end.saturating_add(SKIPPED_ROWS))
}

/// The damaged blocks of tombstones: dead are the rows of segments that no document has.
///
/// A row whose document's record is damaged as well is taken for live, so that no document is lost by this.
pub(crate) fn tombstones(
    tree: &Tree,
    number: u32,
    sealed: &[Sealed],
    ledger: &mut Ledger,
) -> Result<()> {
    let blocks = std::mem::take(&mut ledger.damaged);
    if blocks.is_empty() {
        return Ok(());
    }
    let documents = Documents::read(tree, number)?;
    for block in blocks {
        let mut bitmap = Bitmap::default();
        for each in sealed {
            for row in each.live_rows() {
                let id = each.row_id(row);
                if id / BLOCK_ROWS != block || documents.of_row(id).is_some() {
                    continue;
                }
                let chunk = each.chunks(std::iter::once(row)).unwrap_or_default().pop();
                let is_unsure =
                    chunk.is_none_or(|chunk| documents.is_damaged(number, &chunk.document));
                if !is_unsure {
                    bitmap.insert((id % BLOCK_ROWS) as usize);
                }
            }
        }
        ledger.tombstones.insert(block, bitmap);
    }
    Ok(())
}
