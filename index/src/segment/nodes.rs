//! From rows to nodes: rows with equal codes, scale and bias are one node of the graph.
//!
//! A graph over identical points would lose most of them, since each is as close to its twins as to
//! itself; and a node for many rows is scored once.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::coding::Coding;
use super::format::{CODES, SCALES};
use super::{Graph, NodeRows, Segment};
use crate::form::Values;
use crate::graph::GONE;
use crate::mrl::Quant;
use crate::query::{RowId, Shape};
use crate::score::CodeRows;

/// Rows that are quantised together, between two looks at the flag that cancels a build.
const ROWS_AT_ONCE: usize = 8192;
/// Rows that one thread quantises before it asks for more.
const ROWS_A_THREAD: usize = 256;

/// The distinct rows of a segment, as codes, and which rows each stands for.
pub(super) struct Nodes {
    shape: Shape,
    pub(super) coding: Coding<'static>,
    pub(super) codes: Vec<i8>,        // [n_nodes, dims]
    pub(super) scales: Vec<f32>,      // [n_nodes]
    pub(super) biases: Vec<f32>,      // [n_nodes], or none
    pub(super) node_of_row: Vec<u32>, // [n_rows]
    first_with: HashMap<u64, u32>,    // by the hash of codes and scale
}

/// Is shown a place, its int8 codes, their scale and its bias; `None` ends it.
type EachPlace<'a> = dyn FnMut(u32, &[i8], f32, f32) -> Option<()> + 'a;

/// The parts of a sealed segment that spare quantising its rows and linking them again.
pub(super) struct Coded<'a> {
    pub(super) graph: Graph<'a>,
    rows: NodeRows<'a>,
    segment: &'a Segment,
}

impl<'a> Coded<'a> {
    /// The codes and graph of a segment; `None` if they have another width, were coded in another way or are
    /// damaged.
    pub(super) fn of(segment: &'a Segment, shape: Shape, coding: &Coding<'_>) -> Option<Coded<'a>> {
        let (graph, rows) = (segment.shape() == shape).then(|| segment.graph())??;
        if segment.coding() != *coding {
            return None;
        }
        if segment.quant() == Quant::Int8 {
            segment.check([CODES, SCALES]).ok()?;
        }
        Some(Coded { graph, rows, segment })
    }

    /// Shows the int8 codes, the scale and the bias of each place, in order, until `each` says that it is
    /// enough: those kept, or those of the place's first row.
    fn each(&self, each: &mut EachPlace<'_>) -> Option<()> {
        let mut places = 0..self.graph.n_nodes() as u32;
        if self.segment.quant() == Quant::Int8 {
            let codes = self.segment.int8_codes();
            return places.try_for_each(|at| {
                let (scale, bias) = codes.scale_and_bias(at);
                each(at, codes.codes(at), scale, bias)
            });
        }
        let coding = self.segment.coding();
        let (mut cut, mut codes) = (Vec::new(), vec![0; self.segment.shape().dims]);
        for place in places {
            let row = self.segment.row(RowId(self.rows.of(place)[0]));
            let (scale, bias) = coding.encode(row, &mut cut, &mut codes);
            each(place, &codes, scale, bias)?;
        }
        Some(())
    }
}

impl Nodes {
    pub(super) fn new(shape: Shape, coding: Coding<'static>, n_rows: usize) -> Self {
        Nodes {
            shape,
            coding,
            codes: Vec::new(),
            scales: Vec::new(),
            biases: Vec::new(),
            node_of_row: vec![0; n_rows],
            first_with: HashMap::new(),
        }
    }

    pub(super) fn rows(&self) -> CodeRows<'_> {
        CodeRows::new(&self.codes, &self.scales, self.shape.dims)
            .with_biases(Coding::biases(self.coding.form, &self.biases))
    }

    /// How the rows were coded; all else is given up.
    pub(super) fn into_coding(self) -> Coding<'static> {
        self.coding
    }

    /// Gives back what only collecting needs.
    pub(super) fn close(&mut self) {
        self.first_with = HashMap::new();
        self.codes.shrink_to_fit();
    }

    /// Quantises rows, the first of which is row `first_row`; `None` if cancelled.
    pub(super) fn encode<'r>(
        &mut self,
        mut rows: impl Iterator<Item = Values<'r>>,
        first_row: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Option<()> {
        let dims = self.shape.dims;
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        let coding = self.coding.clone();
        let mut row = first_row;
        loop {
            let block: Vec<Values<'_>> = rows.by_ref().take(ROWS_AT_ONCE).collect();
            if cancelled() {
                return None;
            }
            if block.is_empty() {
                return Some(());
            }
            codes.resize(block.len() * dims, 0i8);
            scales.resize(block.len(), (0.0f32, 0.0f32));
            let coded = codes.par_chunks_mut(ROWS_A_THREAD * dims);
            let scaled = scales.par_chunks_mut(ROWS_A_THREAD);
            let blocks = block.par_chunks(ROWS_A_THREAD).zip(coded).zip(scaled);
            blocks.for_each(|((rows, codes), scales)| {
                let mut cut = Vec::with_capacity(dims);
                let rows = rows.iter().zip(codes.chunks_exact_mut(dims));
                for ((row, codes), scale) in rows.zip(scales) {
                    *scale = coding.encode(*row, &mut cut, codes);
                }
            });
            for (codes, (scale, bias)) in codes.chunks_exact(dims).zip(&scales) {
                self.node_of_row[row] = self.node(codes, *scale, *bias).0;
                row += 1;
            }
        }
    }

    /// Takes the codes of a sealed segment's live rows, the first of which becomes row `first_row`.
    /// Returns the node that each place of its graph became, or [`GONE`]; `None` if cancelled.
    pub(super) fn adopt(
        &mut self,
        coded: &Coded<'_>,
        live: &[Range<u32>],
        first_row: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Option<Vec<u32>> {
        let mut new_row = vec![GONE; coded.segment.len()];
        live.iter().cloned().flatten().zip(first_row as u32..).for_each(|(old, new)| {
            new_row[old as usize] = new;
        });
        let mut nodes = Vec::with_capacity(coded.graph.n_nodes());
        coded.each(&mut |place, codes, scale, bias| {
            if (place as usize).is_multiple_of(ROWS_AT_ONCE) && cancelled() {
                return None;
            }
            let rows = coded.rows.of(place).iter().map(|row| new_row[*row as usize]);
            let mut rows = rows.filter(|row| *row != GONE).peekable();
            if rows.peek().is_none() {
                nodes.push(GONE);
                return Some(());
            }
            let (node, is_new) = self.node(codes, scale, bias);
            rows.for_each(|row| self.node_of_row[row as usize] = node);
            nodes.push(if is_new { node } else { GONE });
            Some(())
        })?;
        Some(nodes)
    }

    /// The node with these codes and scale, and whether it is new. The bias follows from both.
    fn node(&mut self, codes: &[i8], scale: f32, bias: f32) -> (u32, bool) {
        let dims = self.shape.dims;
        let next = self.scales.len() as u32;
        let hash = xxh3_64_with_seed(bytemuck::cast_slice(codes), u64::from(scale.to_bits()));
        let node = *self.first_with.entry(hash).or_insert(next);
        let same = node < next
            && self.scales[node as usize].to_bits() == scale.to_bits()
            && self.codes[node as usize * dims..][..dims] == *codes;
        if same {
            return (node, false);
        }
        // New, or, once in 2^64, another row with the same hash: then a node of its own.
        self.codes.extend_from_slice(codes);
        self.scales.push(scale);
        if Coding::is_biased(self.coding.form) {
            self.biases.push(bias);
        }
        (next, true)
    }
}
