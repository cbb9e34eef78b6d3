//! Against every resample there is, where these are few, and against scipy where they are not
//! (`tests/reference/chance.json`).

use std::path::Path;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Reference {
    intervals: Vec<Interval>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Interval {
    values: Vec<f64>,
    low: f64,
    high: f64,
    /// How far bounds of 20,000 resamples are from each other, at most, in 40 runs of scipy.
    spread: f64,
}

#[derive(Deserialize)]
struct Test {
    a: Vec<f64>,
    b: Vec<f64>,
    p: f64,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/chance.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn intervals_are_those_of_scipy() {
    let intervals = reference().intervals;
    assert_eq!(intervals.len(), 6);
    for (i, Interval { values, low, high, spread }) in intervals.iter().enumerate() {
        let (found_low, found_high) = bootstrap_interval(values, 100_000, 11);
        let off = (found_low - low).abs().max((found_high - high).abs());
        assert!(
            off <= *spread + 1e-12,
            "interval {i}: {found_low} to {found_high}, {low} to {high}"
        );
    }
}

#[test]
fn an_interval_of_few_values_is_that_of_all_resamples() {
    let values = [0.0, 0.13, 0.5, 0.631, 1.0];
    let n = values.len();
    let mut means: Vec<f64> = (0..n.pow(n as u32))
        .map(|code| (0..n).map(|i| values[code / n.pow(i as u32) % n]).sum::<f64>() / n as f64)
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let (low, high) = bootstrap_interval(&values, 100_000, 3);
    // As shares of all resamples: six standard deviations of 100,000 draws are 0.003.
    let below = |bound: f64| means.iter().filter(|mean| **mean < bound).count() as f64;
    let up_to = |bound: f64| means.iter().filter(|mean| **mean <= bound).count() as f64;
    for (bound, share) in [(low, 0.025), (high, 0.975)] {
        let [below, up_to] = [below(bound), up_to(bound)].map(|count| count / means.len() as f64);
        assert!(below <= share + 0.003 && share - 0.003 <= up_to, "{bound}: {below} to {up_to}");
    }
}

/// The share of all 2^n ways to swap pairs that make a difference as large.
fn exact_p(a: &[f64], b: &[f64]) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let found = differences.iter().sum::<f64>().abs();
    let n_ways = 1u32 << differences.len();
    let is_as_large = |way: &u32| {
        let signed =
            differences.iter().enumerate().map(|(i, d)| if way >> i & 1 == 1 { -d } else { *d });
        signed.sum::<f64>().abs() >= found - 1e-9
    };
    (0..n_ways).filter(is_as_large).count() as f64 / f64::from(n_ways)
}

#[test]
fn the_test_is_that_of_scipy_and_of_all_swaps() {
    let tests = reference().tests;
    assert_eq!(tests.len(), 8);
    const ROUNDS: usize = 100_000;
    for (i, Test { a, b, p }) in tests.iter().enumerate() {
        let found = paired_randomisation(a, b, ROUNDS, 17);
        // Six standard deviations of a share, of both, if scipy's was drawn too.
        let bound = 6.0 * (2.0 * p * (1.0 - p) / ROUNDS as f64).sqrt() + 2.0 / ROUNDS as f64;
        assert!((found - p).abs() <= bound, "test {i}: {found}, scipy has {p}");
        if a.len() <= 16 {
            let exact = exact_p(a, b);
            assert!((found - exact).abs() <= bound, "test {i}: {found}, all swaps give {exact}");
        }
    }
}

#[test]
fn a_seed_gives_one_result_whatever_the_threads() {
    let values: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
    let other: Vec<f64> = values.iter().map(|value| value * 0.99 + 0.002).collect();
    let measured = || {
        let p = paired_randomisation(&values, &other, 1000, 5);
        (bootstrap_interval(&values, 1000, 5), p)
    };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(measured(), one.install(measured));
    assert_ne!(bootstrap_interval(&values, 1000, 5), bootstrap_interval(&values, 1000, 6));
}

#[test]
fn what_does_not_differ_is_certain_to_be_chance() {
    assert_eq!(paired_randomisation(&[0.1, 0.7], &[0.1, 0.7], 99, 1), 1.0);
    assert_eq!(paired_randomisation(&[], &[], 99, 1), 1.0);
    // Swapping the sides changes nothing; sixty pairs that all differ alike leave the least there is.
    let (low, high) = ([0.2; 60], [0.3; 60]);
    assert_eq!(paired_randomisation(&low, &high, 999, 1), 0.001);
    assert_eq!(paired_randomisation(&high, &low, 999, 1), 0.001);
}

#[test]
fn an_interval_of_equal_values_is_a_point() {
    let (low, high) = bootstrap_interval(&[0.25; 40], 100, 1);
    assert_eq!((low, high), (0.25, 0.25));
    assert_eq!(bootstrap_interval(&[], 100, 1), (0.0, 0.0));
}

#[test]
fn about_one_test_in_twenty_of_equal_systems_is_below_a_twentieth() {
    let n_below = (0..400).filter(|seed| {
        let mut random = Random::of_piece(99, *seed);
        let [a, b] = [0, 1].map(|_| (0..30).map(|_| random.unit()).collect::<Vec<f64>>());
        paired_randomisation(&a, &b, 500, *seed as u64) <= 0.05
    });
    // 20 expected, standard deviation 4.4.
    let n_below = n_below.count();
    assert!((3..=42).contains(&n_below), "{n_below} of 400");
}
