//! Against automatic differentiation of the reference pass.

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::model::Reference;
use crate::package::Package;

/// Relative L2 error that rounding may cause in the gradient of any weight.
const TOLERANCE: f64 = 2e-5;

/// The same for eight times as many layers, whose roundings add up on both sides.
const BIG_TOLERANCE: f64 = 5e-5;

/// The gradients of the sum over `factors * y / |y|`, by candle.
fn expected(config: &Config, weights: &Weights, ids: &[&[u32]], factors: &[f32]) -> Weights {
    let mut vars = Vec::new();
    let tracked = weights.map(|m| {
        let tensor = match m.n_rows {
            1 => Tensor::new(&m.values[..], &Device::Cpu)?,
            _ => Tensor::from_slice(&m.values, (m.n_rows, m.n_cols), &Device::Cpu)?,
        };
        let var = Var::from_tensor(&tensor)?;
        vars.push(var.clone());
        Ok::<_, candle_core::Error>(var.as_tensor().clone())
    });
    let tracked = tracked.unwrap();
    let tensors = tracked.map(|tensor| Ok::<_, Infallible>(tensor.clone()));
    let Ok(tensors) = tensors;
    let vectors = Reference::over(config, tensors).forward(ids).unwrap();
    let factors = Tensor::from_slice(factors, vectors.shape(), &Device::Cpu).unwrap();
    let loss = (vectors * factors).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let values = |tensor: &Tensor| -> Vec<f32> {
        gradients.get(tensor).expect("a gradient").flatten_all().unwrap().to_vec1().unwrap()
    };
    let matrix = |tensor: &Tensor| {
        let n_cols = *tensor.dims().last().unwrap();
        let n_rows = tensor.elem_count() / n_cols;
        Ok::<_, Infallible>(Matrix { values: values(tensor), n_rows, n_cols })
    };
    let Ok(expected) = tracked.map(matrix);
    expected
}

/// The same by the pass: the way back through the division by the length is done here.
fn found(pass: &Pass, ids: &[&[u32]], factors: &[f32]) -> Weights {
    let tape = pass.forward(ids, &[]);
    let width = tape.vectors().len() / ids.len();
    let mut y = Vec::new();
    for (vector, factors) in tape.vectors().chunks(width).zip(factors.chunks(width)) {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let length = dot(vector, vector).sqrt();
        let along = dot(vector, factors) / length / length;
        let of = vector.iter().zip(factors);
        y.extend(of.map(|(v, f)| ((f64::from(*f) - f64::from(*v) * along) / length) as f32));
    }
    let mut sums = pass.weights().zeros();
    pass.backward(&tape, &y, &mut sums);
    sums
}

/// The largest error of a pass over tiny weights, changed as a fault would.
fn error_with(change: impl FnOnce(&mut Pass)) -> (f64, String) {
    let config = tiny();
    let sequences = sequences(&LENGTHS, config.vocab_size);
    let factors = Numbers(9).take(LENGTHS.len() * 17);
    let weights = random_weights(&config, 1);
    let expected = expected(&config, &weights, &slices(&sequences), &factors);
    let mut pass = Pass::new(&config, weights, Precision::F32);
    change(&mut pass);
    worst(&found(&pass, &slices(&sequences), &factors), &expected)
}

#[test]
fn gradients_of_a_tiny_model_equal_automatic_ones() {
    let (error, name) = error_with(|_| {});
    println!("largest relative error: {name}, {error:.1e}");
    assert!(error < TOLERANCE, "{name}: {error:e}");
}

#[test]
fn each_planted_fault_is_found() {
    fn without_second_term(gate_up: &[f32], n: usize, gradient: &mut [f32], out: &mut [f32]) {
        let given = gradient.to_vec();
        kernel::geglu_back(gate_up, n, gradient, out);
        let rows = gate_up.chunks(2 * n).zip(out.chunks_mut(2 * n)).zip(given.chunks(n));
        for ((gate_up, out), given) in rows {
            for i in 0..n {
                let z = gate_up[i];
                let t = (0.797_884_6 * (z + 0.044_715 * z * z * z)).tanh();
                out[i] = given[i] * gate_up[n + i] * 0.5 * (1.0 + t);
            }
        }
    }
    let faults: [(&str, (f64, String)); 4] = [
        (
            "GELU's derivative without its second term",
            error_with(|pass| pass.geglu_back = without_second_term),
        ),
        ("window one less", error_with(|pass| pass.config.window_radius -= 1)),
        (
            "one rope base",
            error_with(|pass| {
                pass.config.rope_theta_full = pass.config.rope_theta_sliding;
            }),
        ),
        ("scores of another scale", error_with(|pass| pass.config.query_pre_attn_scalar *= 1.001)),
    ];
    for (fault, (error, name)) in faults {
        println!("{fault}: {name}, {error:.1e}");
        assert!(error > 2.0 * TOLERANCE, "{fault} went unnoticed: {error:e}");
    }
}

#[test]
fn gradients_of_nano_equal_automatic_ones() {
    let (package, source) = Package::nano().unwrap();
    let config = &package.config;
    let weights = source.weights().unwrap();
    let lengths = [1, 5, 40, 129, 300];
    let sequences = sequences(&lengths, config.vocab_size);
    let factors = Numbers(9).take(lengths.len() * weights.dense_2.n_rows);
    let expected = expected(config, &weights, &slices(&sequences), &factors);
    let pass = Pass::new(config, weights, Precision::F32);
    let found = found(&pass, &slices(&sequences), &factors);
    let (error, name) = worst(&found, &expected);
    println!("largest relative error: {name}, {error:.1e}");
    assert!(error < TOLERANCE, "{name}: {error:e}");
}

/// A model of EmbeddingGemma's size, where one is at hand.
///
/// ```text
/// GEMMULE_BIG_MODEL=FOLDER cargo test --release big_model -- --nocapture
/// ```
#[test]
fn gradients_of_a_big_model_equal_automatic_ones() {
    let Some(folder) = std::env::var_os("GEMMULE_BIG_MODEL") else {
        println!("skipped: GEMMULE_BIG_MODEL names no folder");
        return;
    };
    let (package, source) = Package::load(folder.as_ref()).unwrap();
    let config = &package.config;
    let weights = source.weights().unwrap();
    let sequences = sequences(&[7, 24], config.vocab_size);
    let factors = Numbers(9).take(2 * weights.dense_2.n_rows);
    let expected = expected(config, &weights, &slices(&sequences), &factors);
    let pass = Pass::new(config, weights, Precision::F32);
    let found = found(&pass, &slices(&sequences), &factors);
    let (error, name) = worst(&found, &expected);
    println!("largest relative error: {name}, {error:.1e}");
    assert!(error < BIG_TOLERANCE, "{name}: {error:e}");
}
