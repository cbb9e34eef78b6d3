//! Dot products over rows: f32, int8, bits, and f16 rows against an f32 query; sums over f32 rows in f64.
//!
//! [`scalar`] is the definition; everything else is tested against it. One pair of f32 or int8 rows
//! goes to simsimd. Where its grain or its precision is wrong the code is ours: simsimd accumulates
//! f16 products in f16 where the processor can, which reorders near neighbours, and a call a row
//! costs more than the work in a walk over many int8 rows.
//!
//! Each instruction set of ours is a token type whose existence proves that the processor has it;
//! one is picked for the life of the process. So a score does not depend on where a row lies, only
//! on the kind of processor. This folder is the only place in the crate with unsafe code.

pub mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bits;
mod portable;
mod wide;

use std::sync::OnceLock;

use half::f16;
use simsimd::SpatialSimilarity;

use crate::mrl::Codes;

pub(crate) use bits::{BitQuery, BitRows, N_EXTRA_WORDS, words_of};
pub(crate) use wide::Sum;

/// How many rows ahead of the one being scored are asked from memory.
const PREFETCH_ROWS: usize = 16;

/// The instruction set in use.
#[derive(Clone, Copy)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Portable,
}

fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(avx512) = avx512::Avx512::new() {
                return Isa::Avx512(avx512);
            }
            if let Some(avx2) = avx2::Avx2::new() {
                return Isa::Avx2(avx2);
            }
        }
        Isa::Portable
    })
}

/// Dot product of two f32 rows. Within `n * 2^-23 * sum |a b|` of [`scalar::dot_f32`].
///
/// # Panics
/// If the lengths differ.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "rows of unequal width");
    f32::dot(a, b).expect("simsimd refuses unequal lengths only") as f32
}

/// Dot product of two int8 rows, exact; equal to [`scalar::dot_i8`].
///
/// # Panics
/// If the lengths differ.
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    assert_eq!(a.len(), b.len(), "rows of unequal width");
    i8::dot(a, b).expect("simsimd refuses unequal lengths only") as i32
}

/// Dot product of an f16 row and an f32 query, widened first and accumulated in f32.
/// Within `n * 2^-23 * sum |a b|` of [`scalar::dot_f16`].
///
/// # Panics
/// If the lengths differ.
pub fn dot_f16(row: &[f16], query: &[f32]) -> f32 {
    assert_eq!(row.len(), query.len(), "rows of unequal width");
    dot_f16_on(isa(), row, query)
}

fn dot_f16_on(isa: Isa, row: &[f16], query: &[f32]) -> f32 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(isa) => isa.dot_f16(row, query),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => isa.dot_f16(row, query),
        Isa::Portable => portable::dot_f16(row, query),
    }
}

/// Sums over an f32 row and an f64 query, in f64. Within `n * 2^-52` of the sum of all terms' magnitudes of
/// [`scalar::sum_f32`].
///
/// # Panics
/// If the lengths differ.
pub(crate) fn sum_f32(what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    assert_eq!(row.len(), query.len(), "rows of unequal width");
    sum_f32_on(isa(), what, row, query)
}

fn sum_f32_on(isa: Isa, what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(isa) => isa.sum_f32(what, row, query),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => isa.sum_f32(what, row, query),
        Isa::Portable => wide::sum(what, row, query),
    }
}

/// The codes of a query, their sum and their scale.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryCodes {
    codes: Vec<i8>, // [dims]
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "AVX-512 wants it"))]
    sum: i32,
    scale: f32,
    /// What the bias of a row is multiplied by, and what is added then.
    weight: f32,
    shift: f32,
}

impl QueryCodes {
    pub(crate) fn new(codes: Codes) -> Self {
        QueryCodes::with_bias(codes, 0.0, 0.0)
    }

    pub(crate) fn with_bias(codes: Codes, weight: f32, shift: f32) -> Self {
        let sum = codes.codes.iter().map(|code| i32::from(*code)).sum();
        QueryCodes { codes: codes.codes, sum, scale: codes.scale, weight, shift }
    }

    /// Becomes the codes of a row, in place.
    pub(crate) fn set(&mut self, rows: CodeRows<'_>, idx: u32) {
        let codes = rows.codes(idx);
        self.codes.clear();
        self.codes.extend_from_slice(codes);
        self.sum = codes.iter().map(|code| i32::from(*code)).sum();
        self.scale = rows.scales[idx as usize];
        (self.weight, self.shift) = match rows.biases {
            Biases::None => (0.0, 0.0),
            Biases::Added(biases) => (1.0, biases[idx as usize]),
            Biases::Lifted(lifts) => (lifts[idx as usize], 0.0),
        };
    }

    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }
}

/// What the product of two rows' codes lacks to be their score, a number a row.
#[derive(Clone, Copy)]
pub(crate) enum Biases<'a> {
    /// Nothing: the score is the product.
    None,
    /// Minus half of the squared length of its codes. With both added the score of two rows is minus half of
    /// their squared distance.
    Added(&'a [f32]), // [n_rows]
    /// One more number of each, which makes its codes a unit vector: the product of both is added.
    Lifted(&'a [f32]), // [n_rows]
}

impl<'a> Biases<'a> {
    fn all(self) -> &'a [f32] {
        match self {
            Biases::None => &[],
            Biases::Added(biases) | Biases::Lifted(biases) => biases,
        }
    }
}

/// Rows of int8 codes, each with its scale and, for some metrics, its bias.
#[derive(Clone, Copy)]
pub(crate) struct CodeRows<'a> {
    codes: &'a [i8],   // [n_rows, dims]
    scales: &'a [f32], // [n_rows]
    biases: Biases<'a>,
    dims: usize,
}

impl<'a> CodeRows<'a> {
    pub(crate) fn new(codes: &'a [i8], scales: &'a [f32], dims: usize) -> Self {
        assert_eq!(codes.len(), scales.len() * dims, "codes and scales of unequal count");
        CodeRows { codes, scales, biases: Biases::None, dims }
    }

    /// The same rows with biases.
    pub(crate) fn with_biases(self, biases: Biases<'a>) -> Self {
        let n_biases = biases.all().len();
        assert!(n_biases == self.len() || matches!(biases, Biases::None), "a bias for each row");
        CodeRows { biases, ..self }
    }

    /// The highest score that two rows can have: that of a row with itself.
    pub(crate) fn score_max(&self) -> f32 {
        if matches!(self.biases, Biases::Added(_)) { 0.0 } else { 1.0 }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Numbers in a row.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    /// The numbers that a row's codes stand for, `[dims]`.
    pub(crate) fn unit(&self, idx: u32) -> impl Iterator<Item = f32> + use<'a> {
        let scale = self.scales[idx as usize];
        self.codes(idx).iter().map(move |code| f32::from(*code) * scale)
    }

    pub(crate) fn codes(&self, idx: u32) -> &'a [i8] {
        &self.codes[idx as usize * self.dims..][..self.dims]
    }

    /// The scale of a row's codes, and its bias, 0 if there are none.
    pub(crate) fn scale_and_bias(&self, idx: u32) -> (f32, f32) {
        let bias = self.biases.all().get(idx as usize).copied();
        (self.scales[idx as usize], bias.unwrap_or(0.0))
    }

    /// The int8 score of two rows: the exact dot product of their codes, times both scales, and what their
    /// biases say.
    pub(crate) fn score_pair(&self, a: u32, b: u32) -> f32 {
        let scale = self.scales[a as usize] * self.scales[b as usize];
        let product = dot_i8(self.codes(a), self.codes(b)) as f32 * scale;
        let bias = |biases: &[f32]| (biases[a as usize], biases[b as usize]);
        match self.biases {
            Biases::None => product,
            Biases::Added(biases) => product + (bias(biases).0 + bias(biases).1),
            Biases::Lifted(lifts) => product + bias(lifts).0 * bias(lifts).1,
        }
    }

    /// Asks the memory for a row's codes and scale.
    #[inline]
    fn prefetch(&self, idx: u32) {
        prefetch(self.codes(idx));
        prefetch(std::slice::from_ref(&self.scales[idx as usize]));
        if let Some(bias) = self.biases.all().get(idx as usize) {
            prefetch(std::slice::from_ref(bias));
        }
    }

    /// Puts the int8 score of each row of `idxs` into `scores`, in the same order.
    ///
    /// # Panics
    /// If a row does not exist or the query has another width.
    pub(crate) fn score_many(&self, idxs: &[u32], query: &QueryCodes, scores: &mut Vec<f32>) {
        assert_eq!(query.len(), self.dims, "a query of another width");
        scores.clear();
        idxs.iter().take(PREFETCH_ROWS).for_each(|ahead| self.prefetch(*ahead));
        let isa = isa();
        for (position, four) in (0..).step_by(4).zip(idxs.chunks(4)) {
            let ahead = idxs.iter().skip(position + PREFETCH_ROWS).take(4);
            ahead.for_each(|ahead| self.prefetch(*ahead));
            // A last group of fewer repeats its last row; those scores are cut off.
            let four: [u32; 4] = std::array::from_fn(|nth| four[nth.min(four.len() - 1)]);
            let dots = dot_i8_x4(isa, four.map(|idx| self.codes(idx)), query);
            scores.extend(
                four.iter()
                    .zip(dots)
                    .map(|(idx, dot)| dot as f32 * (self.scales[*idx as usize] * query.scale)),
            );
        }
        scores.truncate(idxs.len());
        let biases = self.biases.all();
        if !biases.is_empty() {
            for (score, idx) in scores.iter_mut().zip(idxs) {
                *score += biases[*idx as usize] * query.weight + query.shift;
            }
        }
    }
}

/// Codes of either kind and a query made ready for them: what walks and scans score with.
pub(crate) enum Scorer<'a> {
    Int8(CodeRows<'a>, &'a QueryCodes),
    Binary(BitRows<'a>, BitQuery),
}

impl Scorer<'_> {
    /// Puts the score of each row of `idxs` into `scores`, in the same order.
    ///
    /// # Panics
    /// If a row does not exist or the query has another width.
    #[inline]
    pub(crate) fn score_many(&self, idxs: &[u32], scores: &mut Vec<f32>) {
        match self {
            Scorer::Int8(rows, query) => rows.score_many(idxs, query, scores),
            Scorer::Binary(rows, query) => rows.score_many(idxs, query, scores),
        }
    }
}

/// The exact dot products of four rows' codes and a query's.
#[inline]
fn dot_i8_x4(isa: Isa, rows: [&[i8]; 4], query: &QueryCodes) -> [i32; 4] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(isa) => isa.dot_i8_x4(rows, &query.codes, query.sum),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => isa.dot_i8_x4(rows, &query.codes),
        Isa::Portable => rows.map(|row| dot_i8(row, &query.codes)),
    }
}

/// Asks the memory for a slice that will be read soon.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    avx512::prefetch(slice);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

#[cfg(test)]
mod tests;
