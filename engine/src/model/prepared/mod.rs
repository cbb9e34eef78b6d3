//! Weights as the fast pass reads them: one run of bytes, made once, then mapped or in memory.
//!
//! Weights that read the same input are joined (q, k and v; gate and up, 16 outputs of each in turn),
//! the two dense layers, which have nothing between them, are one matrix, norms have their one added.
//! Matrices are kept in panels ([`Panels`]), the embedding table row by row, so that only the rows in
//! use are ever touched.

mod balance;
mod build;

use bincode::{Decode, Encode};
use half::bf16;

pub use balance::Balance;
pub use build::Report;
pub(crate) use build::{build, dot};

use crate::bytes::Bytes;
use crate::kernel::{self, Lines, PANEL, Panels, Precision};
use crate::package::LayerKind;

/// Where a matrix in panels lies in the body.
#[derive(Clone, Encode, Decode)]
pub(crate) struct MatrixAt {
    precision: Precision,
    n_outputs: usize,
    n_inputs: usize,
    at: usize,
}

/// Where the embedding table lies in the body: `[vocab_size]` rows.
#[derive(Clone, Encode, Decode)]
pub(crate) struct TableAt {
    precision: Precision,
    width: usize,
    at: usize,
}

/// One layer. Norms with one added.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Layer {
    pub(crate) kind: LayerKind,
    pub(crate) input_norm: Vec<f32>,            // [hidden]
    pub(crate) qkv: MatrixAt,                   // [(n_heads + 2 n_kv_heads) * head_dim, hidden]
    pub(crate) q_norm: Vec<f32>,                // [head_dim]
    pub(crate) k_norm: Vec<f32>,                // [head_dim]
    pub(crate) o: MatrixAt,                     // [hidden, n_heads * head_dim]
    pub(crate) post_attention_norm: Vec<f32>,   // [hidden]
    pub(crate) pre_feedforward_norm: Vec<f32>,  // [hidden]
    pub(crate) gate_up: MatrixAt,               // [2 * intermediate padded to 16, hidden]
    pub(crate) down: MatrixAt,                  // [hidden, intermediate]
    pub(crate) post_feedforward_norm: Vec<f32>, // [hidden]
}

/// What lies where in the body.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Layout {
    pub(crate) precision: Precision,
    embedding: TableAt,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,  // [hidden]
    pub(crate) dense: MatrixAt, // [full_width, hidden]
    n_bytes: usize,
}

/// The bytes of all weights; each part begins on a cache line.
pub(crate) enum Body {
    Memory(Lines),
    Mapped(Bytes),
}

impl Layout {
    /// True if every part lies inside a body of this length.
    fn fits(&self, n_bytes: usize) -> bool {
        let end = |m: &MatrixAt| m.n_bytes().and_then(|n| m.at.checked_add(n));
        let mut matrices = self.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.gate_up, &l.down]);
        self.n_bytes <= n_bytes
            && self.embedding.at <= n_bytes
            && matrices.all(|m| end(m).is_some_and(|end| end <= n_bytes))
            && end(&self.dense).is_some_and(|end| end <= n_bytes)
    }
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Memory(lines) => lines.bytes(),
            Body::Mapped(bytes) => bytes,
        }
    }
}

/// All weights of a model.
pub(crate) struct Prepared {
    pub(crate) layout: Layout,
    body: Body,
}

impl Prepared {
    /// The body must be as long as the layout says, and every part inside it.
    pub(crate) fn new(layout: Layout, body: Body) -> Option<Prepared> {
        let is_whole = layout.fits(body.bytes().len());
        is_whole.then_some(Prepared { layout, body })
    }

    /// A matrix, ready to be multiplied with.
    pub(crate) fn panels(&self, matrix: &MatrixAt) -> Panels<'_> {
        let MatrixAt { precision, n_outputs, n_inputs, at } = *matrix;
        let n_bytes = n_outputs.div_ceil(PANEL) * precision.panel_bytes(n_inputs);
        Panels::new(precision, n_outputs, n_inputs, &self.body.bytes()[at..at + n_bytes])
    }

    /// The embedding of one token, times `factor`. `row`: `[hidden]`.
    pub(crate) fn embedding(&self, id: u32, factor: f32, row: &mut [f32]) {
        let TableAt { precision, width, at } = self.layout.embedding;
        let n_bytes = table_row_bytes(precision, width);
        read_table_row(
            precision,
            &self.body.bytes()[at + id as usize * n_bytes..][..n_bytes],
            factor,
            row,
        );
    }
}

impl MatrixAt {
    fn n_bytes(&self) -> Option<usize> {
        let n_panels = self.n_outputs.div_ceil(PANEL);
        // Any sizes may stand in a damaged file.
        (self.n_inputs < 1 << 24)
            .then(|| self.precision.panel_bytes(self.n_inputs))?
            .checked_mul(n_panels)
    }
}

/// int4 keeps its table in int8: the table is mapped, and only the rows in use are read.
fn table_row_bytes(precision: Precision, width: usize) -> usize {
    match precision {
        Precision::F32 => width * 4,
        Precision::Bf16 => width * 2,
        Precision::Int8 | Precision::Int4 => width + 4,
    }
}

fn read_table_row(precision: Precision, bytes: &[u8], factor: f32, row: &mut [f32]) {
    match precision {
        Precision::F32 => {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *x = f32::from_le_bytes(*b) * factor;
            }
        }
        Precision::Bf16 => {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *x = bf16::from_le_bytes(*b).to_f32() * factor;
            }
        }
        Precision::Int8 | Precision::Int4 => {
            let (numbers, scale) = bytes.split_at(row.len());
            let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]) * factor;
            for (x, b) in row.iter_mut().zip(numbers) {
                *x = f32::from(*b as i8) * scale;
            }
        }
    }
}

fn write_table_row(precision: Precision, row: &[f32], bytes: &mut Vec<u8>) {
    match precision {
        Precision::F32 => bytes.extend(row.iter().flat_map(|x| x.to_le_bytes())),
        Precision::Bf16 => {
            bytes.extend(row.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()));
        }
        Precision::Int8 | Precision::Int4 => {
            let at = bytes.len();
            bytes.resize(at + row.len(), 0);
            let mut scale = 0.0;
            kernel::quantise(row, &mut bytes[at..], &mut scale, row.len(), 0, &mut []);
            bytes.extend(scale.to_le_bytes());
        }
    }
}
