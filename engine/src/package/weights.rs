//! Safetensors to tensors: every name, shape and number is checked once, here.
//!
//! Names may carry the prefix `model.`; numbers may be stored as f32, bf16 or f16 and become f32.
//! Shapes below are row-major, outermost first, in the names of [`Config`].

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::files::Files;
use super::modules::DenseHead;
use super::{Config, Refusal, refuse};
use crate::Result;

/// All weights of a model, f32.
pub struct Weights {
    /// `[vocab_size, hidden]`
    pub embedding: Tensor,
    /// Input side first.
    pub layers: Vec<LayerWeights>,
    /// `[hidden]`, stored minus one
    pub norm: Tensor,
    /// `[width_between, hidden]`
    pub dense_1: Tensor,
    /// `[full_width, width_between]`
    pub dense_2: Tensor,
}

/// The weights of one layer. Norm weights are stored minus one: apply `1 + w`.
pub struct LayerWeights {
    /// `[hidden]`
    pub input_norm: Tensor,
    /// `[n_heads * head_dim, hidden]`
    pub q: Tensor,
    /// `[n_kv_heads * head_dim, hidden]`
    pub k: Tensor,
    /// `[n_kv_heads * head_dim, hidden]`
    pub v: Tensor,
    /// `[head_dim]`
    pub q_norm: Tensor,
    /// `[head_dim]`
    pub k_norm: Tensor,
    /// `[hidden, n_heads * head_dim]`
    pub o: Tensor,
    /// `[hidden]`
    pub post_attention_norm: Tensor,
    /// `[hidden]`
    pub pre_feedforward_norm: Tensor,
    /// `[intermediate, hidden]`
    pub gate: Tensor,
    /// `[intermediate, hidden]`
    pub up: Tensor,
    /// `[hidden, intermediate]`
    pub down: Tensor,
    /// `[hidden]`
    pub post_feedforward_norm: Tensor,
}

impl Weights {
    /// The width of an uncut vector.
    pub fn width(&self) -> usize {
        self.dense_2.dims()[0]
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
            let weights = Weights {
                dense_1: first.tensor("linear.weight", &[heads[0].n_out, config.hidden])?,
                dense_2: second.tensor("linear.weight", &[heads[1].n_out, heads[0].n_out])?,
                ..Weights::read_body(&body, config)?
            };
            check_chain(config, heads)?;
            Ok((weights, hasher.finalize()))
        };
        Ok(read())
    }

    /// The transformer, with empty dense layers that the caller fills in.
    fn read_body(file: &TensorFile, config: &Config) -> Result<Weights, Refusal> {
        let empty = || Tensor::zeros((0, 0), DType::F32, &Device::Cpu);
        let no_memory = |e| refuse("model.safetensors", e, "room for its tensors");
        let layers =
            (0..config.layers.len()).map(|i| LayerWeights::read(file, config, i)).collect();
        Ok(Weights {
            embedding: file.tensor("embed_tokens.weight", &[config.vocab_size, config.hidden])?,
            layers: <Result<Vec<_>, Refusal>>::from_iter::<Vec<_>>(layers)?,
            norm: file.tensor("norm.weight", &[config.hidden])?,
            dense_1: empty().map_err(no_memory)?,
            dense_2: empty().map_err(no_memory)?,
        })
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
        let tensor =
            |name: &str, shape: &[usize]| file.tensor(&format!("layers.{i}.{name}.weight"), shape);
        Ok(LayerWeights {
            input_norm: tensor("input_layernorm", &[hidden])?,
            q: tensor("self_attn.q_proj", &[n_heads * head_dim, hidden])?,
            k: tensor("self_attn.k_proj", &[n_kv_heads * head_dim, hidden])?,
            v: tensor("self_attn.v_proj", &[n_kv_heads * head_dim, hidden])?,
            q_norm: tensor("self_attn.q_norm", &[head_dim])?,
            k_norm: tensor("self_attn.k_norm", &[head_dim])?,
            o: tensor("self_attn.o_proj", &[hidden, n_heads * head_dim])?,
            post_attention_norm: tensor("post_attention_layernorm", &[hidden])?,
            pre_feedforward_norm: tensor("pre_feedforward_layernorm", &[hidden])?,
            gate: tensor("mlp.gate_proj", &[intermediate, hidden])?,
            up: tensor("mlp.up_proj", &[intermediate, hidden])?,
            down: tensor("mlp.down_proj", &[hidden, intermediate])?,
            post_feedforward_norm: tensor("post_feedforward_layernorm", &[hidden])?,
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

    /// Finds a tensor with or without the prefix `model.`, as f32.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, Refusal> {
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
        Tensor::from_vec(values, shape, &Device::Cpu)
            .map_err(|e| refuse(&field, e, "room for the tensor"))
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
