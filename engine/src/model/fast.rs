//! The forward pass for the processor: what the query path and ingest run.
//!
//! The same figure as [`reference`](super::reference), on flat buffers. Rows of all sequences are
//! packed end to end and cut into chunks that stay in a core's cache; the threads share the chunks.
//! Between two layers a chunk needs of the others only their keys and values, so a layer's attention
//! and feed-forward and the next layer's q, k and v are one step, and all threads meet once a layer.
//! They read the same weights at the same time: each comes from memory once.
//!
//! A query is too short to be cut: there the threads share the weights' panels instead.

mod attention;
pub(crate) mod rope;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::adalink::Link;
use crate::kernel::{self, Epilogue, Lines, PANEL, Precision, Rows};
use crate::model::prepared::{Layer, MatrixAt, Prepared};
use crate::package::{Config, LayerKind, Matrix};
use rope::{Rope, Ropes};

/// Rows of a chunk: enough to use each weight often, few enough for a core's cache.
const CHUNK_ROWS: usize = 128;

/// A pass of at most so many rows is shared out by weights, not by rows.
const SHORT_ROWS: usize = 32;

/// The forward pass with its weights.
pub(crate) struct Fast {
    config: Config,
    weights: Prepared,
    ropes: Ropes,
    /// Room to work in, one for each thread that ever worked at the same time.
    scratch: Mutex<Vec<Scratch>>,
}

/// The buffers of one thread, for a chunk of `n` rows.
struct Scratch {
    normed: Vec<f32>, // [hidden]
    branch: Vec<f32>, // [n, hidden]
    mixed: Vec<f32>,  // [n, n_heads * head_dim]
    inner: Vec<f32>,  // [n, intermediate]
    blocks: Vec<f32>, // room for products that threads share
    rows: Rows,
    attention: attention::Scratch,
}

/// A pass: what stays the same for all chunks and layers.
struct Pass {
    /// The rows of each sequence.
    sequences: Vec<Range<usize>>,
    /// Of full, then of sliding layers.
    ropes: Arc<[Rope; 2]>,
    is_short: bool,
}

impl Pass {
    fn n_rows(&self) -> usize {
        self.sequences.last().map_or(0, |rows| rows.end)
    }
}

impl Fast {
    pub(crate) fn new(config: &Config, weights: Prepared) -> Fast {
        Fast { config: config.clone(), weights, ropes: Ropes::default(), scratch: Mutex::default() }
    }

    /// The precision of the arithmetic.
    pub(crate) fn precision(&self) -> Precision {
        self.weights.layout.precision
    }

    /// Memory that a pass needs for each of its tokens, about.
    pub(crate) fn bytes_per_token(&self) -> usize {
        let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = self.config;
        let width = (n_heads + 2 * n_kv_heads) * head_dim;
        // The states and two of q, k and v stay; the rest is of a chunk, and counted in full.
        4 * (hidden + 2 * width) + 4 * (hidden + n_heads * head_dim + intermediate)
    }

    /// Embeds sequences of token ids, `<bos>` and `<eos>` included: unit vectors of full width.
    ///
    /// # Panics
    /// If a sequence is empty, or an id outside the table: the tokenizer's door checks both.
    pub(crate) fn forward(&self, sequences: &[&[u32]]) -> Vec<Vec<f32>> {
        self.forward_linked(sequences, &[])
    }

    /// As [`forward`](Fast::forward). `links`: what is applied to the rows of each sequence's tokens, or
    /// nothing at all.
    ///
    /// # Panics
    /// As [`forward`](Fast::forward), and if a link is of another width.
    pub(crate) fn forward_linked(
        &self,
        sequences: &[&[u32]],
        links: &[Option<&Link>],
    ) -> Vec<Vec<f32>> {
        let Config { hidden, n_heads, n_kv_heads, head_dim, .. } = self.config;
        let width = (n_heads + 2 * n_kv_heads) * head_dim;
        let pass = self.pass(sequences);
        let n_rows = pass.n_rows();
        let n_threads = rayon::current_num_threads();
        let share = n_rows.div_ceil(n_threads).next_multiple_of(16);
        let chunk = if pass.is_short { n_rows.max(1) } else { share.clamp(16, CHUNK_ROWS) };

        let mut x = vec![0f32; n_rows * hidden];
        let mut qkv = vec![0f32; n_rows * width];
        let mut next = vec![0f32; n_rows * width];
        let ids: Vec<u32> = sequences.iter().copied().flatten().copied().collect();
        let first = &self.weights.layout.layers[0];
        self.in_chunks(chunk, &mut x, &mut qkv, |rows, x, qkv, scratch| {
            let scale = (hidden as f32).sqrt();
            for (&id, row) in ids[rows.clone()].iter().zip(x.chunks_exact_mut(hidden)) {
                self.weights.embedding(id, scale, row);
            }
            apply_links(links, &pass.sequences, rows.clone(), x);
            self.queries_keys_values(first, &pass, rows, x, qkv, scratch);
        });
        for (i, layer) in self.weights.layout.layers.iter().enumerate() {
            self.in_chunks(chunk, &mut x, &mut next, |rows, x, next, scratch| {
                self.attention(layer, &pass, rows.clone(), &qkv, scratch);
                self.add_normed(x, &layer.post_attention_norm, scratch);
                self.feed_forward(layer, &pass, x, scratch);
                self.add_normed(x, &layer.post_feedforward_norm, scratch);
                if let Some(layer) = self.weights.layout.layers.get(i + 1) {
                    self.queries_keys_values(layer, &pass, rows, x, next, scratch);
                }
            });
            std::mem::swap(&mut qkv, &mut next);
        }
        self.heads_of(&pass, &x)
    }

    /// Runs the only layer, in place, on all rows `x` of the sequences; returns what reached its four
    /// matrices (in f32: nothing else can be read back).
    pub(crate) fn observe_layer(&self, sequences: &[&[u32]], x: &mut [f32]) -> [Matrix; 4] {
        let Config { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let pass = Pass { is_short: false, ..self.pass(sequences) };
        let layer = &self.weights.layout.layers[0];
        let n_rows = pass.n_rows();
        let mut qkv = vec![0f32; n_rows * (n_heads + 2 * n_kv_heads) * head_dim];
        self.with_scratch(|scratch| {
            self.queries_keys_values(layer, &pass, 0..n_rows, x, &mut qkv, scratch);
            let attention = scratch.rows.to_matrix();
            self.attention(layer, &pass, 0..n_rows, &qkv, scratch);
            let mixed = scratch.rows.to_matrix();
            self.add_normed(x, &layer.post_attention_norm, scratch);
            self.norm_into_rows(x, &layer.pre_feedforward_norm, scratch);
            let feed_forward = scratch.rows.to_matrix();
            self.feed_forward(layer, &pass, x, scratch);
            let inner = scratch.rows.to_matrix();
            self.add_normed(x, &layer.post_feedforward_norm, scratch);
            [attention, mixed, feed_forward, inner]
        })
    }

    /// The vectors of sequences whose rows behind the last layer are `x`.
    pub(crate) fn heads(&self, sequences: &[&[u32]], x: &[f32]) -> Vec<Vec<f32>> {
        self.heads_of(&self.pass(sequences), x)
    }

    fn heads_of(&self, pass: &Pass, x: &[f32]) -> Vec<Vec<f32>> {
        let hidden = self.config.hidden;
        let vectors = pass.sequences.par_iter().map(|rows| {
            let rows = &x[rows.start * hidden..rows.end * hidden];
            self.with_scratch(|scratch| self.head(rows, scratch))
        });
        vectors.collect()
    }

    /// The only layer and its bytes.
    pub(crate) fn into_layer(self) -> (Layer, Lines) {
        self.weights.into_layer()
    }

    fn pass(&self, sequences: &[&[u32]]) -> Pass {
        let mut n_rows = 0;
        let ranges = sequences.iter().map(|ids| {
            n_rows += ids.len();
            n_rows - ids.len()..n_rows
        });
        let sequences: Vec<Range<usize>> = ranges.collect();
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        let ropes = self.ropes.reaching(longest, &self.config);
        let is_short = rayon::current_num_threads() > 1 && n_rows <= SHORT_ROWS;
        Pass { sequences, ropes, is_short }
    }

    /// Runs `step` on each chunk of rows of two matrices, by all threads.
    fn in_chunks(
        &self,
        chunk: usize,
        x: &mut [f32],
        qkv: &mut [f32],
        step: impl Fn(Range<usize>, &mut [f32], &mut [f32], &mut Scratch) + Sync,
    ) {
        let hidden = self.config.hidden;
        let width = qkv.len() / (x.len() / hidden).max(1);
        let run = |(i, (x, qkv)): (usize, (&mut [f32], &mut [f32]))| {
            let rows = i * chunk..i * chunk + x.len() / hidden;
            self.with_scratch(|scratch| step(rows, x, qkv, scratch));
        };
        if x.len() <= chunk * hidden {
            // One chunk: whatever is parallel is inside.
            return run((0, (x, qkv)));
        }
        let chunks = x.par_chunks_mut(chunk * hidden).zip(qkv.par_chunks_mut(chunk * width));
        chunks.enumerate().for_each(run);
    }

    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_else(|| Scratch::new(self.weights.layout.precision));
        let result = work(&mut scratch);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }

    /// `qkv`: normed, joined, q and k normed by head and turned by their positions.
    fn queries_keys_values(
        &self,
        layer: &Layer,
        pass: &Pass,
        rows: Range<usize>,
        x: &[f32],
        qkv: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Config { n_heads, n_kv_heads, head_dim, rms_norm_eps, .. } = self.config;
        let width = (n_heads + 2 * n_kv_heads) * head_dim;
        self.norm_into_rows(x, &layer.input_norm, scratch);
        self.linear(&layer.qkv, Epilogue::Plain, pass, &scratch.rows, &mut scratch.blocks, qkv);
        let rope = &pass.ropes[usize::from(layer.kind == LayerKind::Sliding)];
        let mut sequence = pass.sequences.partition_point(|s| s.end <= rows.start);
        let normed = &mut scratch.normed;
        normed.resize(head_dim, 0.0);
        for (row, qkv) in rows.zip(qkv.chunks_exact_mut(width)) {
            while row >= pass.sequences[sequence].end {
                sequence += 1;
            }
            let (cos, sin) = rope.at(row - pass.sequences[sequence].start);
            for (i, head) in qkv.chunks_exact_mut(head_dim).take(n_heads + n_kv_heads).enumerate() {
                let gain = if i < n_heads { &layer.q_norm } else { &layer.k_norm };
                kernel::rms_norm(head, gain, rms_norm_eps as f32, normed);
                head.copy_from_slice(normed);
                kernel::rope(head, cos, sin);
            }
        }
    }

    /// From `x` to `branch`.
    fn feed_forward(&self, layer: &Layer, pass: &Pass, x: &[f32], scratch: &mut Scratch) {
        let Config { hidden, intermediate, .. } = self.config;
        let n_rows = x.len() / hidden;
        self.norm_into_rows(x, &layer.pre_feedforward_norm, scratch);
        // Gate and up are padded to whole halves of a panel.
        let width = intermediate.next_multiple_of(PANEL / 2);
        let Scratch { rows, blocks, inner, branch, .. } = scratch;
        inner.resize(n_rows * width, 0.0);
        self.linear(&layer.gate_up, Epilogue::Geglu, pass, rows, blocks, inner);
        rows.reset(n_rows, intermediate);
        for (i, row) in inner.chunks_exact(width).enumerate() {
            rows.set(i, &row[..intermediate]);
        }
        branch.resize(n_rows * hidden, 0.0);
        self.linear(&layer.down, Epilogue::Plain, pass, rows, blocks, branch);
    }

    /// Norms each row of `x` into the rows of the next product.
    fn norm_into_rows(&self, x: &[f32], gain: &[f32], scratch: &mut Scratch) {
        let Config { hidden, rms_norm_eps, .. } = self.config;
        let Scratch { normed, rows, .. } = scratch;
        normed.resize(hidden, 0.0);
        rows.reset(x.len() / hidden, hidden);
        for (i, row) in x.chunks_exact(hidden).enumerate() {
            kernel::rms_norm(row, gain, rms_norm_eps as f32, normed);
            rows.set(i, normed);
        }
    }

    /// Adds `branch`, normed, to `x`.
    fn add_normed(&self, x: &mut [f32], gain: &[f32], scratch: &Scratch) {
        kernel::rms_norm_add(&scratch.branch, gain, self.config.rms_norm_eps as f32, x);
    }

    /// `out`: `[n_rows, n_outputs]`
    fn linear(
        &self,
        matrix: &MatrixAt,
        epilogue: Epilogue,
        pass: &Pass,
        rows: &Rows,
        blocks: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let panels = self.weights.panels(matrix);
        let n_outputs = panels.n_outputs / if epilogue == Epilogue::Geglu { 2 } else { 1 };
        if pass.is_short {
            kernel::product_shared(rows, panels, epilogue, blocks, out, n_outputs);
        } else {
            kernel::product(rows, panels, epilogue, out, n_outputs);
        }
    }

    /// The final norm, the mean of the rows, the dense layers, and unit length.
    fn head(&self, x: &[f32], scratch: &mut Scratch) -> Vec<f32> {
        let Config { hidden, rms_norm_eps, .. } = self.config;
        let normed = &mut scratch.normed;
        normed.resize(hidden, 0.0);
        let mut mean = vec![0f32; hidden];
        for row in x.chunks_exact(hidden) {
            kernel::rms_norm(row, &self.weights.layout.norm, rms_norm_eps as f32, normed);
            mean.iter_mut().zip(&*normed).for_each(|(mean, x)| *mean += x);
        }
        let n_rows = (x.len() / hidden) as f32;
        mean.iter_mut().for_each(|x| *x /= n_rows);
        let dense = self.weights.panels(&self.weights.layout.dense);
        let mut row = Rows::new(dense.precision);
        row.reset(1, hidden);
        row.set(0, &mean);
        let mut vector = vec![0.0; dense.n_outputs];
        let width = vector.len();
        kernel::product(&row, dense, Epilogue::Plain, &mut vector, width);
        let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = (1.0 / square.sqrt().max(1e-12)) as f32;
        vector.iter_mut().for_each(|x| *x *= scale);
        vector
    }
}

/// Applies to each sequence's rows its link; `x` are those of `rows`.
fn apply_links(
    links: &[Option<&Link>],
    sequences: &[Range<usize>],
    rows: Range<usize>,
    x: &mut [f32],
) {
    let hidden = x.len() / rows.len().max(1);
    for (sequence, link) in sequences.iter().zip(links) {
        let (first, end) = (sequence.start.max(rows.start), sequence.end.min(rows.end));
        if let (Some(link), true) = (link, first < end) {
            assert_eq!(link.width(), hidden, "a link of the model's width");
            link.apply(&mut x[(first - rows.start) * hidden..(end - rows.start) * hidden]);
        }
    }
}

impl Scratch {
    fn new(precision: Precision) -> Scratch {
        Scratch {
            normed: Vec::new(),
            branch: Vec::new(),
            mixed: Vec::new(),
            inner: Vec::new(),
            blocks: Vec::new(),
            rows: Rows::new(precision),
            attention: attention::Scratch::new(precision),
        }
    }
}

#[cfg(test)]
mod tests;
