//! A model written and read again; what cannot be written leaves nothing behind.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::*;
use crate::package::gguf::package::io_error;
use crate::package::gguf::quantise::quantise;
use crate::package::gguf::writer::{Metadata, Plan, TensorWriter, head};
use crate::package::gguf::{Gguf, Tensor, Value};

/// The numbers that should be in the file, before they are rounded.
fn expected(name: &str, shape: &[usize]) -> Vec<f32> {
    let one = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
    (0..shape.iter().product()).map(|i| weight(name, i) + one).collect()
}

#[test]
fn every_tensor_holds_the_blocks_of_its_numbers() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q6K] {
        let gguf = Gguf::parse("tiny", tiny_bytes(dtype)).unwrap();
        let shapes = shapes(&tiny_config());
        assert_eq!(gguf.tensors().count(), shapes.len());
        for (ours, shape) in shapes {
            let name = names::to_gguf(&ours).unwrap();
            let tensor: &Tensor = gguf.tensor(&name).unwrap();
            assert_eq!(tensor.shape, shape, "{name}");
            let row_len = *shape.last().unwrap();
            let stored_as = if shape.len() == 1 { Dtype::F32 } else { dtype.that_fits(row_len) };
            assert_eq!(tensor.dtype, stored_as, "{name}");
            let mut blocks = Vec::new();
            quantise(stored_as, &expected(&ours, &shape), &mut blocks);
            let (_, stored) = gguf.stored_rows(&name, 0..tensor.n_rows()).unwrap();
            assert_eq!(stored, blocks, "{name} as {}", dtype.name());
        }
    }
}

#[test]
fn the_file_is_laid_out_as_llama_cpp_demands() {
    let bytes = tiny_bytes(Dtype::Q4_0);
    let gguf = Gguf::parse("tiny", &*bytes).unwrap();
    let keys = [
        ("general.architecture", Value::Str("gemma-embedding")),
        ("gemma-embedding.pooling_type", Value::Unsigned(1)),
        ("gemma-embedding.attention.sliding_window", Value::Unsigned(512)),
        ("gemma-embedding.dense_2_feat_in", Value::Unsigned(64)),
        ("gemma-embedding.dense_2_feat_out", Value::Unsigned(128)),
        ("gemma-embedding.dense_3_feat_in", Value::Unsigned(128)),
        ("gemma-embedding.dense_3_feat_out", Value::Unsigned(64)),
        ("tokenizer.ggml.model", Value::Str("llama")),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
        ("tokenizer.ggml.bos_token_id", Value::Unsigned(2)),
        ("tokenizer.ggml.eos_token_id", Value::Unsigned(1)),
    ];
    for (key, value) in keys {
        assert_eq!(gguf.value(key), Some(value), "{key}");
    }
    // Tensors follow each other without gaps but the padding, up to the end of the file.
    let mut ranges: Vec<(usize, usize)> = gguf
        .tensors()
        .map(|(name, tensor)| {
            let (_, stored) = gguf.stored_rows(name, 0..tensor.n_rows()).unwrap();
            let start = stored.as_ptr() as usize - bytes.as_ptr() as usize;
            (start, start + stored.len())
        })
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].1.next_multiple_of(32), pair[1].0);
    }
    assert_eq!(ranges.last().unwrap().1.next_multiple_of(32), bytes.len());
}

#[test]
fn the_default_pattern_of_layers_is_left_out() {
    use LayerKind::{Full, Sliding};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("six.gguf");
    let layers = vec![Sliding, Sliding, Sliding, Sliding, Sliding, Full];
    let config = Config { layers, ..tiny_config() };
    write_tiny(&path, &config, Formats::uniform(Dtype::F16)).unwrap();
    let gguf = Gguf::parse("six", fs::read(&path).unwrap()).unwrap();
    assert_eq!(gguf.value("gemma-embedding.attention.sliding_window_pattern"), None);
    let model = crate::package::gguf::Model::read(&gguf, folder.path()).unwrap();
    assert_eq!(model.config, config);
}

#[test]
fn each_part_takes_its_own_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.gguf");
    let formats = Formats { embedding: Dtype::Q8_0, layers: Dtype::Q4_0, dense: Dtype::F16 };
    write_tiny(&path, &tiny_config(), formats).unwrap();
    let gguf = Gguf::parse("mixed", fs::read(&path).unwrap()).unwrap();
    let dtype = |name: &str| gguf.tensor(name).unwrap().dtype;
    assert_eq!(dtype("token_embd.weight"), Dtype::Q8_0);
    assert_eq!(dtype("blk.1.ffn_down.weight"), Dtype::Q4_0);
    assert_eq!(dtype("dense_3.weight"), Dtype::F16);
    assert_eq!(dtype("blk.1.attn_q_norm.weight"), Dtype::F32);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused.gguf");
    let config = Config { query_pre_attn_scalar: 64.0, ..tiny_config() };
    let refused = write_tiny(&path, &config, Formats::uniform(Dtype::F32));
    assert_eq!(field_of(refused), "query_pre_attn_scalar");
    let refused = write_tiny(&path, &tiny_config(), Formats::uniform(Dtype::Q4K));
    assert_eq!(field_of(refused), "formats");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Writes the tiny model, but for one tensor's first number.
fn write_with(path: &Path, dtype: Dtype, name: &str, number: f32) -> Result<TokenizerForm> {
    let config = tiny_config();
    let export = Export {
        name: "tiny",
        config: &config,
        width_between: 128,
        full_width: 64,
        widths: &[],
        prompts: &prompts(),
        tokenizer_json: pieces::TOKENIZER.as_bytes(),
    };
    let mut rows = rows_of(&config);
    write_package(path, &export, Formats::uniform(dtype), &mut |asked, range, out| {
        let is_first = asked == name && range.start == 0;
        rows(asked, range, out)?;
        if is_first {
            out[0] = number;
        }
        Ok(())
    })
}

#[test]
fn a_weight_that_is_not_finite_or_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let name = "layers.1.mlp.up_proj.weight";
    for number in [f32::NAN, f32::INFINITY] {
        for dtype in [Dtype::F32, Dtype::Q8_0] {
            assert_eq!(field_of(write_with(&path, dtype, name, number)), name);
        }
    }
    assert_eq!(field_of(write_with(&path, Dtype::F16, name, 7e4)), name);
    write_with(&path, Dtype::F32, name, 7e4).unwrap();
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    write_tiny(&path, &tiny_config(), Formats::uniform(Dtype::F32)).unwrap();
    let before = fs::read(&path).unwrap();
    // The last tensor of all: everything else is in the temporary file by then.
    field_of(write_with(&path, Dtype::F32, names::DENSE[1], f32::NAN));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    write_with(&path, Dtype::F32, names::DENSE[1], 0.5).unwrap();
    assert_ne!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_missing_folder_is_named() {
    let path = PathBuf::from("/nowhere/at/all/tiny.gguf");
    let error = write_tiny(&path, &tiny_config(), Formats::uniform(Dtype::F32)).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all/tiny.gguf"), "{error}");
}

/// Takes some bytes, then is full.
struct Disk {
    free: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.free.min(bytes.len()) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            n => {
                self.free -= n;
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_reported_by_name_with_what_is_needed() {
    let plan = Plan { name: "t".into(), shape: vec![4, 32], dtype: Dtype::Q8_0 };
    let mut tensor = TensorWriter::new(Disk { free: 100 }, &plan);
    tensor.rows(&[1.0; 64]).unwrap();
    let source = tensor.rows(&[1.0; 64]).unwrap_err();
    let error = io_error(Path::new("/models/x.gguf"), 12_345, source);
    assert!(matches!(&error, Error::DiskFull { needed: 12_345, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("disk is full: /models/x.gguf needs 12345 bytes"), "{message}");
}

#[test]
fn a_tokenizer_that_pieces_cannot_express_is_carried_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("json.gguf");
    let config = tiny_config();
    let json = pieces::TOKENIZER.replace(r#""byte_fallback": true"#, r#""byte_fallback": false"#);
    let export = Export {
        name: "tiny",
        config: &config,
        width_between: 128,
        full_width: 64,
        widths: &[],
        prompts: &prompts(),
        tokenizer_json: json.as_bytes(),
    };
    let form = write_package(&path, &export, Formats::uniform(Dtype::F32), &mut rows_of(&config));
    match form.unwrap() {
        TokenizerForm::Json { why } => assert!(why.contains("byte_fallback"), "{why}"),
        TokenizerForm::Pieces => panic!("written as pieces"),
    }
    let gguf = Gguf::parse("json", fs::read(&path).unwrap()).unwrap();
    let tokenizer = gguf.tokenizer().unwrap();
    assert_eq!((tokenizer.model, tokenizer.huggingface_json), ("none", Some(&*json)));
    assert!(tokenizer.is_empty());
}

#[test]
fn metadata_of_every_written_type_is_read_back() {
    let mut metadata = Metadata::default();
    metadata.str("a", "\u{2581}");
    metadata.u32("b", 7);
    metadata.f32("c", 0.5);
    metadata.bool("d", true);
    metadata.strs("e", ["", "x"].into_iter());
    metadata.f32s("f", [1.0, -2.0].into_iter());
    metadata.i32s("g", [-1].into_iter());
    metadata.bools("h", [true, false, true].into_iter());
    let gguf = Gguf::parse("metadata", head(&metadata, &[])).unwrap();
    let shown: Vec<String> = gguf.keys().map(|key| gguf.value(key).unwrap().to_string()).collect();
    let lists = ["a list of 2 Str", "a list of 2 F32", "a list of 1 I32", "a list of 3 Bool"];
    assert_eq!(shown[..4], ["\"\u{2581}\"", "7", "5e-1", "true"]);
    assert_eq!(shown[4..], lists);
}
