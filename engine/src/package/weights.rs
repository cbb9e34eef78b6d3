//! The weights of a model. Shapes are row-major, outermost first, in the names of
//! [`Config`].

use std::convert::Infallible;

use super::Config;
use super::gguf::names;

/// A matrix in memory, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// `n_rows * n_cols` numbers.
    pub values: Vec<f32>,
    /// Outputs of a linear layer, or pieces of a table; 1 for a vector.
    pub n_rows: usize,
    /// Inputs of a linear layer.
    pub n_cols: usize,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(n_rows: usize, n_cols: usize) -> Matrix {
        Matrix { values: vec![0.0; n_rows * n_cols], n_rows, n_cols }
    }
}

/// All weights of a model: as [`Matrix`] when read, as tensors in the reference pass.
#[derive(Clone)]
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
#[derive(Clone)]
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

impl Weights {
    /// Weights of the same shapes, all zero.
    pub fn zeros(&self) -> Weights {
        let zeros = |m: &Matrix| Ok::<_, Infallible>(Matrix::zeros(m.n_rows, m.n_cols));
        let Ok(zeros) = self.map(zeros);
        zeros
    }

    /// [`all`](Weights::all) with their names, as in a package.
    pub(crate) fn named(&self, config: &Config) -> Vec<(String, &Matrix)> {
        Weights::names(config).into_iter().zip(self.all()).collect()
    }

    /// The names of [`all`](Weights::all), as in a package.
    pub(crate) fn names(config: &Config) -> Vec<String> {
        let backbone = names::backbone(config).into_iter().map(|(name, _)| name);
        backbone.chain(names::DENSE.map(str::to_owned)).collect()
    }
}

impl<T> Weights<T> {
    /// Each of them, in the order of the passes: embedding, layers, last norm, dense.
    pub fn all(&self) -> Vec<&T> {
        let mut all = vec![&self.embedding];
        all.extend(self.layers.iter().flat_map(LayerWeights::all));
        all.extend([&self.norm, &self.dense_1, &self.dense_2]);
        all
    }

    /// As [`all`](Weights::all), to be changed.
    pub fn all_mut(&mut self) -> Vec<&mut T> {
        let mut all = vec![&mut self.embedding];
        all.extend(self.layers.iter_mut().flat_map(LayerWeights::all_mut));
        all.extend([&mut self.norm, &mut self.dense_1, &mut self.dense_2]);
        all
    }

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
    /// Each of them, in the order of the fields.
    pub fn all(&self) -> [&T; 13] {
        [
            &self.input_norm,
            &self.q,
            &self.k,
            &self.v,
            &self.q_norm,
            &self.k_norm,
            &self.o,
            &self.post_attention_norm,
            &self.pre_feedforward_norm,
            &self.gate,
            &self.up,
            &self.down,
            &self.post_feedforward_norm,
        ]
    }

    /// As [`all`](LayerWeights::all), to be changed.
    pub fn all_mut(&mut self) -> [&mut T; 13] {
        [
            &mut self.input_norm,
            &mut self.q,
            &mut self.k,
            &mut self.v,
            &mut self.q_norm,
            &mut self.k_norm,
            &mut self.o,
            &mut self.post_attention_norm,
            &mut self.pre_feedforward_norm,
            &mut self.gate,
            &mut self.up,
            &mut self.down,
            &mut self.post_feedforward_norm,
        ]
    }

    /// The same weights in another form.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<LayerWeights<U>, E> {
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
