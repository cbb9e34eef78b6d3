//! What a measure is made of, and what chance may have done to it.

use gemmule::engine::eval::measure::spearman;
use gemmule::engine::eval::measure::{interval, paired_randomisation, randomisation, ranks};

/// Resamples of an interval, and rounds of a test: a bound is then within about a twentieth of the
/// interval's width, and the least p is 0.0001.
const N_RESAMPLES: usize = 2_000;
const N_ROUNDS: usize = 9_999;

/// The same evaluation has the same intervals.
const SEED: u64 = 20;

/// The single values of a measure.
pub(super) enum Sample {
    /// The measure is the mean of values; or, of several sets, the mean of their means.
    Means(Vec<Vec<f64>>),
    /// It is the rank correlation of scores with what people said.
    Correlation { scores: Vec<f64>, judged: Vec<f64> },
}

/// How one sample differs from another over the same items.
pub(super) struct Difference {
    pub(super) difference: f64,
    /// The bounds of its interval of 95 %.
    pub(super) low: f64,
    pub(super) high: f64,
    /// How likely chance alone makes it as large, in either direction.
    pub(super) p: f64,
}

impl Sample {
    /// The bounds of the measure's interval of 95 %.
    pub(super) fn interval(&self) -> (f64, f64) {
        match self {
            Sample::Means(sets) => interval_of_means(sets),
            Sample::Correlation { scores, judged } => {
                interval(&[scores.len()], N_RESAMPLES, SEED, |drawn| {
                    correlation(&at(scores, &drawn[0]), &at(judged, &drawn[0]))
                })
            }
        }
    }

    /// Compares with another sample; `difference` is that of the whole measures.
    ///
    /// # Panics
    /// If the samples are not of the same items.
    pub(super) fn against(&self, other: &Sample, difference: f64) -> Difference {
        let ((low, high), p) = match (self, other) {
            (Sample::Means(a), Sample::Means(b)) => against_means(a, b),
            (
                Sample::Correlation { scores: a, judged },
                Sample::Correlation { scores: b, judged: same },
            ) => {
                assert_eq!(judged, same, "two systems are compared on one set");
                against_correlation(a, b, judged)
            }
            _ => unreachable!("one set has one measure"),
        };
        Difference { difference, low, high, p }
    }
}

/// Resamples the values of each set, so that each keeps its share.
fn interval_of_means(sets: &[Vec<f64>]) -> (f64, f64) {
    let sizes: Vec<usize> = sets.iter().map(Vec::len).collect();
    interval(&sizes, N_RESAMPLES, SEED, |drawn| {
        let mean = |(set, drawn): (&Vec<f64>, &Vec<usize>)| {
            drawn.iter().map(|idx| set[*idx]).sum::<f64>() / drawn.len().max(1) as f64
        };
        sets.iter().zip(drawn).map(mean).sum::<f64>() / sets.len().max(1) as f64
    })
}

fn against_means(a: &[Vec<f64>], b: &[Vec<f64>]) -> ((f64, f64), f64) {
    let paired = |(a, b): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
        assert_eq!(a.len(), b.len(), "two systems are compared on the same queries");
        a.iter().zip(b).map(|(a, b)| a - b).collect()
    };
    let differences: Vec<Vec<f64>> = a.iter().zip(b).map(paired).collect();
    // In the mean of means a value weighs the less, the more of them its set has.
    let weigh = |sets: &[Vec<f64>]| -> Vec<f64> {
        let values = |set: &Vec<f64>| {
            let n = set.len() as f64;
            set.iter().map(|value| value / n).collect::<Vec<_>>()
        };
        sets.iter().flat_map(values).collect()
    };
    (interval_of_means(&differences), paired_randomisation(&weigh(a), &weigh(b), N_ROUNDS, SEED))
}

/// Scores of two models may have different scales, so ranks are what is swapped.
fn against_correlation(a: &[f64], b: &[f64], judged: &[f64]) -> ((f64, f64), f64) {
    let bounds = interval(&[a.len()], N_RESAMPLES, SEED, |drawn| {
        let judged = at(judged, &drawn[0]);
        correlation(&at(a, &drawn[0]), &judged) - correlation(&at(b, &drawn[0]), &judged)
    });
    let (a, b) = (ranks(a), ranks(b));
    let p = randomisation(a.len(), N_ROUNDS, SEED, |is_swapped| {
        let swap = |((a, b), swap): ((&f64, &f64), &bool)| if *swap { (*b, *a) } else { (*a, *b) };
        let (a, b): (Vec<f64>, Vec<f64>) = a.iter().zip(&b).zip(is_swapped).map(swap).unzip();
        correlation(&a, judged) - correlation(&b, judged)
    });
    (bounds, p)
}

/// 0 where one side is constant, as a resample of few pairs can be.
fn correlation(scores: &[f64], judged: &[f64]) -> f64 {
    spearman(scores, judged).unwrap_or(0.0)
}

fn at(values: &[f64], drawn: &[usize]) -> Vec<f64> {
    drawn.iter().map(|idx| values[*idx]).collect()
}
