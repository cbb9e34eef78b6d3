//! From the weights of a package to those of the fast pass, one layer at a time.
//!
//! With texts at hand, they run along: through each layer in f32, whose inputs show how activations
//! are spread ([`balance`]), and through the layer as it was just made, so that at the end both
//! vectors of each text are there to be compared. No more than a layer is ever in memory.

use std::io::{self, Write};

use bincode::{Decode, Encode};
use rayon::prelude::*;

use super::balance::{self, Balance};
use super::write_table_row;
use super::{Body, Layer, Layout, MatrixAt, Prepared, TableAt, read_table_row, table_row_bytes};
use crate::Result;
use crate::kernel::{self, Lines, PANEL, Precision, pack};
use crate::model::Fast;
use crate::package::{Config, LayerKind, LayerWeights, Matrix, Source};

/// Rows of the embedding table that are read at a time, and that a thread takes of these.
const TABLE_ROWS: usize = 8192;
const TABLE_PART: usize = 256;

/// How true the result is to f32, and what was done for it.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Report {
    /// The cosine between the vectors of each text, this precision and f32.
    pub cosines: Vec<f32>,
    /// How the scale of each matrix is shared with its inputs, in the order of use.
    pub balances: Vec<Balance>,
    /// The vectors in f32.
    pub(crate) exact: Vec<Vec<f32>>,
}

impl Report {
    /// The smallest cosine; 1 if nothing was compared.
    pub fn worst(&self) -> f32 {
        self.cosines.iter().copied().fold(1.0, f32::min)
    }

    /// The mean cosine; 1 if nothing was compared.
    pub fn mean(&self) -> f32 {
        match self.cosines.len() {
            0 => 1.0,
            n => self.cosines.iter().sum::<f32>() / n as f32,
        }
    }
}

/// Writes the body; `texts` are ids of whole sequences, or none.
///
/// The inner error is that of `body`.
pub(crate) fn build(
    config: &Config,
    source: &Source,
    precision: Precision,
    texts: &[Vec<u32>],
    body: &mut impl Write,
) -> Result<io::Result<(Layout, Report)>> {
    let mut writer = Writer { body, at: 0 };
    let mut report = Report::default();
    let sequences: Vec<&[u32]> = texts.iter().map(|ids| &ids[..]).collect();

    let embedding = match writer.table(config, source, precision)? {
        Ok(embedding) => embedding,
        Err(error) => return Ok(Err(error)),
    };
    let mut exact = embedded(config, source, Precision::F32, &sequences)?;
    let mut found = embedded(config, source, precision, &sequences)?;

    let mut layers = Vec::with_capacity(config.layers.len());
    for (i, &kind) in config.layers.iter().enumerate() {
        let mut weights = source.layer(i)?;
        if !sequences.is_empty() {
            let inputs = one_layer(config, Precision::F32, &weights, kind)
                .observe_layer(&sequences, &mut exact);
            if matches!(precision, Precision::Int8 | Precision::Int4) {
                let balances = balance::layer(config, precision, &mut weights, &inputs);
                report.balances.extend(balances);
            }
        }
        let layer = one_layer(config, precision, &weights, kind);
        if !sequences.is_empty() {
            layer.observe_layer(&sequences, &mut found);
        }
        let (mut made, bytes) = layer.into_layer();
        match writer.align().and_then(|at| writer.write(bytes.bytes()).map(|()| at)) {
            Ok(at) => made.matrices_mut().into_iter().for_each(|matrix| matrix.at += at),
            Err(error) => return Ok(Err(error)),
        }
        layers.push(made);
    }

    let [first, second] = source.dense()?;
    let dense = product(&second, &first);
    let norm = plus_one(&source.norm()?);
    let at = match writer.matrix(head_precision(precision), &rows(&[&dense])) {
        Ok(at) => at,
        Err(error) => return Ok(Err(error)),
    };
    if !sequences.is_empty() {
        let head = |precision, x: &[f32]| {
            let mut writer = Writer { body: Lines::default(), at: 0 };
            let at = in_memory(writer.matrix(head_precision(precision), &rows(&[&dense])));
            let layout = layout(precision, Vec::new(), norm.clone(), at, writer.at);
            fast(config, layout, writer.body).heads(&sequences, x)
        };
        let (exact, found) = (head(Precision::F32, &exact), head(precision, &found));
        report.cosines = exact.iter().zip(&found).map(|(a, b)| dot(a, b)).collect();
        report.exact = exact;
    }
    let layout = Layout { precision, embedding, layers, norm, dense: at, n_bytes: writer.at };
    Ok(Ok((layout, report)))
}

impl Prepared {
    /// Converts weights in memory, as they are.
    pub(crate) fn in_memory(
        config: &Config,
        source: &Source,
        precision: Precision,
    ) -> Result<Self> {
        let mut body = Lines::default();
        let (layout, _) = in_memory(build(config, source, precision, &[], &mut body)?);
        Ok(Prepared { layout, body: Body::Memory(body) })
    }
}

/// The result of writing to memory.
fn in_memory<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|e| unreachable!("memory takes every byte: {e}"))
}

/// The first rows of all sequences, as this precision's table has them; `[n, hidden]`.
fn embedded(
    config: &Config,
    source: &Source,
    precision: Precision,
    sequences: &[&[u32]],
) -> Result<Vec<f32>> {
    let hidden = config.hidden;
    let scale = (hidden as f32).sqrt();
    let ids: Vec<usize> = sequences.iter().copied().flatten().map(|&id| id as usize).collect();
    let mut x = vec![0.0; ids.len() * hidden];
    let mut bytes = Vec::new();
    for (id, row) in ids.into_iter().zip(x.chunks_exact_mut(hidden)) {
        bytes.clear();
        write_table_row(precision, &source.embedding(id..id + 1)?.values, &mut bytes);
        read_table_row(precision, &bytes, scale, row);
    }
    Ok(x)
}

/// A model of one layer and nothing else.
fn one_layer(
    config: &Config,
    precision: Precision,
    weights: &LayerWeights,
    kind: LayerKind,
) -> Fast {
    let mut writer = Writer { body: Lines::default(), at: 0 };
    let layer = in_memory(writer.layer(precision, weights, kind));
    let none = MatrixAt { precision, n_outputs: 0, n_inputs: 0, at: 0 };
    let layout = layout(precision, vec![layer], Vec::new(), none, writer.at);
    fast(config, layout, writer.body)
}

/// A layout without a table.
fn layout(
    precision: Precision,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    dense: MatrixAt,
    n_bytes: usize,
) -> Layout {
    let embedding = TableAt { precision, width: 0, at: 0 };
    Layout { precision, embedding, layers, norm, dense, n_bytes }
}

fn fast(config: &Config, layout: Layout, body: Lines) -> Fast {
    Fast::new(config, Prepared { layout, body: Body::Memory(body) })
}

impl Layer {
    fn matrices_mut(&mut self) -> [&mut MatrixAt; 4] {
        [&mut self.qkv, &mut self.o, &mut self.gate_up, &mut self.down]
    }
}

impl Prepared {
    /// The only layer, and its bytes.
    pub(crate) fn into_layer(mut self) -> (Layer, Lines) {
        match (self.layout.layers.pop(), self.body) {
            (Some(layer), Body::Memory(bytes)) => (layer, bytes),
            _ => unreachable!("made by `one_layer`"),
        }
    }
}

/// The head is small and its outputs are the vector: it is never quantised.
fn head_precision(precision: Precision) -> Precision {
    if precision == Precision::F32 { Precision::F32 } else { Precision::Bf16 }
}

/// Writes the body, each part on a cache line.
struct Writer<W> {
    body: W,
    at: usize,
}

impl<W: Write> Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.body.write_all(bytes)
    }

    fn align(&mut self) -> io::Result<usize> {
        const ZEROS: [u8; 64] = [0; 64];
        self.write(&ZEROS[..self.at.next_multiple_of(64) - self.at])?;
        Ok(self.at)
    }

    fn table(
        &mut self,
        config: &Config,
        source: &Source,
        precision: Precision,
    ) -> Result<io::Result<TableAt>> {
        let Config { vocab_size, hidden, .. } = *config;
        let at = match self.align() {
            Ok(at) => at,
            Err(error) => return Ok(Err(error)),
        };
        for first in (0..vocab_size).step_by(TABLE_ROWS) {
            let rows = source.embedding(first..vocab_size.min(first + TABLE_ROWS))?;
            let parts = rows.values.par_chunks(hidden * TABLE_PART).map(|part| {
                let mut bytes = Vec::with_capacity(TABLE_PART * table_row_bytes(precision, hidden));
                for row in part.chunks_exact(hidden) {
                    write_table_row(precision, row, &mut bytes);
                }
                bytes
            });
            let bytes = parts.collect::<Vec<_>>().concat();
            if let Err(error) = self.write(&bytes) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(TableAt { precision, width: hidden, at }))
    }

    fn layer(
        &mut self,
        precision: Precision,
        w: &LayerWeights,
        kind: LayerKind,
    ) -> io::Result<Layer> {
        Ok(Layer {
            kind,
            input_norm: plus_one(&w.input_norm),
            qkv: self.matrix(precision, &rows(&[&w.q, &w.k, &w.v]))?,
            q_norm: plus_one(&w.q_norm),
            k_norm: plus_one(&w.k_norm),
            o: self.matrix(precision, &rows(&[&w.o]))?,
            post_attention_norm: plus_one(&w.post_attention_norm),
            pre_feedforward_norm: plus_one(&w.pre_feedforward_norm),
            gate_up: self.matrix(precision, &in_turn(&w.gate, &w.up, &vec![0.0; w.gate.n_cols]))?,
            down: self.matrix(precision, &rows(&[&w.down]))?,
            post_feedforward_norm: plus_one(&w.post_feedforward_norm),
        })
    }

    /// `rows`: the weights of each output.
    fn matrix(&mut self, precision: Precision, rows: &[&[f32]]) -> io::Result<MatrixAt> {
        let at = self.align()?;
        let n_inputs = rows.first().map_or(0, |row| row.len());
        self.write(&packed(precision, rows))?;
        Ok(MatrixAt { precision, n_outputs: rows.len(), n_inputs, at })
    }
}

/// All panels of a matrix.
pub(super) fn packed(precision: Precision, rows: &[&[f32]]) -> Vec<u8> {
    let n_inputs = rows.first().map_or(0, |row| row.len());
    let n_bytes = precision.panel_bytes(n_inputs);
    let mut panels = vec![0; rows.len().div_ceil(PANEL) * n_bytes];
    let pairs = rows.par_chunks(PANEL).zip(panels.par_chunks_exact_mut(n_bytes));
    pairs.for_each(|(rows, panel)| pack(precision, rows, panel));
    panels
}

/// The rows of matrices, one below the other.
pub(super) fn rows<'a>(parts: &[&'a Matrix]) -> Vec<&'a [f32]> {
    parts.iter().flat_map(|part| part.values.chunks_exact(part.n_cols)).collect()
}

/// 16 rows of `gate`, then 16 of `up`, and so on: a panel holds both sides of 16 products. The last
/// 16 of each may be short of rows; zeros stand in.
fn in_turn<'a>(gate: &'a Matrix, up: &'a Matrix, zeros: &'a [f32]) -> Vec<&'a [f32]> {
    const HALF: usize = PANEL / 2;
    let (gates, ups) = (rows(&[gate]), rows(&[up]));
    let mut turns = Vec::with_capacity(gates.len().next_multiple_of(HALF) * 2);
    for (gates, ups) in gates.chunks(HALF).zip(ups.chunks(HALF)) {
        for part in [gates, ups] {
            turns.extend(part);
            turns.extend(std::iter::repeat_n(zeros, HALF - part.len()));
        }
    }
    turns
}

fn plus_one(norm: &Matrix) -> Vec<f32> {
    norm.values.iter().map(|w| 1.0 + w).collect()
}

/// `left right`, summed in f64.
fn product(left: &Matrix, right: &Matrix) -> Matrix {
    let mut values = vec![0.0; left.n_rows * right.n_cols];
    let rows = values.par_chunks_mut(right.n_cols).zip(left.values.par_chunks(left.n_cols));
    rows.for_each(|(out, row)| kernel::combine(row, &right.values, out));
    Matrix { values, n_rows: left.n_rows, n_cols: right.n_cols }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() as f32
}
