//! Weight matrices as the kernels read them: panels of 32 outputs, in the order of use.
//!
//! A panel holds, for each step along the inputs, what 32 outputs need for it: one f32 each, two
//! bf16 or four int8: 128 bytes, against 4 bytes of a row. Inputs are padded with zeros to a
//! multiple of [`BLOCK`] twice over (64), outputs to whole panels. Byte for byte:
//!
//! | precision | a panel of `k` padded inputs |
//! |---|---|
//! | f32 | `[k][32]` f32 |
//! | bf16 | `[k / 2][32][2]` bf16 |
//! | int8 | `[k / 4][32][4]` of weight + 128, then `[32]` f32 scales, one an output |
//! | int4 | per block of 32 inputs: `[4][32][4]` bytes, low half weight + 8 of step `j`, high half of step `j + 4`; then `[32]` f16 scales |
//!
//! The layout is also that of AMX tiles: 16 steps of 16 outputs are one.

use std::ops::Range;

use bincode::{Decode, Encode};
use half::{bf16, f16};

use super::quantise;
use super::scalar::ROUND;

/// Outputs of a panel.
pub(crate) const PANEL: usize = 32;

/// Inputs that share a scale in int4.
pub(crate) const BLOCK: usize = 32;

/// Inputs are padded to a multiple of this.
pub(crate) const INPUT_GRAIN: usize = 64;

/// The form in which weights are kept, and the arithmetic that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Precision {
    /// Weights and activations in f32.
    F32,
    /// Weights and activations rounded to bf16, sums in f32.
    Bf16,
    /// Weights with one scale an output, activations with one a token, sums exact.
    Int8,
    /// Weights with one scale for 32 inputs (as Q4_0), activations as in int8.
    Int4,
}

impl Precision {
    /// All of them, the truest first.
    pub const ALL: [Precision; 4] =
        [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|precision| precision.name() == name)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
        }
    }

    /// Bytes of one row of activations of `n_inputs`.
    pub(crate) fn row_bytes(self, n_inputs: usize) -> usize {
        let k = padded(n_inputs);
        match self {
            Precision::F32 => k * 4,
            Precision::Bf16 => k * 2,
            Precision::Int8 | Precision::Int4 => k,
        }
    }

    /// Bytes of one panel.
    pub(crate) fn panel_bytes(self, n_inputs: usize) -> usize {
        let k = padded(n_inputs);
        match self {
            Precision::F32 => k * PANEL * 4,
            Precision::Bf16 => k * PANEL * 2,
            Precision::Int8 => k * PANEL + PANEL * 4,
            Precision::Int4 => k / BLOCK * BLOCK_BYTES,
        }
    }
}

/// Bytes of a block of int4 weights: the halves, then the scales.
pub(super) const BLOCK_BYTES: usize = BLOCK * PANEL / 2 + PANEL * 2;

pub(crate) fn padded(n_inputs: usize) -> usize {
    n_inputs.next_multiple_of(INPUT_GRAIN)
}

/// A weight matrix in panels.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) precision: Precision,
    pub(crate) n_outputs: usize,
    pub(crate) n_inputs: usize,
    /// Whole panels; aligned to 64 bytes where speed matters.
    bytes: &'a [u8],
    /// Bytes from panel to panel, and how many of them come before the first input.
    stride: usize,
    skipped: usize,
}

impl<'a> Panels<'a> {
    /// # Panics
    /// If the bytes are not those of the shape.
    pub(crate) fn new(
        precision: Precision,
        n_outputs: usize,
        n_inputs: usize,
        bytes: &'a [u8],
    ) -> Panels<'a> {
        let stride = precision.panel_bytes(n_inputs);
        assert_eq!(bytes.len(), n_outputs.div_ceil(PANEL) * stride);
        Panels { precision, n_outputs, n_inputs, bytes, stride, skipped: 0 }
    }

    /// Some of the outputs, from a whole number of panels on.
    pub(crate) fn outputs(self, outputs: Range<usize>) -> Panels<'a> {
        assert!(outputs.start.is_multiple_of(PANEL) && outputs.end <= self.n_outputs);
        let bytes = &self.bytes[outputs.start / PANEL * self.stride..];
        Panels { n_outputs: outputs.len(), bytes, ..self }
    }

    /// Some of the inputs, from a multiple of [`INPUT_GRAIN`] on; f32 and bf16, whose panels hold
    /// nothing but weights. The padding that follows is whatever comes next: it meets zeros.
    pub(crate) fn inputs(self, inputs: Range<usize>) -> Panels<'a> {
        assert!(inputs.start.is_multiple_of(INPUT_GRAIN) && inputs.end <= self.n_inputs);
        assert!(matches!(self.precision, Precision::F32 | Precision::Bf16));
        let skipped = self.skipped + self.precision.panel_bytes(inputs.start);
        Panels { n_inputs: inputs.len(), skipped, ..self }
    }

    /// How many panels.
    pub(crate) fn len(&self) -> usize {
        self.n_outputs.div_ceil(PANEL)
    }

    /// The bytes of one panel.
    pub(super) fn panel(&self, i: usize) -> &'a [u8] {
        let n_bytes = self.precision.panel_bytes(self.n_inputs);
        &self.bytes[i * self.stride + self.skipped..][..n_bytes]
    }
}

/// Writes one panel: `rows` are the weights of its outputs, at most 32, each of the same length.
pub(crate) fn pack(precision: Precision, rows: &[&[f32]], panel: &mut [u8]) {
    let n_inputs = rows.first().map_or(0, |row| row.len());
    assert!(rows.len() <= PANEL && panel.len() == precision.panel_bytes(n_inputs));
    panel.fill(0);
    match precision {
        Precision::F32 => {
            for (o, row) in rows.iter().enumerate() {
                for (k, w) in row.iter().enumerate() {
                    panel[(k * PANEL + o) * 4..][..4].copy_from_slice(&w.to_le_bytes());
                }
            }
        }
        Precision::Bf16 => {
            for (o, row) in rows.iter().enumerate() {
                for (k, &w) in row.iter().enumerate() {
                    let at = ((k / 2 * PANEL + o) * 2 + k % 2) * 2;
                    panel[at..][..2].copy_from_slice(&bf16::from_f32(w).to_le_bytes());
                }
            }
        }
        Precision::Int8 => {
            let (weights, scales) = panel.split_at_mut(padded(n_inputs) * PANEL);
            let steps = weights.as_chunks_mut::<4>().0.as_chunks_mut::<PANEL>().0;
            let mut numbers = vec![0; padded(n_inputs)];
            for o in 0..PANEL {
                let mut scale = 0.0;
                quantise(
                    rows.get(o).unwrap_or(&&[][..]),
                    &mut numbers,
                    &mut scale,
                    BLOCK,
                    0,
                    &mut [],
                );
                scales[o * 4..][..4].copy_from_slice(&scale.to_le_bytes());
                for (step, numbers) in steps.iter_mut().zip(numbers.as_chunks::<4>().0) {
                    // Adding 128 to a signed byte is the same as turning its first bit.
                    step[o] = numbers.map(|q| q ^ 128);
                }
            }
        }
        Precision::Int4 => {
            for (o, row) in rows.iter().enumerate() {
                for (block, row) in panel.chunks_exact_mut(BLOCK_BYTES).zip(row.chunks(BLOCK)) {
                    pack_block(row, o, block);
                }
            }
        }
    }
}

/// One output's part of a block. As Q4_0, the number of largest size becomes -8.
fn pack_block(row: &[f32], o: usize, block: &mut [u8]) {
    let (halves, scales) = block.split_at_mut(BLOCK * PANEL / 2);
    let larger = |a: f32, &b: &f32| if b.abs() > a.abs() { b } else { a };
    let scale = f16::from_f32(row.iter().fold(0.0, larger) / -8.0);
    scales[o * 2..][..2].copy_from_slice(&scale.to_le_bytes());
    for k in 0..BLOCK {
        let w = row.get(k).copied().unwrap_or(0.0);
        let q = (nearest(w, scale.to_f32()).clamp(-8, 7) + 8) as u8;
        let (step, shift) = (k / 4 % 4, k / 16 * 4);
        halves[(step * PANEL + o) * 4 + k % 4] |= q << shift;
    }
}

/// Reads weights back, as the arithmetic sees them: the row of one output, `[n_inputs]`.
#[cfg(test)]
pub(crate) fn unpack(precision: Precision, panel: &[u8], o: usize, row: &mut [f32]) {
    assert!(o < PANEL && panel.len() == precision.panel_bytes(row.len()));
    let f32_at = |at: usize| f32::from_le_bytes([0, 1, 2, 3].map(|i| panel[at + i]));
    let scales = padded(row.len()) * PANEL;
    for (k, w) in row.iter_mut().enumerate() {
        *w = match precision {
            Precision::F32 => f32_at((k * PANEL + o) * 4),
            Precision::Bf16 => {
                let at = ((k / 2 * PANEL + o) * 2 + k % 2) * 2;
                bf16::from_le_bytes([panel[at], panel[at + 1]]).to_f32()
            }
            Precision::Int8 => {
                let q = i32::from(panel[(k / 4 * PANEL + o) * 4 + k % 4]) - 128;
                q as f32 * f32_at(scales + o * 4)
            }
            Precision::Int4 => {
                let block = &panel[k / BLOCK * BLOCK_BYTES..][..BLOCK_BYTES];
                let (halves, scales) = block.split_at(BLOCK * PANEL / 2);
                let byte = halves[(k / 4 % 4 * PANEL + o) * 4 + k % 4];
                let q = i32::from(byte >> (k % BLOCK / 16 * 4) & 15) - 8;
                q as f32 * f16::from_le_bytes([scales[o * 2], scales[o * 2 + 1]]).to_f32()
            }
        };
    }
}

/// The nearest whole number of steps.
fn nearest(w: f32, scale: f32) -> i32 {
    if scale == 0.0 { 0 } else { (w / scale + ROUND).to_bits() as i32 - ROUND.to_bits() as i32 }
}
