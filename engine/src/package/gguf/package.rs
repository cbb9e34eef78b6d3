//! A whole model to one GGUF file, in llama.cpp's dialect.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use half::f16;

use super::model::{DEFAULT_PERIOD, MEAN_POOLING, PROMPT_PREFIX, WIDTHS_KEY};
use super::pieces::{Piece, pieces_from_tokenizer_json};
use super::reader::named;
use super::writer::{Metadata, Plan, TensorWriter, data_bytes, head};
use super::{Config, Dtype, LayerKind, names, quantise, refuse};
use crate::atomic_file::AtomicFile;
use crate::token::PieceKind;
use crate::{Error, Result};

const ARCHITECTURE: &str = "gemma-embedding";

/// How many numbers are held at once.
const CHUNK_LEN: usize = 1 << 18;

/// Everything that is written but the numbers.
pub struct Export<'a> {
    /// What the model is called.
    pub name: &'a str,
    /// The architecture's numbers.
    pub config: &'a Config,
    /// Outputs of the first dense layer, inputs of the second.
    pub width_between: usize,
    /// Outputs of the second dense layer. llama.cpp runs only models where this is
    /// `config.hidden`, as in EmbeddingGemma.
    pub full_width: usize,
    /// Widths that vectors may be cut to; none are written if there are none.
    pub widths: &'a [usize],
    /// Prompt prefixes by name.
    pub prompts: &'a BTreeMap<String, String>,
    /// The bytes of `tokenizer.json`.
    pub tokenizer_json: &'a [u8],
}

/// In which formats matrices are stored; norms are always f32. A matrix whose rows are not whole
/// blocks takes the next finer format: see [`Dtype::that_fits`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Formats {
    /// The embedding table.
    pub embedding: Dtype,
    /// The matrices of the layers.
    pub layers: Dtype,
    /// The two dense layers.
    pub dense: Dtype,
}

impl Formats {
    /// One format for all matrices.
    pub fn uniform(dtype: Dtype) -> Formats {
        Formats { embedding: dtype, layers: dtype, dense: dtype }
    }
}

/// How the tokenizer was written.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerForm {
    /// As pieces, which other programs run.
    Pieces,
    /// As the `tokenizer.json` itself, which only this project runs: pieces cannot express it.
    Json {
        /// What they cannot express.
        why: String,
    },
}

/// Fills its last argument with some rows of one of our tensors as f32: names as in
/// sentence-transformers ([`names`]), norm weights stored as `w`.
pub type Rows<'a> = dyn FnMut(&str, Range<usize>, &mut [f32]) -> Result<()> + 'a;

/// Writes a model; on return the file is whole and on the disk, on an error there is none.
///
/// Tensors are asked for one after another, each from its first row to its last.
///
/// # Errors
/// [`Error::Package`] if the format has no place for a number of the model, or a weight is not
/// finite; [`Error::DiskFull`], [`Error::Io`]; and the errors of `rows`.
pub fn write_package(
    out: &Path,
    export: &Export<'_>,
    formats: Formats,
    rows: &mut Rows<'_>,
) -> Result<TokenizerForm> {
    let mut metadata = model_metadata(export, formats)?;
    let form = tokenizer_metadata(&mut metadata, export)?;
    let plans = plans(export, formats);
    let stored: Vec<Plan> = plans.iter().map(|(_, plan)| plan.clone()).collect();
    let head = head(&metadata, &stored);
    let needed_bytes = head.len() as u64 + data_bytes(&stored);
    let failed = |source| io_error(out, needed_bytes, source);

    let target = AtomicFile::create(out).map_err(failed)?;
    let mut file = target.file();
    file.write_all(&head).map_err(failed)?;
    let mut values = Vec::new();
    for (ours, plan) in &plans {
        let mut tensor = TensorWriter::new(file, plan);
        for range in chunks(plan) {
            values.resize(range.len() * plan.row_len(), 0.0);
            rows(ours, range, &mut values)?;
            if names::is_norm(ours) {
                values.iter_mut().for_each(|w| *w += 1.0);
            }
            check_storable(ours, plan.dtype, &values).map_err(|r| named(export.name, r))?;
            tensor.rows(&values).map_err(failed)?;
        }
        tensor.finish().map_err(failed)?;
    }
    target.commit().map_err(failed)?;
    Ok(form)
}

pub(super) fn io_error(path: &Path, needed_bytes: u64, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path, needed: needed_bytes, free: None }
        }
        _ => Error::Io { doing: "write the model", path, source },
    }
}

/// Ranges of rows that cover a tensor.
fn chunks(plan: &Plan) -> impl Iterator<Item = Range<usize>> + use<> {
    let n_rows = plan.n_rows();
    let step = (CHUNK_LEN / plan.row_len()).max(1);
    (0..n_rows).step_by(step).map(move |start| start..(start + step).min(n_rows))
}

/// What is not finite, or overflows the format, would be NaN in every vector.
fn check_storable(name: &str, dtype: Dtype, values: &[f32]) -> Result<(), super::Refusal> {
    // The scales of quantised blocks are f16, but at least 8 times smaller than their numbers.
    let largest = match dtype {
        Dtype::F16 => f16::MAX.to_f32(),
        Dtype::Q8_0 | Dtype::Q4_0 | Dtype::Q6K => 8.0 * f16::MAX.to_f32(),
        _ => f32::MAX,
    };
    match values.iter().find(|x| x.is_nan() || x.abs() > largest) {
        None => Ok(()),
        Some(x) => {
            let expected = format!("finite numbers up to {largest:e}, to be stored as ");
            Err(refuse(name, x, expected + dtype.name()))
        }
    }
}

/// The tensors in the order of the file, each under our name and as it is stored.
fn plans(export: &Export<'_>, formats: Formats) -> Vec<(String, Plan)> {
    let mut tensors = names::backbone(export.config);
    let [first, second] = names::DENSE;
    tensors.push((first.to_owned(), vec![export.width_between, export.config.hidden]));
    tensors.push((second.to_owned(), vec![export.full_width, export.width_between]));
    let plan = |(ours, shape): (String, Vec<usize>)| {
        let row_len = shape.last().copied().unwrap_or(1);
        let dtype = match ours.as_str() {
            name if names::is_norm(name) => Dtype::F32,
            "embed_tokens.weight" => formats.embedding.that_fits(row_len),
            name if names::DENSE.contains(&name) => formats.dense.that_fits(row_len),
            _ => formats.layers.that_fits(row_len),
        };
        let name = names::to_gguf(&ours).expect("the table holds every name of the backbone");
        (ours, Plan { name, shape, dtype })
    };
    tensors.into_iter().map(plan).collect()
}

fn model_metadata(export: &Export<'_>, formats: Formats) -> Result<Metadata> {
    let refused = |refusal| Err(named(export.name, refusal));
    let config = export.config;
    if config.query_pre_attn_scalar != config.head_dim as f64 {
        let expected = format!("head_dim {}: GGUF has no field for another", config.head_dim);
        return refused(refuse("query_pre_attn_scalar", config.query_pre_attn_scalar, expected));
    }
    for dtype in [formats.embedding, formats.layers, formats.dense] {
        if !quantise::is_writable(dtype) {
            let expected = "F32, F16, BF16, Q8_0, Q4_0 or Q6_K";
            return refused(refuse("formats", dtype.name(), expected));
        }
    }
    let mut metadata = Metadata::default();
    metadata.str("general.architecture", ARCHITECTURE);
    metadata.str("general.type", "model");
    metadata.str("general.name", export.name);
    metadata.u32("general.file_type", file_type(formats.layers));
    metadata.u32("general.quantization_version", 2);
    let dense = [(config.hidden, export.width_between), (export.width_between, export.full_width)];
    let sizes = [
        ("context_length", config.max_positions),
        ("embedding_length", config.hidden),
        ("block_count", config.layers.len()),
        ("feed_forward_length", config.intermediate),
        ("vocab_size", config.vocab_size),
        ("attention.head_count", config.n_heads),
        ("attention.head_count_kv", config.n_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("attention.sliding_window", 2 * config.window_radius),
        ("pooling_type", MEAN_POOLING as usize),
        ("dense_2_feat_in", dense[0].0),
        ("dense_2_feat_out", dense[0].1),
        ("dense_3_feat_in", dense[1].0),
        ("dense_3_feat_out", dense[1].1),
    ];
    for (key, size) in sizes {
        let Ok(size) = u32::try_from(size) else {
            return refused(refuse(key, size, "at most 32 bits"));
        };
        metadata.u32(&format!("{ARCHITECTURE}.{key}"), size);
    }
    for (key, number) in [
        ("attention.layer_norm_rms_epsilon", config.rms_norm_eps),
        ("rope.freq_base", config.rope_theta_full),
        ("rope.freq_base_swa", config.rope_theta_sliding),
    ] {
        metadata.f32(&format!("{ARCHITECTURE}.{key}"), number as f32);
    }
    // Published files leave it out, and older readers take it for a number.
    let slides = |kind: &LayerKind| *kind == LayerKind::Sliding;
    let slides_by_default = |i: usize| !(i + 1).is_multiple_of(DEFAULT_PERIOD);
    if config.layers.iter().enumerate().any(|(i, kind)| slides(kind) != slides_by_default(i)) {
        let key = format!("{ARCHITECTURE}.attention.sliding_window_pattern");
        metadata.bools(&key, config.layers.iter().map(slides));
    }
    for (name, prompt) in export.prompts {
        metadata.str(&format!("{PROMPT_PREFIX}{name}"), prompt);
    }
    if !export.widths.is_empty() {
        metadata.i32s(WIDTHS_KEY, export.widths.iter().map(|width| *width as i32));
    }
    Ok(metadata)
}

/// llama.cpp's code for "mostly in this format"; it shows it, nothing depends on it.
fn file_type(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F16 => 1,
        Dtype::Q4_0 => 2,
        Dtype::Q8_0 => 7,
        Dtype::Q6K => 18,
        Dtype::Bf16 => 32,
        _ => 0,
    }
}

fn tokenizer_metadata(metadata: &mut Metadata, export: &Export<'_>) -> Result<TokenizerForm> {
    let vocab_size = export.config.vocab_size;
    let form = match pieces_from_tokenizer_json(export.tokenizer_json) {
        Ok(mut pieces) => {
            // Gemma has a token for images beyond its table, which no text of a model without
            // images may use.
            pieces.truncate(vocab_size);
            let padding =
                |id| Piece { text: format!("[PAD{id}]"), score: f32::MIN, kind: PieceKind::Unused };
            pieces.extend((pieces.len()..vocab_size).map(padding));
            put_pieces(metadata, &pieces);
            TokenizerForm::Pieces
        }
        Err(why) => {
            let json = std::str::from_utf8(export.tokenizer_json)
                .map_err(|e| named(export.name, refuse("tokenizer.json", e, "UTF-8")))?;
            metadata.str("tokenizer.ggml.model", "none");
            metadata.str("tokenizer.huggingface.json", json);
            TokenizerForm::Json { why: why.to_string() }
        }
    };
    metadata.u32("tokenizer.ggml.bos_token_id", export.config.bos);
    metadata.u32("tokenizer.ggml.eos_token_id", export.config.eos);
    metadata.bool("tokenizer.ggml.add_bos_token", true);
    metadata.bool("tokenizer.ggml.add_eos_token", true);
    metadata.bool("tokenizer.ggml.add_space_prefix", false);
    Ok(form)
}

fn put_pieces(metadata: &mut Metadata, pieces: &[Piece]) {
    metadata.str("tokenizer.ggml.model", "llama");
    metadata.str("tokenizer.ggml.pre", "default");
    metadata.strs("tokenizer.ggml.tokens", pieces.iter().map(|piece| piece.text.as_str()));
    metadata.f32s("tokenizer.ggml.scores", pieces.iter().map(|piece| piece.score));
    metadata.i32s("tokenizer.ggml.token_type", pieces.iter().map(|piece| piece.kind as i32));
    let unknown = pieces.iter().position(|piece| piece.kind == PieceKind::Unknown);
    if let Some(id) = unknown {
        metadata.u32("tokenizer.ggml.unknown_token_id", id as u32);
    }
    let padding = pieces.iter().position(|piece| piece.text == "<pad>");
    if let Some(id) = padding {
        metadata.u32("tokenizer.ggml.padding_token_id", id as u32);
    }
}
