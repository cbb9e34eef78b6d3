//! What chance may have done to a mean over queries: how far it may be off, and whether two differ.
//!
//! Both resample the queries that were asked, so they speak of other queries of the same kind; they
//! say nothing of other documents or judgements. Sakai (2006) and Smucker, Allan and Carterette (2007)
//! compare such tests for retrieval: bootstrap and randomisation agree with each other there.

use rayon::prelude::*;

use crate::random::Random;

/// The share of resampled means that lie in a bootstrap interval.
const CONFIDENCE: f64 = 0.95;

/// The interval of 95 % of the mean of `values`, one for each query: of `n_resamples` means of as many
/// values, drawn with replacement, those from 2.5 % to 97.5 % (the percentile bootstrap).
///
/// The same seed gives the same bounds, on any number of threads. Both are 0 if there are no values.
///
/// # Panics
/// If `n_resamples` is 0 or a value is not finite.
pub fn bootstrap_interval(values: &[f64], n_resamples: usize, seed: u64) -> (f64, f64) {
    interval(&[values.len()], n_resamples, seed, |drawn| {
        let sum: f64 = drawn[0].iter().map(|idx| values[*idx]).sum();
        sum / values.len().max(1) as f64
    })
}

/// As [`bootstrap_interval`], of any statistic of items in one or more groups, such as a correlation,
/// or the mean of the means of several sets.
///
/// `statistic` gets for each group the indices that were drawn, as many as `group_sizes` says.
///
/// # Panics
/// If `n_resamples` is 0 or the statistic is not finite.
pub fn interval(
    group_sizes: &[usize],
    n_resamples: usize,
    seed: u64,
    statistic: impl Fn(&[Vec<usize>]) -> f64 + Sync,
) -> (f64, f64) {
    assert!(n_resamples > 0, "an interval needs resamples");
    let resampled = |resample_idx: usize| {
        let mut random = Random::of_piece(seed, resample_idx);
        let draw = |size: &usize| (0..*size).map(|_| random.below(*size)).collect();
        let value = statistic(&group_sizes.iter().map(draw).collect::<Vec<_>>());
        assert!(value.is_finite(), "a resample has no finite value");
        value
    };
    let mut values: Vec<f64> = (0..n_resamples).into_par_iter().map(resampled).collect();
    values.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    (quantile(&values, tail), quantile(&values, 1.0 - tail))
}

/// How likely chance alone makes a difference of means as large as that of `a` and `b`, in either
/// direction: two systems' values for the same queries in the same order.
///
/// Each round swaps the two values of each query with probability 1/2 (Fisher's randomisation test).
/// With `r` of `n_rounds` differences at least as large as the one found, the result is
/// `(r + 1) / (n_rounds + 1)`: it is never 0. The same seed gives the same result, on any number of
/// threads.
///
/// # Panics
/// If the sides differ in length, `n_rounds` is 0 or a value is not finite.
pub fn paired_randomisation(a: &[f64], b: &[f64], n_rounds: usize, seed: u64) -> f64 {
    assert_eq!(a.len(), b.len(), "a paired test needs pairs");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    randomisation(differences.len(), n_rounds, seed, |is_swapped| {
        let signed = differences.iter().zip(is_swapped);
        signed.map(|(value, is_swapped)| if *is_swapped { -value } else { *value }).sum()
    })
}

/// As [`paired_randomisation`], of any difference of two systems over `n_items` items: `difference`
/// is told which of them are swapped.
///
/// # Panics
/// If `n_rounds` is 0 or a difference is not finite.
pub fn randomisation(
    n_items: usize,
    n_rounds: usize,
    seed: u64,
    difference: impl Fn(&[bool]) -> f64 + Sync,
) -> f64 {
    assert!(n_rounds > 0, "a test needs rounds");
    let size = |is_swapped: &[bool]| {
        let difference = difference(is_swapped);
        assert!(difference.is_finite(), "a difference is not finite");
        difference.abs()
    };
    // Differences that are equal but for the order in which they were rounded count as equal.
    let least = size(&vec![false; n_items]) * (1.0 - 1e-9);
    let is_as_large = |round_idx: &usize| {
        let mut random = Random::of_piece(seed, *round_idx);
        let mut is_swapped = vec![false; n_items];
        for block in is_swapped.chunks_mut(u64::BITS as usize) {
            let bits = random.next();
            block.iter_mut().enumerate().for_each(|(bit, swap)| *swap = bits >> bit & 1 == 1);
        }
        size(&is_swapped) >= least
    };
    let n_as_large = (0..n_rounds).into_par_iter().filter(is_as_large).count();
    (n_as_large + 1) as f64 / (n_rounds + 1) as f64
}

/// Between the two nearest of sorted values, in proportion (the definition that NumPy has by default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests;
