//! The derivatives against finite differences in f64, and columns against rows.

use super::*;

/// Relative L2 error that f32 and the differences may cause.
const TOLERANCE: f64 = 2e-6;

/// Half the distance over which a difference is taken.
const STEP: f64 = 1e-5;

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The slopes of the sum over `gradient * f(x)` along each of `x`.
fn slopes(x: &[f32], gradient: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let (mut x, n) = (wide(x), x.len());
    let loss =
        |x: &[f64]| -> f64 { f(x).iter().zip(gradient).map(|(y, g)| y * f64::from(*g)).sum() };
    let slope = |i: usize| {
        let before = x[i];
        x[i] = before + STEP;
        let above = loss(&x);
        x[i] = before - STEP;
        let below = loss(&x);
        x[i] = before;
        (above - below) / (2.0 * STEP)
    };
    (0..n).map(slope).collect()
}

fn assert_near(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let difference: f64 = pairs.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let length: f64 = expected.iter().map(|b| b * b).sum();
    let error = (difference / length.max(1e-12)).sqrt();
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

#[test]
fn norm_back_equals_finite_differences() {
    for n in [2, 5, 15, 16, 17, 33, 64, 67] {
        let (x, gain, gradient) = (numbers(3 * n, 7), numbers(n, 9), numbers(3 * n, 11));
        let norm = |x: &[f64], gain: &[f64]| -> Vec<f64> {
            let rows = x.chunks(n).flat_map(|row| {
                let root = (row.iter().map(|x| x * x).sum::<f64>() / n as f64 + 1e-6).sqrt();
                row.iter().zip(gain).map(move |(x, gain)| x / root * gain)
            });
            rows.collect()
        };
        let (mut found, mut of_gain) = (vec![0.0; 3 * n], vec![1.0; n]);
        rms_norm_back(&x, &gain, 1e-6, &gradient, &mut found, &mut of_gain);
        let (mut plain, mut of_gain_plain) = (vec![0.0; 3 * n], vec![1.0; n]);
        scalar::rms_norm_back(&x, &gain, 1e-6, &gradient, &mut plain, &mut of_gain_plain);
        assert_eq!((&found, &of_gain), (&plain, &of_gain_plain));
        assert_near("by x", &found, &slopes(&x, &gradient, |x| norm(x, &wide(&gain))));
        let added: Vec<f64> = slopes(&gain, &gradient, |gain| norm(&wide(&x), gain))
            .iter()
            .map(|g| g + 1.0)
            .collect();
        assert_near("by gain", &of_gain, &added);

        rms_norm_back_add(&x, &gain, 1e-6, &gradient, &mut plain, &mut []);
        let twice: Vec<f32> = found.iter().map(|x| 2.0 * x).collect();
        assert_eq!(plain, twice);
    }
}

#[test]
fn rope_back_undoes_rope() {
    for half in [1, 3, 16, 17, 32] {
        let angles = numbers(half, 5);
        let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
        let row = numbers(2 * half, 3);
        let mut found = row.clone();
        rope(&mut found, &cos, &sin);
        assert!(half < 3 || found != row);
        rope_back(&mut found, &cos, &sin);
        close(&found, &wide(&row));
    }
}

#[test]
fn softmax_back_equals_finite_differences() {
    for n in [1, 2, 15, 16, 17, 40] {
        let (scores, gradient) = (numbers(2 * n, 3), numbers(2 * n, 5));
        let mut probabilities = scores.clone();
        softmax(&mut probabilities, n, 0.7, &[(0, n), (n / 2, n)]);
        let (mut found, mut plain) = (gradient.clone(), gradient.clone());
        softmax_back(&probabilities, &mut found, n, 0.7);
        scalar::softmax_back(&probabilities, &mut plain, n, 0.7);
        assert_eq!(found, plain);
        let expected = slopes(&scores, &gradient, |scores| {
            let rows = scores.chunks(n).zip([0, n / 2]).flat_map(|(row, first)| {
                let weight = move |i: usize| if i < first { 0.0 } else { (row[i] * 0.7).exp() };
                let total: f64 = (0..n).map(weight).sum();
                (0..n).map(move |i| weight(i) / total)
            });
            rows.collect()
        });
        assert_near("by scores", &found, &expected);
    }
}

#[test]
fn geglu_and_its_derivative_equal_f64() {
    for n in [1, 7, 16, 17, 33] {
        let (gate_up, gradient) = (numbers(3 * 2 * n, 3), numbers(3 * n, 5));
        let product = |gate_up: &[f64]| -> Vec<f64> {
            let rows = gate_up.chunks(2 * n).flat_map(|row| {
                (0..n).map(|i| {
                    let z = row[i];
                    let cubic = z + 0.044_715 * z.powi(3);
                    let t = ((2.0 / std::f64::consts::PI).sqrt() * cubic).tanh();
                    0.5 * z * (1.0 + t) * row[n + i]
                })
            });
            rows.collect()
        };
        let mut products = vec![0.0; 3 * n];
        geglu(&gate_up, n, &mut products);
        assert_near("products", &products, &product(&wide(&gate_up)));
        let (mut found, mut inner) = (vec![0.0; 6 * n], gradient.clone());
        geglu_back(&gate_up, n, &mut inner, &mut found);
        assert_near("products again", &inner, &product(&wide(&gate_up)));
        assert_near("by gates and ups", &found, &slopes(&gate_up, &gradient, product));
        let (mut plain, mut inner) = (vec![0.0; 6 * n], gradient.clone());
        scalar::geglu_back(&gate_up, n, &mut inner, &mut plain);
        assert_eq!(found, plain);
    }
}

#[test]
fn columns_are_packed_as_rows_would_be() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (n_rows, n_cols) in [(1, 1), (3, 5), (16, 16), (31, 33), (65, 40), (130, 17)] {
            // Wider than the matrix: what lies beside it must not come in.
            let stride = n_cols + 3;
            let matrix = numbers(n_rows * stride, 3);
            let mut found = vec![77; n_cols * precision.row_bytes(n_rows)];
            pack_columns(&matrix, stride, n_cols, n_rows, precision, &mut found);
            let mut rows = Rows::new(precision);
            rows.reset(n_cols, n_rows);
            for i in 0..n_cols {
                let column: Vec<f32> = matrix.iter().skip(i).step_by(stride).copied().collect();
                rows.set(i, &column);
            }
            assert_eq!(found, rows.bytes(), "{precision:?} {n_rows} x {n_cols}");
        }
    }
}
