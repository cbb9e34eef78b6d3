//! The forward pass for the processor, f32: what the query path and ingest run.
//!
//! The same figure as [`reference`](super::reference), on flat buffers that are allocated once a
//! pass: packed rows through the linear layers, attention inside each sequence by blocks of query
//! rows whose scores stay in cache. On sliding layers a block meets only the keys inside its window,
//! so the work grows with `T * window`, not `T * T`.
//!
//! Weights that read the same input are joined at load (q, k and v; gate and up), the two dense
//! layers, which have nothing between them, are one matrix. A pass runs on one thread; callers run
//! several passes at once.

use crate::kernel::{self, Side, matmul};
use crate::package::{Config, LayerKind, LayerWeights, Matrix, Weights};

/// Query rows whose scores are held at a time.
const BLOCK_ROWS: usize = 64;

/// The forward pass with its weights.
pub(crate) struct Fast {
    config: Config,
    /// `[vocab_size, hidden]`
    embedding: Matrix,
    layers: Vec<Layer>,
    /// `[hidden]`, one added
    norm: Vec<f32>,
    /// `[full_width, hidden]`
    dense: Matrix,
}

/// One layer; norms with one added.
struct Layer {
    kind: LayerKind,
    input_norm: Vec<f32>,            // [hidden]
    qkv: Matrix,                     // [(n_heads + 2 n_kv_heads) * head_dim, hidden]
    q_norm: Vec<f32>,                // [head_dim]
    k_norm: Vec<f32>,                // [head_dim]
    o: Matrix,                       // [hidden, n_heads * head_dim]
    post_attention_norm: Vec<f32>,   // [hidden]
    pre_feedforward_norm: Vec<f32>,  // [hidden]
    gate_up: Matrix,                 // [2 * intermediate, hidden]
    down: Matrix,                    // [hidden, intermediate]
    post_feedforward_norm: Vec<f32>, // [hidden]
}

/// The buffers of one pass over `T` rows.
struct Buffers {
    x: Vec<f32>,           // [T, hidden]
    normed: Vec<f32>,      // [T, hidden]
    branch: Vec<f32>,      // [T, hidden]
    qkv: Vec<f32>,         // [T, (n_heads + 2 n_kv_heads) * head_dim]
    mixed: Vec<f32>,       // [T, n_heads * head_dim]
    gate_up: Vec<f32>,     // [T, 2 * intermediate]
    inner: Vec<f32>,       // [T, intermediate]
    scores: Vec<f32>,      // [BLOCK_ROWS, longest]
    normed_head: Vec<f32>, // [head_dim]
}

/// Cosine and sine of the rotary angles, `[longest, head_dim / 2]` each.
struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Fast {
    /// Takes the weights over; what is joined is not kept twice.
    pub(crate) fn new(config: &Config, weights: Weights) -> Fast {
        let Weights { embedding, layers, norm, dense_1, dense_2 } = weights;
        let kinds = config.layers.iter();
        let layers = layers.into_iter().zip(kinds).map(|(w, kind)| Layer::new(w, *kind));
        Fast {
            config: config.clone(),
            embedding,
            layers: layers.collect(),
            norm: plus_one(&norm),
            dense: product(&dense_2, &dense_1),
        }
    }

    /// Embeds sequences of token ids, `<bos>` and `<eos>` included: unit vectors of full width.
    ///
    /// # Panics
    /// If a sequence is empty, or an id outside the table: the tokenizer's door checks both.
    pub(crate) fn forward(&self, sequences: &[&[u32]]) -> Vec<Vec<f32>> {
        let Config { hidden, rms_norm_eps, .. } = self.config;
        let eps = rms_norm_eps as f32;
        let lengths: Vec<usize> = sequences.iter().map(|ids| ids.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let n_rows = lengths.iter().sum();
        let mut buffers = Buffers::new(&self.config, n_rows, longest);
        let full = Rope::new(&self.config, longest, self.config.rope_theta_full);
        let sliding = Rope::new(&self.config, longest, self.config.rope_theta_sliding);

        self.embed(sequences, &mut buffers.x);
        for layer in &self.layers {
            let rope = if layer.kind == LayerKind::Full { &full } else { &sliding };
            self.attention(layer, rope, &lengths, &mut buffers);
            kernel::rms_norm_add(&buffers.branch, &layer.post_attention_norm, eps, &mut buffers.x);
            self.feed_forward(layer, &mut buffers);
            kernel::rms_norm_add(
                &buffers.branch,
                &layer.post_feedforward_norm,
                eps,
                &mut buffers.x,
            );
        }
        kernel::rms_norm(&buffers.x, &self.norm, eps, &mut buffers.normed);

        let mut start = 0;
        let vectors = lengths.iter().map(|&t| {
            let rows = &buffers.normed[start * hidden..(start + t) * hidden];
            start += t;
            self.head(&mean(rows, hidden))
        });
        vectors.collect()
    }

    fn embed(&self, sequences: &[&[u32]], x: &mut [f32]) {
        let hidden = self.config.hidden;
        let scale = (hidden as f32).sqrt();
        let ids = sequences.iter().copied().flatten();
        for (row, &id) in x.chunks_exact_mut(hidden).zip(ids) {
            let token = &self.embedding.values[id as usize * hidden..][..hidden];
            for (x, e) in row.iter_mut().zip(token) {
                *x = e * scale;
            }
        }
    }

    /// From `x` to `branch`.
    fn attention(&self, layer: &Layer, rope: &Rope, lengths: &[usize], buffers: &mut Buffers) {
        let Config { n_heads, n_kv_heads, head_dim, rms_norm_eps, .. } = self.config;
        let eps = rms_norm_eps as f32;
        let stride = (n_heads + 2 * n_kv_heads) * head_dim;
        kernel::rms_norm(&buffers.x, &layer.input_norm, eps, &mut buffers.normed);
        linear(&buffers.normed, &layer.qkv, &mut buffers.qkv);
        let mut start = 0;
        for &t in lengths {
            for (p, row) in
                buffers.qkv[start * stride..][..t * stride].chunks_exact_mut(stride).enumerate()
            {
                let (cos, sin) = rope.at(p, head_dim / 2);
                for (i, head) in
                    row.chunks_exact_mut(head_dim).take(n_heads + n_kv_heads).enumerate()
                {
                    let gain = if i < n_heads { &layer.q_norm } else { &layer.k_norm };
                    kernel::rms_norm(head, gain, eps, &mut buffers.normed_head);
                    head.copy_from_slice(&buffers.normed_head);
                    kernel::rope(head, cos, sin);
                }
            }
            self.attend(layer.kind, start, t, buffers);
            start += t;
        }
        linear(&buffers.mixed, &layer.o, &mut buffers.branch);
    }

    /// Attention inside the sequence of `t` rows that begins at row `start`.
    fn attend(&self, kind: LayerKind, start: usize, t: usize, buffers: &mut Buffers) {
        let Config { n_heads, n_kv_heads, head_dim, window_radius, .. } = self.config;
        let stride = (n_heads + 2 * n_kv_heads) * head_dim;
        let scale = self.config.query_pre_attn_scalar.powf(-0.5) as f32;
        let radius = if kind == LayerKind::Full { t } else { window_radius };
        let mut visible = [(0, 0); BLOCK_ROWS];
        for first in (0..t).step_by(BLOCK_ROWS) {
            let n_rows = BLOCK_ROWS.min(t - first);
            // The keys that any row of the block sees.
            let keys = first.saturating_sub(radius)..t.min(first + n_rows + radius);
            for (row, (from, to)) in visible[..n_rows].iter_mut().enumerate() {
                *from = (first + row).saturating_sub(radius) - keys.start;
                *to = t.min(first + row + radius + 1) - keys.start;
            }
            for head in 0..n_heads {
                let kv = n_heads + head / (n_heads / n_kv_heads);
                let at = |row: usize, head: usize| (start + row) * stride + head * head_dim;
                let q = Side::rows(&buffers.qkv[at(first, head)..], stride);
                let k = Side::transposed(&buffers.qkv[at(keys.start, kv)..], stride);
                let v = Side::rows(&buffers.qkv[at(keys.start, kv + n_kv_heads)..], stride);
                let scores = &mut buffers.scores[..n_rows * keys.len()];
                matmul((n_rows, keys.len(), head_dim), q, k, scores, keys.len());
                kernel::softmax(scores, keys.len(), scale, &visible[..n_rows]);
                let width = n_heads * head_dim;
                let mixed = &mut buffers.mixed[(start + first) * width + head * head_dim..];
                let scores = Side::rows(scores, keys.len());
                matmul((n_rows, head_dim, keys.len()), scores, v, mixed, width);
            }
        }
    }

    /// From `x` to `branch`.
    fn feed_forward(&self, layer: &Layer, buffers: &mut Buffers) {
        let eps = self.config.rms_norm_eps as f32;
        kernel::rms_norm(&buffers.x, &layer.pre_feedforward_norm, eps, &mut buffers.normed);
        linear(&buffers.normed, &layer.gate_up, &mut buffers.gate_up);
        kernel::geglu(&buffers.gate_up, self.config.intermediate, &mut buffers.inner);
        linear(&buffers.inner, &layer.down, &mut buffers.branch);
    }

    /// The dense layers, and unit length. `pooled`: `[hidden]`.
    fn head(&self, pooled: &[f32]) -> Vec<f32> {
        let mut vector = vec![0.0; self.dense.n_rows];
        linear(pooled, &self.dense, &mut vector);
        let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = (1.0 / square.sqrt().max(1e-12)) as f32;
        vector.iter_mut().for_each(|x| *x *= scale);
        vector
    }
}

impl Layer {
    fn new(w: LayerWeights, kind: LayerKind) -> Layer {
        Layer {
            kind,
            input_norm: plus_one(&w.input_norm),
            qkv: stacked([w.q, w.k, w.v]),
            q_norm: plus_one(&w.q_norm),
            k_norm: plus_one(&w.k_norm),
            o: w.o,
            post_attention_norm: plus_one(&w.post_attention_norm),
            pre_feedforward_norm: plus_one(&w.pre_feedforward_norm),
            gate_up: stacked([w.gate, w.up]),
            down: w.down,
            post_feedforward_norm: plus_one(&w.post_feedforward_norm),
        }
    }
}

impl Buffers {
    fn new(config: &Config, n_rows: usize, longest: usize) -> Buffers {
        let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
        let rows = |width: usize| vec![0.0; n_rows * width];
        Buffers {
            x: rows(hidden),
            normed: rows(hidden),
            branch: rows(hidden),
            qkv: rows((n_heads + 2 * n_kv_heads) * head_dim),
            mixed: rows(n_heads * head_dim),
            gate_up: rows(2 * intermediate),
            inner: rows(intermediate),
            scores: vec![0.0; BLOCK_ROWS * longest],
            normed_head: vec![0.0; head_dim],
        }
    }
}

impl Rope {
    fn new(config: &Config, longest: usize, theta: f64) -> Rope {
        let half = config.head_dim / 2;
        let frequency =
            |j: usize| (1.0 / theta.powf(2.0 * j as f64 / config.head_dim as f64)) as f32;
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles = (0..longest).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Rope { cos, sin }
    }

    fn at(&self, position: usize, half: usize) -> (&[f32], &[f32]) {
        (&self.cos[position * half..][..half], &self.sin[position * half..][..half])
    }
}

/// `x`: `[n, n_cols]`, `out`: `[n, n_rows]` of the weight.
fn linear(x: &[f32], weight: &Matrix, out: &mut [f32]) {
    let Matrix { values, n_rows, n_cols } = weight;
    let n = x.len() / n_cols;
    let shape = (n, *n_rows, *n_cols);
    matmul(shape, Side::rows(x, *n_cols), Side::transposed(values, *n_cols), out, *n_rows);
}

/// The mean row.
fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
    }
    let n_rows = (rows.len() / width) as f32;
    mean.iter_mut().for_each(|x| *x /= n_rows);
    mean
}

fn plus_one(norm: &Matrix) -> Vec<f32> {
    norm.values.iter().map(|w| 1.0 + w).collect()
}

/// One matrix above the other.
fn stacked<const N: usize>(parts: [Matrix; N]) -> Matrix {
    let n_cols = parts[0].n_cols;
    let n_rows = parts.iter().map(|part| part.n_rows).sum();
    let values = parts.into_iter().flat_map(|part| part.values).collect();
    Matrix { values, n_rows, n_cols }
}

/// `left right`, summed in f64.
fn product(left: &Matrix, right: &Matrix) -> Matrix {
    let mut values = Vec::with_capacity(left.n_rows * right.n_cols);
    let mut sums = vec![0f64; right.n_cols];
    for row in left.values.chunks_exact(left.n_cols) {
        sums.fill(0.0);
        for (&a, column) in row.iter().zip(right.values.chunks_exact(right.n_cols)) {
            for (sum, &b) in sums.iter_mut().zip(column) {
                *sum += f64::from(a) * f64::from(b);
            }
        }
        values.extend(sums.iter().map(|&sum| sum as f32));
    }
    Matrix { values, n_rows: left.n_rows, n_cols: right.n_cols }
}

#[cfg(test)]
mod tests;
