//! One live segment: its file, mapped, and which of its rows are dead.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bincode::{Decode, Encode};
use half::f16;
use index::{Found, Query, RowId, RowSet, Search, Segment, SegmentError, SegmentStats, Shape};

use crate::document::StoredChunk;
use crate::error::{Error, Result};
use crate::map;
use crate::row;
use crate::space::Space;
use crate::texts::{self, Texts};

/// The payload of a segment's record, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SegmentRecord {
    /// The file's name: xxh3-128 of its bytes in hex, then `.seg`.
    pub(crate) name: String,
    pub(crate) first_row: u64,
    pub(crate) last_row: u64,
    pub(crate) n_rows: u64,
    pub(crate) n_bytes: u64,
}

/// A segment in a view. Cheap to clone: only the set of dead rows is ever replaced.
#[derive(Clone)]
pub(crate) struct Sealed {
    record: Arc<SegmentRecord>,
    segment: Arc<Segment>,
    /// Its live rows; all of them if there is no set.
    live: Option<Arc<RowSet>>,
}

impl Sealed {
    /// Maps a segment file and checks its header against its record and its collection.
    pub(crate) fn open(dir: &Path, record: SegmentRecord, space: &Space) -> Result<Sealed> {
        let map = map::map(&dir.join(&record.name))?;
        if map.len() as u64 != record.n_bytes {
            let problem = format!("it has {} bytes instead of {}", map.len(), record.n_bytes);
            return Err(Error::corrupt(format!("segment {}", record.name), problem));
        }
        let segment = Segment::open(Arc::new(map))
            .map_err(|source| Error::Segment { name: record.name.clone(), source })?;
        let Shape { full, dims } = segment.shape();
        let ends = (segment.len() > 0)
            .then(|| (segment.id(RowId(0)), segment.id(RowId((segment.len() - 1) as u32))));
        let problem = if segment.len() as u64 != record.n_rows {
            format!("it has {} rows instead of {}", segment.len(), record.n_rows)
        } else if (full, dims) != (space.full_width, space.dims) {
            format!("its rows have width {full} and codes of {dims}, not those of its collection")
        } else if ends != Some((record.first_row, record.last_row)) {
            "its rows are not those that its record names".to_owned()
        } else {
            let (record, segment) = (Arc::new(record), Arc::new(segment));
            return Ok(Sealed { record, segment, live: None });
        };
        Err(Error::corrupt(format!("segment {}", record.name), problem))
    }

    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.record.n_bytes
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.segment.len()
    }

    pub(crate) fn n_dead(&self) -> usize {
        self.live.as_ref().map_or(0, |live| self.n_rows() - live.len())
    }

    pub(crate) fn stats(&self) -> SegmentStats {
        self.segment.stats()
    }

    /// From its first to after its last row; some in between may be in no segment.
    pub(crate) fn rows(&self) -> Range<u64> {
        self.record.first_row..self.record.last_row.saturating_add(1)
    }

    pub(crate) fn find(&self, row: u64) -> Option<RowId> {
        self.rows().contains(&row).then(|| self.segment.find(row)).flatten()
    }

    /// Rows that are not dead and come before `end`.
    pub(crate) fn n_live_before(&self, end: u64) -> usize {
        match &self.live {
            _ if end <= self.rows().start => 0,
            _ if self.rows().end <= end => self.n_rows() - self.n_dead(),
            _ => self.live_rows().take_while(|row| *row < end).count(),
        }
    }

    /// The ids of its rows that are not dead, in order.
    pub(crate) fn live_rows(&self) -> impl Iterator<Item = u64> {
        let rows = (0..self.n_rows() as u32).map(RowId);
        rows.filter(|row| self.is_live(*row)).map(|row| self.row_id(row))
    }

    pub(crate) fn is_live(&self, row: RowId) -> bool {
        self.live.as_ref().is_none_or(|live| live.contains(row))
    }

    pub(crate) fn vector(&self, row: RowId) -> Vec<f16> {
        self.segment.row(row).to_vec()
    }

    /// The same segment with more dead rows; rows of other segments are left out.
    pub(crate) fn with_dead(&self, rows: impl Iterator<Item = u64>) -> Sealed {
        let mut live = self.live.as_deref().cloned().unwrap_or_else(|| RowSet::all(self.n_rows()));
        rows.filter_map(|row| self.find(row)).for_each(|row| live.remove(row));
        let live = (live.len() < self.n_rows()).then(|| Arc::new(live));
        Sealed { live, ..self.clone() }
    }

    pub(crate) fn search(&self, query: &Query, k: usize, how: Search) -> Found {
        self.segment.search(query, k, how, self.live.as_deref())
    }

    /// The row's id in its collection.
    pub(crate) fn row_id(&self, row: RowId) -> u64 {
        self.segment.id(row)
    }

    /// What is kept beside some of the rows.
    pub(crate) fn chunks(&self, rows: impl Iterator<Item = RowId>) -> Result<Vec<StoredChunk>> {
        let problem = |problem: &str| Error::corrupt(format!("segment {}", self.name()), problem);
        let mut texts = Texts::new(self.section(texts::TEXT)?).map_err(problem)?;
        rows.map(|row| {
            let info = texts.info(row.0).map_err(problem)?;
            row::decode_info(self.row_id(row), info)
        })
        .collect()
    }

    /// Each row's chunk hash and id, dead rows too.
    pub(crate) fn hashes(&self) -> Result<impl Iterator<Item = ([u8; 16], u64)>> {
        let (hashes, rest) = self.section(texts::HASH)?.as_chunks::<16>();
        if hashes.len() != self.n_rows() || !rest.is_empty() {
            let problem = "section HASH has not one hash a row";
            return Err(Error::corrupt(format!("segment {}", self.name()), problem));
        }
        Ok(hashes.iter().zip(0..).map(|(hash, position)| (*hash, self.segment.id(RowId(position)))))
    }

    fn section(&self, tag: [u8; 4]) -> Result<&[u8]> {
        match self.segment.section(tag) {
            Ok(Some(section)) => Ok(section),
            Ok(None) => {
                let problem = format!("it has no section {}", tag.escape_ascii());
                Err(Error::corrupt(format!("segment {}", self.name()), problem))
            }
            Err(source) => Err(self.damaged(source)),
        }
    }

    fn damaged(&self, source: SegmentError) -> Error {
        Error::Segment { name: self.name().to_owned(), source }
    }
}
