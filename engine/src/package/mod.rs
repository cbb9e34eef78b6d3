//! A model package: everything that decides what a vector means.
//!
//! A package is a sentence-transformers folder or a GGUF file of EmbeddingGemma's architecture:
//! config, weights, tokenizer, pooling, two dense layers, prompts and the widths it was trained for.
//! `nano` is such a file compiled into this crate. Names, shapes and the numbers of configs are checked
//! here, once, at load; weights when they are read. A refusal names the file and the field.
//!
//! The *fingerprint* covers source weights, the architecture's numbers, tokenizer and prompts, so
//! two packages with the same fingerprint give the same vectors; it does not cover the precision
//! that the weights are run in.

mod config;
pub mod export;
mod files;
pub mod gguf;
mod modules;
mod source;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub use config::{Config, LayerKind};
pub use source::Source;
pub use tokenizer::Tokenizer;
pub use weights::{LayerWeights, Matrix, Weights};

use crate::bytes::Bytes;
use crate::{Error, Result, hub};
use files::Files;
use gguf::Gguf;

/// The name of the model that is compiled in.
pub const NANO: &str = "nano";

/// The file of that model: Q8_0, with its `tokenizer.json` inside.
static NANO_GGUF: &[u8] = include_bytes!("../../assets/nano/nano.gguf");

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

impl Refusal {
    fn of(self, package: &str) -> Error {
        let Refusal { field, found, expected } = self;
        Error::Package { package: package.to_owned(), field, found, expected }
    }
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

/// Where a model lies on the disk: a folder or a GGUF file; nowhere if it is compiled in.
///
/// # Errors
/// [`Error::UnknownModel`]; [`Error::NotPulled`] if it is published but not here.
pub fn find(name: &str) -> Result<Option<PathBuf>> {
    Ok(Location::find(name)?.path().map(Path::to_owned))
}

/// Where a package lies.
pub(crate) enum Location {
    /// Compiled in.
    BuiltIn,
    /// A sentence-transformers folder.
    Folder(PathBuf),
    /// A GGUF file.
    File(PathBuf),
}

impl Location {
    /// Finds a model by its name in the list of models, or by path.
    pub(crate) fn find(name: &str) -> Result<Location> {
        match Path::new(name) {
            _ if name == NANO => Ok(Location::BuiltIn),
            path if path.is_dir() => Ok(Location::Folder(path.to_owned())),
            path if path.is_file() => Ok(Location::File(path.to_owned())),
            _ => Location::pulled(name),
        }
    }

    /// A model that was pulled.
    fn pulled(name: &str) -> Result<Location> {
        let unknown = Error::UnknownModel { name: name.to_owned() };
        match hub::find(name, &hub::Settings::from_env()?) {
            Ok(Some(path)) if path.is_dir() => Ok(Location::Folder(path)),
            Ok(Some(path)) => Ok(Location::File(path)),
            Ok(None) if hub::published().iter().any(|known| known.name == name) => {
                Err(Error::NotPulled { name: name.to_owned() })
            }
            _ => Err(unknown),
        }
    }

    /// Reads and checks the package.
    pub(crate) fn load(&self) -> Result<(Package, Source)> {
        match self {
            Location::BuiltIn => Package::nano(),
            Location::Folder(path) | Location::File(path) => Package::load(path),
        }
    }

    /// The bytes of `tokenizer.json`.
    pub(crate) fn tokenizer_json(&self) -> Result<Vec<u8>> {
        const FILE: &str = "tokenizer.json";
        let bytes = match self {
            Location::Folder(folder) => return Files(folder).read(FILE),
            Location::BuiltIn => Bytes::BuiltIn(NANO_GGUF),
            Location::File(path) => map(path)?,
        };
        let gguf = Gguf::parse(self.name(), bytes)?;
        let json = gguf.tokenizer()?.huggingface_json.map(|json| json.as_bytes().to_vec());
        let expected = "the key tokenizer.huggingface.json: pieces with scores cannot be turned \
                        back into that file";
        json.ok_or_else(|| refuse(FILE, "not inside", expected).of(self.name()))
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        self.path().map_or(NANO, |path| path.to_str().unwrap_or("a path that is not UTF-8"))
    }

    /// Where it lies on the disk, if it does.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Location::BuiltIn => None,
            Location::Folder(path) | Location::File(path) => Some(path),
        }
    }

    /// The files that decide what the package is.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self {
            Location::BuiltIn => Vec::new(),
            Location::Folder(folder) => {
                let modules = modules::folders(&Files(folder)).into_iter();
                let of_modules = modules.flat_map(|module| {
                    files::OF_MODULE.map(|name| folder.join(&module).join(name))
                });
                files::NAMES.iter().map(|name| folder.join(name)).chain(of_modules).collect()
            }
            // The dense layers may lie beside it.
            Location::File(file) => {
                let beside = gguf::names::DENSE
                    .map(|name| file.with_file_name(name).with_file_name("model.safetensors"));
                std::iter::once(file.clone()).chain(beside).collect()
            }
        }
    }
}

impl Package {
    /// The model that is compiled in, and where its weights are: no files, no network.
    ///
    /// # Errors
    /// Only if this build is broken.
    pub fn nano() -> Result<(Package, Source)> {
        Package::from_gguf(NANO.to_owned(), Bytes::BuiltIn(NANO_GGUF), Path::new(""))
    }

    /// Loads a sentence-transformers folder or a GGUF file: the package, and where its weights are.
    ///
    /// # Errors
    /// [`Error::Package`] names the field that this engine must refuse; [`Error::Io`] the file
    /// that could not be read.
    pub fn load(path: &Path) -> Result<(Package, Source)> {
        let name = path.display().to_string();
        if path.is_dir() {
            return Package::from_files(name, &Files(path));
        }
        Package::from_gguf(name, map(path)?, path.parent().unwrap_or(Path::new("")))
    }

    fn from_gguf(name: String, bytes: Bytes, folder: &Path) -> Result<(Package, Source)> {
        let gguf = Gguf::parse(name.clone(), bytes)?;
        let model = gguf::Model::read(&gguf, folder)?;
        let config = model.config.clone();
        let prompts = Some(model.prompts.clone()).filter(|prompts| !prompts.is_empty());
        let prompts = prompts.unwrap_or_else(crate::prompt::embeddinggemma);
        let widths = Some(model.widths.clone()).filter(|widths| !widths.is_empty());
        let gguf = Arc::new(gguf);
        let (tokenizer, opened) = rayon::join(
            || Tokenizer::from_gguf(&gguf, &config),
            || Source::open_gguf(&name, gguf.clone(), model),
        );
        let (tokenizer, (source, tensors)) = (tokenizer?, opened?);
        let refused = |refusal: Refusal| refusal.of(&name);
        let widths = widths_of(&config, source.width(), widths, "gemmule.matryoshka_dims")
            .map_err(refused)?;
        let window = config.max_positions;
        // The tokenizer is inside the file that was hashed.
        let fingerprint = fingerprint(&config, tensors, &[], &prompts);
        let package = Package { name, config, prompts, widths, window, fingerprint, tokenizer };
        Ok((package, source))
    }

    /// Finds a model by its name in the list of models, or by path.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] if it is neither; else as [`Package::load`].
    pub fn open(name: &str) -> Result<(Package, Source)> {
        Location::find(name)?.load()
    }

    /// Puts another tokenizer in the place of its own, and fits the table's rows to it.
    ///
    /// # Errors
    /// [`Error::Package`] if it is none for this model.
    pub(crate) fn set_tokenizer(&mut self, json: &[u8]) -> Result<()> {
        let refused = |refusal: Refusal| refusal.of(&self.name);
        self.config.vocab_size = tokenizer::n_tokens(json).map_err(refused)?;
        self.tokenizer = Tokenizer::from_json(json, &self.config).map_err(refused)?;
        Ok(())
    }

    fn from_files(name: String, files: &Files) -> Result<(Package, Source)> {
        let refused = |refusal: Refusal| refusal.of(&name);
        let config = Config::parse(&files.read("config.json")?).map_err(refused)?;
        let heads = modules::read(files)?.map_err(refused)?;
        let (source, tensors) = Source::open_folder(&name, files, &config, &heads)?;
        let tokenizer_json = files.read("tokenizer.json")?;
        let tokenizer = Tokenizer::from_json(&tokenizer_json, &config).map_err(refused)?;
        let (prompts, widths) =
            read_prompts_and_widths(files, &config, source.width()).map_err(refused)?;
        let window = read_window(files, &config).map_err(refused)?;
        let fingerprint = fingerprint(&config, tensors, &tokenizer_json, &prompts);
        let package = Package { name, config, prompts, widths, window, fingerprint, tokenizer };
        Ok((package, source))
    }
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
    let field = format!("{FILE} matryoshka_dims");
    let widths = widths_of(config, full_width, raw.matryoshka_dims, &field)?;
    Ok((prompts, widths))
}

fn map(path: &Path) -> Result<Bytes> {
    let doing = "read the model";
    Bytes::map(path).map_err(|source| Error::Io { doing, path: path.to_owned(), source })
}

/// Widest first, the full width included; those of the known model if none are told.
fn widths_of(
    config: &Config,
    full_width: usize,
    told: Option<Vec<usize>>,
    field: &str,
) -> Result<Vec<usize>, Refusal> {
    let is_300m = config.hidden == 768 && config.layers.len() == 24 && full_width == 768;
    let mut widths = match told {
        Some(widths) => widths,
        None if is_300m => vec![768, 512, 256, 128],
        None => Vec::new(),
    };
    widths.push(full_width);
    widths.sort_unstable_by(|a, b| b.cmp(a));
    widths.dedup();
    if widths[0] > full_width || widths.contains(&0) {
        let expected = format!("widths of 1 to {full_width}");
        return Err(refuse(field, format!("{widths:?}"), expected));
    }
    Ok(widths)
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
pub(crate) mod tests;
