//! Each kernel against its definition compiled for any processor, and against f64.

use super::*;

/// Numbers between -4 and 4, the same in each run.
fn numbers(n: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 40) as f32 / (1u64 << 24) as f32 * 8.0 - 4.0
    };
    (0..n).map(|_| next()).collect()
}

fn close(found: &[f32], expected: &[f64]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-6 * expected.abs().max(1.0), "at {i}: {found}, not {expected}");
    }
}

#[test]
fn norm_equals_its_definition_and_f64() {
    for width in 1..=67 {
        let (x, gain) = (numbers(3 * width, 7), numbers(width, 9));
        let (mut found, mut plain) = (vec![0.0; 3 * width], vec![0.0; 3 * width]);
        rms_norm(&x, &gain, 1e-6, &mut found);
        scalar::rms_norm(&x, &gain, 1e-6, &mut plain);
        assert_eq!(found, plain);
        let expected: Vec<f64> = x
            .chunks(width)
            .flat_map(|row| {
                let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                let root = (square / width as f64 + 1e-6).sqrt();
                let scaled = row.iter().zip(&gain);
                scaled.map(move |(&x, &g)| f64::from(x) / root * f64::from(g))
            })
            .collect();
        close(&found, &expected);
        rms_norm_add(&x, &gain, 1e-6, &mut found);
        close(&found, &expected.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
}

#[test]
fn softmax_equals_its_definition_and_f64() {
    for n in 1..=67 {
        let visible = [(0, n), (n / 2, n), (0, n / 2 + 1), (n / 3, n / 3 + 1)];
        let scores = numbers(4 * n, 3);
        let (mut found, mut plain) = (scores.clone(), scores.clone());
        softmax(&mut found, n, 2.5, &visible);
        scalar::softmax(&mut plain, n, 2.5, &visible);
        assert_eq!(found, plain);
        for ((row, found), (first, end)) in scores.chunks(n).zip(found.chunks(n)).zip(visible) {
            let is_seen = |i: usize| (first..end).contains(&i);
            let weight = |i: usize| if is_seen(i) { (f64::from(row[i]) * 2.5).exp() } else { 0.0 };
            let total: f64 = (0..n).map(weight).sum();
            close(found, &(0..n).map(|i| weight(i) / total).collect::<Vec<_>>());
        }
    }
}

#[test]
fn softmax_of_huge_scores_is_finite() {
    let mut scores = vec![1e30, -1e30, 0.0];
    softmax(&mut scores, 3, 1.0, &[(0, 3)]);
    assert_eq!(scores[0], 1.0);
    assert!(scores.iter().all(|x| x.is_finite()));
}

#[test]
fn rope_turns_pairs_half_a_row_apart() {
    for half in 1..=40 {
        let angles = numbers(half, 11);
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
        let row = numbers(2 * half, 13);
        let mut found = row.clone();
        rope(&mut found, &cos, &sin);
        let expected = (0..2 * half).map(|d| {
            let (i, sign) = if d < half { (d + half, -1.0) } else { (d - half, 1.0) };
            let angle = angles[d % half];
            f64::from(row[d]) * f64::from(angle.cos())
                + sign * f64::from(row[i]) * f64::from(angle.sin())
        });
        close(&found, &expected.collect::<Vec<_>>());
    }
}
