//! A segment: rows, their codes and graph as one run of bytes, read where they lie.
//!
//! [`SegmentBuilder`] (`build.rs`) collects rows, finds the distinct ones (`nodes.rs`) and has their
//! graph built; [`Built`] (`built.rs`) writes the bytes; [`Segment`] looks into them without copying and
//! `search.rs` answers. The layout is `SEGMENT.md`, in code `format.rs`.
//!
//! A segment never changes: rows that were deleted are told to a search by its `among` argument. What a
//! segment does not know: files, what is in its sections, which of its rows are live.

mod build;
mod built;
mod bytes;
mod codes;
mod coding;
mod curve;
mod format;
mod nodes;
mod plan;
mod scan;
mod search;

use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Part, SegmentError};
use crate::form::{Form, Values};
use crate::graph::Graph;
use crate::mrl::Quant;
use crate::query::{Query, RowId, Shape};
use crate::score::{BitRows, CodeRows};
use bytes::Bytes;
use codes::Codes;
use coding::Coding;
use format::{
    CODES, Entry, Header, IDS, LINKS, LIST_OFFSETS, MEAN, NODE_OFFSETS, NODE_ROWS, ROWS, SCALES,
};

pub use build::SegmentBuilder;
pub use built::Built;
pub(crate) use coding::Estimate;
pub use curve::RecallPoint;
pub use format::MAX_ROWS;
pub(crate) use format::{MAGIC, MAX_LAYERS, MAX_WIDTH};

/// An opened segment.
pub struct Segment {
    bytes: Bytes,
    header: Header,
    table: Vec<Entry>,
    /// For each part, its checksum's verdict on first use.
    verdicts: Vec<OnceLock<Result<(), SegmentError>>>,
    /// Whether the graph, the rows of its nodes and what its codes are counted from can be relied on.
    walkable: OnceLock<Result<(), SegmentError>>,
    /// The node of each row, from the rows of each node; made on first use.
    node_of_row: OnceLock<Vec<u32>>,
}

/// The size of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartBytes {
    /// The part's tag.
    pub part: Part,
    /// Its length.
    pub bytes: u64,
}

/// Counts and sizes of a segment, all from its header.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentStats {
    /// Rows, dead ones included.
    pub rows: usize,
    /// Nodes of the graph; rows with equal codes share one.
    pub nodes: usize,
    /// Rows that share the node of an earlier row.
    pub duplicate_rows: usize,
    /// Layers of the graph.
    pub layers: usize,
    /// Directed links in all layers.
    pub links: usize,
    /// Links added after the build so that every node can be reached.
    pub mended: u64,
    /// Links asked for per node and layer (`M` in the HNSW paper).
    pub m: u32,
    /// Candidates kept while building (`efConstruction` in the HNSW paper).
    pub ef_construction: u32,
    /// Recall by `ef`, measured when the segment was built, `ef` rising; empty if it was not.
    pub recall: Vec<RecallPoint>,
    /// Bytes of the whole segment.
    pub bytes: u64,
    /// Bytes of each part, sections included, in the order in which they lie.
    pub parts: Vec<PartBytes>,
}

impl Segment {
    /// Opens a segment: checks header and table, reads none of the parts.
    ///
    /// Bytes that are not aligned to 8 are copied first; a memory map is aligned.
    ///
    /// # Errors
    /// If the bytes are not a whole segment of the format this version reads.
    pub fn open(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Segment, SegmentError> {
        // Before a copy is made for alignment, the bytes must look like a segment.
        format::read((*bytes).as_ref())?;
        let bytes = Bytes::new(bytes);
        let (header, table) = format::read(bytes.all())?;
        let verdicts = table.iter().map(|_| OnceLock::new()).collect();
        Ok(Segment {
            bytes,
            header,
            table,
            verdicts,
            walkable: OnceLock::new(),
            node_of_row: OnceLock::new(),
        })
    }

    /// Checks every byte: checksums, ids ascending, links and rows in range, a recall that can be,
    /// zeros between parts.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn verify(&self) -> Result<(), SegmentError> {
        self.table.iter().try_for_each(|entry| self.checksum(entry))?;
        self.check_ids()?;
        self.check_graph()?;
        if let Some(found) = self.header.curve.fault() {
            let rule = "at most 10000, with a depth of at most its ef";
            return Err(SegmentError::Field { field: "recall", rule, found });
        }
        let mut end = format::head_bytes(self.table.len()) as u64;
        for entry in &self.table {
            let padding: &[u8] = self.bytes.numbers(end, entry.offset);
            if let Some(at) = padding.iter().position(|byte| *byte != 0) {
                let rule = "preceded by zeros only";
                return Err(content(entry.part, rule, at, u64::from(padding[at])));
            }
            end = entry.end();
        }
        Ok(())
    }

    /// The parts whose bytes are not those that were written, by their checksums.
    pub fn damaged_parts(&self) -> Vec<Part> {
        let damaged = self.table.iter().filter(|entry| self.checksum(entry).is_err());
        damaged.map(|entry| entry.part).collect()
    }

    /// Why walks over this segment have become scans, once a search has met it.
    pub fn noticed(&self) -> Option<&SegmentError> {
        self.walkable.get()?.as_ref().err()
    }

    /// The number of rows, dead ones included.
    #[expect(clippy::len_without_is_empty, reason = "an empty segment is as good as any")]
    pub fn len(&self) -> usize {
        self.header.n_rows
    }

    /// The widths of rows and codes.
    pub fn shape(&self) -> Shape {
        self.header.shape
    }

    /// What its codes keep of a number.
    pub fn quant(&self) -> Quant {
        self.header.quant
    }

    /// How its rows are kept and compared.
    pub fn form(&self) -> Form {
        self.header.form
    }

    /// Prepares a query for this segment: the full-width vector is kept as given, of its cut codes are made as
    /// of the rows. For another segment it must be prepared again.
    ///
    /// # Panics
    /// If the query is narrower than the codes.
    pub fn query(&self, full: &[f32]) -> Query {
        self.coding().query(full, self.shape().dims)
    }

    /// Counts and sizes.
    pub fn stats(&self) -> SegmentStats {
        let header = &self.header;
        let parts = self.table.iter();
        SegmentStats {
            rows: header.n_rows,
            nodes: header.n_nodes,
            duplicate_rows: header.n_rows - header.n_nodes,
            layers: header.layer_nodes.len(),
            links: header.n_links,
            mended: header.n_mended,
            m: header.m,
            ef_construction: header.ef_construction,
            recall: header.curve.points(),
            bytes: self.table.last().map_or(0, Entry::end),
            parts: parts.map(|e| PartBytes { part: e.part, bytes: e.length }).collect(),
        }
    }

    /// The id of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn id(&self, row: RowId) -> u64 {
        self.ids()[row.0 as usize]
    }

    /// The row with an id, if there is one.
    pub fn find(&self, id: u64) -> Option<RowId> {
        let row = self.ids().binary_search(&id).ok()?;
        Some(RowId(u32::try_from(row).expect("a segment has at most 2^26 rows")))
    }

    /// The full-width vector of a row, `[full]`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: RowId) -> Values<'_> {
        self.rows().row(row.0 as usize, self.header.shape.full)
    }

    /// All rows at full width, `[n_rows, full]`.
    fn rows(&self) -> Values<'_> {
        match self.header.form {
            Form::Unit => Values::F16(self.part(ROWS)),
            Form::Given(_) => Values::F32(self.part(ROWS)),
        }
    }

    /// The bytes of a section as [`SegmentBuilder::section`] was given them.
    ///
    /// # Errors
    /// If they are not what was written. The checksum is computed when a section is first asked for.
    pub fn section(&self, tag: [u8; 4]) -> Result<Option<&[u8]>, SegmentError> {
        let sections = format::N_OWN..;
        let found = self.table[sections.clone()].iter().position(|entry| entry.part.0 == tag);
        let Some(idx) = found.map(|position| position + sections.start) else {
            return Ok(None);
        };
        let entry = &self.table[idx];
        self.verdicts[idx].get_or_init(|| self.checksum(entry)).clone()?;
        Ok(Some(self.bytes.numbers(entry.offset, entry.end())))
    }

    /// The bytes of a section as they are, damaged or not, for saving what is still good in them.
    pub fn section_as_is(&self, tag: [u8; 4]) -> Option<&[u8]> {
        let mut sections = self.table[format::N_OWN..].iter();
        let entry = sections.find(|entry| entry.part.0 == tag)?;
        Some(self.bytes.numbers(entry.offset, entry.end()))
    }

    fn ids(&self) -> &[u64] {
        self.part(IDS)
    }

    /// The numbers of one of the index's own parts; their count was checked when opening.
    fn part<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, part: Part) -> &[T] {
        let own = format::own(self.header.quant);
        let idx = own.iter().position(|own| *own == part).expect("one of the index's own");
        self.bytes.numbers(self.table[idx].offset, self.table[idx].end())
    }

    fn codes(&self) -> Codes<'_> {
        let dims = self.header.shape.dims;
        match self.header.quant {
            Quant::Int8 => Codes::Int8(self.int8_codes()),
            Quant::Binary => Codes::Binary(BitRows::new(self.part(CODES), dims), self.part(MEAN)),
        }
    }

    /// The codes of a segment that has int8 codes.
    fn int8_codes(&self) -> CodeRows<'_> {
        let Header { form, n_nodes, shape, .. } = self.header;
        Coding::rows(form, self.part(CODES), self.part(SCALES), n_nodes, shape.dims)
    }

    /// How its rows were coded.
    fn coding(&self) -> Coding<'_> {
        let Header { form, n_nodes, .. } = self.header;
        match Coding::is_biased(form) {
            true => Coding::kept(form, &self.part(SCALES)[2 * n_nodes..]),
            false => Coding::plain(form),
        }
    }

    /// The graph and each node's rows, if they are sound; checked on first use.
    fn graph(&self) -> Option<(Graph<'_>, NodeRows<'_>)> {
        self.walkable.get_or_init(|| self.check_graph()).as_ref().ok()?;
        let graph = Graph::new(&self.header.layer_nodes, self.part(LIST_OFFSETS), self.part(LINKS));
        Some((graph, NodeRows { offsets: self.part(NODE_OFFSETS), rows: self.part(NODE_ROWS) }))
    }

    /// The node of each row, `[n_rows]`; the rows of the nodes must be sound.
    fn node_of_row(&self) -> &[u32] {
        let rows = || NodeRows { offsets: self.part(NODE_OFFSETS), rows: self.part(NODE_ROWS) };
        self.node_of_row.get_or_init(|| rows().node_of_row())
    }

    /// Checks all that a walk relies on, so that it can index without a second look; and the mean of
    /// binary codes, since with another no code means what it did.
    fn check_graph(&self) -> Result<(), SegmentError> {
        self.check([MEAN, NODE_OFFSETS, NODE_ROWS, LIST_OFFSETS, LINKS])?;
        if self.header.quant == Quant::Binary {
            check_mean(self.part(MEAN))?;
        }
        if Coding::is_biased(self.header.form) {
            // With another centre no code would mean what it did.
            self.check([SCALES])?;
            if !self.coding().is_sound() {
                let rule = "finite numbers, the last a unit above 0";
                return Err(content(SCALES, rule, 0, 0));
            }
        }
        let (header, n_rows) = (&self.header, self.header.n_rows as u32);
        let node_offsets: &[u32] = self.part(NODE_OFFSETS);
        check_offsets(NODE_OFFSETS, node_offsets, header.n_rows, 1)?;
        check_offsets(LIST_OFFSETS, self.part(LIST_OFFSETS), header.n_links, 0)?;
        let node_rows: &[u32] = self.part(NODE_ROWS);
        check_below(NODE_ROWS, node_rows, n_rows, 0)?;
        let mut seen = vec![false; header.n_rows];
        let again = |row: &u32| std::mem::replace(&mut seen[*row as usize], true);
        if let Some(at) = node_rows.iter().position(again) {
            let rule = "a row of one node only";
            return Err(content(NODE_ROWS, rule, at, u64::from(node_rows[at])));
        }
        let (list_offsets, links): (&[u32], &[u32]) = (self.part(LIST_OFFSETS), self.part(LINKS));
        let mut list = 0;
        for n_nodes in &header.layer_nodes {
            let next = list + *n_nodes as usize;
            let (start, end) = (list_offsets[list] as usize, list_offsets[next] as usize);
            check_below(LINKS, &links[start..end], *n_nodes, start)?;
            list = next;
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<(), SegmentError> {
        let ids = self.ids();
        match ids.windows(2).position(|pair| pair[0] >= pair[1]) {
            None => Ok(()),
            Some(at) => Err(content(IDS, "above the id before", at + 1, ids[at + 1])),
        }
    }

    /// Checks the checksums of some of the index's own parts.
    fn check<const N: usize>(&self, parts: [Part; N]) -> Result<(), SegmentError> {
        let mut entries = self.table.iter().filter(|entry| parts.contains(&entry.part));
        entries.try_for_each(|entry| self.checksum(entry))
    }

    fn checksum(&self, entry: &Entry) -> Result<(), SegmentError> {
        let found = xxh3_64(self.bytes.numbers(entry.offset, entry.end()));
        if found == entry.checksum {
            return Ok(());
        }
        Err(SegmentError::Checksum { part: entry.part, expected: entry.checksum, found })
    }
}

/// The rows that each node stands for.
#[derive(Clone, Copy)]
struct NodeRows<'a> {
    offsets: &'a [u32], // [n_nodes + 1]
    rows: &'a [u32],    // [n_rows]
}

impl<'a> NodeRows<'a> {
    /// The node of each row, `[n_rows]`.
    fn node_of_row(&self) -> Vec<u32> {
        let mut node_of_row = vec![0; self.rows.len()];
        for node in 0..self.offsets.len() as u32 - 1 {
            self.of(node).iter().for_each(|row| node_of_row[*row as usize] = node);
        }
        node_of_row
    }

    fn of(&self, node: u32) -> &'a [u32] {
        let node = node as usize;
        &self.rows[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }
}

/// Checks that offsets begin at 0, rise by at least `step_min` and end at `end`.
fn check_offsets(
    part: Part,
    offsets: &[u32],
    end: usize,
    step_min: u32,
) -> Result<(), SegmentError> {
    let falls = offsets
        .windows(2)
        .position(|pair| pair[1].saturating_sub(pair[0]) < step_min || pair[1] < pair[0]);
    if let Some(at) = falls {
        let rule = "an offset that rises";
        return Err(content(part, rule, at + 1, u64::from(offsets[at + 1])));
    }
    for (at, expected, rule) in [
        (0, 0, "0, the first offset"),
        (offsets.len() - 1, end, "the count of entries, the last offset"),
    ] {
        if offsets[at] as usize != expected {
            return Err(content(part, rule, at, u64::from(offsets[at])));
        }
    }
    Ok(())
}

/// Checks that a mean is one of rows of at most unit length.
fn check_mean(mean: &[f32]) -> Result<(), SegmentError> {
    match mean.iter().position(|x| !(-1.01..=1.01).contains(x)) {
        None => Ok(()),
        Some(at) => Err(content(MEAN, "between -1 and 1", at, u64::from(mean[at].to_bits()))),
    }
}

/// Checks that numbers, the first of which is entry `first`, are below `limit`.
fn check_below(part: Part, numbers: &[u32], limit: u32, first: usize) -> Result<(), SegmentError> {
    match numbers.iter().position(|number| *number >= limit) {
        None => Ok(()),
        Some(at) => Err(content(part, "below the count", first + at, u64::from(numbers[at]))),
    }
}

fn content(part: Part, rule: &'static str, at: usize, found: u64) -> SegmentError {
    SegmentError::Content { part, rule, at: at as u64, found }
}

#[cfg(test)]
mod tests;
