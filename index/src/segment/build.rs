//! From rows, and from other segments, to a segment.

use std::ops::Range;

use super::built::Built;
use super::coding::Coding;
use super::curve::Rows;
use super::format;
use super::nodes::{Coded, Nodes};
use super::{MAX_ROWS, MAX_WIDTH, Segment};
use crate::binary::BINARY_DIMS_MIN;
use crate::error::{Part, SegmentError};
use crate::form::{Form, Values, Vector};
use crate::graph::{self, Donor, M};
use crate::mrl::Quant;
use crate::query::{RowId, Shape};
use crate::row_set::RowSet;

/// Of a donor's rows at most one in so many is dead. Taking nodes out costs recall: of 19,519 real rows, after
/// a fifth had been deleted, walks at `ef` 128 found 95.5 of 100 instead of 99.9.
const DONOR_DEAD: usize = 32;

/// Collects rows, other segments' rows and sections, then builds a segment.
///
/// Memory: fresh rows once, as pushed; rows of other segments stay where they are. Beside those,
/// building takes at most the codes and 330 bytes a node (measured: 59 MB for 100,000 rows with codes of
/// 256 numbers, one thread; each further thread takes a byte a node).
pub struct SegmentBuilder<'a> {
    pub(super) shape: Shape,
    pub(super) quant: Quant,
    pub(super) form: Form,
    pub(super) seed: u64,
    pub(super) ids: Vec<u64>,
    fresh: Vector, // [fresh rows, full]
    runs: Vec<Run<'a>>,
    pub(super) sections: Vec<(Part, Vec<u8>)>,
}

/// Rows that follow each other in the segment and come from one place.
struct Run<'a> {
    /// Where they come from; if nowhere, from the fresh rows.
    source: Option<&'a Segment>,
    /// Which rows of the source, rising.
    rows: Vec<Range<u32>>,
    /// Their first row in the new segment.
    first_row: usize,
}

impl<'a> Run<'a> {
    fn len(&self) -> usize {
        self.rows.iter().map(|range| range.len()).sum()
    }

    /// The rows as kept, in as few slices as there are ranges; `fresh` are all fresh rows.
    fn slices<'s>(&'s self, fresh: Values<'s>, full: usize) -> impl Iterator<Item = Values<'s>> {
        let all = self.source.map_or(fresh, Segment::rows);
        let of = move |rows: &Range<u32>| {
            all.range(rows.start as usize * full..rows.end as usize * full)
        };
        self.rows.iter().map(of)
    }

    /// Codes and graph of the source, if they can be taken over.
    fn coded(&self, shape: Shape, coding: &Coding<'_>) -> Option<Coded<'a>> {
        Coded::of(self.source?, shape, coding)
    }
}

impl<'a> SegmentBuilder<'a> {
    /// Begins a segment of rows of unit length. `seed` decides the order in which nodes enter the graph and the layers they
    /// are in, nothing else: rows often come sorted by document, and a graph grown cluster by cluster
    /// is a worse one.
    ///
    /// # Panics
    /// If `dims` is 0 or above `full`, or `full` above 65,535.
    pub fn new(shape: Shape, seed: u64) -> Self {
        assert!((1..=shape.full).contains(&shape.dims), "codes are cut to 1..=full numbers");
        assert!(shape.full <= MAX_WIDTH, "rows have at most {MAX_WIDTH} numbers");
        let (ids, runs, sections) = (Vec::new(), Vec::new(), Vec::new());
        let (form, quant) = (Form::Unit, Quant::default());
        SegmentBuilder { shape, quant, form, seed, ids, fresh: Vector::empty(form), runs, sections }
    }

    /// Says what codes keep of a number; int8 unless told otherwise. The graph is the same with either.
    ///
    /// # Panics
    /// If `dims` is below [`BINARY_DIMS_MIN`] and `quant` binary.
    #[must_use]
    pub fn quant(mut self, quant: Quant) -> Self {
        let dims = self.shape.dims;
        assert!(quant.takes(dims), "binary codes of {dims} numbers, fewer than {BINARY_DIMS_MIN}");
        self.quant = quant;
        self
    }

    /// Says how rows are kept and compared: of unit length unless told otherwise.
    ///
    /// # Panics
    /// If there are rows already.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        assert!(self.ids.is_empty(), "rows of another form");
        SegmentBuilder { form, fresh: Vector::empty(form), ..self }
    }

    /// Adds a fresh row at full width, as it is to be kept.
    ///
    /// # Panics
    /// If the id is not above the one before, the row not `full` wide or of another form, or there are
    /// [`MAX_ROWS`].
    pub fn push<'r>(&mut self, row_id: u64, row: impl Into<Values<'r>>) {
        let row = row.into();
        assert!(self.ids.last().is_none_or(|last| *last < row_id), "row ids ascend");
        assert_eq!(row.len(), self.shape.full, "a row of another width");
        assert!(self.ids.len() < MAX_ROWS, "a segment has at most {MAX_ROWS} rows");
        let first_row = self.ids.len();
        let at = (self.fresh.values().len() / self.shape.full) as u32;
        self.ids.push(row_id);
        self.fresh.extend(row);
        match self.runs.last_mut() {
            Some(Run { source: None, rows, .. }) => rows[0].end += 1,
            _ => {
                let rows = std::iter::once(at..at + 1).collect();
                self.runs.push(Run { source: None, rows, first_row });
            }
        }
    }

    /// Adds the rows of another segment that are `live`, or all of them. They are read where they lie,
    /// now and until the new segment is written.
    ///
    /// Its graph and int8 codes are taken over if `dims` is the same and they are sound, else made anew. For dot
    /// and l2 they are also made anew if all rows together are spread in another way than the source's. Of
    /// binary codes the rows are coded again: with other rows the mean is another.
    ///
    /// # Errors
    /// If its ids or rows are damaged; then nothing is added. All of them are read to find out.
    ///
    /// # Panics
    /// If its rows have another `full` or form, `live` another number of rows, its first live id is not above
    /// the last one given, or there would be more than [`MAX_ROWS`].
    pub fn extend(
        &mut self,
        segment: &'a Segment,
        live: Option<&RowSet>,
    ) -> Result<(), SegmentError> {
        assert_eq!(segment.shape().full, self.shape.full, "rows of another width");
        assert_eq!(segment.form(), self.form, "rows of another form");
        assert!(live.is_none_or(|set| set.n_rows() == segment.len()), "a set of another segment");
        segment.check([format::IDS, format::ROWS])?;
        segment.check_ids()?;
        let rows = match live {
            None => std::iter::once(0..segment.len() as u32).collect(),
            Some(set) => ranges(set),
        };
        let run = Run { source: Some(segment), rows, first_row: self.ids.len() };
        assert!(run.len() <= MAX_ROWS - self.ids.len(), "a segment has at most {MAX_ROWS} rows");
        let all = segment.ids();
        let mut ids = run.rows.iter().flat_map(|rows| &all[rows.start as usize..rows.end as usize]);
        if let Some(first) = ids.next() {
            assert!(self.ids.last().is_none_or(|last| last < first), "row ids ascend");
            self.ids.push(*first);
            self.ids.extend(ids);
            self.runs.push(run);
        }
        Ok(())
    }

    /// Adds a section: bytes that the index carries and checks but does not read.
    ///
    /// # Panics
    /// If the tag begins with a full stop or was given before, or there are 248 sections.
    pub fn section(&mut self, tag: [u8; 4], bytes: Vec<u8>) {
        assert!(format::is_section_tag(tag), "tags with a full stop are the index's own");
        assert!(self.sections.iter().all(|(part, _)| part.0 != tag), "a section twice");
        assert!(self.sections.len() < 248, "a segment has at most 248 sections");
        self.sections.push((Part(tag), bytes));
    }

    /// Builds the segment, in rayon's current pool; `None` if `cancelled` said so.
    ///
    /// # Panics
    /// If rows are compared by dot or l2 and codes are to be binary.
    ///
    /// Of the segments added, the one with the most live rows gives its graph, into which all other
    /// rows are inserted. Serial builds of the same rows are equal; parallel ones may link differently.
    pub fn build(self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Built<'a>> {
        assert!(self.quant.takes_form(self.form), "binary codes of rows whose lengths count");
        let rows = Rows::new(self.shape.full, self.slices());
        let fresh = Coding::of_rows(self.form, &rows, self.shape.dims);
        drop(rows);
        let (donor, coding) = self.donor(fresh);
        // The donor's nodes come first: its graph keeps their order.
        let others = (0..self.runs.len()).filter(|run| Some(*run) != donor);
        let mut nodes = Nodes::new(self.shape, coding, self.ids.len());
        let mut donated = None;
        for number in donor.into_iter().chain(others) {
            let run = &self.runs[number];
            match run.coded(self.shape, &nodes.coding) {
                Some(coded) => {
                    let of_places = nodes.adopt(&coded, &run.rows, run.first_row, cancelled)?;
                    if Some(number) == donor {
                        donated = Some((coded.graph, of_places));
                    }
                }
                None => {
                    let full = self.shape.full;
                    let slices = run.slices(self.fresh.values(), full);
                    let rows = slices.flat_map(|rows| rows.rows(full));
                    nodes.encode(rows, run.first_row, cancelled)?;
                }
            }
        }
        nodes.close();
        let donor = donated.as_ref().map(|(graph, nodes)| Donor { graph: *graph, nodes });
        let frozen = graph::build(nodes.rows(), donor, self.seed, cancelled)?;
        Built::new(self, nodes, frozen, cancelled)
    }

    /// All rows as kept, in slices of whole rows.
    pub(super) fn slices(&self) -> impl Iterator<Item = Values<'_>> {
        self.runs.iter().flat_map(|run| run.slices(self.fresh.values(), self.shape.full))
    }

    /// The run whose graph the others are inserted into, and how all rows are coded: as its rows are, or, if
    /// there is none, in the way that was made for all.
    fn donor(&self, fresh: Coding<'static>) -> (Option<usize>, Coding<'static>) {
        let fits = |run: &Run<'_>| {
            let segment = run.source?;
            let n_dead = segment.len() - run.len();
            let is_whole = segment.header.m as usize == M && n_dead * DONOR_DEAD <= segment.len();
            let coding = segment.coding();
            let suits = is_whole && coding.is_sound() && coding.suits(&fresh);
            (suits && run.coded(self.shape, &coding).is_some()).then(|| coding.into_owned())
        };
        let mut runs: Vec<usize> = (0..self.runs.len()).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(self.runs[*run].len()));
        let found = runs.into_iter().find_map(|run| Some((Some(run), fits(&self.runs[run])?)));
        found.unwrap_or((None, fresh))
    }
}

/// The longest ranges of rows that are in a set.
fn ranges(set: &RowSet) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for RowId(row) in set.iter() {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}
