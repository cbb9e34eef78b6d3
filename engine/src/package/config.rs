//! The numbers of one model, read from `config.json` and checked.
//!
//! Accepts both spellings in circulation: `rope_theta` and `rope_local_base_freq`, or the nested
//! `rope_parameters` of newer exports; `layer_types`, or a period under `sliding_window_pattern`
//! or `_sliding_window_pattern`. Whatever is not EmbeddingGemma is refused by name: a causal
//! model of the same family gives plausible and useless vectors.

use bincode::{Decode, Encode};
use serde::Deserialize;

use super::{Refusal, refuse};

/// Which keys a layer's tokens may attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LayerKind {
    /// Every token of the sequence.
    Full,
    /// Tokens at most [`Config::window_radius`] away, on either side.
    Sliding,
}

/// The architecture's numbers.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Config {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of a token's state.
    pub hidden: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; a divisor of `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// One entry for each layer, input side first.
    pub layers: Vec<LayerKind>,
    /// Sliding layers see `|i - j| <= window_radius`: half of the file's `sliding_window`.
    pub window_radius: usize,
    /// Base of the rotary frequencies in full layers.
    pub rope_theta_full: f64,
    /// Base of the rotary frequencies in sliding layers.
    pub rope_theta_sliding: f64,
    /// Attention scores are multiplied by `query_pre_attn_scalar ^ -0.5`.
    pub query_pre_attn_scalar: f64,
    /// Added to the mean square under the root of each norm.
    pub rms_norm_eps: f64,
    /// The longest sequence, special tokens included.
    pub max_positions: usize,
    /// The id that opens each sequence.
    pub bos: u32,
    /// The id that closes each sequence.
    pub eos: u32,
}

/// `config.json` as it is written; absent fields take the architecture's defaults.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    use_bidirectional_attention: Option<bool>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    hidden_activation: Option<String>,
    rms_norm_eps: Option<f64>,
    max_position_embeddings: usize,
    query_pre_attn_scalar: Option<f64>,
    attention_bias: Option<bool>,
    attn_logit_softcapping: Option<f64>,
    sliding_window: usize,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    underscored_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<serde_json::Value>,
    rope_parameters: Option<RopeParameters>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
}

#[derive(Deserialize)]
struct RopeParameters {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

/// No published model of this architecture comes near these; a hostile file might.
const LARGEST_SIZE: usize = 1 << 20;
const MOST_LAYERS: usize = 512;

impl Config {
    /// Reads and checks the bytes of a `config.json`.
    pub(super) fn parse(json: &[u8]) -> Result<Config, Refusal> {
        let raw: Raw = serde_json::from_slice(json)
            .map_err(|e| refuse("config.json", e, "the config of a gemma3_text model"))?;
        raw.check_architecture()?;
        raw.check_sizes()?;
        let (rope_theta_full, rope_theta_sliding) = raw.rope_thetas()?;
        Ok(Config {
            vocab_size: raw.vocab_size,
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            n_heads: raw.num_attention_heads,
            n_kv_heads: raw.num_key_value_heads,
            head_dim: raw.head_dim,
            layers: raw.layer_kinds()?,
            window_radius: raw.sliding_window / 2,
            rope_theta_full,
            rope_theta_sliding,
            query_pre_attn_scalar: raw.query_pre_attn_scalar.unwrap_or(256.0),
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            max_positions: raw.max_position_embeddings,
            bos: raw.bos_token_id.unwrap_or(2),
            eos: raw.eos_token_id.unwrap_or(1),
        })
    }
}

impl Raw {
    fn check_architecture(&self) -> Result<(), Refusal> {
        let model_type = self.model_type.as_deref().unwrap_or("absent");
        if model_type != "gemma3_text" {
            return Err(refuse("config.json model_type", model_type, "gemma3_text"));
        }
        if self.use_bidirectional_attention != Some(true) {
            return Err(refuse(
                "config.json use_bidirectional_attention",
                "not true (a causal model)",
                "true",
            ));
        }
        let activation = self.hidden_activation.as_deref().unwrap_or("gelu_pytorch_tanh");
        if activation != "gelu_pytorch_tanh" {
            return Err(refuse("config.json hidden_activation", activation, "gelu_pytorch_tanh"));
        }
        if self.attention_bias == Some(true) {
            return Err(refuse("config.json attention_bias", "true", "false"));
        }
        if let Some(cap) = self.attn_logit_softcapping {
            return Err(refuse("config.json attn_logit_softcapping", cap, "null"));
        }
        match &self.rope_scaling {
            None | Some(serde_json::Value::Null) => Ok(()),
            Some(other) => Err(refuse("config.json rope_scaling", other, "null")),
        }
    }

    fn check_sizes(&self) -> Result<(), Refusal> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window),
        ];
        for (name, size) in sizes {
            if size == 0 || size > LARGEST_SIZE {
                let expected = format!("1 to {LARGEST_SIZE}");
                return Err(refuse(format!("config.json {name}"), size, expected));
            }
        }
        if self.num_hidden_layers == 0 || self.num_hidden_layers > MOST_LAYERS {
            let expected = format!("1 to {MOST_LAYERS}");
            return Err(refuse("config.json num_hidden_layers", self.num_hidden_layers, expected));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(refuse("config.json head_dim", self.head_dim, "an even number"));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let expected = format!("a divisor of num_attention_heads {}", self.num_attention_heads);
            return Err(refuse(
                "config.json num_key_value_heads",
                self.num_key_value_heads,
                expected,
            ));
        }
        Ok(())
    }

    /// `layer_types` where it is written; else every `pattern`-th layer is full.
    fn layer_kinds(&self) -> Result<Vec<LayerKind>, Refusal> {
        let Some(names) = &self.layer_types else {
            let period = self.sliding_window_pattern.or(self.underscored_pattern).unwrap_or(6);
            if period == 0 {
                return Err(refuse("config.json sliding_window_pattern", 0, "at least 1"));
            }
            let kind = |i: usize| {
                if (i + 1).is_multiple_of(period) { LayerKind::Full } else { LayerKind::Sliding }
            };
            return Ok((0..self.num_hidden_layers).map(kind).collect());
        };
        if names.len() != self.num_hidden_layers {
            let expected = format!("{} entries", self.num_hidden_layers);
            return Err(refuse("config.json layer_types", names.len(), expected));
        }
        let kind = |name: &String| match name.as_str() {
            "full_attention" => Ok(LayerKind::Full),
            "sliding_attention" => Ok(LayerKind::Sliding),
            other => {
                Err(refuse("config.json layer_types", other, "full_attention or sliding_attention"))
            }
        };
        names.iter().map(kind).collect()
    }

    /// The rotary bases of full and of sliding layers.
    fn rope_thetas(&self) -> Result<(f64, f64), Refusal> {
        let nested = self.rope_parameters.as_ref();
        let full = nested.and_then(|r| r.full_attention.as_ref());
        let sliding = nested.and_then(|r| r.sliding_attention.as_ref());
        for rope in [full, sliding].into_iter().flatten() {
            let rope_type = rope.rope_type.as_deref().unwrap_or("default");
            if rope_type != "default" {
                return Err(refuse("config.json rope_parameters rope_type", rope_type, "default"));
            }
        }
        let theta = |nested: Option<&Rope>, flat: Option<f64>, default: f64| {
            nested.and_then(|r| r.rope_theta).or(flat).unwrap_or(default)
        };
        Ok((theta(full, self.rope_theta, 1e6), theta(sliding, self.rope_local_base_freq, 1e4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANO: &str = include_str!("config_sample.json");

    fn with(change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> Vec<u8> {
        let mut value: serde_json::Value = serde_json::from_str(NANO).unwrap();
        change(value.as_object_mut().unwrap());
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn the_window_is_half_of_what_the_file_says() {
        let config = Config::parse(NANO.as_bytes()).unwrap();
        assert_eq!(config.window_radius, 128);
        let odd = Config::parse(&with(|c| drop(c.insert("sliding_window".into(), 257.into()))));
        assert_eq!(odd.unwrap().window_radius, 128);
    }

    #[test]
    fn both_spellings_of_rope_and_of_layers_are_read() {
        use LayerKind::{Full, Sliding};
        let json = with(|c| {
            c.remove("rope_theta");
            c.remove("rope_local_base_freq");
            c.remove("layer_types");
            let rope = r#"{"full_attention": {"rope_theta": 5e5, "rope_type": "default"},
                           "sliding_attention": {"rope_theta": 7e3}}"#;
            c.insert("rope_parameters".into(), serde_json::from_str(rope).unwrap());
        });
        let config = Config::parse(&json).unwrap();
        assert_eq!((config.rope_theta_full, config.rope_theta_sliding), (5e5, 7e3));
        assert_eq!(config.layers, [Sliding, Full, Sliding, Full]);
    }

    #[test]
    fn what_is_not_this_architecture_is_refused_by_field() {
        let cases: [(&str, serde_json::Value); 9] = [
            ("use_bidirectional_attention", false.into()),
            ("model_type", "gemma3n_text".into()),
            ("hidden_activation", "gelu".into()),
            ("attention_bias", true.into()),
            ("attn_logit_softcapping", 50.0.into()),
            ("head_dim", 63.into()),
            ("num_key_value_heads", 3.into()),
            ("num_hidden_layers", 3.into()),
            ("hidden_size", 0.into()),
        ];
        for (field, value) in cases {
            let refusal =
                Config::parse(&with(|c| drop(c.insert(field.into(), value)))).unwrap_err();
            let names_it = refusal.field.contains(field)
                || (field == "num_hidden_layers" && refusal.field.contains("layer_types"));
            assert!(names_it, "{field}: {}", refusal.field);
        }
    }
}
