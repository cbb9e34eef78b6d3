//! Models as they are opened: from memory, from images, in every precision.

mod forms;
mod image;
mod precision;
mod robustness;

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use super::*;
use crate::kernel::Precision;
use crate::package::tests::{copy_of, edit, reference};

const PRECISIONS: [Precision; 4] =
    [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4];

/// Lengths around the tiny models' window of 8 to each side, around a block of 64 rows and a chunk
/// of 128, inside the shortest window of all models.
const LENGTHS: [usize; 12] = [1, 2, 9, 17, 31, 33, 64, 65, 128, 129, 257, 300];

/// A copy of a tiny package: to open one may write beside it. Its tokenizer is the library's, so no
/// image is kept.
fn tiny(name: &str) -> TempDir {
    copy_of(&reference(&format!("tiny/{name}")))
}

/// The same with a piece for each byte: our own tokenizer reads it, and an image is kept. The new
/// pieces have the embeddings of the old ones.
fn tiny_with_image(name: &str) -> TempDir {
    const N_REPEATS: usize = 4;
    let folder = tiny(name);
    edit(&folder, "tokenizer.json", |tokenizer| {
        tokenizer["model"]["byte_fallback"] = true.into();
        let pieces = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        for byte in 0..256 {
            pieces.insert(format!("<0x{byte:02X}>"), pieces.len().into());
        }
    });
    edit(&folder, "config.json", |config| {
        let vocab_size = config["vocab_size"].as_u64().unwrap() as usize;
        config["vocab_size"] = (vocab_size * N_REPEATS).into();
    });
    // Few tokens of each text of the check: images are made often.
    edit(&folder, "sentence_bert_config.json", |config| config["max_seq_length"] = 24.into());
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (mut shape, mut data) = (tensor.shape().to_vec(), tensor.data().to_vec());
            if name.ends_with("embed_tokens.weight") {
                shape[0] *= N_REPEATS;
                data = data.repeat(N_REPEATS);
            }
            (name, tensor.dtype(), shape, data)
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    folder
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn image_of(folder: &Path, precision: Precision) -> PathBuf {
    folder.join(format!("gemmule-{}.image", precision.name()))
}

/// Sequences of ids below `vocab_size`, the same in each run.
fn sequences(vocab_size: usize) -> Vec<Vec<u32>> {
    let id = |n: usize, i: usize| ((i * 7919 + n * 31 + 3) % vocab_size) as u32;
    LENGTHS.iter().map(|&n| (0..n).map(|i| id(n, i)).collect()).collect()
}

/// The vectors of these sequences, each run alone.
fn vectors(model: &Fast, vocab_size: usize) -> Vec<Vec<f32>> {
    let sequences = sequences(vocab_size);
    sequences.iter().flat_map(|ids| model.forward(&[ids])).collect()
}

/// The largest distance between vectors of a pair.
fn worst_distance(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let distance = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    // A NaN must not pass for small.
    found.iter().zip(expected).map(distance).fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
}
