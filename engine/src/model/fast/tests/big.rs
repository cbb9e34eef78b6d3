//! A model of EmbeddingGemma's size against transformers, where one is at hand.
//!
//! ```text
//! GEMMULE_BIG_MODEL=FOLDER cargo test --release big_model -- --nocapture
//! ```
//!
//! The folder is a package with `reference.json` beside its files: ids and vectors that transformers
//! gave in f32, `{"cases": [{"name": ..., "ids": [...], "vector": [...]}]}`; the cases that are called
//! `mixed-...` are one batch.

use std::path::PathBuf;

use super::*;
use crate::model::{Opened, open};

/// Relative L2 error that rounding may cause in f32: three times that of the tiny models, for four
/// times as many layers.
const TOLERANCE: f64 = 2e-5;

#[derive(serde::Deserialize)]
struct Values {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    ids: Vec<u32>,
    vector: Vec<f32>,
}

/// The folder and its values; none, and a word about it, without the variable.
fn big_model() -> Option<(PathBuf, Vec<Case>)> {
    let Some(folder) = std::env::var_os("GEMMULE_BIG_MODEL").map(PathBuf::from) else {
        println!("skipped: GEMMULE_BIG_MODEL names no folder");
        return None;
    };
    let json = std::fs::read(folder.join("reference.json")).unwrap();
    let Values { cases } = serde_json::from_slice(&json).unwrap();
    assert!(cases.len() > 1);
    Some((folder, cases))
}

fn fast(folder: &Path, precision: Precision) -> Fast {
    let Opened { model, .. } = open(folder.to_str().unwrap(), Some(precision)).unwrap();
    model
}

/// `|found - expected| / |expected|`
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let length: f64 = expected.iter().map(|&b| square(b)).sum();
    (difference / length).sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_big_model_in_f32_equals_transformers() {
    let Some((folder, cases)) = big_model() else { return };
    let fast = fast(&folder, Precision::F32);
    // Lengths up to each of these.
    let mut worst = [16, 64, 257, 512, 2048].map(|most| (most, 0, 0f64));
    for Case { name, ids, vector } in &cases {
        let error = relative_error(&fast.forward(&[ids])[0], vector);
        let class = worst.iter_mut().find(|(most, ..)| ids.len() <= *most).unwrap();
        *class = (class.0, class.1 + 1, class.2.max(error));
        assert!(error < TOLERANCE, "{name}, {} tokens: {error:e}", ids.len());
    }
    for (most, n, error) in worst {
        println!("alone, up to {most} tokens, {n} cases: relative error at most {error:.1e}");
    }
    let batch: Vec<&Case> = cases.iter().filter(|case| case.name.starts_with("mixed")).collect();
    let ids: Vec<&[u32]> = batch.iter().map(|case| &case.ids[..]).collect();
    let found = fast.forward(&ids);
    let errors = found.iter().zip(&batch).map(|(found, case)| relative_error(found, &case.vector));
    let worst = errors.fold(0.0, f64::max);
    println!("a batch of {}: relative error at most {worst:.1e}", batch.len());
    assert!(worst < TOLERANCE, "{worst:e}");
}

/// The test above must be able to fail: each mistake that engines have made is made on purpose.
#[test]
fn each_fault_planted_in_a_big_model_is_found() {
    let Some((folder, cases)) = big_model() else { return };
    let named = |name: &str| cases.iter().find(|case| case.name == name).unwrap();
    let cases = ["length-258", "length-700"].map(named);
    let worst = |fast: &Fast| {
        let error = |case: &&Case| relative_error(&fast.forward(&[&case.ids])[0], &case.vector);
        cases.iter().map(error).fold(0.0, f64::max)
    };
    let with = |change: &dyn Fn(&mut Fast)| {
        let mut fast = fast(&folder, Precision::F32);
        change(&mut fast);
        worst(&fast)
    };
    let none = with(&|_| {});
    assert!(none < TOLERANCE, "{none:e}");
    let faults: [(&str, f64); 4] = [
        ("window one less", with(&|fast| fast.config.window_radius -= 1)),
        (
            "one rope base",
            with(&|fast| fast.config.rope_theta_full = fast.config.rope_theta_sliding),
        ),
        (
            "full layers shifted by one",
            with(&|fast| {
                let layers = &mut fast.weights.layout.layers;
                let mut kinds: Vec<LayerKind> = layers.iter().map(|layer| layer.kind).collect();
                kinds.rotate_right(1);
                layers.iter_mut().zip(kinds).for_each(|(layer, kind)| layer.kind = kind);
            }),
        ),
        ("the first dense layer left out", worst(&without_first_dense(&folder))),
    ];
    for (fault, error) in faults {
        println!("{fault}: {error:.1e}");
        assert!(error > TOLERANCE, "{fault} went unnoticed: {error:e}");
    }
}

/// Left out: its input reaches the second layer as it is, over the rows that there are.
fn without_first_dense(folder: &Path) -> Fast {
    const DENSE: &str = "2_Dense/model.safetensors";
    let planted = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()) {
        let (from, to) = (folder.join(&file), planted.path().join(&file));
        if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            for file in std::fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().file_name()) {
                std::fs::copy(from.join(&file), to.join(&file)).unwrap();
            }
        } else if to.extension().is_none_or(|extension| extension != "image") {
            std::os::unix::fs::symlink(std::path::absolute(&from).unwrap(), &to).unwrap();
        }
    }
    let bytes = std::fs::read(folder.join(DENSE)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("linear.weight").unwrap();
    let shape = tensor.shape().to_vec();
    let identity = (0..shape[0] * shape[1]).map(|i| i / shape[1] == i % shape[1]);
    let identity: Vec<u8> =
        identity.flat_map(|is_one| f32::from(u8::from(is_one)).to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &identity);
    let file = safetensors::serialize([("linear.weight", view.unwrap())], None).unwrap();
    std::fs::write(planted.path().join(DENSE), file).unwrap();
    let (package, source) = Package::load(planted.path()).unwrap();
    let weights = Prepared::in_memory(&package.config, &source, Precision::F32).unwrap();
    Fast::new(&package.config, weights)
}

#[test]
fn each_precision_of_a_big_model_meets_its_bound() {
    let Some((folder, cases)) = big_model() else { return };
    let bounds = [
        (Precision::Bf16, 0.9995),
        (Precision::Int8, 0.995),
        // Weights at random are the worst that four bits can meet: printed only.
        (Precision::Int4, -1.0),
    ];
    let mut missed = Vec::new();
    for (precision, bound) in bounds {
        let fast = fast(&folder, precision);
        let ids: Vec<&[u32]> = cases.iter().map(|case| &case.ids[..]).collect();
        let found = fast.forward(&ids);
        let cosines = found.iter().zip(&cases).map(|(found, case)| cosine(found, &case.vector));
        let cosines: Vec<f64> = cosines.collect();
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        println!("{}: cosine at least {worst:.6}, mean {mean:.6}", precision.name());
        if worst < bound {
            missed.push(format!("{}: {worst} < {bound}", precision.name()));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("; "));
}
