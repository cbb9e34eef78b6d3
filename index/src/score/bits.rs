//! Products of rows of bits with a query: bits are 1 and -1, the query's numbers small whole ones.
//!
//! A query's numbers become levels of [`PLANES`] bits, and the levels are kept as planes: of
//! each word of 64 numbers first all lowest bits, then the next. So a product is a few words' AND and
//! their bits counted, weighted by plane; [`scalar::dot_bits`] is the definition.
//!
//! A row is its words of bits and one more, which holds what its estimate needs (`binary.rs`), so that a
//! row of 384 numbers is one line of the cache.

use std::sync::OnceLock;

use super::{PREFETCH_ROWS, portable, prefetch};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Bits of a query's levels, the sign included.
pub(super) const PLANES: usize = 4;
/// The largest level.
const LEVEL_MAX: f32 = ((1 << (PLANES - 1)) - 1) as f32;
/// Words of a row behind its bits.
pub(crate) const N_EXTRA_WORDS: usize = 1;

/// Words of bits that so many numbers take.
pub(crate) fn words_of(dims: usize) -> usize {
    dims.div_ceil(64)
}

/// The instruction set in use: popcount of whole words is a feature of its own.
#[derive(Clone, Copy)]
pub(super) enum BitIsa {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Popcount),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Portable,
}

fn isa() -> BitIsa {
    static ISA: OnceLock<BitIsa> = OnceLock::new();
    *ISA.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(avx512) = avx512::Popcount::new() {
                return BitIsa::Avx512(avx512);
            }
            if let Some(avx2) = avx2::Avx2::new() {
                return BitIsa::Avx2(avx2);
            }
        }
        BitIsa::Portable
    })
}

/// A query made ready for rows of bits that are counted from one mean.
#[derive(Clone, Debug)]
pub(crate) struct BitQuery {
    planes: Vec<u64>, // [PLANES, words]
    sum: i32,         // of the levels
    step: f32,        // of a level
    with_mean: f32,   // the query's product with the mean
}

impl BitQuery {
    /// Prepares a query of which the mean is taken off already, and its product with the mean. Numbers that
    /// are not finite make it one whose products with bits are 0.
    pub(crate) fn new(rest: &[f32], with_mean: f32) -> BitQuery {
        let (levels, step) = levels(rest);
        let sum = levels.iter().map(|level| i32::from(*level)).sum();
        BitQuery { planes: planes(&levels), sum, step, with_mean }
    }
}

/// Numbers as whole multiples of a step, each in `-LEVEL_MAX..=LEVEL_MAX`.
fn levels(x: &[f32]) -> (Vec<i8>, f32) {
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let step = largest / LEVEL_MAX;
    if !step.is_normal() || !x.iter().all(|x| x.is_finite()) {
        return (vec![0; x.len()], 0.0);
    }
    (x.iter().map(|x| (x / step).round().clamp(-LEVEL_MAX, LEVEL_MAX) as i8).collect(), step)
}

/// The bits of levels in two's complement, plane by plane.
pub(super) fn planes(levels: &[i8]) -> Vec<u64> {
    let words = words_of(levels.len());
    let mut planes = vec![0; PLANES * words];
    for (position, level) in levels.iter().enumerate() {
        for plane in 0..PLANES {
            let bit = u64::from(*level as u8 >> plane & 1);
            planes[plane * words + position / 64] |= bit << (position % 64);
        }
    }
    planes
}

/// Rows of bits, each with what its estimate needs.
#[derive(Clone, Copy)]
pub(crate) struct BitRows<'a> {
    codes: &'a [u64], // [n_rows, words + 1]
    words: usize,
}

impl<'a> BitRows<'a> {
    pub(crate) fn new(codes: &'a [u64], dims: usize) -> Self {
        let words = words_of(dims);
        assert_eq!(codes.len() % (words + N_EXTRA_WORDS), 0, "rows of bits cut short");
        BitRows { codes, words }
    }

    fn code(&self, idx: u32) -> &'a [u64] {
        let n_words = self.words + N_EXTRA_WORDS;
        &self.codes[idx as usize * n_words..][..n_words]
    }

    /// Puts the estimated score of each row of `idxs` into `scores`, in the same order.
    ///
    /// # Panics
    /// If a row does not exist or the query has another width.
    pub(crate) fn score_many(&self, idxs: &[u32], query: &BitQuery, scores: &mut Vec<f32>) {
        assert_eq!(query.planes.len(), PLANES * self.words, "a query of another width");
        scores.clear();
        idxs.iter().take(PREFETCH_ROWS).for_each(|ahead| prefetch(self.code(*ahead)));
        let isa = isa();
        for (position, four) in (0..).step_by(4).zip(idxs.chunks(4)) {
            let ahead = idxs.iter().skip(position + PREFETCH_ROWS).take(4);
            ahead.for_each(|ahead| prefetch(self.code(*ahead)));
            // A last group of fewer repeats its last row; those scores are cut off.
            let codes: [&[u64]; 4] =
                std::array::from_fn(|nth| self.code(four[nth.min(four.len() - 1)]));
            let dots = dot_bits_x4(isa, codes.map(|code| &code[..self.words]), &query.planes);
            scores.extend(dots.iter().zip(codes).map(|(dot, code)| {
                let extra = code[self.words];
                let (factor, with_mean) = (extra as u32, (extra >> 32) as u32);
                // Of the sum of all levels those with a bit count once more than twice, the others less.
                let signed = (2 * dot - query.sum) as f32 * query.step;
                query.with_mean + f32::from_bits(with_mean) + signed * f32::from_bits(factor)
            }));
        }
        scores.truncate(idxs.len());
    }
}

/// For each of four rows the sum of a query's levels where the row has a bit.
#[inline]
pub(super) fn dot_bits_x4(isa: BitIsa, rows: [&[u64]; 4], planes: &[u64]) -> [i32; 4] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        BitIsa::Avx512(isa) => isa.dot_bits_x4(rows, planes),
        #[cfg(target_arch = "x86_64")]
        BitIsa::Avx2(isa) => isa.dot_bits_x4(rows, planes),
        BitIsa::Portable => rows.map(|row| portable::dot_bits(row, planes)),
    }
}
