//! Binary codes: of each number of a cut row one bit, whether it lies above the segment's mean.
//!
//! With `c` the mean of the segment's cut rows, a row `u` is kept as the signs `b` of `r = u - c`, turned by
//! a [`Rotation`], and two numbers. The product with a query `q` is estimated by
//!
//! ```text
//! q u = q c + c r + (q - c) r,    (q - c) r ~ (q - c) b * (r r / sum |r|)
//! ```
//!
//! The first product is the query's, the second the row's, and both are exact; only the third is guessed,
//! from the signs, by a factor with which the guess of `r r` is right (RaBitQ, arXiv 2405.12497, section
//! 3.2). Since `q - c` is shorter than `q` where rows have a direction in common, so is the error.
//!
//! The rotation is what makes a sign worth a bit: the numbers of a Matryoshka prefix differ much in size, and
//! unturned the many small ones outvote the few large ones. Of the ten closest of 50,400 real rows of width
//! 384, the best 50 by estimate hold 98 of 100 if turned and 92 if not; 75 by counting equal signs alone
//! (`benches/peers/bits.py`).
//!
//! Differs from RaBitQ: the rotation is one that costs `dims log dims`, a query's levels are rounded to the
//! nearest.

use rayon::prelude::*;

use crate::score::{BitQuery, CodeRows, N_EXTRA_WORDS, words_of};

/// The narrowest rows that have binary codes: one word of bits.
pub const BINARY_DIMS_MIN: usize = 64;

/// Rows summed by one task; sums of tasks are added in their order, so that threads change nothing.
const ROWS_A_TASK: usize = 4096;
/// Times that all numbers are mixed.
const ROUNDS: usize = 2;

/// An orthogonal map that follows from the width alone, after which no number is larger than others.
///
/// In each round the first and then the last `2^n` numbers go through a Hadamard transform: the largest that
/// fits, so that the two cover all. Before each half the signs are flipped, by chance, since two transforms
/// in a row would undo each other.
struct Rotation {
    flips: Vec<u32>, // [ROUNDS, 2, dims], the sign bit or 0
}

impl Rotation {
    fn new(dims: usize) -> Rotation {
        let flip = |at: usize| (mixed(at as u64) >> 32) as u32 & (1 << 31);
        Rotation { flips: (0..ROUNDS * 2 * dims).map(flip).collect() }
    }

    fn turn(&self, x: &mut [f32]) {
        let dims = x.len();
        let block = 1 << dims.ilog2();
        for (nth, flips) in self.flips.chunks_exact(dims).enumerate() {
            x.iter_mut().zip(flips).for_each(|(x, flip)| *x = f32::from_bits(x.to_bits() ^ flip));
            let start = if nth % 2 == 0 { 0 } else { dims - block };
            hadamard(&mut x[start..start + block]);
        }
    }
}

/// The numbers `0, 1, 2, ...` as ones that nothing connects (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The Hadamard transform, scaled so that lengths stay; `x.len()` is a power of two.
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (x.len() as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= scale);
}

/// Prepares a cut query for the codes of a segment with this mean.
pub(crate) fn query(cut: &[f32], mean: &[f32]) -> BitQuery {
    let mut rest: Vec<f32> = cut.iter().zip(mean).map(|(x, mean)| x - mean).collect();
    Rotation::new(rest.len()).turn(&mut rest);
    BitQuery::new(&rest, cut.iter().zip(mean).map(|(x, mean)| x * mean).sum())
}

/// The binary codes of nodes.
pub(crate) struct Binary {
    /// What bits are counted from, `[dims]`.
    pub(crate) mean: Vec<f32>,
    /// `[n_nodes, words + 1]`
    pub(crate) codes: Vec<u64>,
}

/// Makes binary codes of int8 codes, in the order in which `order` names their rows.
///
/// int8 codes are as near to their rows as a sign needs: what rounding turns over lies next to the mean,
/// where a sign says nothing.
pub(crate) fn encode(rows: CodeRows<'_>, order: &[u32]) -> Binary {
    let (mean, rotation) = (mean(rows), Rotation::new(rows.dims()));
    let n_words = words_of(rows.dims()) + N_EXTRA_WORDS;
    let mut codes = vec![0; order.len() * n_words];
    let tasks = codes.par_chunks_mut(ROWS_A_TASK * n_words).zip(order.par_chunks(ROWS_A_TASK));
    tasks.for_each(|(codes, order)| {
        let mut rest = Vec::with_capacity(mean.len());
        for (code, idx) in codes.chunks_exact_mut(n_words).zip(order) {
            rest.clear();
            rest.extend(rows.unit(*idx).zip(&mean).map(|(x, mean)| x - mean));
            encode_row(&mut rest, &mean, &rotation, code);
        }
    });
    Binary { mean, codes }
}

/// Writes the code of a row: bits, in the lowest bit of the first word that of the first number, then the
/// two numbers of the estimate. `rest` is the row less the mean, and is turned.
fn encode_row(rest: &mut [f32], mean: &[f32], rotation: &Rotation, code: &mut [u64]) {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let with_mean = product(rest, mean);
    rotation.turn(rest);
    for (position, _) in rest.iter().enumerate().filter(|(_, x)| **x > 0.0) {
        code[position / 64] |= 1 << (position % 64);
    }
    let magnitudes: f64 = rest.iter().map(|x| f64::from(x.abs())).sum();
    // A row that is the mean has no signs; nor is anything to be added to its product with the mean.
    let factor = if magnitudes > 0.0 { product(rest, rest) / magnitudes } else { 0.0 };
    code[words_of(rest.len())] = pack(factor as f32, with_mean as f32);
}

/// The factor and the product with the mean, in the word behind a row's bits.
fn pack(factor: f32, with_mean: f32) -> u64 {
    u64::from(factor.to_bits()) | u64::from(with_mean.to_bits()) << 32
}

/// The mean of rows, `[dims]`; zeros if there are none.
fn mean(rows: CodeRows<'_>) -> Vec<f32> {
    let dims = rows.dims();
    let starts: Vec<usize> = (0..rows.len()).step_by(ROWS_A_TASK).collect();
    let sums: Vec<Vec<f64>> = starts
        .into_par_iter()
        .map(|start| {
            let mut sums = vec![0.0; dims];
            for idx in start..rows.len().min(start + ROWS_A_TASK) {
                let row = rows.unit(idx as u32);
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x));
            }
            sums
        })
        .collect();
    let mut mean = vec![0.0f64; dims];
    for sums in sums {
        mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
    }
    mean.into_iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrl;
    use crate::score::BitRows;

    /// Numbers that repeat only after many, from -1 to 1, the later ones smaller.
    fn numbers(seed: u64, n: usize) -> Vec<f32> {
        let number =
            |i: usize| (mixed(seed << 32 | i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..n).map(|i| number(i) / (1 + i / 8) as f32).collect()
    }

    /// Rows around a direction in common, as int8 codes and scales.
    fn rows(n: usize, dims: usize) -> (Vec<i8>, Vec<f32>) {
        let common = numbers(1_000, dims);
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for seed in 0..n as u64 {
            let row: Vec<f32> =
                numbers(seed, dims).iter().zip(&common).map(|(a, b)| a + 0.5 * b).collect();
            let row = mrl::quantise(&mrl::cut(&row, dims));
            let squares: f32 = row.codes.iter().map(|code| f32::from(*code).powi(2)).sum();
            codes.extend(row.codes);
            scales.push(1.0 / squares.sqrt());
        }
        (codes, scales)
    }

    fn product(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn scores(binary: &Binary, cut: &[f32]) -> Vec<f32> {
        let rows = BitRows::new(&binary.codes, cut.len());
        let n_rows = binary.codes.len() / (words_of(cut.len()) + N_EXTRA_WORDS);
        let idxs: Vec<u32> = (0..n_rows as u32).collect();
        let mut scores = Vec::new();
        rows.score_many(&idxs, &query(cut, &binary.mean), &mut scores);
        scores
    }

    #[test]
    fn a_rotation_keeps_products_and_spreads_each_number() {
        for dims in [64, 65, 100, 128, 256, 384, 768] {
            let rotation = Rotation::new(dims);
            let (mut a, mut b) = (numbers(1, dims), numbers(2, dims));
            let before = [product(&a, &a), product(&a, &b), product(&b, &b)];
            rotation.turn(&mut a);
            rotation.turn(&mut b);
            for (before, after) in
                before.iter().zip([product(&a, &a), product(&a, &b), product(&b, &b)])
            {
                assert!(
                    (before - after).abs() < 1e-5 * before.abs().max(1.0),
                    "{dims}: {before}, {after}"
                );
            }
            for at in [0, dims / 2, dims - 1] {
                let mut one = vec![0.0; dims];
                one[at] = 1.0;
                rotation.turn(&mut one);
                let largest = one.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                assert!(largest < 0.5, "{dims}, number {at}: {largest}");
            }
        }
    }

    #[test]
    fn estimates_are_near_the_products_and_right_on_average() {
        for dims in [64, 100, 256] {
            let (codes, scales) = rows(400, dims);
            let rows = CodeRows::new(&codes, &scales, dims);
            let order: Vec<u32> = (0..400).rev().collect();
            let binary = encode(rows, &order);
            let (mut sum, mut squares, mut n) = (0.0f64, 0.0f64, 0.0f64);
            for seed in 0..20 {
                let cut = mrl::cut(&numbers(5_000 + seed, dims), dims);
                for (score, idx) in scores(&binary, &cut).iter().zip(&order) {
                    let unit: Vec<f32> = rows.unit(*idx).collect();
                    let error = f64::from(score - product(&cut, &unit));
                    sum += error;
                    squares += error * error;
                    n += 1.0;
                }
            }
            let (mean, deviation) = (sum / n, (squares / n).sqrt());
            // A guess from signs is off by about sqrt(pi / 2 - 1) of a product of two random unit vectors.
            let expected = 0.756 / (dims as f64).sqrt();
            assert!(deviation < 1.2 * expected, "{dims}: {deviation}, expected {expected}");
            assert!(mean.abs() < 0.2 * deviation, "{dims}: off by {mean} +- {deviation}");
        }
    }

    #[test]
    fn the_mean_is_that_of_the_rows() {
        let (codes, scales) = rows(9_000, 64);
        let rows = CodeRows::new(&codes, &scales, 64);
        let found = mean(rows);
        for (at, found) in found.iter().enumerate() {
            let sum: f64 = (0..9_000).map(|idx| f64::from(rows.unit(idx).nth(at).unwrap())).sum();
            assert!((f64::from(*found) - sum / 9_000.0).abs() < 1e-6);
        }
        assert_eq!(mean(CodeRows::new(&[], &[], 64)), vec![0.0; 64]);
    }

    #[test]
    fn rows_that_are_the_mean_score_as_it_does() {
        let row = mrl::cut(&numbers(3, 64), 64);
        let one = mrl::quantise(&row);
        let squares: f32 = one.codes.iter().map(|code| f32::from(*code).powi(2)).sum();
        let scale = 1.0 / squares.sqrt();
        let binary = encode(CodeRows::new(&one.codes, &[scale], 64), &[0]);
        assert_eq!(binary.codes[..1], [0], "a number that is the mean is not above it");
        let found = scores(&binary, &row);
        assert!((found[0] - 1.0).abs() < 1e-3, "{found:?}");
        let zeros = encode(CodeRows::new(&[0; 128], &[0.0; 2], 64), &[1, 0]);
        assert_eq!(zeros.mean, [0.0; 64]);
        assert_eq!(scores(&zeros, &row), [0.0, 0.0]);
        assert_eq!(scores(&binary, &[0.0; 64]), [0.0]);
    }
}
