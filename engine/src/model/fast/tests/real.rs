//! EmbeddingGemma's own weights against what others recorded of them, where they are at hand.
//!
//! ```text
//! GEMMULE_REAL_MODEL=FOLDER_OR_GGUF cargo test --release real_model -- --nocapture
//! ```
//!
//! The values and where they are from: `tests/reference/embeddinggemma.json`. One recording is too
//! long for it and is read beside the working copy.

use crate::package::tests::reference;
use crate::{Embedder, Precision};

#[derive(serde::Deserialize)]
struct Recorded {
    pairs: Vec<Pairs>,
    starts: Vec<Starts>,
    sums: Vec<Sums>,
}

/// Cosines between texts.
#[derive(serde::Deserialize)]
struct Pairs {
    source: String,
    tolerance: f64,
    dims: usize,
    /// The task and text of both sides, and the cosine.
    cosines: Vec<([String; 2], [String; 2], f64)>,
}

/// First numbers of unit vectors.
#[derive(serde::Deserialize)]
struct Starts {
    source: String,
    tolerance: f64,
    vectors: Vec<(String, Vec<f64>)>,
}

/// Sums of the numbers of unit vectors.
#[derive(serde::Deserialize)]
struct Sums {
    source: String,
    tolerance: f64,
    sums: Vec<(String, f64)>,
}

#[derive(serde::Deserialize)]
struct Raw {
    texts: Vec<String>,
    raw: Vec<Vec<f32>>,
}

/// The vector of a text, without a prompt if `task` is `none`, cut and at unit length.
fn vector(embedder: &Embedder, task: &str, text: &str, dims: usize) -> Vec<f64> {
    let full = embedder.embed_one(embedder.prompt(task).unwrap(), text).unwrap();
    unit(&full[..dims])
}

fn unit(v: &[f32]) -> Vec<f64> {
    let norm = v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    v.iter().map(|&x| f64::from(x) / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_real_model_gives_the_vectors_that_others_recorded() {
    let recorded = std::fs::read(reference("embeddinggemma.json")).unwrap();
    let recorded: Recorded = serde_json::from_slice(&recorded).unwrap();
    let Ok(model) = std::env::var("GEMMULE_REAL_MODEL") else {
        println!("skipped: GEMMULE_REAL_MODEL names no folder and no file");
        return;
    };
    let embedder = Embedder::open_in(&model, Some(Precision::F32)).unwrap();
    let mut missed = Vec::new();
    let mut compare = |source: &str, text: &str, found: f64, expected: f64, tolerance: f64| {
        if (found - expected).abs() <= tolerance {
            return;
        }
        missed.push(format!("{source}: {text}: {found:.7}, not {expected:.7}"));
    };
    for Pairs { source, tolerance, dims, cosines } in &recorded.pairs {
        for ([task, text], [other_task, other], expected) in cosines {
            let found = vector(&embedder, task, text, *dims);
            let cosine = dot(&found, &vector(&embedder, other_task, other, *dims));
            compare(source, &format!("{text} / {other}"), cosine, *expected, *tolerance);
        }
    }
    for Starts { source, tolerance, vectors } in &recorded.starts {
        for (text, expected) in vectors {
            let found = vector(&embedder, "none", text, embedder.full_width());
            for (found, expected) in found.iter().zip(expected) {
                compare(source, text, *found, *expected, *tolerance);
            }
        }
    }
    for Sums { source, tolerance, sums } in &recorded.sums {
        for (text, expected) in sums {
            let found = vector(&embedder, "none", text, embedder.full_width());
            compare(source, text, found.iter().sum(), *expected, *tolerance);
        }
    }
    let raw = reference("../../../shared/data/tokenizer/tei_reference_vectors.json");
    match std::fs::read(&raw) {
        Err(_) => println!("skipped: {} is not there", raw.display()),
        Ok(json) => {
            let Raw { texts, raw } = serde_json::from_slice(&json).unwrap();
            for (text, raw) in texts.iter().zip(&raw) {
                let cosine = dot(&vector(&embedder, "none", text, raw.len()), &unit(raw));
                compare("text-embeddings-inference", text, cosine, 1.0, 1e-5);
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
