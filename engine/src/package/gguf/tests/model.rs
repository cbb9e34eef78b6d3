//! Metadata to the numbers of a model, in both dialects, and every refusal.

use std::path::Path;

use super::hostile::{Forged, Forgery, of_bool, of_f32, of_list, of_str, of_u32};
use super::*;
use crate::package::gguf::{Dense, Gguf, Model};

const NOWHERE: &str = "/nowhere";

/// The tiny model's metadata and tensors as another program would write them; all weights 0.
fn foreign(prefix: &str, dense: [&str; 2]) -> Forged {
    let config = tiny_config();
    let mut metadata = vec![("general.architecture".to_owned(), of_str(prefix))];
    for (key, size) in [
        ("block_count", 3),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 32),
        ("attention.sliding_window", 512),
        ("context_length", 2048),
        ("pooling_type", 1),
    ] {
        metadata.push((format!("{prefix}.{key}"), of_u32(size)));
    }
    let mut tensors = Vec::new();
    let mut offset = 0;
    for (ours, shape) in shapes(&config) {
        let name = match names::DENSE.iter().position(|dense| *dense == ours) {
            Some(i) => dense[i].to_owned(),
            None => names::to_gguf(&ours).unwrap(),
        };
        let dims: Vec<u64> = shape.iter().rev().map(|dim| *dim as u64).collect();
        let bytes = 4 * dims.iter().product::<u64>();
        tensors.push(Forgery { name, dims, code: 0, offset });
        offset += bytes.next_multiple_of(32);
    }
    Forged { version: 3, metadata, tensors, data: vec![0; offset as usize] }
}

fn llama_cpp() -> Forged {
    foreign("gemma-embedding", ["dense_2.weight", "dense_3.weight"])
}

fn ollama() -> Forged {
    let mut forged = foreign("gemma3", ["dense.0.weight", "dense.1.weight"]);
    forged.set("gemma3.attention.causal", of_bool(false));
    forged.set("gemma3.attention.sliding_window_pattern", of_list(7, 3, &[1, 0, 1]));
    forged
}

impl Forged {
    fn set(&mut self, key: &str, value: Vec<u8>) {
        self.remove(key);
        self.metadata.push((key.to_owned(), value));
    }

    fn remove(&mut self, key: &str) {
        self.metadata.retain(|(known, _)| known != key);
    }

    fn model(&self) -> Result<Model> {
        Model::read(&Gguf::parse("forged.gguf", self.bytes()).unwrap(), Path::new(NOWHERE))
    }
}

#[test]
fn what_is_written_is_read() {
    let gguf = Gguf::parse("tiny", tiny_bytes(Dtype::Q8_0)).unwrap();
    let model = Model::read(&gguf, Path::new(NOWHERE)).unwrap();
    assert_eq!(model.config, tiny_config());
    assert_eq!(model.dense, Dense::Inside { width_between: 128, full_width: 64 });
    assert_eq!((model.prompts, model.widths), (prompts(), vec![64, 32]));
    assert!(model.norms_include_one);
}

#[test]
fn both_dialects_are_read() {
    use LayerKind::{Full, Sliding};
    let model = llama_cpp().model().unwrap();
    // What the file does not say is the architecture's default: one full layer in six.
    let expected = Config { layers: vec![Sliding; 3], ..tiny_config() };
    assert_eq!(model.config, expected);
    assert_eq!(model.stored_name(names::DENSE[0]).as_deref(), Some("dense_2.weight"));

    let model = ollama().model().unwrap();
    assert_eq!(model.config, tiny_config());
    assert_eq!(model.dense, Dense::Inside { width_between: 128, full_width: 64 });
    assert_eq!(model.stored_name(names::DENSE[1]).as_deref(), Some("dense.1.weight"));
    let query = model.stored_name("layers.2.self_attn.q_proj.weight");
    assert_eq!(query.as_deref(), Some("blk.2.attn_q.weight"));

    let mut forged = llama_cpp();
    forged.set("gemma-embedding.attention.sliding_window_pattern", of_u32(2));
    assert_eq!(forged.model().unwrap().config.layers, [Sliding, Full, Sliding]);
    // Some programs write yes and no as numbers.
    let numbers = [1_u32, 1, 0].map(u32::to_le_bytes).concat();
    forged.set("gemma-embedding.attention.sliding_window_pattern", of_list(4, 3, &numbers));
    assert_eq!(forged.model().unwrap().config.layers, [Sliding, Sliding, Full]);
}

#[test]
fn stated_numbers_replace_defaults() {
    let mut forged = ollama();
    forged.set("gemma3.rope.global.freq_base", of_f32(5e5));
    forged.set("gemma3.rope.local.freq_base", of_f32(7e3));
    forged.set("gemma3.attention.layer_norm_rms_epsilon", of_f32(1e-5));
    forged.set("gemma3.attention.sliding_window", of_u32(257));
    forged.set("tokenizer.ggml.bos_token_id", of_u32(5));
    forged.set("tokenizer.ggml.eos_token_id", of_u32(6));
    let config = forged.model().unwrap().config;
    assert_eq!((config.rope_theta_full, config.rope_theta_sliding), (5e5, 7e3));
    // Stored as f32, meant as the f64 of a config.json.
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert_eq!((config.window_radius, config.bos, config.eos), (128, 5, 6));
}

#[test]
fn what_is_not_this_model_is_refused_by_key() {
    let refused = |mut forged: Forged, key: &str, value: Option<Vec<u8>>| {
        match value {
            Some(value) => forged.set(key, value),
            None => forged.remove(key),
        }
        let message = forged.model().map(drop).unwrap_err().to_string();
        assert!(message.contains(key) && message.contains("forged.gguf"), "{key}: {message}");
        message
    };
    let chat = refused(ollama(), "gemma3.attention.causal", None);
    assert!(chat.contains("for chat"), "{chat}");
    refused(ollama(), "gemma3.attention.causal", Some(of_bool(true)));
    refused(llama_cpp(), "gemma-embedding.attention.causal", Some(of_bool(true)));
    refused(ollama(), "gemma3.pooling_type", None);
    refused(ollama(), "gemma3.pooling_type", Some(of_u32(0)));
    refused(llama_cpp(), "gemma-embedding.pooling_type", Some(of_u32(2)));
    for other in ["gemma-embedding2", "llama", "bert"] {
        refused(llama_cpp(), "general.architecture", Some(of_str(other)));
    }
    refused(llama_cpp(), "general.architecture", None);
    refused(llama_cpp(), "general.architecture", Some(of_u32(1)));
    refused(ollama(), "gemma3.attn_logit_softcapping", Some(of_f32(50.0)));
    let mut scaled = ollama();
    scaled.set("gemma3.rope.scaling.factor", of_f32(8.0));
    refused(scaled, "gemma3.rope.scaling.type", Some(of_str("linear")));
    for (key, size) in [
        ("block_count", 0),
        ("block_count", 513),
        ("embedding_length", 1 << 21),
        ("attention.key_length", 33),
        ("attention.head_count_kv", 3),
        ("attention.sliding_window", 0),
        ("context_length", 0),
    ] {
        refused(llama_cpp(), &format!("gemma-embedding.{key}"), Some(of_u32(size)));
    }
    refused(llama_cpp(), "gemma-embedding.feed_forward_length", None);
    refused(llama_cpp(), "gemma-embedding.rope.freq_base", Some(of_f32(f32::INFINITY)));
    let pattern = "gemma3.attention.sliding_window_pattern";
    refused(ollama(), pattern, Some(of_list(7, 2, &[1, 0])));
    refused(ollama(), pattern, Some(of_list(6, 3, &[0; 12])));
    refused(ollama(), pattern, Some(of_u32(0)));
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let n_tensors = llama_cpp().tensors.len();
    for i in 0..n_tensors - 2 {
        let mut forged = llama_cpp();
        let name = forged.tensors.remove(i).name;
        assert_eq!(field_of(forged.model()), name);
    }
    for i in 1..n_tensors {
        let mut forged = llama_cpp();
        let tensor = &mut forged.tensors[i];
        // A row, or a number, less.
        *tensor.dims.last_mut().unwrap() -= 1;
        let name = tensor.name.clone();
        match (name.as_str(), forged.model()) {
            // The last has a width of its own.
            ("dense_3.weight", Ok(model)) => {
                assert_eq!(model.dense, Dense::Inside { width_between: 128, full_width: 63 });
            }
            ("dense_2.weight", result) => assert_eq!(field_of(result), "dense_3.weight"),
            (_, result) => assert_eq!(field_of(result), name),
        }
    }
}

#[test]
fn dense_layers_may_lie_beside_the_file_and_nowhere_is_refused() {
    let mut forged = llama_cpp();
    forged.tensors.truncate(forged.tensors.len() - 2);
    let message = forged.model().map(drop).unwrap_err().to_string();
    for part in ["dense_2.weight and dense_3.weight is nowhere", "would be wrong", "2_Dense"] {
        assert!(message.contains(part), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let gguf = Gguf::parse("forged.gguf", forged.bytes()).unwrap();
    let paths = ["2_Dense", "3_Dense"].map(|part| folder.path().join(part));
    for path in &paths {
        assert_eq!(
            field_of(Model::read(&gguf, folder.path())),
            "dense_2.weight and dense_3.weight"
        );
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("model.safetensors"), "").unwrap();
    }
    let model = Model::read(&gguf, folder.path()).unwrap();
    assert_eq!(model.dense, Dense::Beside(paths.map(|path| path.join("model.safetensors"))));
}
