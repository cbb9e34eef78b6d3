//! Safetensors to tensors: every name, shape and number is checked once, here.
//!
//! Names may carry the prefix `model.`; numbers may be stored as f32, bf16 or f16 and become f32.
//! Shapes below are row-major, outermost first, in the names of [`Config`].

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::files::Files;
use super::modules::DenseHead;
use super::{Config, Refusal, refuse};
use crate::Result;

/// A matrix in memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// `n_rows * n_cols` numbers.
    pub values: Vec<f32>,
    /// Outputs of a linear layer, or pieces of a table; 1 for a vector.
    pub n_rows: usize,
    /// Inputs of a linear layer.
    pub n_cols: usize,
}

/// All weights of a model: as [`Matrix`] when read, as tensors in the reference pass.
pub struct Weights<T = Matrix> {
    /// `[vocab_size, hidden]`
    pub embedding: T,
    /// Input side first.
    pub layers: Vec<LayerWeights<T>>,
    /// `[hidden]`, stored minus one
    pub norm: T,
    /// `[width_between, hidden]`
    pub dense_1: T,
    /// `[full_width, width_between]`
    pub dense_2: T,
}

/// The weights of one layer. Norm weights are stored minus one: apply `1 + w`.
pub struct LayerWeights<T = Matrix> {
    /// `[hidden]`
    pub input_norm: T,
    /// `[n_heads * head_dim, hidden]`
    pub q: T,
    /// `[n_kv_heads * head_dim, hidden]`
    pub k: T,
    /// `[n_kv_heads * head_dim, hidden]`
    pub v: T,
    /// `[head_dim]`
    pub q_norm: T,
    /// `[head_dim]`
    pub k_norm: T,
    /// `[hidden, n_heads * head_dim]`
    pub o: T,
    /// `[hidden]`
    pub post_attention_norm: T,
    /// `[hidden]`
    pub pre_feedforward_norm: T,
    /// `[intermediate, hidden]`
    pub gate: T,
    /// `[intermediate, hidden]`
    pub up: T,
    /// `[hidden, intermediate]`
    pub down: T,
    /// `[hidden]`
    pub post_feedforward_norm: T,
}

impl<T> Weights<T> {
    /// The same weights in another form.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Weights<U>, E> {
        Ok(Weights {
            embedding: f(&self.embedding)?,
            layers: self.layers.iter().map(|l| l.map(&mut f)).collect::<Result<_, E>>()?,
            norm: f(&self.norm)?,
            dense_1: f(&self.dense_1)?,
            dense_2: f(&self.dense_2)?,
        })
    }
}

impl<T> LayerWeights<T> {
    fn map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<LayerWeights<U>, E> {
        Ok(LayerWeights {
            input_norm: f(&self.input_norm)?,
            q: f(&self.q)?,
            k: f(&self.k)?,
            v: f(&self.v)?,
            q_norm: f(&self.q_norm)?,
            k_norm: f(&self.k_norm)?,
            o: f(&self.o)?,
            post_attention_norm: f(&self.post_attention_norm)?,
            pre_feedforward_norm: f(&self.pre_feedforward_norm)?,
            gate: f(&self.gate)?,
            up: f(&self.up)?,
            down: f(&self.down)?,
            post_feedforward_norm: f(&self.post_feedforward_norm)?,
        })
    }
}

impl Weights {
    /// The width of an uncut vector.
    pub fn width(&self) -> usize {
        self.dense_2.n_rows
    }

    /// Reads the three weight files; returns the weights and a hash of their stored bytes.
    pub(super) fn read(
        files: &Files,
        config: &Config,
        heads: &[DenseHead; 2],
    ) -> Result<Result<(Weights, blake3::Hash), Refusal>> {
        let names = [
            "model.safetensors".to_owned(),
            format!("{}/model.safetensors", heads[0].path),
            format!("{}/model.safetensors", heads[1].path),
        ];
        let bytes = [files.read(&names[0])?, files.read(&names[1])?, files.read(&names[2])?];
        let mut hasher = blake3::Hasher::new();
        for file in &bytes {
            hasher.update(blake3::Hasher::new().update_rayon(file).finalize().as_bytes());
        }
        let read = || {
            let [body, first, second] = [0, 1, 2].map(|i| TensorFile::parse(&names[i], &bytes[i]));
            let (body, first, second) = (body?, first?, second?);
            let layers = (0..config.layers.len()).map(|i| LayerWeights::read(&body, config, i));
            let weights = Weights {
                embedding: body.matrix("embed_tokens.weight", config.vocab_size, config.hidden)?,
                layers: layers.collect::<Result<_, Refusal>>()?,
                norm: body.vector("norm.weight", config.hidden)?,
                dense_1: first.matrix("linear.weight", heads[0].n_out, config.hidden)?,
                dense_2: second.matrix("linear.weight", heads[1].n_out, heads[0].n_out)?,
            };
            check_chain(config, heads)?;
            Ok((weights, hasher.finalize()))
        };
        Ok(read())
    }
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

impl LayerWeights {
    fn read(file: &TensorFile, config: &Config, i: usize) -> Result<LayerWeights, Refusal> {
        let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
        let full = |name: &str| format!("layers.{i}.{name}.weight");
        let vector = |name: &str, n: usize| file.vector(&full(name), n);
        let matrix =
            |name: &str, n_rows: usize, n_cols: usize| file.matrix(&full(name), n_rows, n_cols);
        Ok(LayerWeights {
            input_norm: vector("input_layernorm", hidden)?,
            q: matrix("self_attn.q_proj", n_heads * head_dim, hidden)?,
            k: matrix("self_attn.k_proj", n_kv_heads * head_dim, hidden)?,
            v: matrix("self_attn.v_proj", n_kv_heads * head_dim, hidden)?,
            q_norm: vector("self_attn.q_norm", head_dim)?,
            k_norm: vector("self_attn.k_norm", head_dim)?,
            o: matrix("self_attn.o_proj", hidden, n_heads * head_dim)?,
            post_attention_norm: vector("post_attention_layernorm", hidden)?,
            pre_feedforward_norm: vector("pre_feedforward_layernorm", hidden)?,
            gate: matrix("mlp.gate_proj", intermediate, hidden)?,
            up: matrix("mlp.up_proj", intermediate, hidden)?,
            down: matrix("mlp.down_proj", hidden, intermediate)?,
            post_feedforward_norm: vector("post_feedforward_layernorm", hidden)?,
        })
    }
}

/// One safetensors file.
struct TensorFile<'a> {
    name: &'a str,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    fn parse(name: &'a str, bytes: &'a [u8]) -> Result<TensorFile<'a>, Refusal> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| refuse(name, format!("damaged ({e})"), "a whole safetensors file"))?;
        Ok(TensorFile { name, tensors })
    }

    fn matrix(&self, name: &str, n_rows: usize, n_cols: usize) -> Result<Matrix, Refusal> {
        Ok(Matrix { values: self.values(name, &[n_rows, n_cols])?, n_rows, n_cols })
    }

    fn vector(&self, name: &str, n_cols: usize) -> Result<Matrix, Refusal> {
        Ok(Matrix { values: self.values(name, &[n_cols])?, n_rows: 1, n_cols })
    }

    /// Finds a tensor with or without the prefix `model.`, as f32.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Refusal> {
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
        let values = to_f32(view.dtype(), view.data())
            .ok_or_else(|| refuse(&field, format!("{:?}", view.dtype()), "F32, BF16 or F16"))?;
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            return Err(refuse(&field, format!("{} at {i}", values[i]), "finite numbers"));
        }
        Ok(values)
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
