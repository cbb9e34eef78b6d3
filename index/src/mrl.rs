//! Matryoshka cuts: the first `dims` numbers of a vector, renormalised, and their int8 codes.
//!
//! A model trained with the Matryoshka loss (arXiv 2205.13147; arXiv 2509.20354, section 2) puts what
//! matters most into the first numbers, so that a prefix is itself a good, smaller vector.
//! Codes have one scale a row: `scale = max|x| / 127`, `code = round(x / scale)`, halves away from
//! zero; so codes lie in `-127..=127`, and `-128` never occurs. A zero row has scale 0. Codes that are
//! kept get, once rounded, the scale that makes them a unit vector.
//!
//! Left out: per-dimension scales. Binary codes are made from int8 codes (`binary.rs`).

use std::fmt;

use crate::binary::BINARY_DIMS_MIN;
use crate::form::{Form, Metric};

/// The largest magnitude of a code.
const CODE_MAX: f32 = 127.0;

/// What is kept of a cut row to choose the rows that are scored at full width. Its numbers are those of the
/// format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quant {
    /// A byte a number.
    #[default]
    Int8 = 0,
    /// A bit a number: whether it lies above the mean of its segment.
    Binary = 1,
}

impl Quant {
    /// Whether rows of this form have codes of this kind: bits know nothing of lengths.
    pub fn takes_form(self, form: Form) -> bool {
        self == Quant::Int8 || matches!(form, Form::Unit | Form::Given(Metric::Cosine))
    }

    /// Whether rows cut to `dims` numbers have codes of this kind.
    pub fn takes(self, dims: usize) -> bool {
        match self {
            Quant::Int8 => dims >= 1,
            Quant::Binary => dims >= BINARY_DIMS_MIN,
        }
    }
}

impl fmt::Display for Quant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quant::Int8 => "int8",
            Quant::Binary => "binary",
        })
    }
}

/// The int8 codes of a cut row and their one scale: `x[i]` is about `codes[i] * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// `[dims]`, each in `-127..=127`.
    pub codes: Vec<i8>,
    /// `max|x| / 127`; 0 for a row of zeros.
    pub scale: f32,
}

/// Returns the first `dims` numbers of `full`, scaled to unit length.
///
/// A cut without a finite length above zero (all zeros, a NaN, an infinity) becomes all zeros.
///
/// # Panics
/// If `dims` is larger than `full.len()`.
pub fn cut(full: &[f32], dims: usize) -> Vec<f32> {
    assert!(dims <= full.len(), "a vector of {} numbers cannot be cut to {dims}", full.len());
    let mut cut = full[..dims].to_vec();
    normalise(&mut cut);
    cut
}

/// Quantises a cut row to int8 with one max-abs scale, halves rounded away from zero.
///
/// A row that is all zeros, or holds a number that is not finite, gets scale 0 and zero codes.
pub fn quantise(cut: &[f32]) -> Codes {
    let mut codes = vec![0; cut.len()];
    let scale = quantise_into(cut, &mut codes);
    Codes { codes, scale }
}

/// Scales a cut row to unit length and quantises it. Returns the scale that makes the codes a unit vector, 0
/// if they are zero.
///
/// With the scale of [`quantise`] rounding makes some rows a little longer than others, and among rows
/// that are nearly equal the longest would be the closest to all of them, itself or not. A graph of such
/// rows falls apart: to most of them nobody links. Of unit vectors each is closest to itself.
pub(crate) fn encode_cut(cut: &mut [f32], codes: &mut [i8]) -> f32 {
    normalise(cut);
    quantise_into(cut, codes);
    let squares: u64 = codes.iter().map(|code| u64::from(code.unsigned_abs()).pow(2)).sum();
    if squares == 0 { 0.0 } else { (1.0 / (squares as f64).sqrt()) as f32 }
}

pub(crate) fn quantise_into(cut: &[f32], codes: &mut [i8]) -> f32 {
    let largest = cut.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / CODE_MAX;
    // A subnormal scale has lost its precision, and a row holding NaN or infinity has no codes.
    if !scale.is_normal() || !cut.iter().all(|x| x.is_finite()) {
        codes.fill(0);
        return 0.0;
    }
    for (code, x) in codes.iter_mut().zip(cut) {
        *code = (x / scale).round().clamp(-CODE_MAX, CODE_MAX) as i8;
    }
    scale
}

pub(crate) fn normalise(x: &mut [f32]) {
    // In f64 no square of a finite f32 overflows or vanishes.
    let norm = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if norm.is_finite() && norm > 0.0 {
        x.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    } else {
        x.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_has_unit_length_and_keeps_its_direction() {
        let cut = cut(&[3.0, 4.0, 12.0], 2);
        assert_eq!(cut, [0.6, 0.8]);
    }

    #[test]
    fn a_cut_without_a_length_is_zero() {
        for bad in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert_eq!(cut(&bad, 2), [0.0, 0.0]);
        }
        assert_eq!(cut(&[0.0, 0.0, 5.0], 2), [0.0, 0.0]);
        assert!(cut(&[1.0], 0).is_empty());
    }

    #[test]
    fn a_cut_of_huge_or_tiny_numbers_neither_overflows_nor_vanishes() {
        for size in [5e37, 1e-37] {
            let cut = cut(&[3.0 * size, 4.0 * size], 2);
            assert!((cut[0] - 0.6).abs() < 1e-6 && (cut[1] - 0.8).abs() < 1e-6, "{size}: {cut:?}");
        }
    }

    #[test]
    fn codes_span_the_range_and_round_halves_away_from_zero() {
        let found = quantise(&[127.0, -127.0, 2.5, -2.5, 0.4]);
        assert_eq!(found, Codes { codes: vec![127, -127, 3, -3, 0], scale: 1.0 });
    }

    #[test]
    fn a_code_is_within_half_a_scale_of_its_number() {
        let row: Vec<f32> = (0..97).map(|i| ((i * 37 % 101) as f32 - 50.0) / 71.0).collect();
        let found = quantise(&row);
        for (code, x) in found.codes.iter().zip(&row) {
            assert!((f32::from(*code) * found.scale - x).abs() <= found.scale * 0.500_01);
        }
    }

    #[test]
    fn the_codes_of_a_row_are_a_unit_vector() {
        let encode = |row: &[f32], dims: usize| {
            let mut codes = vec![1; dims];
            let scale = encode_cut(&mut row[..dims].to_vec(), &mut codes);
            (codes, scale)
        };
        let (codes, scale) = encode(&[0.3, -0.4, 0.1, 9.0], 3);
        assert_eq!(codes, [95, -127, 32]);
        let length = codes.iter().map(|code| (f32::from(*code) * scale).powi(2)).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-6);
        assert_eq!(encode(&[0.0, 0.0, 5.0], 2), (vec![0, 0], 0.0));
        assert_eq!(encode(&[f32::NAN, 1.0], 2), (vec![0, 0], 0.0));
    }

    #[test]
    fn a_zero_row_has_scale_zero() {
        assert_eq!(quantise(&[0.0; 3]), Codes { codes: vec![0; 3], scale: 0.0 });
        assert_eq!(quantise(&[f32::NAN, 1.0]), Codes { codes: vec![0; 2], scale: 0.0 });
        assert_eq!(quantise(&[]), Codes { codes: vec![], scale: 0.0 });
    }
}
