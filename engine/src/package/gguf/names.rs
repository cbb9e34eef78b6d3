//! The names of this model's tensors: in sentence-transformers folders, and in GGUF files.
//!
//! The two dense layers live in files of their own there, so they are named by file and tensor:
//! `2_Dense/linear.weight`. Ollama's dialect differs in those two names only.

use super::Config;

/// Tensors outside the layers: ours, GGUF's.
const OUTER: [(&str, &str); 4] = [
    ("embed_tokens.weight", "token_embd.weight"),
    ("norm.weight", "output_norm.weight"),
    (DENSE[0], "dense_2.weight"),
    (DENSE[1], "dense_3.weight"),
];

/// The dense layers in the order in which they are applied.
pub const DENSE: [&str; 2] = ["2_Dense/linear.weight", "3_Dense/linear.weight"];

/// What Ollama calls the dense layers.
pub(super) const OLLAMA_DENSE: [&str; 2] = ["dense.0.weight", "dense.1.weight"];

/// Tensors of layer `i`, between `layers.{i}.` or `blk.{i}.` and `.weight`.
const OF_A_LAYER: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// `layers.3.self_attn.q_proj.weight` to `blk.3.attn_q.weight`; `None` for a name that is not this
/// model's.
pub fn to_gguf(name: &str) -> Option<String> {
    if let Some((_, gguf)) = OUTER.iter().find(|(ours, _)| *ours == name) {
        return Some((*gguf).to_owned());
    }
    let (layer_idx, part) = split_layer(name, "layers.")?;
    let (_, gguf) = OF_A_LAYER.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("blk.{layer_idx}.{gguf}.weight"))
}

/// `blk.3.attn_q.weight` to `layers.3.self_attn.q_proj.weight`, in either dialect; `None` for a
/// name that is not this model's.
pub fn from_gguf(name: &str) -> Option<String> {
    if let Some(i) = OLLAMA_DENSE.iter().position(|dense| *dense == name) {
        return Some(DENSE[i].to_owned());
    }
    if let Some((ours, _)) = OUTER.iter().find(|(_, gguf)| *gguf == name) {
        return Some((*ours).to_owned());
    }
    let (layer_idx, part) = split_layer(name, "blk.")?;
    let (ours, _) = OF_A_LAYER.iter().find(|(_, gguf)| *gguf == part)?;
    Some(format!("layers.{layer_idx}.{ours}.weight"))
}

fn split_layer<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (layer_idx, part) = name.strip_prefix(prefix)?.strip_suffix(".weight")?.split_once('.')?;
    // `+3` and `03` parse as numbers, and are not names.
    let parsed: usize = layer_idx.parse().ok()?;
    (parsed.to_string() == layer_idx).then_some((parsed, part))
}

/// Every tensor of the model but the dense layers, in the order of the passes, with its shape
/// (row-major, outermost first).
pub(crate) fn backbone(config: &Config) -> Vec<(String, Vec<usize>)> {
    let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
    let shape_of = |part: &str| match part {
        "self_attn.q_proj" => vec![n_heads * head_dim, hidden],
        "self_attn.k_proj" | "self_attn.v_proj" => vec![n_kv_heads * head_dim, hidden],
        "self_attn.o_proj" => vec![hidden, n_heads * head_dim],
        "self_attn.q_norm" | "self_attn.k_norm" => vec![head_dim],
        "mlp.gate_proj" | "mlp.up_proj" => vec![intermediate, hidden],
        "mlp.down_proj" => vec![hidden, intermediate],
        _ => vec![hidden],
    };
    let mut tensors = vec![("embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden])];
    for i in 0..config.layers.len() {
        let of_layer =
            |(part, _): &(&str, _)| (format!("layers.{i}.{part}.weight"), shape_of(part));
        tensors.extend(OF_A_LAYER.iter().map(of_layer));
    }
    tensors.push(("norm.weight".to_owned(), vec![hidden]));
    tensors
}

/// True for the weights of a norm.
pub(crate) fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}
