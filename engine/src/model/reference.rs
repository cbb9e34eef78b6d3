//! The forward pass in candle, f32, without padding.
//!
//! Reads like the paper's figure: token rows, then for each layer attention and feed-forward with a
//! norm before and after each, a last norm, the mean over the sequence, two dense layers, unit
//! length. Every operation here has a backward (candle's fused softmax, norm and rope have none).
//!
//! Shapes are row-major, outermost first. `T` is the number of packed tokens, `t` the length of one
//! sequence. Source: `Gemma3TextModel` in Hugging Face Transformers with bidirectional attention,
//! and the modules that sentence-transformers runs behind it.
//!
//! Differs from the source:
//! - no padding and no padding mask; packing gives the same numbers;
//! - the embedding table is read in f32, so its scale is the f32 square root.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use crate::package::{Config, LayerKind, LayerWeights, Matrix, Weights};
use crate::{Error, Result};

/// Added to a vector's length before dividing by it.
const NORMALIZE_EPS: f64 = 1e-12;

/// The forward pass over one package's weights.
pub struct Reference<'a> {
    config: &'a Config,
    weights: Weights<Tensor>,
    /// Between the two halves of the feed-forward block.
    activation: fn(&Tensor) -> candle_core::Result<Tensor>,
}

/// Cosine and sine of the rotary angles, `[longest, head_dim / 2]` each.
struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl<'a> Reference<'a> {
    /// A pass over a copy of these weights; the package has checked them.
    ///
    /// # Errors
    /// [`Error::Tensor`] if there is no memory.
    pub fn new(config: &'a Config, weights: &Weights) -> Result<Reference<'a>> {
        let tensor = |matrix: &Matrix| match matrix {
            Matrix { values, n_rows: 1, .. } => Tensor::new(&values[..], &Device::Cpu),
            Matrix { values, n_rows, n_cols } => {
                Tensor::from_slice(values, (*n_rows, *n_cols), &Device::Cpu)
            }
        };
        Ok(Reference::over(config, weights.map(tensor)?))
    }

    /// A pass over tensors, which may be variables that are trained.
    pub fn over(config: &'a Config, weights: Weights<Tensor>) -> Reference<'a> {
        Reference { config, weights, activation: Tensor::gelu }
    }

    /// Embeds sequences of token ids, `<bos>` and `<eos>` included.
    ///
    /// Returns unit vectors, `[n_sequences, full_width]`. A sequence's vector does not depend on
    /// the others beyond rounding.
    ///
    /// # Errors
    /// [`Error::TokenOutsideTable`], [`Error::TooLong`] beyond `max_positions`; [`Error::Tensor`].
    ///
    /// # Panics
    /// If there is no sequence, or an empty one.
    pub fn forward(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        self.forward_observed(sequences, &mut |_, _| {})
    }

    /// As [`forward`](Reference::forward); shows each layer's output, `[T, hidden]`, as it appears:
    /// number 0 is the first layer's, number `n_layers` that of the last norm.
    ///
    /// # Errors
    /// As [`forward`](Reference::forward).
    ///
    /// # Panics
    /// As [`forward`](Reference::forward).
    pub fn forward_observed(
        &self,
        sequences: &[&[u32]],
        observe: &mut dyn FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        assert!(!sequences.is_empty(), "no sequence to embed");
        let spans = self.check(sequences)?;
        let longest = spans.iter().map(|span| span.len()).max().unwrap_or(0);
        let full = self.rope(longest, self.config.rope_theta_full)?;
        let sliding = self.rope(longest, self.config.rope_theta_sliding)?;
        let band = self.band(longest)?;

        let mut x = self.embed(sequences)?;
        for (i, layer) in self.weights.layers.iter().enumerate() {
            let (rope, band) = match self.config.layers[i] {
                LayerKind::Full => (&full, None),
                LayerKind::Sliding => (&sliding, band.as_ref()),
            };
            x = self.layer(&x, layer, &spans, rope, band)?;
            observe(i, &x);
        }
        let y = self.norm(&x, &self.weights.norm)?;
        observe(self.weights.layers.len(), &y);

        let means = spans.iter().map(|span| y.narrow(0, span.start, span.len())?.mean(0));
        let pooled = Tensor::stack(&means.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let e = linear(&linear(&pooled, &self.weights.dense_1)?, &self.weights.dense_2)?;
        Ok(unit(&e)?)
    }

    /// Where each sequence lies among the packed rows.
    fn check(&self, sequences: &[&[u32]]) -> Result<Vec<Range<usize>>> {
        let mut start = 0;
        let mut spans = Vec::with_capacity(sequences.len());
        for ids in sequences {
            assert!(!ids.is_empty(), "an empty sequence has no mean");
            if ids.len() > self.config.max_positions {
                let window = self.config.max_positions;
                return Err(Error::TooLong { n_tokens: ids.len(), window });
            }
            let vocab_size = self.config.vocab_size;
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
                return Err(Error::TokenOutsideTable { id, vocab_size });
            }
            spans.push(start..start + ids.len());
            start += ids.len();
        }
        Ok(spans)
    }

    /// Token rows times the root of the width. Returns `[T, hidden]`.
    fn embed(&self, sequences: &[&[u32]]) -> candle_core::Result<Tensor> {
        let ids = Tensor::new(sequences.concat(), &Device::Cpu)?;
        let scale = (self.config.hidden as f32).sqrt();
        self.weights.embedding.index_select(&ids, 0)?.affine(f64::from(scale), 0.0)
    }

    /// `x`: `[T, hidden]`. Each branch is normed before it is added back.
    fn layer(
        &self,
        x: &Tensor,
        layer: &LayerWeights<Tensor>,
        spans: &[Range<usize>],
        rope: &Rope,
        band: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let h = self.norm(x, &layer.input_norm)?;
        let a = self.attention(&h, layer, spans, rope, band)?;
        let x = (x + self.norm(&a, &layer.post_attention_norm)?)?;
        let g = self.norm(&x, &layer.pre_feedforward_norm)?;
        let m = self.feed_forward(&g, layer)?;
        x + self.norm(&m, &layer.post_feedforward_norm)?
    }

    /// `h`: `[T, hidden]`; attention inside each span.
    fn attention(
        &self,
        h: &Tensor,
        layer: &LayerWeights<Tensor>,
        spans: &[Range<usize>],
        rope: &Rope,
        band: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let Config { n_heads, n_kv_heads, head_dim, .. } = *self.config;
        let n_rows = h.dim(0)?;
        let heads = |w: &Tensor, n: usize| linear(h, w)?.reshape((n_rows, n, head_dim));
        let q = self.norm(&heads(&layer.q, n_heads)?, &layer.q_norm)?;
        let k = self.norm(&heads(&layer.k, n_kv_heads)?, &layer.k_norm)?;
        let v = heads(&layer.v, n_kv_heads)?;
        let mixed = spans.iter().map(|span| {
            let rows =
                |x: &Tensor| x.narrow(0, span.start, span.len())?.transpose(0, 1)?.contiguous();
            self.attend(&rope.turn(&rows(&q)?)?, &rope.turn(&rows(&k)?)?, &rows(&v)?, band)
        });
        let mixed = Tensor::cat(&mixed.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        linear(&mixed, &layer.o)
    }

    /// One sequence. `q`: `[n_heads, t, head_dim]`, `k` and `v`: `[n_kv_heads, t, head_dim]`.
    /// Returns `[t, n_heads * head_dim]`.
    fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        band: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let Config { n_heads, n_kv_heads, head_dim, .. } = *self.config;
        let t = q.dim(1)?;
        let n_shared = n_heads / n_kv_heads;
        // The query heads that share a key head are rows of one product.
        let q = q.reshape((n_kv_heads, n_shared * t, head_dim))?;
        let scale = self.config.query_pre_attn_scalar.powf(-0.5);
        let mut scores = q.matmul(&k.transpose(1, 2)?)?.affine(scale, 0.0)?;
        // A band that reaches over the whole sequence hides nothing.
        if let Some(band) = band.filter(|_| t > self.config.window_radius + 1) {
            let band = band.narrow(0, 0, t)?.narrow(1, 0, t)?;
            let grouped = scores.reshape((n_kv_heads, n_shared, t, t))?.broadcast_add(&band)?;
            scores = grouped.reshape((n_kv_heads, n_shared * t, t))?;
        }
        let mixed = softmax(&scores)?.matmul(v)?;
        mixed.reshape((n_heads, t, head_dim))?.transpose(0, 1)?.reshape((t, n_heads * head_dim))
    }

    /// `g`: `[T, hidden]`.
    fn feed_forward(
        &self,
        g: &Tensor,
        layer: &LayerWeights<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let gate = (self.activation)(&linear(g, &layer.gate)?)?;
        linear(&(gate * linear(g, &layer.up)?)?, &layer.down)
    }

    /// Scales rows to unit root-mean-square, then by `1 + weight`. `weight`: the last axis of `x`.
    fn norm(&self, x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean_square + self.config.rms_norm_eps)?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(&(weight + 1.0)?)
    }

    /// Angles of positions below `longest`: `position * theta ^ (-2 j / head_dim)`, in f32.
    fn rope(&self, longest: usize, theta: f64) -> candle_core::Result<Rope> {
        let half = self.config.head_dim / 2;
        let frequency =
            |j: usize| (1.0 / theta.powf(2.0 * j as f64 / self.config.head_dim as f64)) as f32;
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles = (0..longest).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let angles = Tensor::from_iter(angles, &Device::Cpu)?.reshape((longest, half))?;
        Ok(Rope { cos: angles.cos()?, sin: angles.sin()? })
    }

    /// `[longest, longest]`: 0 where `|i - j| <= window_radius`, else minus infinity. None where
    /// nothing would be hidden. The diagonal is never hidden, so no row of scores is empty.
    fn band(&self, longest: usize) -> candle_core::Result<Option<Tensor>> {
        let radius = self.config.window_radius;
        if longest <= radius + 1 {
            return Ok(None);
        }
        let entry =
            |i: usize, j: usize| if i.abs_diff(j) <= radius { 0.0 } else { f32::NEG_INFINITY };
        let band = (0..longest).flat_map(|i| (0..longest).map(move |j| entry(i, j)));
        Ok(Some(Tensor::from_iter(band, &Device::Cpu)?.reshape((longest, longest))?))
    }
}

impl Rope {
    /// Turns the pairs `(d, d + head_dim / 2)` of each row. `x`: `[n, t, head_dim]`.
    fn turn(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (_, t, head_dim) = x.dims3()?;
        let (cos, sin) = (self.cos.narrow(0, 0, t)?, self.sin.narrow(0, 0, t)?);
        let first = x.narrow(2, 0, head_dim / 2)?;
        let second = x.narrow(2, head_dim / 2, head_dim / 2)?;
        let turned_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let turned_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
        Tensor::cat(&[turned_first, turned_second], 2)
    }
}

/// `x`: `[n, n_in]`, `weight`: `[n_out, n_in]`. Returns `[n, n_out]`.
fn linear(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// Over the last axis. The largest score is subtracted first; it is a constant to the gradient.
fn softmax(scores: &Tensor) -> candle_core::Result<Tensor> {
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let exps = scores.broadcast_sub(&largest)?.exp()?;
    exps.broadcast_div(&exps.sum_keepdim(D::Minus1)?)
}

/// Rows to unit length. A row of zeros stays.
fn unit(rows: &Tensor) -> candle_core::Result<Tensor> {
    debug_assert_eq!(rows.dtype(), DType::F32);
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    rows.broadcast_div(&length.maximum(NORMALIZE_EPS)?)
}

#[cfg(test)]
mod tests;
