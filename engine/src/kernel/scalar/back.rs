//! What a training pass needs beside the forward kernels: their derivatives, and matrices on edge.
//!
//! `gradient` always means the derivative of the loss by the numbers it is named after.

use super::{LANES, TWICE_ROOT, bf16_pair, exp, inverse_rms};
use crate::kernel::panels::Precision;

/// Columns, and steps along the rows, that are turned at once: a vector of 32-bit numbers each way.
const BLOCK: usize = 16;

/// The sum over `a * b`, lane by lane, then over the lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The sum over `a * b * c`, as [`dot`].
#[inline(always)]
fn triple_dot(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let (c, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for (lane, ((a, b), c)) in lanes.iter_mut().zip(a.iter().zip(b).zip(c)) {
            *lane += a * b * c;
        }
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest).map(|((a, b), c)| a * b * c);
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
}

/// `put` gets a place of `out` and the derivative that belongs there.
#[inline(always)]
fn norm_back(
    x: &[f32],
    gain: &[f32],
    eps: f32,
    gradient: &[f32],
    out: &mut [f32],
    gain_gradient: &mut [f32],
    put: impl Fn(&mut f32, f32),
) {
    let n = gain.len();
    assert!(x.len() == gradient.len() && x.len() == out.len());
    assert!(gain_gradient.is_empty() || gain_gradient.len() == n);
    let rows = x.chunks_exact(n).zip(gradient.chunks_exact(n)).zip(out.chunks_exact_mut(n));
    for ((x, gradient), out) in rows {
        let scale = inverse_rms(x, eps);
        let along = scale * scale / n as f32 * triple_dot(gradient, gain, x);
        for (((out, x), gradient), gain) in out.iter_mut().zip(x).zip(gradient).zip(gain) {
            put(out, scale * (gradient * gain - x * along));
        }
        for ((sum, x), gradient) in gain_gradient.iter_mut().zip(x).zip(gradient) {
            *sum += gradient * x * scale;
        }
    }
}

#[inline(always)]
pub(in crate::kernel) fn rms_norm_back(
    x: &[f32],
    gain: &[f32],
    eps: f32,
    gradient: &[f32],
    out: &mut [f32],
    gain_gradient: &mut [f32],
) {
    norm_back(x, gain, eps, gradient, out, gain_gradient, |out, value| *out = value);
}

#[inline(always)]
pub(in crate::kernel) fn rms_norm_back_add(
    x: &[f32],
    gain: &[f32],
    eps: f32,
    gradient: &[f32],
    out: &mut [f32],
    gain_gradient: &mut [f32],
) {
    norm_back(x, gain, eps, gradient, out, gain_gradient, |out, value| *out += value);
}

#[inline(always)]
pub(in crate::kernel) fn rope_back(row: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = row.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos + *b * sin, *b * cos - *a * sin);
    }
}

#[inline(always)]
pub(in crate::kernel) fn softmax_back(
    probabilities: &[f32],
    gradient: &mut [f32],
    n: usize,
    scale: f32,
) {
    assert_eq!(probabilities.len(), gradient.len());
    for (p, gradient) in probabilities.chunks_exact(n).zip(gradient.chunks_exact_mut(n)) {
        let mean = dot(p, gradient);
        for (gradient, p) in gradient.iter_mut().zip(p) {
            *gradient = p * (*gradient - mean) * scale;
        }
    }
}

#[inline(always)]
pub(in crate::kernel) fn geglu(gate_up: &[f32], n: usize, out: &mut [f32]) {
    assert_eq!(gate_up.len(), 2 * out.len());
    for (row, out) in gate_up.chunks_exact(2 * n).zip(out.chunks_exact_mut(n)) {
        let (gates, ups) = row.split_at(n);
        for ((out, gate), up) in out.iter_mut().zip(gates).zip(ups) {
            *out = super::gelu(*gate) * up;
        }
    }
}

#[inline(always)]
pub(in crate::kernel) fn geglu_back(
    gate_up: &[f32],
    n: usize,
    gradient: &mut [f32],
    out: &mut [f32],
) {
    assert!(gate_up.len() == 2 * gradient.len() && gate_up.len() == out.len());
    let rows = gate_up.chunks_exact(2 * n).zip(out.chunks_exact_mut(2 * n));
    for ((row, out), gradient) in rows.zip(gradient.chunks_exact_mut(n)) {
        let (gates, ups) = row.split_at(n);
        let (of_gates, of_ups) = out.split_at_mut(n);
        let of = of_gates.iter_mut().zip(of_ups);
        for (((of_gate, of_up), gradient), (z, up)) in of.zip(gradient).zip(gates.iter().zip(ups)) {
            // gelu(z) = z s(w), with s the logistic function and w = 2 sqrt(2 / pi) (z + 0.044715 z^3)
            let w = TWICE_ROOT * (z + 0.044_715 * z * z * z);
            let s = 1.0 / (1.0 + exp(-w));
            let slope = s + z * s * (1.0 - s) * TWICE_ROOT * (1.0 + 0.134_145 * z * z);
            *of_gate = *gradient * up * slope;
            *of_up = *gradient * z * s;
            *gradient = z * s * up;
        }
    }
}

#[inline(always)]
pub(in crate::kernel) fn pack_columns(
    matrix: &[f32],
    stride: usize,
    n_cols: usize,
    n_rows: usize,
    precision: Precision,
    out: &mut [u8],
) {
    let row_bytes = precision.row_bytes(n_rows);
    assert_eq!(out.len(), n_cols * row_bytes);
    let per_step = if precision == Precision::F32 { 1 } else { 2 };
    for first in (0..n_cols).step_by(BLOCK) {
        let n = BLOCK.min(n_cols - first);
        let part = |row: usize| -> [f32; BLOCK] {
            let mut part = [0.0; BLOCK];
            if row < n_rows {
                let row = &matrix[row * stride + first..][..n];
                match row.as_chunks::<BLOCK>() {
                    ([whole], []) => part = *whole,
                    _ => part[..n].copy_from_slice(row),
                }
            }
            part
        };
        for at in (0..row_bytes / 4).step_by(BLOCK) {
            let block: [[u32; BLOCK]; BLOCK] = std::array::from_fn(|i| {
                let row = (at + i) * per_step;
                let part_of_row = part(row);
                if precision == Precision::F32 {
                    return part_of_row.map(f32::to_bits);
                }
                let next = part(row + 1);
                std::array::from_fn(|c| u32::from_le_bytes(bf16_pair(part_of_row[c], next[c])))
            });
            let block = turned(block);
            for (column, numbers) in block.iter().take(n).enumerate() {
                let to = &mut out[(first + column) * row_bytes + at * 4..][..BLOCK * 4];
                for (to, number) in to.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
                    *to = number.to_le_bytes();
                }
            }
        }
    }
}

/// Rows to columns. Shuffling the upper and the lower half of the rows into each other moves one bit
/// of a row's number to the column's: four times, and all bits have changed places.
#[inline(always)]
fn turned(mut block: [[u32; BLOCK]; BLOCK]) -> [[u32; BLOCK]; BLOCK] {
    const HALF: usize = BLOCK / 2;
    for _ in 0..BLOCK.ilog2() {
        block = std::array::from_fn(|i| {
            let (upper, lower) = (&block[i / 2], &block[i / 2 + HALF]);
            let from = i % 2 * HALF;
            std::array::from_fn(|j| if j % 2 == 0 { upper } else { lower }[from + j / 2])
        });
    }
    block
}
