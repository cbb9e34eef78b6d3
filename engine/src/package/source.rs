//! Where the weights of a package are: three safetensors files, or one GGUF file.
//!
//! Tensors have the names of sentence-transformers folders (with or without the prefix `model.`),
//! the dense layers those of their files: `2_Dense/linear.weight`. Names and shapes are checked when
//! the source is opened, numbers when they are read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::files::Files;
use super::gguf::{Dense, Gguf, Model, names};
use super::modules::DenseHead;
use super::{Config, LayerWeights, Matrix, Refusal, Weights, refuse};
use crate::bytes::Bytes;
use crate::{Error, Result};

/// Bytes that are hashed at a time.
const HASHED_BYTES: usize = 16 << 20;

pub(super) const EMBEDDING: &str = "embed_tokens.weight";
const NORM: &str = "norm.weight";

/// The weights of a package, not read yet: each part becomes f32 when it is asked for, so that a
/// model need not fit into memory.
pub struct Source {
    package: String,
    config: Config,
    store: Store,
    /// Outputs of the two dense layers.
    dense: [usize; 2],
}

enum Store {
    /// Body, first and second dense layer, by their names in the package.
    Safetensors([(String, Bytes); 3]),
    Gguf {
        gguf: Arc<Gguf<Bytes>>,
        model: Box<Model>,
        /// The dense layers, where they are not in the file itself.
        beside: Option<[(String, Bytes); 2]>,
    },
}

impl Source {
    /// Opens the files of a folder; returns a hash of the stored bytes as well.
    pub(super) fn open_folder(
        package: &str,
        files: &Files,
        config: &Config,
        heads: &[DenseHead; 2],
    ) -> Result<(Source, blake3::Hash)> {
        let open = |name: String| files.bytes(&name).map(|bytes| (name, bytes));
        let store = Store::Safetensors([
            open("model.safetensors".to_owned())?,
            open(format!("{}/model.safetensors", heads[0].path))?,
            open(format!("{}/model.safetensors", heads[1].path))?,
        ]);
        let opened = Source::checked(package, config, store, [heads[0].n_out, heads[1].n_out])?;
        check_chain(config, heads).map_err(|refusal| refusal.of(package))?;
        Ok(opened)
    }

    /// Opens the tensors of a GGUF file, and the dense layers beside it where it has none.
    pub(super) fn open_gguf(
        package: &str,
        gguf: Arc<Gguf<Bytes>>,
        model: Model,
    ) -> Result<(Source, blake3::Hash)> {
        let config = model.config.clone();
        let (beside, dense) = match &model.dense {
            Dense::Inside { width_between, full_width } => (None, [*width_between, *full_width]),
            Dense::Beside(paths) => {
                let open = |path: &Path| {
                    let doing = "read the model's";
                    let bytes = Bytes::map(path).map_err(|source| Error::Io {
                        doing,
                        path: path.to_owned(),
                        source,
                    })?;
                    Ok::<_, Error>((path.display().to_string(), bytes))
                };
                let files = [open(&paths[0])?, open(&paths[1])?];
                let rows = |file: &(String, Bytes)| TensorFile::parse(&file.0, &file.1)?.n_rows();
                let dense = [rows(&files[0]), rows(&files[1])];
                let [first, second] = dense.map(|n| n.map_err(|refusal| refusal.of(package)));
                (Some(files), [first?, second?])
            }
        };
        let store = Store::Gguf { gguf, model: Box::new(model), beside };
        Source::checked(package, &config, store, dense)
    }

    fn checked(
        package: &str,
        config: &Config,
        store: Store,
        dense: [usize; 2],
    ) -> Result<(Source, blake3::Hash)> {
        let source = Source { package: package.to_owned(), config: config.clone(), store, dense };
        // Of no row: that checks that it is there, and its shape.
        source.weights_with(&|name, shape| source.rows(name, shape, 0..0))?;
        let hash = source.hash();
        Ok((source, hash))
    }

    /// A hash of all files, one after the other.
    fn hash(&self) -> blake3::Hash {
        let files: Vec<&Bytes> = match &self.store {
            Store::Safetensors(files) => files.iter().map(|(_, bytes)| bytes).collect(),
            Store::Gguf { gguf, beside, .. } => {
                let beside = beside.iter().flatten().map(|(_, bytes)| bytes);
                std::iter::once(gguf.bytes()).chain(beside).collect()
            }
        };
        let mut hasher = blake3::Hasher::new();
        for bytes in files {
            let mut file = blake3::Hasher::new();
            for part in bytes.chunks(HASHED_BYTES) {
                file.update_rayon(part);
                bytes.forget(part);
            }
            hasher.update(file.finalize().as_bytes());
        }
        hasher.finalize()
    }

    /// The width of an uncut vector.
    pub fn width(&self) -> usize {
        self.dense[1]
    }

    /// Outputs of the first dense layer.
    pub(crate) fn width_between(&self) -> usize {
        self.dense[0]
    }

    /// Reads everything: four bytes for every parameter.
    ///
    /// # Errors
    /// [`Error::Package`] if a number is not finite.
    pub fn weights(&self) -> Result<Weights> {
        self.weights_with(&|name, shape| self.matrix(name, shape))
    }

    /// Rows of the embedding table, `[rows, hidden]`.
    pub(crate) fn embedding(&self, rows: Range<usize>) -> Result<Matrix> {
        let Config { vocab_size, hidden, .. } = self.config;
        self.rows(EMBEDDING, &[vocab_size, hidden], rows)
    }

    /// The weights of one layer.
    pub(crate) fn layer(&self, i: usize) -> Result<LayerWeights> {
        layer_with(&self.config, i, &|name, shape| self.matrix(name, shape))
    }

    /// The last norm, `[hidden]`.
    pub(crate) fn norm(&self) -> Result<Matrix> {
        self.matrix(NORM, &[self.config.hidden])
    }

    /// The two dense layers.
    pub(crate) fn dense(&self) -> Result<[Matrix; 2]> {
        let [first, second] = self.dense;
        Ok([
            self.matrix(names::DENSE[0], &[first, self.config.hidden])?,
            self.matrix(names::DENSE[1], &[second, first])?,
        ])
    }

    /// The name and shape of every tensor.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let tensors = std::cell::RefCell::new(Vec::new());
        let note = |name: &str, shape: &[usize]| {
            tensors.borrow_mut().push((name.to_owned(), shape.to_vec()));
            Ok(Matrix::default())
        };
        self.weights_with(&note).unwrap_or_else(|_| unreachable!("noting does not fail"));
        tensors.into_inner()
    }

    /// A matrix, or a vector as one row.
    pub(crate) fn matrix(&self, name: &str, shape: &[usize]) -> Result<Matrix> {
        let n_rows = if let [n_rows, _] = *shape { n_rows } else { 1 };
        self.rows(name, shape, 0..n_rows)
    }

    /// Some rows of a matrix, as f32; norms as they are stored in safetensors, without their one.
    pub(crate) fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Matrix> {
        let dense = names::DENSE.iter().position(|dense| *dense == name);
        let file = match (&self.store, dense) {
            (Store::Safetensors(files), None) => &files[0],
            (Store::Safetensors(files), Some(i)) => &files[1 + i],
            (Store::Gguf { beside: Some(files), .. }, Some(i)) => &files[i],
            (Store::Gguf { gguf, model, .. }, _) => {
                return gguf_rows(gguf, model, name, shape, rows);
            }
        };
        let name = if dense.is_some() { "linear.weight" } else { name };
        let read = || TensorFile::parse(&file.0, &file.1)?.rows(name, shape, rows);
        read().map_err(|refusal| refusal.of(&self.package))
    }

    /// Every weight, each as `read` gives it.
    fn weights_with(&self, read: Read) -> Result<Weights> {
        let Config { vocab_size, hidden, .. } = self.config;
        let [first, second] = self.dense;
        let layers = (0..self.config.layers.len()).map(|i| layer_with(&self.config, i, read));
        Ok(Weights {
            embedding: read(EMBEDDING, &[vocab_size, hidden])?,
            layers: layers.collect::<Result<_>>()?,
            norm: read(NORM, &[hidden])?,
            dense_1: read(names::DENSE[0], &[first, hidden])?,
            dense_2: read(names::DENSE[1], &[second, first])?,
        })
    }
}

/// Reads a tensor by name and shape.
type Read<'a> = &'a dyn Fn(&str, &[usize]) -> Result<Matrix>;

fn layer_with(config: &Config, i: usize, read: Read) -> Result<LayerWeights> {
    let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
    let read = |name: &str, shape: &[usize]| read(&format!("layers.{i}.{name}.weight"), shape);
    Ok(LayerWeights {
        input_norm: read("input_layernorm", &[hidden])?,
        q: read("self_attn.q_proj", &[n_heads * head_dim, hidden])?,
        k: read("self_attn.k_proj", &[n_kv_heads * head_dim, hidden])?,
        v: read("self_attn.v_proj", &[n_kv_heads * head_dim, hidden])?,
        q_norm: read("self_attn.q_norm", &[head_dim])?,
        k_norm: read("self_attn.k_norm", &[head_dim])?,
        o: read("self_attn.o_proj", &[hidden, n_heads * head_dim])?,
        post_attention_norm: read("post_attention_layernorm", &[hidden])?,
        pre_feedforward_norm: read("pre_feedforward_layernorm", &[hidden])?,
        gate: read("mlp.gate_proj", &[intermediate, hidden])?,
        up: read("mlp.up_proj", &[intermediate, hidden])?,
        down: read("mlp.down_proj", &[hidden, intermediate])?,
        post_feedforward_norm: read("post_feedforward_layernorm", &[hidden])?,
    })
}

/// The dense configs must agree with the model and with each other.
fn check_chain(config: &Config, heads: &[DenseHead; 2]) -> Result<(), Refusal> {
    let links = [(&heads[0], config.hidden), (&heads[1], heads[0].n_out)];
    for (head, n_in) in links {
        if head.n_in != n_in {
            return Err(refuse(format!("{}/config.json in_features", head.path), head.n_in, n_in));
        }
    }
    Ok(())
}

fn gguf_rows(
    gguf: &Gguf<Bytes>,
    model: &Model,
    name: &str,
    shape: &[usize],
    rows: Range<usize>,
) -> Result<Matrix> {
    let n_cols = shape.last().copied().unwrap_or(0);
    let mut values = vec![0.0; rows.len() * n_cols];
    let n_rows = rows.len();
    // Shapes were checked with the model.
    let stored = model.stored_name(name).unwrap_or_default();
    gguf.dequantise(&stored, rows.clone(), &mut values)?;
    gguf.bytes().forget(gguf.stored_rows(&stored, rows)?.1);
    if names::is_norm(name) {
        values.iter_mut().for_each(|w| *w -= 1.0);
    }
    Ok(Matrix { values, n_rows, n_cols })
}

/// One safetensors file.
struct TensorFile<'a> {
    name: &'a str,
    bytes: &'a Bytes,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    fn parse(name: &'a str, bytes: &'a Bytes) -> Result<TensorFile<'a>, Refusal> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| refuse(name, format!("damaged ({e})"), "a whole safetensors file"))?;
        Ok(TensorFile { name, bytes, tensors })
    }

    /// How many rows the one matrix of a dense layer has.
    fn n_rows(&self) -> Result<usize, Refusal> {
        let tensor = self.tensors.tensor("linear.weight");
        let shape = tensor.as_ref().map_or(&[][..], |tensor| tensor.shape());
        match shape {
            [n_rows, _] => Ok(*n_rows),
            _ => Err(refuse(self.name, format!("{shape:?}"), "one matrix, linear.weight")),
        }
    }

    fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Matrix, Refusal> {
        let view = self.view(name, shape)?;
        let n_cols = shape.last().copied().unwrap_or(0);
        let row_bytes = n_cols * view.dtype().bitsize() / 8;
        let part = &view.data()[rows.start * row_bytes..rows.end * row_bytes];
        let field = format!("{} {name}", self.name);
        let values = to_f32(view.dtype(), part)
            .ok_or_else(|| refuse(&field, format!("{:?}", view.dtype()), "F32, BF16 or F16"))?;
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            return Err(refuse(&field, format!("{} at {i}", values[i]), "finite numbers"));
        }
        self.bytes.forget(part);
        Ok(Matrix { values, n_rows: rows.len(), n_cols })
    }

    /// Finds a tensor with or without the prefix `model.`.
    fn view(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, Refusal> {
        let field = format!("{} {name}", self.name);
        let view = self
            .tensors
            .tensor(name)
            .or_else(|_| self.tensors.tensor(&format!("model.{name}")))
            .map_err(|_| refuse(&field, "missing", format!("a tensor {shape:?}")))?;
        if view.shape() != shape {
            let found = format!("of shape {:?}", view.shape());
            return Err(refuse(&field, found, format!("{shape:?}")));
        }
        Ok(view)
    }
}

fn to_f32(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    let halves =
        |f: fn([u8; 2]) -> f32| Some(data.chunks_exact(2).map(|b| f([b[0], b[1]])).collect());
    match dtype {
        Dtype::F32 => Some(
            data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ),
        Dtype::BF16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        _ => None,
    }
}
