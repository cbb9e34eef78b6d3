//! Tests of the GGUF module; expected numbers come from the `gguf` package (see `golden/`).

mod blocks;
mod hostile;
mod model;
mod pieces;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::{Config, Dtype, Export, Formats, LayerKind, TokenizerForm, names, write_package};
use crate::{Error, Result};

const WHOLE: &[u8] = include_bytes!("golden/whole.gguf");

fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("golden/blocks.json")).unwrap()
}

fn bytes_of_hex(hex: &serde_json::Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn numbers_of_hex(hex: &serde_json::Value) -> Vec<f32> {
    bytes_of_hex(hex).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// A model small enough to be written in each test; its layers are not the default pattern.
fn tiny_config() -> Config {
    use LayerKind::{Full, Sliding};
    Config {
        vocab_size: 300,
        hidden: 64,
        intermediate: 96,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 32,
        layers: vec![Sliding, Full, Sliding],
        window_radius: 256,
        rope_theta_full: 1e6,
        rope_theta_sliding: 1e4,
        query_pre_attn_scalar: 32.0,
        rms_norm_eps: 1e-6,
        max_positions: 2048,
        bos: 2,
        eos: 1,
    }
}

/// Number `i` of a tensor: spread over -1 to 1, the same in each run.
fn weight(name: &str, i: usize) -> f32 {
    let mut x = name.bytes().fold(i as u64 + 1, |x, b| x.wrapping_mul(31).wrapping_add(b.into()));
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    (x >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn rows_of(config: &Config) -> impl FnMut(&str, Range<usize>, &mut [f32]) -> Result<()> + use<> {
    let row_lens: BTreeMap<String, usize> =
        shapes(config).into_iter().map(|(name, shape)| (name, *shape.last().unwrap())).collect();
    move |name, rows, out| {
        let start = rows.start * row_lens[name];
        out.iter_mut().enumerate().for_each(|(i, x)| *x = weight(name, start + i));
        Ok(())
    }
}

/// Our names and shapes, dense layers of width 128 and 64 included.
fn shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
    let mut shapes = names::backbone(config);
    shapes.push((names::DENSE[0].to_owned(), vec![128, config.hidden]));
    shapes.push((names::DENSE[1].to_owned(), vec![64, 128]));
    shapes
}

fn prompts() -> BTreeMap<String, String> {
    [("query".to_owned(), "task: search result | query: ".to_owned())].into()
}

/// Writes the tiny model of `config` with the tokenizer of [`pieces::TOKENIZER`].
fn write_tiny(path: &Path, config: &Config, formats: Formats) -> Result<TokenizerForm> {
    let export = Export {
        name: "tiny",
        config,
        width_between: 128,
        full_width: 64,
        widths: &[64, 32],
        prompts: &prompts(),
        tokenizer_json: pieces::TOKENIZER.as_bytes(),
    };
    write_package(path, &export, formats, &mut rows_of(config))
}

fn tiny_bytes(dtype: Dtype) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    write_tiny(&path, &tiny_config(), Formats::uniform(dtype)).unwrap();
    std::fs::read(path).unwrap()
}

/// The field that an error names.
#[track_caller]
fn field_of<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Package { field, .. }) => field,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}
