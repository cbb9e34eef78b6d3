//! A package written out again: as a GGUF file, or as a sentence-transformers folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::gguf::{self, names};
pub use super::gguf::{Dtype, Formats};
use super::source::EMBEDDING;
use super::{LayerKind, Location, Matrix, Package, Source, Weights};
use crate::adalink::{About, Adapter, Head, Link};
use crate::{Error, Result};

/// Numbers that are held at once.
const PART: usize = 1 << 20;

/// Writes a model as one GGUF file that llama.cpp reads; norms in f32.
///
/// # Errors
/// As [`Package::open`]; [`Error::Io`] or [`Error::DiskFull`] if the file cannot be written, and
/// [`Error::Package`] if the model has no `tokenizer.json`.
pub fn to_gguf(model: &str, out: &Path, formats: Formats) -> Result<()> {
    write_gguf(model, None, out, formats)
}

/// As [`to_gguf`], of the model with an adapter in its weights: see [`bake_to_folder`].
///
/// # Errors
/// As [`to_gguf`]; [`Error::Adapter`] if it is of another width.
pub fn bake_to_gguf(model: &str, adapter: &Adapter, out: &Path, formats: Formats) -> Result<()> {
    write_gguf(model, Some(adapter), out, formats)
}

fn write_gguf(model: &str, adapter: Option<&Adapter>, out: &Path, formats: Formats) -> Result<()> {
    let location = Location::find(model)?;
    let (package, source) = location.load()?;
    let adapted = Adapted::new(&source, &package, adapter)?;
    let tokenizer_json = location.tokenizer_json()?;
    let name = match adapter {
        None => package.name.clone(),
        Some(_) => format!("{}, adapted: for queries only", package.name),
    };
    let export = gguf::Export {
        name: &name,
        config: &package.config,
        width_between: source.width_between(),
        full_width: source.width(),
        widths: &package.widths,
        prompts: &package.prompts,
        tokenizer_json: &tokenizer_json,
    };
    let tensors = source.tensors();
    let mut rows = |name: &str, rows: Range<usize>, values: &mut [f32]| {
        let shape = tensors.iter().find(|(known, _)| known == name).map(|(_, shape)| &shape[..]);
        let shape = shape.unwrap_or_else(|| unreachable!("{name} is of no model"));
        values.copy_from_slice(&adapted.rows(name, shape, rows)?.values);
        Ok(())
    };
    gguf::write_package(out, &export, formats, &mut rows).map(|_| ())
}

/// Writes a model as a sentence-transformers folder, weights in f32.
///
/// # Errors
/// As [`to_gguf`]; [`Error::Io`] too if the folder is there already.
pub fn to_folder(model: &str, out: &Path) -> Result<()> {
    copy_folder(model, None, out)
}

/// As [`to_folder`], of the model with an adapter in its weights: a link in the embedding table,
/// `E' = E + strength (E V) Uᵀ`, a head in the last dense layer.
///
/// Any runtime then gives the vectors that the adapter gives here, but for rounding. Where documents were
/// embedded without it, the result is for queries only; `adapter.json` in the folder says what it was
/// made for.
///
/// # Errors
/// As [`to_folder`]; [`Error::Adapter`] if it is of another width.
pub fn bake_to_folder(model: &str, adapter: &Adapter, about: &About, out: &Path) -> Result<()> {
    copy_folder(model, Some(adapter), out)?;
    let path = out.join("adapter.json");
    let about = json!({ "use": "queries only: documents are embedded by the model without it", "about": about });
    fs::write(&path, format!("{about:#}\n")).map_err(|source| Error::Io {
        doing: "write the model's",
        path,
        source,
    })
}

fn copy_folder(model: &str, adapter: Option<&Adapter>, out: &Path) -> Result<()> {
    let location = Location::find(model)?;
    let (package, source) = location.load()?;
    let adapted = Adapted::new(&source, &package, adapter)?;
    let tokenizer_json = location.tokenizer_json()?;
    let tensors = source.tensors();
    let dense = [source.width_between(), source.width()];
    let rows = |name: &str, shape: &[usize], rows| Ok(adapted.rows(name, shape, rows)?.values);
    write_folder(out, &package, &tokenizer_json, dense, &tensors, &rows)
}

/// Writes a package whose weights are in memory as a sentence-transformers folder, in f32.
///
/// # Errors
/// [`Error::Io`] if the folder is there already or a file cannot be written.
pub(crate) fn weights_to_folder(
    package: &Package,
    tokenizer_json: &[u8],
    weights: &Weights,
    out: &Path,
) -> Result<()> {
    let named = weights.named(&package.config);
    let shape = |m: &Matrix| if m.n_rows == 1 { vec![m.n_cols] } else { vec![m.n_rows, m.n_cols] };
    let tensors: Vec<_> = named.iter().map(|(name, m)| (name.clone(), shape(m))).collect();
    let rows = |name: &str, _: &[usize], rows: Range<usize>| {
        let matrix = named.iter().find(|(known, _)| known == name).map(|(_, matrix)| matrix);
        let matrix = matrix.unwrap_or_else(|| unreachable!("{name} is of no model"));
        Ok(matrix.values[rows.start * matrix.n_cols..rows.end * matrix.n_cols].to_vec())
    };
    let dense = [weights.dense_1.n_rows, weights.dense_2.n_rows];
    write_folder(out, package, tokenizer_json, dense, &tensors, &rows)
}

/// The numbers of some rows of a tensor, by its name and shape.
type RowsOf<'a> = &'a dyn Fn(&str, &[usize], Range<usize>) -> Result<Vec<f32>>;

fn write_folder(
    out: &Path,
    package: &Package,
    tokenizer_json: &[u8],
    dense: [usize; 2],
    tensors: &[(String, Vec<usize>)],
    rows: RowsOf,
) -> Result<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { doing: "write the model's", path, source }
    };
    fs::create_dir(out).map_err(failed(out))?;
    for (name, value) in configs(package, dense) {
        let path = out.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(out))?;
            fs::write(&path, format!("{value:#}\n"))
        };
        write().map_err(failed(&path))?;
    }
    let path = out.join("tokenizer.json");
    fs::write(&path, tokenizer_json).map_err(failed(&path))?;
    let is_dense = |name: &str| names::DENSE.contains(&name);
    let body: Vec<_> = tensors.iter().filter(|(name, _)| !is_dense(name)).collect();
    write_tensors(&out.join("model.safetensors"), &body, rows)?;
    for tensor in tensors.iter().filter(|(name, _)| is_dense(name)) {
        let folder = tensor.0.trim_end_matches("linear.weight");
        write_tensors(&out.join(folder).join("model.safetensors"), &[tensor], rows)?;
    }
    Ok(())
}

/// A model's weights with an adapter in them, or as they are.
struct Adapted<'a> {
    source: &'a Source,
    link: Option<&'a Link>,
    /// The last dense layer with the head in it, `[full_width, width_between]`.
    last: Option<Matrix>,
}

impl<'a> Adapted<'a> {
    fn new(
        source: &'a Source,
        package: &Package,
        adapter: Option<&'a Adapter>,
    ) -> Result<Adapted<'a>> {
        let Some(adapter) = adapter else { return Ok(Adapted { source, link: None, last: None }) };
        adapter.check(package.config.hidden, source.width())?;
        let folded = |head: &Head| {
            // The head maps what the layer gives: each column of the layer is mapped.
            let shape = [source.width(), source.width_between()];
            let mut columns = transposed(&source.matrix(names::DENSE[1], &shape)?);
            head.map(&mut columns.values);
            Ok::<_, Error>(transposed(&columns))
        };
        let last = adapter.head.as_ref().map(folded).transpose()?;
        Ok(Adapted { source, link: adapter.link.as_ref(), last })
    }

    fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Matrix> {
        if let (Some(last), true) = (&self.last, name == names::DENSE[1]) {
            let values = last.values[rows.start * last.n_cols..rows.end * last.n_cols].to_vec();
            return Ok(Matrix { values, n_rows: rows.len(), n_cols: last.n_cols });
        }
        let mut matrix = self.source.rows(name, shape, rows)?;
        if let (Some(link), true) = (self.link, name == EMBEDDING) {
            // Between table and first layer there is only a factor, the same for both.
            link.apply(&mut matrix.values);
        }
        Ok(matrix)
    }
}

fn transposed(matrix: &Matrix) -> Matrix {
    let Matrix { n_rows, n_cols, .. } = *matrix;
    let values = (0..n_rows * n_cols).map(|k| matrix.values[k % n_rows * n_cols + k / n_rows]);
    Matrix { values: values.collect(), n_rows: n_cols, n_cols: n_rows }
}

/// The JSON files of a package by name.
fn configs(
    package: &Package,
    [width_between, full_width]: [usize; 2],
) -> Vec<(&'static str, Value)> {
    let config = &package.config;
    let layer = |kind: &LayerKind| match kind {
        LayerKind::Full => "full_attention",
        LayerKind::Sliding => "sliding_attention",
    };
    let module = |idx: usize, path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": kind })
    };
    let dense = |n_in: usize, n_out: usize| {
        json!({
            "in_features": n_in,
            "out_features": n_out,
            "bias": false,
            "activation_function": "torch.nn.modules.linear.Identity",
        })
    };
    vec![
        (
            "config.json",
            json!({
                "architectures": ["Gemma3TextModel"],
                "model_type": "gemma3_text",
                "vocab_size": config.vocab_size,
                "hidden_size": config.hidden,
                "intermediate_size": config.intermediate,
                "num_hidden_layers": config.layers.len(),
                "num_attention_heads": config.n_heads,
                "num_key_value_heads": config.n_kv_heads,
                "head_dim": config.head_dim,
                "hidden_activation": "gelu_pytorch_tanh",
                "rms_norm_eps": config.rms_norm_eps,
                "max_position_embeddings": config.max_positions,
                "sliding_window": 2 * config.window_radius,
                "layer_types": config.layers.iter().map(layer).collect::<Vec<_>>(),
                // transformers takes no 256.0 for 256.
                "query_pre_attn_scalar": config.query_pre_attn_scalar as u64,
                "rope_theta": config.rope_theta_full,
                "rope_local_base_freq": config.rope_theta_sliding,
                "attention_bias": false,
                "attention_dropout": 0.0,
                "use_bidirectional_attention": true,
                "pad_token_id": 0,
                "bos_token_id": config.bos,
                "eos_token_id": config.eos,
                "dtype": "float32",
            }),
        ),
        (
            "config_sentence_transformers.json",
            json!({
                "prompts": package.prompts,
                "default_prompt_name": null,
                "similarity_fn_name": "cosine",
                "matryoshka_dims": package.widths,
            }),
        ),
        (
            "modules.json",
            json!([
                module(0, "", "Transformer"),
                module(1, "1_Pooling", "Pooling"),
                module(2, "2_Dense", "Dense"),
                module(3, "3_Dense", "Dense"),
                module(4, "4_Normalize", "Normalize"),
            ]),
        ),
        (
            "sentence_bert_config.json",
            json!({ "max_seq_length": package.window, "do_lower_case": false }),
        ),
        (
            "tokenizer_config.json",
            json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<bos>",
                "eos_token": "<eos>",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
                "model_max_length": package.window,
                "padding_side": "right",
            }),
        ),
        (
            "1_Pooling/config.json",
            json!({
                "word_embedding_dimension": config.hidden,
                "pooling_mode_cls_token": false,
                "pooling_mode_mean_tokens": true,
                "pooling_mode_max_tokens": false,
                "pooling_mode_mean_sqrt_len_tokens": false,
                "pooling_mode_weightedmean_tokens": false,
                "pooling_mode_lasttoken": false,
                "include_prompt": true,
            }),
        ),
        ("2_Dense/config.json", dense(config.hidden, width_between)),
        ("3_Dense/config.json", dense(width_between, full_width)),
    ]
}

/// One safetensors file of f32, written as its rows are read.
fn write_tensors(path: &Path, tensors: &[&(String, Vec<usize>)], rows: RowsOf) -> Result<()> {
    let failed = |source: io::Error| Error::Io {
        doing: "write the model's",
        path: PathBuf::from(path),
        source,
    };
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let n_bytes = shape.iter().product::<usize>() * 4;
        let stored = if names::DENSE.contains(&name.as_str()) { "linear.weight" } else { name };
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, at + n_bytes] });
        header.insert(stored.to_owned(), entry);
        at += n_bytes;
    }
    let mut header = Value::Object(header).to_string();
    // The numbers begin on a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    file.write_all(header.as_bytes()).map_err(failed)?;
    for (name, shape) in tensors {
        let n_rows = if let [n_rows, _] = shape[..] { n_rows } else { 1 };
        let row = shape.last().copied().unwrap_or(1).max(1);
        for first in (0..n_rows).step_by((PART / row).max(1)) {
            let part = first..n_rows.min(first + (PART / row).max(1));
            for x in rows(name, shape, part)? {
                file.write_all(&x.to_le_bytes()).map_err(failed)?;
            }
        }
    }
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}
