//! The fast pass against the reference.

mod big;
mod real;

use std::path::Path;

use super::*;
use crate::model::Reference;
use crate::package::{Package, Source};

/// Ids below `vocab_size`, the same in each run.
fn ids(n: usize, vocab_size: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + n * 31 + 3) % vocab_size) as u32).collect()
}

fn assert_equal(name: &str, (package, source): (Package, Source), lengths: &[usize]) {
    let weights = source.weights().unwrap();
    let sequences: Vec<Vec<u32>> =
        lengths.iter().map(|&n| ids(n, package.config.vocab_size)).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(|ids| &ids[..]).collect();
    let reference = Reference::new(&package.config, &weights).unwrap();
    let expected = reference.forward(&sequences).unwrap().to_vec2::<f32>().unwrap();
    let prepared = Prepared::in_memory(&package.config, &source, Precision::F32).unwrap();
    let fast = Fast::new(&package.config, prepared);
    let together = fast.forward(&sequences);
    for (i, (found, expected)) in together.iter().zip(&expected).enumerate() {
        let error = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        assert!(error < 1e-5, "{name}, {} tokens: {error:e}", lengths[i]);
        let alone = &fast.forward(&sequences[i..=i])[0];
        let error = found.iter().zip(alone).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        assert!(error < 1e-5, "{name}, {} tokens alone: {error:e}", lengths[i]);
    }
}

#[test]
fn the_fast_pass_equals_the_reference() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/tiny");
    // Around the window of 8 to each side, around a block of 64 rows, and beyond.
    let lengths = [1, 2, 8, 9, 10, 17, 18, 63, 64, 65, 128, 129, 300];
    for name in ["mqa", "gqa"] {
        assert_equal(name, Package::load(&tiny.join(name)).unwrap(), &lengths);
    }
    let lengths = [1, 3, 64, 128, 129, 130, 257, 258, 700];
    assert_equal("nano", Package::nano().unwrap(), &lengths);
}
