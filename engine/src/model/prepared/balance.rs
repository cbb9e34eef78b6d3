//! Outlier channels: where activations and weights meet, a factor can be moved from one to the other.
//!
//! int8 gives all channels of a token one scale. A channel thirty times larger than the others leaves
//! them a thirtieth of the steps. What feeds a matrix is linear in each channel (a norm's gain, the
//! rows of v, the rows of up), so the channel can be divided there and its weights multiplied: the
//! model stays the same, its numbers become easier to round (SmoothQuant, arXiv 2211.10438). Three
//! ways are tried on rows that were seen, with the arithmetic that will run; the best one stays.

use bincode::{Decode, Encode};

use super::build::{packed, rows};
use crate::kernel::{Epilogue, Panels, Precision, Rows, product};
use crate::package::{Config, LayerWeights, Matrix};

/// Rows of activations that the ways are compared on.
const TRIED_ROWS: usize = 64;

/// What was divided out of the activations of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Balance {
    /// Nothing.
    Plain,
    /// The gain of the norm before it: activations have unit mean square.
    Folded,
    /// The root of the ratio between the largest activation and the largest weight of a channel.
    Balanced,
}

/// Balances the four matrices of a layer in place. `inputs`: what reaches them, in order of use.
pub(super) fn layer(
    config: &Config,
    precision: Precision,
    w: &mut LayerWeights,
    inputs: &[Matrix; 4],
) -> [Balance; 4] {
    let [attention, mixed, feed_forward, inner] = inputs;
    let gain = gains(&w.input_norm);
    let (qkv, factors) =
        choose(precision, attention, Some(&gain), &rows(&[&w.q, &w.k, &w.v]), |_| {});
    scale_gain(&mut w.input_norm, &factors);
    for part in [&mut w.q, &mut w.k, &mut w.v] {
        scale_columns(part, &factors);
    }

    // The heads that share a value head share its factors.
    let Config { n_heads, n_kv_heads, head_dim, .. } = *config;
    let value = |channel: usize| {
        channel / head_dim / (n_heads / n_kv_heads) * head_dim + channel % head_dim
    };
    let share = |factors: &mut [f32]| {
        let mut largest = vec![0f32; n_kv_heads * head_dim];
        for (channel, factor) in factors.iter().enumerate() {
            largest[value(channel)] = largest[value(channel)].max(*factor);
        }
        for (channel, factor) in factors.iter_mut().enumerate() {
            *factor = largest[value(channel)];
        }
    };
    let (o, factors) = choose(precision, mixed, None, &rows(&[&w.o]), share);
    scale_columns(&mut w.o, &factors);
    for (channel, factor) in factors.iter().enumerate().filter(|(c, _)| is_first(*c, value)) {
        scale_row(&mut w.v, value(channel), 1.0 / factor);
    }

    let gain = gains(&w.pre_feedforward_norm);
    let (gate_up, factors) =
        choose(precision, feed_forward, Some(&gain), &rows(&[&w.gate, &w.up]), |_| {});
    scale_gain(&mut w.pre_feedforward_norm, &factors);
    for part in [&mut w.gate, &mut w.up] {
        scale_columns(part, &factors);
    }

    let (down, factors) = choose(precision, inner, None, &rows(&[&w.down]), |_| {});
    scale_columns(&mut w.down, &factors);
    for (channel, factor) in factors.iter().enumerate() {
        scale_row(&mut w.up, channel, 1.0 / factor);
    }
    [qkv, o, gate_up, down]
}

/// True for the first channel that maps to its value.
fn is_first(channel: usize, value: impl Fn(usize) -> usize) -> bool {
    (0..channel).all(|before| value(before) != value(channel))
}

/// The best way, and what each channel is divided by.
///
/// `gain`: that of the norm before, if it is one; `share` makes factors equal that must be.
fn choose(
    precision: Precision,
    inputs: &Matrix,
    gain: Option<&[f32]>,
    weights: &[&[f32]],
    share: impl Fn(&mut [f32]),
) -> (Balance, Vec<f32>) {
    let width = inputs.n_cols;
    let step = inputs.n_rows.div_ceil(TRIED_ROWS).max(1);
    let tried: Vec<&[f32]> = inputs.values.chunks_exact(width).step_by(step).collect();
    let expected = outputs(Precision::F32, &tried, weights, &vec![1.0; width]);

    let largest = |rows: &mut dyn Iterator<Item = &[f32]>| {
        let mut largest = vec![0f32; width];
        for row in rows {
            largest.iter_mut().zip(row).for_each(|(a, x)| *a = a.max(x.abs()));
        }
        largest
    };
    let of_inputs = largest(&mut inputs.values.chunks_exact(width));
    let of_weights = largest(&mut weights.iter().copied());
    let ratio = |(x, w): (&f32, &f32)| (x / w).sqrt();
    let mut ways = vec![(Balance::Plain, vec![1.0; width])];
    ways.extend(gain.map(|gain| (Balance::Folded, gain.iter().map(|g| g.abs()).collect())));
    ways.push((Balance::Balanced, of_inputs.iter().zip(&of_weights).map(ratio).collect()));

    let tries = ways.into_iter().map(|(way, mut factors)| {
        // A channel that is never used keeps its scale.
        let is_usable = |factor: &f32| factor.is_finite() && *factor > 1e-6;
        factors.iter_mut().filter(|f| !is_usable(f)).for_each(|factor| *factor = 1.0);
        share(&mut factors);
        let found = outputs(precision, &tried, weights, &factors);
        let error: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (error, way, factors)
    });
    let best = tries.min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, way, factors) = best.unwrap_or_else(|| unreachable!("plain is always tried"));
    (way, factors)
}

/// The products of activations divided by `factors` with weights multiplied by them.
fn outputs(
    precision: Precision,
    inputs: &[&[f32]],
    weights: &[&[f32]],
    factors: &[f32],
) -> Vec<f32> {
    let scaled = |row: &[f32], by: &dyn Fn(f32) -> f32| -> Vec<f32> {
        row.iter().zip(factors).map(|(x, &factor)| x * by(factor)).collect()
    };
    let weights: Vec<Vec<f32>> = weights.iter().map(|row| scaled(row, &|f| f)).collect();
    let weights: Vec<&[f32]> = weights.iter().map(|row| &row[..]).collect();
    let bytes = packed(precision, &weights);
    let mut activations = Rows::new(precision);
    activations.reset(inputs.len(), factors.len());
    for (i, row) in inputs.iter().enumerate() {
        activations.set(i, &scaled(row, &|factor| 1.0 / factor));
    }
    let panels = Panels::new(precision, weights.len(), factors.len(), &bytes);
    let mut out = vec![0.0; inputs.len() * weights.len()];
    product(&activations, panels, Epilogue::Plain, &mut out, weights.len());
    out
}

fn gains(norm: &Matrix) -> Vec<f32> {
    norm.values.iter().map(|w| 1.0 + w).collect()
}

fn scale_gain(norm: &mut Matrix, factors: &[f32]) {
    for (w, factor) in norm.values.iter_mut().zip(factors) {
        *w = (1.0 + *w) / factor - 1.0;
    }
}

fn scale_columns(matrix: &mut Matrix, factors: &[f32]) {
    for row in matrix.values.chunks_exact_mut(matrix.n_cols) {
        row.iter_mut().zip(factors).for_each(|(w, factor)| *w *= factor);
    }
}

fn scale_row(matrix: &mut Matrix, row: usize, by: f32) {
    let n_cols = matrix.n_cols;
    matrix.values[row * n_cols..][..n_cols].iter_mut().for_each(|w| *w *= by);
}
