//! One live segment: its file, mapped, and which of its rows are dead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bincode::{Decode, Encode};
use index::{Found, RowId, RowSet, Search, Segment, SegmentError, SegmentStats, Values};
use xxhash_rust::xxh3::xxh3_128;

use crate::disk::map;
use crate::document::{DocumentInfo, StoredChunk};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::filter::columns::{Columns, META};
use crate::records::record;
use crate::row;
use crate::segments::draft::SUFFIX;
use crate::segments::listing::{self, DOCS, Listing};
use crate::segments::texts::{HASH, TEXT, Texts};
use crate::space::Space;

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

/// Tag of the section that says what made the vectors.
pub(crate) const MADE: [u8; 4] = *b"MADE";

/// How many rows were made in each precision, by its name; rows that were given have the name "".
pub(crate) type Made = BTreeMap<String, u64>;

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
        let full = segment.shape().full;
        let ends = (segment.len() > 0)
            .then(|| (segment.id(RowId(0)), segment.id(RowId((segment.len() - 1) as u32))));
        let problem = if segment.len() as u64 != record.n_rows {
            format!("it has {} rows instead of {}", segment.len(), record.n_rows)
        } else if full != space.full_width {
            format!("its rows have width {full}, those of its collection {}", space.full_width)
        } else if segment.form() != space.form() {
            let (found, expected) = (segment.form(), space.form());
            format!("its rows are kept as {found:?}, those of its collection as {expected:?}")
        } else if ends != Some((record.first_row, record.last_row)) {
            "its rows are not those that its record names".to_owned()
        } else {
            let (record, segment) = (Arc::new(record), Arc::new(segment));
            return Ok(Sealed { record, segment, live: None });
        };
        Err(Error::corrupt(format!("segment {}", record.name), problem))
    }

    /// Opens a segment file that has lost its record; `None` unless it is whole and this collection's, to the last byte.
    pub(crate) fn adopt(dir: &Path, name: &str, first_row: u64, space: &Space) -> Option<Sealed> {
        let map = map::map(&dir.join(name)).ok()?;
        if format!("{:032x}{SUFFIX}", xxh3_128(&map)) != name {
            return None;
        }
        let n_bytes = map.len() as u64;
        let segment = Segment::open(Arc::new(map)).ok()?;
        let last = segment.len().checked_sub(1)?;
        let last_row = segment.id(RowId(last as u32));
        let (name, n_rows) = (name.to_owned(), segment.len() as u64);
        let record = SegmentRecord { name, first_row, last_row, n_rows, n_bytes };
        Sealed::open(dir, record, space).ok()
    }

    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn record(&self) -> &SegmentRecord {
        &self.record
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.record.n_bytes
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.segment.len()
    }

    /// The width of its codes: that of its collection when it was made.
    pub(crate) fn dims(&self) -> usize {
        self.segment.shape().dims
    }

    /// Whether its codes are those that new segments of a space get.
    pub(crate) fn has_codes_of(&self, space: &Space) -> bool {
        (self.dims(), self.segment.quant()) == (space.dims, space.quant)
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

    pub(crate) fn vector(&self, row: RowId) -> Values<'_> {
        self.segment.row(row)
    }

    /// Live rows that come before `end`.
    pub(crate) fn n_live_before(&self, end: u64) -> usize {
        match &self.live {
            _ if end <= self.rows().start => 0,
            _ if self.rows().end <= end => self.n_rows() - self.n_dead(),
            _ => self.live_rows().take_while(|row| self.row_id(*row) < end).count(),
        }
    }

    pub(crate) fn is_live(&self, row: RowId) -> bool {
        self.live.as_ref().is_none_or(|live| live.contains(row))
    }

    /// Its live rows, rising.
    pub(crate) fn live_rows(&self) -> impl Iterator<Item = RowId> {
        (0..self.n_rows() as u32).map(RowId).filter(|row| self.is_live(*row))
    }

    /// Checks every byte.
    pub(crate) fn verify(&self) -> Result<()> {
        self.segment.verify().map_err(|source| self.damaged(source))
    }

    /// The same segment without dead rows.
    pub(crate) fn all_live(&self) -> Sealed {
        Sealed { live: None, ..self.clone() }
    }

    /// The same segment with more dead rows; rows of other segments are left out.
    pub(crate) fn with_dead(&self, rows: impl Iterator<Item = u64>) -> Sealed {
        let mut live = self.live.as_deref().cloned().unwrap_or_else(|| RowSet::all(self.n_rows()));
        rows.filter_map(|row| self.find(row)).for_each(|row| live.remove(row));
        let live = (live.len() < self.n_rows()).then(|| Arc::new(live));
        Sealed { live, ..self.clone() }
    }

    /// Finds the best rows of those in `among`, or of all, dead ones too. `vector`: `[full_width]`.
    pub(crate) fn search(
        &self,
        vector: &[f32],
        k: usize,
        how: Search,
        among: Option<&RowSet>,
    ) -> Found {
        self.segment.search(&self.segment.query(vector), k, how, among)
    }

    /// The live rows that pass a filter.
    pub(crate) fn select(&self, filter: &Filter) -> Result<RowSet> {
        let selected = self.columns()?.select(filter).map_err(|problem| self.corrupt(problem))?;
        Ok(match &self.live {
            Some(live) => selected.intersection(live),
            None => selected,
        })
    }

    /// The section of its columns.
    pub(crate) fn meta(&self) -> Result<&[u8]> {
        self.section(META)
    }

    /// What filters know of its rows, dead rows too.
    pub(crate) fn columns(&self) -> Result<Columns<'_>> {
        Columns::open(self.meta()?, self.n_rows()).map_err(|problem| self.corrupt(problem))
    }

    /// Its live rows; all of them if there is no set.
    pub(crate) fn live(&self) -> Option<&RowSet> {
        self.live.as_deref()
    }

    pub(crate) fn corrupt(&self, problem: &str) -> Error {
        Error::corrupt(format!("segment {}", self.name()), problem)
    }

    /// The row's id in its collection.
    pub(crate) fn row_id(&self, row: RowId) -> u64 {
        self.segment.id(row)
    }

    /// What is kept beside some of the rows.
    pub(crate) fn chunks(&self, rows: impl Iterator<Item = RowId>) -> Result<Vec<StoredChunk>> {
        let mut texts = self.texts()?;
        rows.map(|row| {
            let info = texts.info(row.0).map_err(|problem| self.corrupt(problem))?;
            row::decode_info(self.row_id(row), info)
        })
        .collect()
    }

    /// The information of its rows, by position.
    pub(crate) fn texts(&self) -> Result<Texts<'_>> {
        Texts::new(self.section(TEXT)?).map_err(|problem| self.corrupt(problem))
    }

    /// Bytes of its texts as they lie in it.
    pub(crate) fn text_bytes(&self) -> usize {
        let parts = self.stats().parts;
        parts.iter().filter(|part| part.part.0 == TEXT).map(|part| part.bytes as usize).sum()
    }

    /// Shows each document whose rows were in it when it was made, in the order of rows, with the payload of its record.
    pub(crate) fn documents(
        &self,
        visit: &mut dyn FnMut(DocumentInfo, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for record in self.listing()?.records() {
            let record = record.map_err(|problem| self.corrupt(problem))?;
            visit(listing::decode(self.name(), &record)?, &record)?;
        }
        Ok(())
    }

    /// How many of its rows, dead ones too, were made in which precision.
    pub(crate) fn made(&self) -> Result<Made> {
        record::decode(format_args!("section MADE of segment {}", self.name()), self.section(MADE)?)
    }

    /// Its list of documents.
    pub(crate) fn listing(&self) -> Result<Listing<'_>> {
        Listing::new(self.section(DOCS)?).map_err(|problem| self.corrupt(problem))
    }

    /// Each row's chunk hash and id, dead rows too.
    pub(crate) fn hashes(&self) -> Result<impl Iterator<Item = ([u8; 16], u64)>> {
        let (hashes, rest) = self.section(HASH)?.as_chunks::<16>();
        if hashes.len() != self.n_rows() || !rest.is_empty() {
            return Err(self.corrupt("section HASH has not one hash a row"));
        }
        Ok(hashes.iter().zip(0..).map(|(hash, position)| (*hash, self.segment.id(RowId(position)))))
    }

    fn section(&self, tag: [u8; 4]) -> Result<&[u8]> {
        match self.segment.section(tag) {
            Ok(Some(section)) => Ok(section),
            Ok(None) => Err(self.corrupt(&format!("it has no section {}", tag.escape_ascii()))),
            Err(source) => Err(self.damaged(source)),
        }
    }

    pub(crate) fn damaged(&self, source: SegmentError) -> Error {
        Error::Segment { name: self.name().to_owned(), source }
    }
}
