//! The pass against transformers: values and scripts are in `tests/reference`.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use safetensors::SafeTensors;

use super::*;
use crate::package::Package;
use crate::{Embedder, Precision};

/// Relative L2 error that rounding may cause.
const TOLERANCE: f64 = 1e-5;
const CASES: [&str; 6] = ["n1", "n2", "n8", "n9", "n10", "n300"];
const N_BATCH: usize = 6;

fn reference(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference").join(path)
}

/// The values of one tiny model.
struct Values(Vec<u8>);

impl Values {
    fn read(name: &str) -> Values {
        Values(std::fs::read(reference(name)).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<[u8; 4]> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("{name} in the values"));
        tensor.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect()
    }

    fn ids(&self, case: &str) -> Vec<u32> {
        self.bytes(&format!("{case}.ids")).into_iter().map(u32::from_le_bytes).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).into_iter().map(f32::from_le_bytes).collect()
    }
}

/// `|found - expected| / |expected|`
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let length: f64 = expected.iter().map(|&b| square(b)).sum();
    (difference / length).sqrt()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest relative error over every layer and vector of the cases run one by one.
fn worst_error(reference: &Reference, values: &Values, cases: &[&str]) -> f64 {
    let mut worst: f64 = 0.0;
    for case in cases {
        let ids = values.ids(case);
        let mut layers = Vec::new();
        let vector = reference.forward_observed(&[&ids], &mut |_, x| layers.push(flat(x))).unwrap();
        let last = layers.pop().unwrap();
        for (i, layer) in layers.iter().enumerate() {
            worst = worst.max(relative_error(layer, &values.floats(&format!("{case}.layer.{i}"))));
        }
        worst = worst.max(relative_error(&last, &values.floats(&format!("{case}.norm"))));
        worst =
            worst.max(relative_error(&flat(&vector), &values.floats(&format!("{case}.vector"))));
    }
    worst
}

fn tiny(name: &str) -> (Package, Weights, Values) {
    let (package, source) = Package::load(&reference(&format!("tiny/{name}"))).unwrap();
    (package, source.weights().unwrap(), Values::read(&format!("tiny/{name}.safetensors")))
}

#[test]
fn every_layer_and_vector_equals_transformers() {
    for name in ["mqa", "gqa"] {
        let (package, weights, values) = tiny(name);
        let reference = Reference::new(&package.config, &weights).unwrap();
        let worst = worst_error(&reference, &values, &CASES);
        println!("{name}: largest relative error {worst:.1e}");
        assert!(worst < TOLERANCE, "{name}: {worst:e}");
    }
}

#[test]
fn a_batch_of_mixed_lengths_equals_transformers_one_by_one() {
    for name in ["mqa", "gqa"] {
        let (package, weights, values) = tiny(name);
        let reference = Reference::new(&package.config, &weights).unwrap();
        let ids: Vec<Vec<u32>> = (0..N_BATCH).map(|i| values.ids(&format!("batch.{i}"))).collect();
        let sequences: Vec<&[u32]> = ids.iter().map(|ids| &ids[..]).collect();
        let vectors = reference.forward(&sequences).unwrap();
        for i in 0..N_BATCH {
            let found = flat(&vectors.narrow(0, i, 1).unwrap());
            let error = relative_error(&found, &values.floats(&format!("batch.{i}.vector")));
            assert!(error < TOLERANCE, "{name}, sequence {i}: {error:e}");
        }
    }
}

/// The test above must be able to fail: each mistake that engines have made is made on purpose.
#[test]
fn each_planted_fault_is_found() {
    let (package, weights, values) = tiny("mqa");
    let error_with = |change: &dyn Fn(&mut Reference, &mut Config)| {
        let mut config = package.config.clone();
        let mut planted = Reference::new(&package.config, &weights).unwrap();
        change(&mut planted, &mut config);
        let activation = planted.activation;
        let planted = Reference { config: &config, ..Reference::over(&config, planted.weights) };
        let planted = Reference { activation, ..planted };
        worst_error(&planted, &values, &CASES)
    };
    let faults: [(&str, f64); 4] = [
        ("window one less", error_with(&|_, config| config.window_radius -= 1)),
        ("erf GELU", error_with(&|reference, _| reference.activation = Tensor::gelu_erf)),
        (
            "one rope base",
            error_with(&|_, config| config.rope_theta_full = config.rope_theta_sliding),
        ),
        ("full layers shifted by one", error_with(&|_, config| config.layers.rotate_right(1))),
    ];
    for (fault, error) in faults {
        println!("{fault}: {error:.1e}");
        assert!(error > TOLERANCE, "{fault} went unnoticed: {error:e}");
    }
}

#[test]
fn a_first_dense_layer_left_out_is_found() {
    let (package, mut weights, values) = tiny("mqa");
    // Left out: its input reaches the second layer as it is, over the rows that there are.
    let Matrix { n_rows, n_cols, .. } = weights.dense_1;
    let identity = (0..n_rows * n_cols).map(|i| if i / n_cols == i % n_cols { 1.0 } else { 0.0 });
    weights.dense_1.values = identity.collect();
    let reference = Reference::new(&package.config, &weights).unwrap();
    assert!(worst_error(&reference, &values, &CASES) > TOLERANCE);
}

#[test]
fn every_weight_gets_a_gradient() {
    let (package, weights, values) = tiny("gqa");
    let mut vars = Vec::new();
    let plain = Reference::new(&package.config, &weights).unwrap();
    let tracked = plain.weights.map(|tensor| {
        let var = candle_core::Var::from_tensor(tensor)?;
        vars.push(var.clone());
        Ok::<_, candle_core::Error>(var.as_tensor().clone())
    });
    let reference = Reference::over(&package.config, tracked.unwrap());
    let (first, second) = (values.ids("batch.2"), values.ids("batch.3"));
    let vectors = reference.forward(&[&first, &second]).unwrap();
    let similarity = (vectors.get(0).unwrap() * vectors.get(1).unwrap()).unwrap();
    let gradients = similarity.sum_all().unwrap().backward().unwrap();
    for (i, var) in vars.iter().enumerate() {
        let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("weight {i}"));
        assert!(flat(gradient).iter().any(|&x| x != 0.0), "weight {i} has a gradient of zero");
    }
}

#[test]
fn nano_equals_sentence_transformers_from_the_text() {
    #[derive(serde::Deserialize)]
    struct Text {
        text: String,
        prompt: Option<String>,
        title: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Encoded {
        ids: Vec<u32>,
    }
    let read = |name| std::fs::read(reference(name)).unwrap();
    let texts: Vec<Text> = serde_json::from_slice(&read("nano_texts.json")).unwrap();
    let encoded: Vec<Encoded> = serde_json::from_slice(&read("nano.json")).unwrap();
    let expected = Values::read("nano.safetensors").floats("vectors");
    let embedder = Embedder::open_in("nano", Some(Precision::F32)).unwrap();
    let width = embedder.full_width();
    assert_eq!((texts.len(), expected.len()), (50, 50 * width));
    let tokens: Vec<_> = texts
        .iter()
        .map(|Text { text, prompt, title }| {
            let prompt = match title {
                Some(title) => embedder.document_prompt(Some(title)).unwrap(),
                None => embedder.prompt(prompt.as_deref().unwrap_or("none")).unwrap().to_owned(),
            };
            embedder.tokenize(&prompt, text).unwrap()
        })
        .collect();
    let vectors = embedder.embed(&tokens, |_, _| true).unwrap();
    let mut worst: f64 = 0.0;
    for (i, vector) in vectors.iter().enumerate() {
        assert_eq!(tokens[i].ids, encoded[i].ids, "text {i}: {:?}", texts[i].text);
        let expected = &expected[i * width..][..width];
        for &dims in &embedder.package().widths {
            let cut = |v: &[f32]| {
                let norm = v[..dims].iter().map(|x| x * x).sum::<f32>().sqrt();
                v[..dims].iter().map(|x| x / norm).collect::<Vec<_>>()
            };
            worst = worst.max(relative_error(&cut(vector), &cut(expected)));
        }
    }
    println!("largest relative error of 50 texts at 4 widths: {worst:.1e}");
    assert!(worst < TOLERANCE, "{worst:e}");
}
