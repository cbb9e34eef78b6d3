//! Arithmetic on slices, with the processor's widest vectors. The only unsafe code of this crate.
//!
//! Each kernel is written once, as plain loops over lanes ([`scalar`]), and compiled three times: for
//! any processor, for AVX2 and for AVX-512. Which one runs is asked of the processor, once. They add
//! in the same order, so all three give the same numbers, bit for bit.

#![expect(unsafe_code, reason = "calls into code compiled for a processor that was asked for")]

mod lines;
mod panels;
mod product;
mod rows;
mod scalar;

pub(crate) use lines::Lines;
pub use panels::Precision;
pub(crate) use panels::{INPUT_GRAIN, PANEL, Panels, pack, padded};
pub(crate) use product::{Epilogue, product, product_shared};
pub(crate) use rows::Rows;

use product::{Finish, Sums};

/// Defines `name`, which runs `scalar::name` compiled for the processor at hand.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*)) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) {
                    scalar::$name($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    scalar::$name($($arg),*);
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor was asked for each of these features just above.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor was asked for both features just above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            scalar::$name($($arg),*);
        }
    };
}

kernel! {
    /// Scales each row of `x` to unit root-mean-square, then by `gain`, into `out`.
    ///
    /// `x`, `out`: `[n, gain.len()]`. Reference: `Gemma3RMSNorm`, whose weights are gains minus one.
    rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32])
}

kernel! {
    /// As [`rms_norm`], but adds the result to `out`.
    rms_norm_add(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32])
}

kernel! {
    /// Turns the pairs `(d, d + n / 2)` of one row of `n` numbers by the angles of its position.
    ///
    /// `cos`, `sin`: `[n / 2]`.
    rope(row: &mut [f32], cos: &[f32], sin: &[f32])
}

kernel! {
    /// Each row of `scores` to `exp(scale * s)` over the row's sum; columns outside `visible` to 0.
    ///
    /// `scores`: `[visible.len(), n]`; `visible`: first and last-plus-one column that a row may see,
    /// never an empty range.
    softmax(scores: &mut [f32], n: usize, scale: f32, visible: &[(usize, usize)])
}

kernel! {
    /// One row to bf16, two bytes each, nearest even; the rest of `out` to 0.
    to_bf16(row: &[f32], out: &mut [u8])
}

kernel! {
    /// One row to int8 with one scale, its largest number at 127; the rest of `out` to 0.
    ///
    /// `offsets`: for each `block` numbers of `out`, their sum times `unit`.
    quantise(row: &[f32], out: &mut [u8], scale: &mut f32, block: usize, unit: i32, offsets: &mut [i32])
}

kernel! {
    /// Packs the keys of one head as panels of weights: a key is an output, `[n_keys]` by `[width]`.
    ///
    /// `rows`: from the first key on, `stride` apart; `out`: f32 or bf16 panels, all of them.
    pack_keys(rows: &[f32], stride: usize, n_keys: usize, width: usize, precision: Precision, out: &mut [u8])
}

kernel! {
    /// Packs the values of one head as panels of weights: a key is an input, `[width]` by `[n_keys]`.
    ///
    /// As [`pack_keys`].
    pack_values(rows: &[f32], stride: usize, n_keys: usize, width: usize, precision: Precision, out: &mut [u8])
}

kernel! {
    /// The rows of `matrix`, times the numbers of `factors`, summed in f64 in their order.
    ///
    /// `matrix`: `[factors.len(), out.len()]`.
    combine(factors: &[f32], matrix: &[f32], out: &mut [f32])
}

kernel! {
    /// The derivative of [`rms_norm`]: `gradient` by its results to `out` by `x`; adds that by `gain`
    /// to `gain_gradient`, unless that is empty.
    rms_norm_back(x: &[f32], gain: &[f32], eps: f32, gradient: &[f32], out: &mut [f32], gain_gradient: &mut [f32])
}

kernel! {
    /// As [`rms_norm_back`], but adds the derivative by `x` to `out`.
    rms_norm_back_add(x: &[f32], gain: &[f32], eps: f32, gradient: &[f32], out: &mut [f32], gain_gradient: &mut [f32])
}

kernel! {
    /// The derivative of [`rope`], in place: turns back.
    rope_back(row: &mut [f32], cos: &[f32], sin: &[f32])
}

kernel! {
    /// The derivative of [`softmax`], in place: `gradient` by its results, then by the scores.
    ///
    /// `probabilities`, what it gave, and `gradient`: rows of `n`.
    softmax_back(probabilities: &[f32], gradient: &mut [f32], n: usize, scale: f32)
}

kernel! {
    /// `gelu(gate) * up` of rows of `n` gates and their `n` ups.
    geglu(gate_up: &[f32], n: usize, out: &mut [f32])
}

kernel! {
    /// The derivative of [`geglu`]: `gradient` by its results to `out` by gates and ups; what
    /// [`geglu`] gave takes the place of `gradient`.
    geglu_back(gate_up: &[f32], n: usize, gradient: &mut [f32], out: &mut [f32])
}

kernel! {
    /// The columns of a matrix as rows of activations, f32 or bf16: `[n_cols]` by `[n_rows]`.
    ///
    /// `matrix`: `[n_rows, n_cols]`, its rows `stride` apart.
    pack_columns(matrix: &[f32], stride: usize, n_cols: usize, n_rows: usize, precision: Precision, out: &mut [u8])
}

kernel! {
    /// The sums of a tile to outputs, at the start of `out`.
    finish(how: Finish, sums: &[Sums], out: &mut [f32])
}

#[cfg(test)]
mod tests;
