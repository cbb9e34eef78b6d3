//! From rows to the bytes of a segment.

use std::collections::HashMap;
use std::sync::Arc;

use half::f16;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::curve::Curve;
use super::format::{self, Entry, Header};
use super::{MAX_ROWS, MAX_WIDTH, Segment};
use crate::error::Part;
use crate::graph::{self, EF_CONSTRUCTION, Frozen, M};
use crate::mrl;
use crate::query::Shape;
use crate::score::CodeRows;

/// Rows between two looks at the flag that cancels a build.
const ROWS_BETWEEN_LOOKS: usize = 1024;

/// Collects rows and sections, then builds a segment's bytes.
///
/// Memory while building: the rows once as pushed and once in the bytes returned; in between their
/// codes and about 2 KiB a node for the growing graph, given back before the bytes are laid out.
pub struct SegmentBuilder {
    shape: Shape,
    seed: u64,
    ids: Vec<u64>,
    rows: Vec<f16>, // [n_rows, full]
    sections: Vec<(Part, Vec<u8>)>,
}

/// The distinct rows of a segment, as codes, and which rows each stands for.
struct Nodes {
    codes: Vec<i8>,        // [n_nodes, dims]
    scales: Vec<f32>,      // [n_nodes]
    node_of_row: Vec<u32>, // [n_rows]
}

impl SegmentBuilder {
    /// Begins a segment. `seed` shuffles the order in which nodes enter the graph, nothing else: rows
    /// often come sorted by document, and a graph grown cluster by cluster is a worse one.
    ///
    /// # Panics
    /// If `dims` is 0 or above `full`, or `full` above 65,535.
    pub fn new(shape: Shape, seed: u64) -> Self {
        assert!((1..=shape.full).contains(&shape.dims), "codes are cut to 1..=full numbers");
        assert!(shape.full <= MAX_WIDTH, "rows have at most {MAX_WIDTH} numbers");
        SegmentBuilder { shape, seed, ids: Vec::new(), rows: Vec::new(), sections: Vec::new() }
    }

    /// Adds a row at full width, as it is to be kept.
    ///
    /// # Panics
    /// If the id is not above the one before, the row not `full` wide, or there are [`MAX_ROWS`].
    pub fn push(&mut self, row_id: u64, row: &[f16]) {
        assert!(self.ids.last().is_none_or(|last| *last < row_id), "row ids ascend");
        assert_eq!(row.len(), self.shape.full, "a row of another width");
        assert!(self.ids.len() < MAX_ROWS, "a segment has at most {MAX_ROWS} rows");
        self.ids.push(row_id);
        self.rows.extend_from_slice(row);
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

    /// Builds the bytes, in rayon's current pool; `None` if `cancelled` said so.
    ///
    /// Rows with equal codes and scale become one node of the graph, since hnsw_rs loses identical
    /// points. Serial builds of the same rows are equal; parallel ones may link differently.
    pub fn build(self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Vec<u8>> {
        let (codes, scales) = self.encode(cancelled)?;
        let nodes = collapse(self.shape.dims, codes, scales);
        let codes = CodeRows::new(&nodes.codes, &nodes.scales, self.shape.dims);
        let frozen = graph::build(codes, self.seed, cancelled)?;
        if cancelled() {
            return None;
        }
        let bytes = self.lay_out(&nodes, &frozen);
        drop((nodes, frozen));
        measured(bytes, cancelled)
    }

    /// Quantises every row, in parallel; `None` if cancelled.
    fn encode(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<(Vec<i8>, Vec<f32>)> {
        let Shape { full, dims } = self.shape;
        let (mut codes, mut scales) = (vec![0i8; self.ids.len() * dims], vec![0.0; self.ids.len()]);
        let blocks = self.rows.par_chunks(ROWS_BETWEEN_LOOKS * full);
        let coded = codes.par_chunks_mut(ROWS_BETWEEN_LOOKS * dims);
        let scaled = scales.par_chunks_mut(ROWS_BETWEEN_LOOKS);
        blocks.zip(coded).zip(scaled).for_each(|((rows, codes), scales)| {
            if cancelled() {
                return;
            }
            let mut cut = Vec::with_capacity(dims);
            let rows = rows.chunks_exact(full).zip(codes.chunks_exact_mut(dims));
            for ((row, codes), scale) in rows.zip(scales) {
                *scale = mrl::encode_row(row, &mut cut, codes);
            }
        });
        (!cancelled()).then_some((codes, scales))
    }

    fn lay_out(&self, nodes: &Nodes, frozen: &Frozen) -> Vec<u8> {
        let dims = self.shape.dims;
        let in_order = frozen.order.iter().map(|node| *node as usize);
        let mut codes: Vec<i8> = Vec::with_capacity(nodes.codes.len());
        in_order.clone().for_each(|node| codes.extend(&nodes.codes[node * dims..][..dims]));
        let scales: Vec<f32> = in_order.map(|node| nodes.scales[node]).collect();
        let (node_offsets, node_rows) = rows_by_node(&nodes.node_of_row, &frozen.order);
        let header = Header {
            n_rows: self.ids.len(),
            n_nodes: scales.len(),
            shape: self.shape,
            m: M as u32,
            ef_construction: EF_CONSTRUCTION as u32,
            n_links: frozen.links.len(),
            n_mended: frozen.n_mended,
            seed: self.seed,
            curve: Curve::default(),
            layer_nodes: frozen.layer_nodes.clone(),
        };
        let own: [&[u8]; 8] = [
            bytemuck::cast_slice(&self.ids),
            bytemuck::cast_slice(&codes),
            bytemuck::cast_slice(&scales),
            bytemuck::cast_slice(&node_offsets),
            bytemuck::cast_slice(&node_rows),
            bytemuck::cast_slice(&frozen.list_offsets),
            bytemuck::cast_slice(&frozen.links),
            bytemuck::cast_slice(&self.rows),
        ];
        let sections = self.sections.iter().map(|(part, bytes)| (*part, &bytes[..]));
        join(&header, &format::OWN.into_iter().zip(own).chain(sections).collect::<Vec<_>>())
    }
}

/// Lets a segment that was just laid out measure its recall; `None` if cancelled.
fn measured(bytes: Vec<u8>, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Vec<u8>> {
    let bytes = Arc::new(bytes);
    let segment = Segment::open(bytes.clone()).expect("a segment that was just laid out");
    let curve = segment.measure(cancelled)?;
    drop(segment);
    let mut bytes = Arc::into_inner(bytes).expect("nobody else was given the bytes");
    format::set_curve(&mut bytes, curve).expect("a segment that was just opened");
    Some(bytes)
}

/// Gives rows with equal codes and scale the same node, in the order of their first rows.
fn collapse(dims: usize, mut codes: Vec<i8>, mut scales: Vec<f32>) -> Nodes {
    let n_rows = scales.len();
    let mut first_with: HashMap<u64, u32> = HashMap::with_capacity(n_rows);
    let mut node_of_row = Vec::with_capacity(n_rows);
    let mut n_nodes = 0;
    for row in 0..n_rows {
        let (scale, at) = (scales[row], row * dims);
        let row_codes = &codes[at..at + dims];
        let hash = xxh3_64_with_seed(bytemuck::cast_slice(row_codes), u64::from(scale.to_bits()));
        let node = *first_with.entry(hash).or_insert(n_nodes as u32) as usize;
        let same =
            node < n_nodes && scales[node] == scale && codes[node * dims..][..dims] == *row_codes;
        if same {
            node_of_row.push(node as u32);
            continue;
        }
        // New, or, once in 2^64, another row with the same hash: then a node of its own.
        codes.copy_within(at..at + dims, n_nodes * dims);
        scales[n_nodes] = scale;
        node_of_row.push(n_nodes as u32);
        n_nodes += 1;
    }
    codes.truncate(n_nodes * dims);
    scales.truncate(n_nodes);
    Nodes { codes, scales, node_of_row }
}

/// Lists the rows of each node, nodes in their final order: offsets `[n_nodes + 1]` and rows `[n_rows]`.
fn rows_by_node(node_of_row: &[u32], order: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut place_of = vec![0u32; order.len()];
    for (place, node) in order.iter().enumerate() {
        place_of[*node as usize] = place as u32;
    }
    let mut offsets = vec![0u32; order.len() + 1];
    for node in node_of_row {
        offsets[place_of[*node as usize] as usize + 1] += 1;
    }
    for place in 0..order.len() {
        offsets[place + 1] += offsets[place];
    }
    let mut next = offsets.clone();
    let mut rows = vec![0u32; node_of_row.len()];
    for (row, node) in node_of_row.iter().enumerate() {
        let slot = &mut next[place_of[*node as usize] as usize];
        rows[*slot as usize] = row as u32;
        *slot += 1;
    }
    (offsets, rows)
}

/// Puts header, table and parts into one run of bytes, each part aligned.
fn join(header: &Header, parts: &[(Part, &[u8])]) -> Vec<u8> {
    let head_bytes = format::head_bytes(parts.len());
    let mut table = Vec::with_capacity(parts.len());
    let mut end = head_bytes as u64;
    for (part, bytes) in parts {
        let checksum = xxhash_rust::xxh3::xxh3_64(bytes);
        let entry =
            Entry { part: *part, offset: format::align(end), length: bytes.len() as u64, checksum };
        end = entry.end();
        table.push(entry);
    }
    let mut file = Vec::with_capacity(end as usize);
    file.resize(head_bytes, 0);
    format::write(header, &table, end, &mut file);
    for (entry, (_, bytes)) in table.iter().zip(parts) {
        file.resize(entry.offset as usize, 0);
        file.extend_from_slice(bytes);
    }
    debug_assert_eq!(file.len() as u64, end);
    file
}
