//! A model package: everything that decides what a vector means.
//!
//! A package is a sentence-transformers folder of EmbeddingGemma's architecture: config, weights,
//! tokenizer, pooling, two dense layers, prompts and the widths it was trained for. `nano` is such
//! a folder compiled into this crate. All checks happen here, once, at load: a package that loads
//! can be run. A refusal names the file and the field.
//!
//! The *fingerprint* covers source weights, the architecture's numbers, tokenizer and prompts, so
//! two packages with the same fingerprint give the same vectors; it does not cover the precision
//! that the weights are run in.

mod config;
mod files;
mod modules;
mod weights;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

pub use config::{Config, LayerKind};
pub use weights::{LayerWeights, Matrix, Weights};

use crate::{Error, Result};
use files::Files;

/// The name of the model that is compiled in.
pub const NANO: &str = "nano";

/// A loaded and checked model package, without its weights: a pass may keep those in another form.
pub struct Package {
    /// `nano`, or the path it was loaded from.
    pub name: String,
    /// The architecture's numbers.
    pub config: Config,
    /// Prompt prefixes by name, such as `query` and `document`.
    pub prompts: BTreeMap<String, String>,
    /// The widths that vectors may be cut to, widest first; the first is the full width.
    pub widths: Vec<usize>,
    /// The longest sequence in tokens, prompt and special tokens included.
    pub window: usize,
    /// Hex digits that are equal for packages that give equal vectors.
    pub fingerprint: String,
    /// Text to token ids, without truncation or padding.
    pub(crate) tokenizer: Tokenizer,
}

/// Why a package cannot be used; the package's name is added at the boundary.
#[derive(Debug)]
struct Refusal {
    field: String,
    found: String,
    expected: String,
}

fn refuse(
    field: impl Into<String>,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Refusal {
    Refusal { field: field.into(), found: found.to_string(), expected: expected.to_string() }
}

#[derive(Deserialize, Default)]
struct SentenceTransformersConfig {
    prompts: Option<BTreeMap<String, String>>,
    matryoshka_dims: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct SentenceBertConfig {
    max_seq_length: Option<usize>,
}

impl Package {
    /// The model that is compiled in, and its weights: no files, no network.
    ///
    /// # Errors
    /// Only if this build is broken.
    pub fn nano() -> Result<(Package, Weights)> {
        Package::from_files(NANO.to_owned(), &Files::nano())
    }

    /// Loads a sentence-transformers folder: the package, and its weights in f32.
    ///
    /// # Errors
    /// [`Error::Package`] names the field that this engine must refuse; [`Error::Io`] the file
    /// that could not be read.
    pub fn load(folder: &Path) -> Result<(Package, Weights)> {
        Package::from_files(folder.display().to_string(), &Files::folder(folder))
    }

    /// Finds a model by its name in the list of models, or by path.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] if it is neither; else as [`Package::load`].
    pub fn open(name: &str) -> Result<(Package, Weights)> {
        if name == NANO {
            return Package::nano();
        }
        match Path::new(name) {
            path if path.is_dir() => Package::load(path),
            _ => Err(Error::UnknownModel { name: name.to_owned() }),
        }
    }

    fn from_files(name: String, files: &Files) -> Result<(Package, Weights)> {
        let refused = |refusal: Refusal| Error::Package {
            package: name.clone(),
            field: refusal.field,
            found: refusal.found,
            expected: refusal.expected,
        };
        let config = Config::parse(&files.read("config.json")?).map_err(refused)?;
        let heads = modules::read(files)?.map_err(refused)?;
        let (weights, tensors) = Weights::read(files, &config, &heads)?.map_err(refused)?;
        let tokenizer_json = files.read("tokenizer.json")?;
        let tokenizer = read_tokenizer(&tokenizer_json, &config).map_err(refused)?;
        let (prompts, widths) =
            read_prompts_and_widths(files, &config, weights.width()).map_err(refused)?;
        let window = read_window(files, &config).map_err(refused)?;
        let fingerprint = fingerprint(&config, tensors, &tokenizer_json, &prompts);
        let package = Package { name, config, prompts, widths, window, fingerprint, tokenizer };
        Ok((package, weights))
    }
}

/// Loads `tokenizer.json`; checks that it frames a text with this model's `<bos>` and `<eos>`.
fn read_tokenizer(json: &[u8], config: &Config) -> Result<Tokenizer, Refusal> {
    const EXPECTED: &str = "a tokenizer that opens with <bos> and closes with <eos>";
    let refused = |found: tokenizers::Error| refuse("tokenizer.json", found, EXPECTED);
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(refused)?;
    tokenizer.with_truncation(None).map_err(refused)?;
    tokenizer.with_padding(None);
    let empty = tokenizer.encode_fast("", true).map_err(refused)?;
    if empty.get_ids() != [config.bos, config.eos] {
        return Err(refuse("tokenizer.json post_processor", list(empty.get_ids()), EXPECTED));
    }
    // Added tokens may lie outside the table (Gemma has one, for images): a text that uses one
    // fails by name. A piece of the vocabulary itself outside means that the files do not match.
    let largest = tokenizer.get_vocab(false).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocab_size {
        let expected = format!("ids below vocab_size {}", config.vocab_size);
        return Err(refuse("tokenizer.json vocabulary", format!("id {largest}"), expected));
    }
    Ok(tokenizer)
}

fn list(ids: &[u32]) -> String {
    format!("a tokenizer that turns an empty text into {ids:?}")
}

fn read_prompts_and_widths(
    files: &Files,
    config: &Config,
    full_width: usize,
) -> Result<(BTreeMap<String, String>, Vec<usize>), Refusal> {
    const FILE: &str = "config_sentence_transformers.json";
    let raw: SentenceTransformersConfig = match files.read(FILE) {
        Err(_) => SentenceTransformersConfig::default(),
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|e| refuse(FILE, e, "prompts by name and matryoshka_dims"))?,
    };
    let prompts = match raw.prompts {
        Some(prompts) if !prompts.is_empty() => prompts,
        _ => crate::prompt::embeddinggemma(),
    };
    let is_300m = config.hidden == 768 && config.layers.len() == 24 && full_width == 768;
    let mut widths = match raw.matryoshka_dims {
        Some(widths) => widths,
        None if is_300m => vec![768, 512, 256, 128],
        None => Vec::new(),
    };
    widths.push(full_width);
    widths.sort_unstable_by(|a, b| b.cmp(a));
    widths.dedup();
    if widths[0] > full_width || widths.contains(&0) {
        let expected = format!("widths of 1 to {full_width}");
        return Err(refuse(format!("{FILE} matryoshka_dims"), format!("{widths:?}"), expected));
    }
    Ok((prompts, widths))
}

fn read_window(files: &Files, config: &Config) -> Result<usize, Refusal> {
    const FILE: &str = "sentence_bert_config.json";
    let limit = match files.read(FILE) {
        Err(_) => None,
        Ok(json) => {
            let raw: SentenceBertConfig = serde_json::from_slice(&json)
                .map_err(|e| refuse(FILE, e, "an object with max_seq_length"))?;
            raw.max_seq_length
        }
    };
    let window = limit.unwrap_or(config.max_positions).min(config.max_positions);
    if window < 3 {
        let expected = "room for a token between <bos> and <eos>";
        return Err(refuse(format!("{FILE} max_seq_length"), window, expected));
    }
    Ok(window)
}

fn fingerprint(
    config: &Config,
    tensors: blake3::Hash,
    tokenizer_json: &[u8],
    prompts: &BTreeMap<String, String>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let kinds: String =
        config.layers.iter().map(|k| if *k == LayerKind::Full { 'F' } else { 'S' }).collect();
    let numbers = format!(
        "gemmule package 1|{}|{}|{}|{}|{}|{}|{kinds}|{}|{:e}|{:e}|{:e}|{:e}|{}|{}|",
        config.vocab_size,
        config.hidden,
        config.intermediate,
        config.n_heads,
        config.n_kv_heads,
        config.head_dim,
        config.window_radius,
        config.rope_theta_full,
        config.rope_theta_sliding,
        config.query_pre_attn_scalar,
        config.rms_norm_eps,
        config.bos,
        config.eos,
    );
    hasher.update(numbers.as_bytes());
    hasher.update(tensors.as_bytes());
    hasher.update(blake3::hash(tokenizer_json).as_bytes());
    for (name, prompt) in prompts {
        hasher.update(format!("{name:?}={prompt:?}|").as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests;
