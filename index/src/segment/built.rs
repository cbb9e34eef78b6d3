//! A segment that is built but not written: its bytes, most of them still where they came from.

use std::io::{self, Write};

use bytemuck::cast_slice;
use xxhash_rust::xxh3::Xxh3;

use super::build::SegmentBuilder;
use super::codes::Codes;
use super::coding::Coding;
use super::curve::{Curve, Rows, Subject};
use super::format::{
    self, CODES, Entry, Header, IDS, LINKS, LIST_OFFSETS, MEAN, NODE_OFFSETS, NODE_ROWS, ROWS,
    SCALES,
};
use super::nodes::Nodes;
use super::{Graph, NodeRows};
use crate::binary::{self, Binary};
use crate::error::Part;
use crate::form::Form;
use crate::graph::{EF_CONSTRUCTION, Frozen, M};
use crate::mrl::Quant;
use crate::query::Shape;
use crate::score::BitRows;

/// Bytes whose checksum is computed between two looks at the flag that cancels a build.
const BYTES_BETWEEN_LOOKS: usize = 1 << 20;

/// A segment that is built: its bytes can be written, again and again the same.
///
/// Rows of other segments are read where they lie, for the checksum when it is built and when it is
/// written.
pub struct Built<'a> {
    from: SegmentBuilder<'a>,
    frozen: Frozen,
    codes: Owned,
    coding: Coding<'static>,
    node_offsets: Vec<u32>,
    node_rows: Vec<u32>,
    head: Vec<u8>,
    table: Vec<Entry>,
    curve: Curve,
}

/// The codes of nodes in their final order.
enum Owned {
    Int8 {
        codes: Vec<i8>, // [n_nodes, dims]
        scales: Scales,
    },
    Binary(Binary),
}

/// What goes with int8 codes, as it is kept: scales, and for some metrics biases, the centre and the unit.
struct Scales {
    numbers: Vec<f32>,
    n_nodes: usize,
    form: Form,
}

impl Owned {
    fn new(nodes: &Nodes, order: &[u32], shape: Shape, quant: Quant) -> Owned {
        if quant == Quant::Binary {
            return Owned::Binary(binary::encode(nodes.rows(), order));
        }
        let dims = shape.dims;
        let mut codes = Vec::with_capacity(nodes.codes.len());
        let in_order = order.iter().map(|node| *node as usize);
        in_order.clone().for_each(|node| codes.extend(&nodes.codes[node * dims..][..dims]));
        let mut numbers: Vec<f32> = in_order.clone().map(|node| nodes.scales[node]).collect();
        numbers.extend(in_order.filter_map(|node| nodes.biases.get(node)));
        numbers.extend(nodes.coding.to_keep());
        let form = nodes.coding.form;
        Owned::Int8 { codes, scales: Scales { numbers, n_nodes: order.len(), form } }
    }

    fn codes(&self, dims: usize) -> Codes<'_> {
        match self {
            Owned::Int8 { codes, scales } => {
                let Scales { numbers, n_nodes, form } = scales;
                Codes::Int8(Coding::rows(*form, codes, numbers, *n_nodes, dims))
            }
            Owned::Binary(Binary { mean, codes }) => Codes::Binary(BitRows::new(codes, dims), mean),
        }
    }

    /// The bytes of a part that holds codes or belongs to them.
    fn bytes(&self, part: Part) -> &[u8] {
        match (self, part) {
            (Owned::Int8 { codes, .. }, CODES) => cast_slice(codes),
            (Owned::Int8 { scales, .. }, SCALES) => cast_slice(&scales.numbers),
            (Owned::Binary(Binary { codes, .. }), CODES) => cast_slice(codes),
            (Owned::Binary(Binary { mean, .. }), MEAN) => cast_slice(mean),
            _ => unreachable!("{part} does not belong to these codes"),
        }
    }
}

/// Why a build has no result.
struct Cancelled;

impl<'a> Built<'a> {
    /// Puts nodes into their places, measures recall, lays the parts out and computes their checksums;
    /// `None` if cancelled.
    pub(super) fn new(
        from: SegmentBuilder<'a>,
        nodes: Nodes,
        frozen: Frozen,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Option<Self> {
        let (node_offsets, node_rows) = rows_by_node(&nodes.node_of_row, &frozen.order);
        let codes = Owned::new(&nodes, &frozen.order, from.shape, from.quant);
        let coding = nodes.into_coding();
        let (head, table, curve) = (Vec::new(), Vec::new(), Curve::default());
        let mut built =
            Built { from, frozen, codes, coding, node_offsets, node_rows, head, table, curve };
        built.curve = built.measure_recall(cancelled)?;
        let sections = built.from.sections.iter().map(|(part, _)| *part);
        let parts: Vec<Part> = format::own(built.from.quant).into_iter().chain(sections).collect();
        let mut end = format::head_bytes(parts.len()) as u64;
        for part in parts {
            let (length, checksum) = built.measure(part, cancelled).ok()?;
            let entry = Entry { part, offset: format::align(end), length, checksum };
            end = entry.end();
            built.table.push(entry);
        }
        built.head.resize(format::head_bytes(built.table.len()), 0);
        format::write(&built.header(), &built.table, end, &mut built.head);
        Some(built)
    }

    /// The length of the whole segment.
    pub fn n_bytes(&self) -> u64 {
        self.table.last().map_or(0, Entry::end)
    }

    /// Writes the whole segment. Many of the writes are small: `out` should be buffered.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        let mut end = self.head.len() as u64;
        for entry in &self.table {
            out.write_all(&format::PADDING[..(entry.offset - end) as usize])?;
            self.each_slice(entry.part, &mut |slice| out.write_all(slice))?;
            end = entry.end();
        }
        Ok(())
    }

    /// The whole segment in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.n_bytes() as usize);
        self.write_to(&mut bytes).expect("memory takes all that is written");
        bytes
    }

    fn header(&self) -> Header {
        Header {
            n_rows: self.from.ids.len(),
            n_nodes: self.frozen.order.len(),
            shape: self.from.shape,
            quant: self.from.quant,
            form: self.from.form,
            m: M as u32,
            ef_construction: EF_CONSTRUCTION as u32,
            n_links: self.frozen.links.len(),
            n_mended: self.frozen.n_mended,
            seed: self.from.seed,
            curve: self.curve,
            layer_nodes: self.frozen.layer_nodes.clone(),
        }
    }

    fn measure_recall(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Curve> {
        let node_rows = NodeRows { offsets: &self.node_offsets, rows: &self.node_rows };
        let Shape { full, dims } = self.from.shape;
        let Frozen { layer_nodes, list_offsets, links, .. } = &self.frozen;
        let subject = Subject {
            graph: Graph::new(layer_nodes, list_offsets, links),
            codes: self.codes.codes(dims),
            coding: &self.coding,
            node_rows,
            node_of_row: &node_rows.node_of_row(),
            rows: Rows::new(full, self.from.slices()),
            dims,
            seed: self.from.seed,
        };
        subject.measure(cancelled)
    }

    /// The length and checksum of a part.
    fn measure(
        &self,
        part: Part,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(u64, u64), Cancelled> {
        let mut hasher = Xxh3::new();
        let (mut n_bytes, mut next_look) = (0, 0);
        self.each_slice(part, &mut |slice| {
            for bytes in slice.chunks(BYTES_BETWEEN_LOOKS) {
                if n_bytes >= next_look {
                    if cancelled() {
                        return Err(Cancelled);
                    }
                    next_look = n_bytes + BYTES_BETWEEN_LOOKS;
                }
                hasher.update(bytes);
                n_bytes += bytes.len();
            }
            Ok(())
        })?;
        Ok((n_bytes as u64, hasher.digest()))
    }

    /// Gives the bytes of a part, in order, as they lie in memory.
    fn each_slice<E>(
        &self,
        part: Part,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match part {
            IDS => take(cast_slice(&self.from.ids)),
            CODES | SCALES | MEAN => take(self.codes.bytes(part)),
            NODE_OFFSETS => take(cast_slice(&self.node_offsets)),
            NODE_ROWS => take(cast_slice(&self.node_rows)),
            LIST_OFFSETS => take(cast_slice(&self.frozen.list_offsets)),
            LINKS => take(cast_slice(&self.frozen.links)),
            ROWS => self.from.slices().try_for_each(|rows| take(rows.bytes())),
            section => {
                let mut found = self.from.sections.iter().filter(|(part, _)| *part == section);
                found.try_for_each(|(_, bytes)| take(bytes))
            }
        }
    }
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
