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
    assert!(n_resamples > 0, "an interval needs resamples");
    assert!(values.iter().all(|value| value.is_finite()), "a value is not finite");
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let resampled = |resample_idx: usize| {
        let mut random = Random::of_piece(seed, resample_idx);
        let sum: f64 = values.iter().map(|_| values[random.below(values.len())]).sum();
        sum / values.len() as f64
    };
    let mut means: Vec<f64> = (0..n_resamples).into_par_iter().map(resampled).collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    (quantile(&means, tail), quantile(&means, 1.0 - tail))
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
    assert!(n_rounds > 0, "a test needs rounds");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    assert!(differences.iter().all(|value| value.is_finite()), "a value is not finite");
    let found = differences.iter().sum::<f64>().abs();
    // Sums that are equal but for the order in which they were rounded count as equal.
    let least = found - 1e-12 * differences.iter().map(|value| value.abs()).sum::<f64>();
    let is_as_large = |round_idx: &usize| {
        let mut random = Random::of_piece(seed, *round_idx);
        let swapped = |block: &[f64]| {
            let signs = random.next();
            let signed = |(bit, value): (usize, &f64)| {
                if signs >> bit & 1 == 1 { -value } else { *value }
            };
            block.iter().enumerate().map(signed).sum::<f64>()
        };
        differences.chunks(64).map(swapped).sum::<f64>().abs() >= least
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
