//! bf16 against f32.

use super::*;
use crate::package::Package;

/// What rounding every factor of every product to 8 bits may cost.
const LEAST_COSINE: f64 = 0.999;

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn gradients_of_nano_in_bf16_point_where_those_in_f32_do() {
    let (package, source) = Package::nano().unwrap();
    let config = &package.config;
    let lengths = [32; 24];
    let sequences = sequences(&lengths, config.vocab_size);
    let mut of = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let weights = source.weights().unwrap();
        let y = Numbers(9).take(lengths.len() * weights.dense_2.n_rows);
        let pass = Pass::new(config, weights, precision);
        of.push(gradients(&pass, &slices(&sequences), &[], &y));
    }
    let pairs = named(&of[0]).into_iter().zip(named(&of[1]));
    let cosines = pairs.map(|((name, a), (_, b))| (cosine(&a.values, &b.values), name));
    let cosines: Vec<(f64, String)> = cosines.collect();
    for (cosine, name) in &cosines {
        println!("{name}: {cosine:.6}");
    }
    for (cosine, name) in cosines {
        assert!(cosine > LEAST_COSINE, "{name}: {cosine}");
    }
}
