//! Metadata and tensors of a GGUF file to the numbers of one model.
//!
//! Two dialects are in circulation. llama.cpp's is an architecture of its own, `gemma-embedding`,
//! in which full attention to both sides, mean pooling and one full layer in six go without saying.
//! Ollama's is `gemma3`, the architecture of a chat model, with `attention.causal = false` and the
//! rest spelled out. Whatever is not EmbeddingGemma is refused by name: it would give plausible
//! and useless vectors.
//!
//! Norm weights are stored as `1 + w` in both. Subtracting the one again would lose the low bits
//! of a small `w`, so they are handed on as they are and [`Model::norms_include_one`] says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::value::Value;
use super::{Config, Gguf, LayerKind, Refusal, names, refuse};
use crate::Result;

/// Keys of this project's own, which other programs ignore: a prompt by name, and the widths.
pub(super) const PROMPT_PREFIX: &str = "gemmule.prompt.";
pub(super) const WIDTHS_KEY: &str = "gemmule.matryoshka_dims";

/// Every sixth layer is full, unless the file says otherwise.
pub(super) const DEFAULT_PERIOD: usize = 6;
pub(super) const MEAN_POOLING: u64 = 1;

/// No published model of this architecture comes near these; a hostile file might.
const LARGEST_SIZE: u64 = 1 << 20;
const MOST_LAYERS: u64 = 512;

/// What a GGUF file says about its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The architecture's numbers.
    pub config: Config,
    /// Where the two dense layers are.
    pub dense: Dense,
    /// Whether norm weights are stored as `1 + w`, to be applied as they are. Always true in GGUF;
    /// in safetensors they are stored as `w`.
    pub norms_include_one: bool,
    /// Prompt prefixes by name; empty in files of other programs.
    pub prompts: BTreeMap<String, String>,
    /// Widths that vectors may be cut to; empty in files of other programs.
    pub widths: Vec<usize>,
    dialect: Dialect,
}

/// Where the two dense layers are.
#[derive(Clone, Debug, PartialEq)]
pub enum Dense {
    /// In the file itself.
    Inside {
        /// Outputs of the first, inputs of the second.
        width_between: usize,
        /// Outputs of the second.
        full_width: usize,
    },
    /// In two safetensors files beside it, each with one tensor `linear.weight`.
    Beside([PathBuf; 2]),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    LlamaCpp,
    Ollama,
}

impl Model {
    /// Reads and checks what the file says; looks for missing dense layers in `folder`, the one
    /// that the file lies in.
    ///
    /// # Errors
    /// [`crate::Error::Package`] names the key or the tensor that this engine must refuse.
    pub fn read<B: AsRef<[u8]>>(gguf: &Gguf<B>, folder: &Path) -> Result<Model> {
        let keys = Keys::of(gguf)?;
        keys.check_architecture()?;
        let config = keys.config()?;
        for (name, shape) in names::backbone(&config) {
            let stored = names::to_gguf(&name).unwrap_or(name);
            check_shape(gguf, &stored, &shape)?;
        }
        let dialect = keys.dialect;
        let dense = dense(gguf, dialect, config.hidden, folder)?;
        let widths = keys.widths()?;
        let prompts = prompts(gguf)?;
        Ok(Model { config, dense, norms_include_one: true, prompts, widths, dialect })
    }

    /// What the file calls one of our tensors, such as `layers.3.self_attn.q_proj.weight`.
    pub fn stored_name(&self, name: &str) -> Option<String> {
        let dense = names::DENSE.iter().position(|dense| *dense == name);
        match (self.dialect, dense) {
            (Dialect::Ollama, Some(i)) => Some(names::OLLAMA_DENSE[i].to_owned()),
            _ => names::to_gguf(name),
        }
    }
}

/// The metadata under the architecture's prefix.
struct Keys<'a, B> {
    gguf: &'a Gguf<B>,
    prefix: &'static str,
    dialect: Dialect,
}

impl<'a, B: AsRef<[u8]>> Keys<'a, B> {
    fn of(gguf: &'a Gguf<B>) -> Result<Self> {
        const KEY: &str = "general.architecture";
        match gguf.typed(KEY, "a text", Value::as_str)? {
            Some("gemma-embedding") => {
                Ok(Keys { gguf, prefix: "gemma-embedding", dialect: Dialect::LlamaCpp })
            }
            Some("gemma3") => Ok(Keys { gguf, prefix: "gemma3", dialect: Dialect::Ollama }),
            other => {
                let found = other.unwrap_or("absent");
                Err(gguf.refused(refuse(KEY, found, "gemma-embedding, or gemma3 of Ollama's")))
            }
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn refuse<T>(&self, key: &str, found: impl std::fmt::Display, expected: &str) -> Result<T> {
        Err(self.gguf.refused(refuse(self.key(key), found, expected)))
    }

    fn check_architecture(&self) -> Result<()> {
        let causal = self.typed("attention.causal", "yes or no", Value::as_bool)?;
        // llama.cpp's architecture is not causal by definition, Ollama's is unless it says so.
        if causal.unwrap_or(self.dialect == Dialect::Ollama) {
            let found = "not false (a causal model, for chat)";
            return self.refuse("attention.causal", found, "false, as in EmbeddingGemma");
        }
        match self.typed("pooling_type", "a number", Value::as_u64)? {
            Some(MEAN_POOLING) => {}
            None if self.dialect == Dialect::LlamaCpp => {}
            Some(other) => return self.refuse("pooling_type", other, "1 (mean)"),
            None => return self.refuse("pooling_type", "absent", "1 (mean)"),
        }
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let cap = self.typed(key, "a number", Value::as_f64)?.unwrap_or(0.0);
            if cap != 0.0 {
                return self.refuse(key, cap, "0 or absent");
            }
        }
        let scaling = self.typed("rope.scaling.type", "a text", Value::as_str)?.unwrap_or("none");
        let factor = self.typed("rope.scaling.factor", "a number", Value::as_f64)?.unwrap_or(1.0);
        if scaling != "none" && factor != 1.0 {
            return self.refuse("rope.scaling.type", scaling, "none or absent");
        }
        Ok(())
    }

    fn config(&self) -> Result<Config> {
        let n_layers = self.size("block_count", MOST_LAYERS)?;
        let hidden = self.size("embedding_length", LARGEST_SIZE)?;
        let n_heads = self.size("attention.head_count", LARGEST_SIZE)?;
        let n_kv_heads = self.size("attention.head_count_kv", LARGEST_SIZE)?;
        let head_dim = self.size("attention.key_length", LARGEST_SIZE)?;
        if !head_dim.is_multiple_of(2) {
            return self.refuse("attention.key_length", head_dim, "an even number");
        }
        if !n_heads.is_multiple_of(n_kv_heads) {
            let expected = format!("a divisor of attention.head_count {n_heads}");
            return self.refuse("attention.head_count_kv", n_kv_heads, &expected);
        }
        let full = self.first(&["rope.freq_base", "rope.global.freq_base"])?.unwrap_or(1e6);
        let sliding = self.first(&["rope.freq_base_swa", "rope.local.freq_base"])?.unwrap_or(1e4);
        let eps = self.first(&["attention.layer_norm_rms_epsilon"])?.unwrap_or(1e-6);
        Ok(Config {
            vocab_size: self.vocab_size()?,
            hidden,
            intermediate: self.size("feed_forward_length", LARGEST_SIZE)?,
            n_heads,
            n_kv_heads,
            head_dim,
            layers: self.layer_kinds(n_layers)?,
            window_radius: self.size("attention.sliding_window", LARGEST_SIZE)? / 2,
            rope_theta_full: full,
            rope_theta_sliding: sliding,
            // The format has no field for it: the scores' scale is the head's by definition.
            query_pre_attn_scalar: head_dim as f64,
            rms_norm_eps: eps,
            max_positions: self.size("context_length", LARGEST_SIZE)?,
            bos: self.id("tokenizer.ggml.bos_token_id", 2)?,
            eos: self.id("tokenizer.ggml.eos_token_id", 1)?,
        })
    }

    fn vocab_size(&self) -> Result<usize> {
        const TABLE: &str = "token_embd.weight";
        match self.gguf.tensor(TABLE) {
            Some(tensor) => Ok(tensor.n_rows()),
            None => Err(self.gguf.refused(refuse(TABLE, "missing", "the embedding table"))),
        }
    }

    /// A list of which layers slide, or how often one does not.
    fn layer_kinds(&self, n_layers: usize) -> Result<Vec<LayerKind>> {
        const KEY: &str = "attention.sliding_window_pattern";
        let kind = |slides| if slides { LayerKind::Sliding } else { LayerKind::Full };
        let period = match self.gguf.value(&self.key(KEY)) {
            None => DEFAULT_PERIOD,
            Some(Value::Array(list)) => {
                if list.len() != n_layers {
                    let expected = format!("{n_layers} entries, one for each layer");
                    return self.refuse(KEY, Value::Array(list), &expected);
                }
                let slides = |value: Value<'_>| {
                    value.as_bool().or_else(|| value.as_u64().map(|slides| slides != 0))
                };
                let kinds = list.iter().map(|value| slides(value).map(kind));
                return match kinds.collect::<Option<Vec<_>>>() {
                    Some(kinds) => Ok(kinds),
                    None => self.refuse(KEY, Value::Array(list), "a list of yes and no"),
                };
            }
            Some(_) => self.size(KEY, LARGEST_SIZE)?,
        };
        Ok((1..=n_layers).map(|i| kind(!i.is_multiple_of(period))).collect())
    }

    fn widths(&self) -> Result<Vec<usize>> {
        let expected = "a list of numbers";
        let Some(list) = self.gguf.typed(WIDTHS_KEY, expected, Value::as_array)? else {
            return Ok(Vec::new());
        };
        let width = |value: Value<'_>| value.as_u64().and_then(|width| width.try_into().ok());
        match list.iter().map(width).collect() {
            Some(widths) => Ok(widths),
            None => Err(self.gguf.refused(refuse(WIDTHS_KEY, Value::Array(list), expected))),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.gguf.typed(&self.key(key), expected, read)
    }

    /// A size that the file must state.
    fn size(&self, key: &str, largest: u64) -> Result<usize> {
        let expected = format!("a number of 1 to {largest}");
        let in_range =
            |value: Value<'_>| value.as_u64().filter(|size| (1..=largest).contains(size));
        match self.typed(key, &expected, in_range)? {
            Some(size) => Ok(size as usize),
            None => self.refuse(key, "absent", &expected),
        }
    }

    /// The first of several spellings that the file has: a positive number.
    fn first(&self, spellings: &[&str]) -> Result<Option<f64>> {
        let positive = |value: Value<'_>| value.as_f64().filter(|x| *x > 0.0 && x.is_finite());
        for key in spellings {
            if let Some(number) = self.typed(key, "a positive number", positive)? {
                return Ok(Some(widened(number)));
            }
        }
        Ok(None)
    }

    fn id(&self, key: &str, default: u32) -> Result<u32> {
        let id = |value: Value<'_>| value.as_u64().and_then(|id| u32::try_from(id).ok());
        Ok(self.gguf.typed(key, "a token's id", id)?.unwrap_or(default))
    }
}

/// The f64 that was meant by a number stored as f32: 1e-6, where the f32 is 9.99999997e-7.
///
/// The numbers of a `config.json` are read as f64, and both must give the same model.
fn widened(x: f64) -> f64 {
    let single = x as f32;
    if f64::from(single) == x { single.to_string().parse().unwrap_or(x) } else { x }
}

fn prompts<B: AsRef<[u8]>>(gguf: &Gguf<B>) -> Result<BTreeMap<String, String>> {
    let mut prompts = BTreeMap::new();
    for key in gguf.keys() {
        if let Some(name) = key.strip_prefix(PROMPT_PREFIX)
            && let Some(prompt) = gguf.typed(key, "a text", Value::as_str)?
        {
            prompts.insert(name.to_owned(), prompt.to_owned());
        }
    }
    Ok(prompts)
}

fn check_shape<B: AsRef<[u8]>>(gguf: &Gguf<B>, name: &str, shape: &[usize]) -> Result<()> {
    let refusal: Refusal = match gguf.tensor(name) {
        Some(tensor) if tensor.shape == shape => return Ok(()),
        Some(tensor) => {
            refuse(name, format!("of shape {:?}", tensor.shape), format!("shape {shape:?}"))
        }
        None => refuse(name, "missing", format!("a tensor of shape {shape:?}")),
    };
    Err(gguf.refused(refusal))
}

/// Finds the dense layers in the file, or beside it in the folders of the original model.
fn dense<B: AsRef<[u8]>>(
    gguf: &Gguf<B>,
    dialect: Dialect,
    hidden: usize,
    folder: &Path,
) -> Result<Dense> {
    let names = match dialect {
        Dialect::LlamaCpp => ["dense_2.weight", "dense_3.weight"],
        Dialect::Ollama => names::OLLAMA_DENSE,
    };
    if let [Some(first), Some(second)] = names.map(|name| gguf.tensor(name)) {
        let width_between = first.n_rows();
        let full_width = second.n_rows();
        check_shape(gguf, names[0], &[width_between, hidden])?;
        check_shape(gguf, names[1], &[full_width, width_between])?;
        return Ok(Dense::Inside { width_between, full_width });
    }
    let beside = names::DENSE.map(|name| {
        let layer = name.trim_end_matches("/linear.weight");
        folder.join(layer).join("model.safetensors")
    });
    if beside.iter().all(|path| path.is_file()) {
        return Ok(Dense::Beside(beside));
    }
    let expected = "the model's two dense layers: without them its vectors would be wrong. \
                    Put the folders 2_Dense and 3_Dense of the sentence-transformers repository \
                    beside the file, or take a file that was converted with its dense modules";
    Err(gguf.refused(refuse(names.join(" and "), "nowhere", expected)))
}
