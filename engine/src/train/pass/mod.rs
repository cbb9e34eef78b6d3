//! The pass forward and back over weights in training, on the kernels of the fast pass.
//!
//! ```text
//! ids --inputs--> token rows --layers--> states --pool--> means --dense--> vectors   (forward)
//! ```
//!
//! There is no graph of operations: the derivative of each line of the forward pass is written out,
//! by hand, in the function of the same name with `_back` behind it. The two are tested against
//! automatic differentiation of the reference pass and against finite differences.
//!
//! A batch is cut into chunks of whole sequences. A chunk needs nothing of the others, so a thread
//! takes it through all layers by itself while its rows are in the thread's cache; threads meet only
//! where the batch begins and ends. For the way back each thread is given a fixed run of chunks and
//! its own sums, which are added in the order of the batch: the same number of threads gives the same
//! bytes.
//!
//! Differs from the forward pass that serves: the two dense layers stay two, since both are trained.

mod attention;
mod chunk;
mod dense;
mod inputs;
mod layer;
mod matrix_gradient;
mod packed;
mod tape;

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::adalink::Link;
use crate::kernel::{self, Precision, Rows};
use crate::model::Ropes;
use crate::package::{Config, LayerWeights, Matrix, Weights};
use chunk::{Sums, chunks};
use matrix_gradient::MatrixGradient;
use packed::Packed;
pub use tape::Tape;
use tape::{Chunk, LayerTape, Room};

/// What a tape may take of memory for the inside of layers, in bytes. Beyond it the tape has only the
/// rows between layers, and the way back makes the rest again.
const TAPE_BYTES: usize = 1 << 30;

/// Weights in training and the pass forward and back over them.
pub struct Pass {
    config: Config,
    weights: Weights,
    packed: Packed,
    precision: Precision,
    ropes: Ropes,
    tape_bytes: usize,
    /// The derivative of what lies between the two halves of the feed-forward block.
    geglu_back: fn(&[f32], usize, &mut [f32], &mut [f32]),
    /// Of tapes that are gone.
    room: Room,
    /// Room to work in, one for each thread that ever worked at the same time.
    scratch: Mutex<Vec<Scratch>>,
}

/// The buffers of one thread, for a chunk of `n` rows.
struct Scratch {
    rows: Rows,
    matrix_gradient: MatrixGradient,
    attention: attention::Scratch,
    normed: Vec<f32>,  // [n, hidden]
    branch: Vec<f32>,  // [n, hidden], gradient
    turned: Vec<f32>,  // [n, (n_heads + 2 n_kv_heads) * head_dim]
    qkv: Vec<f32>,     // the same shape, gradient
    mixed: Vec<f32>,   // [n, n_heads * head_dim], gradient
    inner: Vec<f32>,   // [n, intermediate], gradient on the way back
    gate_up: Vec<f32>, // [n, 2 * intermediate], gradient
    head: Vec<f32>,    // [head_dim]
    tape: LayerTape,   // of a layer that is made again
    next: Vec<f32>,    // [n, hidden]
}

impl Pass {
    /// A pass over these weights.
    ///
    /// `precision`: f32, or bf16 for products of numbers rounded to bf16, summed in f32. The weights
    /// and all gradients are f32 in both.
    ///
    /// # Panics
    /// In another precision, or if the weights do not have the config's shapes.
    pub fn new(config: &Config, weights: Weights, precision: Precision) -> Pass {
        assert!(
            matches!(precision, Precision::F32 | Precision::Bf16),
            "no training in {}",
            precision.name()
        );
        assert!(
            weights.layers.len() == config.layers.len()
                && weights.embedding.values.len() == config.vocab_size * config.hidden,
            "weights of another shape than the config's"
        );
        Pass {
            config: config.clone(),
            packed: Packed::new(&weights, precision),
            weights,
            precision,
            ropes: Ropes::default(),
            tape_bytes: TAPE_BYTES,
            geglu_back: kernel::geglu_back,
            room: Room::default(),
            scratch: Mutex::default(),
        }
    }

    /// The weights as they are now.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Has the weights changed, in f32, and packs them for the kernels again.
    pub fn update(&mut self, change: impl FnOnce(&mut Weights)) {
        change(&mut self.weights);
        self.packed = Packed::new(&self.weights, self.precision);
    }

    /// Embeds sequences of token ids, `<bos>` and `<eos>` included: vectors before they are scaled to
    /// unit length, and what the way back needs.
    ///
    /// `links`: one for each sequence, or an empty slice for none at all. A link changes the scaled
    /// token rows: `x + strength * U (V^T x)`.
    ///
    /// # Panics
    /// If there is no sequence, one is empty or longer than `max_positions`, an id lies outside the
    /// table, or a link does not fit.
    pub fn forward(&self, sequences: &[&[u32]], links: &[Option<&Link>]) -> Tape {
        let mut tape = self.tape(sequences, links);
        let is_kept = tape.ids.len() * self.layer_bytes() <= self.tape_bytes;
        let chunks = chunks(&tape.spans, rayon::current_num_threads());
        let passed = chunks.into_par_iter().map(|sequences| {
            self.with_scratch(|scratch| self.forward_chunk(&tape, sequences, is_kept, scratch))
        });
        let (chunks, pooled): (Vec<Chunk>, Vec<Vec<f32>>) = passed.unzip();
        tape.chunks = chunks;
        self.dense(pooled.concat(), &mut tape);
        tape
    }

    /// Adds the gradients of all weights to `gradients`.
    ///
    /// `gradient`: the loss's by [`Tape::vectors`], `[n_sequences, full_width]`.
    ///
    /// # Panics
    /// If shapes do not fit, or the tape is of another pass.
    pub fn backward(&self, tape: &Tape, gradient: &[f32], gradients: &mut Weights) {
        let of_pooled = self.dense_back(tape, gradient, Some(gradients));
        let n_lanes = rayon::current_num_threads().min(tape.chunks.len()).max(1);
        let mut others: Vec<Weights> = (1..n_lanes).map(|_| zeros(gradients)).collect();
        let mut sums = vec![Sums { layers: &mut gradients.layers, norm: &mut gradients.norm }];
        sums.extend(others.iter_mut().map(|w| Sums { layers: &mut w.layers, norm: &mut w.norm }));
        let of_inputs = self.back(tape, &of_pooled, sums.into_iter().map(Some).collect());
        for other in &others {
            add_layers(gradients, other);
        }
        self.inputs_back(tape, &of_inputs, &mut gradients.embedding);
    }

    /// The gradient by the token rows behind scale and link, `[T, hidden]`; none of any weight's.
    ///
    /// `gradient`, panics: as in [`backward`](Pass::backward).
    pub fn backward_inputs(&self, tape: &Tape, gradient: &[f32]) -> Vec<f32> {
        let of_pooled = self.dense_back(tape, gradient, None);
        let n_lanes = rayon::current_num_threads().min(tape.chunks.len()).max(1);
        self.back(tape, &of_pooled, (0..n_lanes).map(|_| None).collect())
    }

    /// From the gradient by pooled rows to that by the first layer's inputs, `[T, hidden]`. Each of
    /// `sums` gets those of a run of chunks, as many as of any other, give or take one.
    fn back(&self, tape: &Tape, of_pooled: &[f32], sums: Vec<Option<Sums>>) -> Vec<f32> {
        let hidden = self.config.hidden;
        let mut of_inputs = vec![0.0; tape.ids.len() * hidden];
        let (n_chunks, n_lanes) = (tape.chunks.len(), sums.len());
        let mut rest = &mut of_inputs[..];
        let mut lanes = Vec::with_capacity(n_lanes);
        for (i, sums) in sums.into_iter().enumerate() {
            let chunks = &tape.chunks[n_chunks * i / n_lanes..n_chunks * (i + 1) / n_lanes];
            let n_rows: usize = chunks.iter().map(|chunk| chunk.rows.len()).sum();
            let (g, behind) = rest.split_at_mut(n_rows * hidden);
            rest = behind;
            lanes.push((chunks, g, sums));
        }
        lanes.into_par_iter().for_each(|(chunks, mut g, mut sums)| {
            for chunk in chunks {
                let (of_chunk, behind) =
                    std::mem::take(&mut g).split_at_mut(chunk.rows.len() * hidden);
                g = behind;
                self.with_scratch(|scratch| {
                    self.back_chunk(tape, chunk, of_pooled, of_chunk, sums.as_mut(), scratch);
                });
            }
        });
        of_inputs
    }

    /// What a tape keeps of a token inside the layers.
    fn layer_bytes(&self) -> usize {
        let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = self.config;
        let width = 2 * (n_heads + n_kv_heads) * head_dim;
        self.config.layers.len() * (width + 3 * hidden + 2 * intermediate) * size_of::<f32>()
    }

    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_else(|| Scratch::new(self.precision));
        let result = work(&mut scratch);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }
}

impl Scratch {
    fn new(precision: Precision) -> Scratch {
        Scratch {
            rows: Rows::new(precision),
            matrix_gradient: MatrixGradient::new(precision),
            attention: attention::Scratch::new(precision),
            normed: Vec::new(),
            branch: Vec::new(),
            turned: Vec::new(),
            qkv: Vec::new(),
            mixed: Vec::new(),
            inner: Vec::new(),
            gate_up: Vec::new(),
            head: Vec::new(),
            tape: LayerTape::default(),
            next: Vec::new(),
        }
    }
}

/// Gradients of layers and norm to add up apart; of the rest nothing.
fn zeros(like: &Weights) -> Weights {
    let zeros = |matrix: &Matrix| Matrix::zeros(matrix.n_rows, matrix.n_cols);
    let layer = |layer: &LayerWeights| {
        let Ok(zeros) = layer.map(|matrix| Ok::<_, Infallible>(zeros(matrix)));
        zeros
    };
    Weights {
        embedding: Matrix::default(),
        layers: like.layers.iter().map(layer).collect(),
        norm: zeros(&like.norm),
        dense_1: Matrix::default(),
        dense_2: Matrix::default(),
    }
}

/// Adds the gradients of layers and norm.
fn add_layers(to: &mut Weights, from: &Weights) {
    let layers = to.layers.par_iter_mut().zip(&from.layers);
    let add = |(to, from): (&mut Matrix, &Matrix)| {
        to.values.iter_mut().zip(&from.values).for_each(|(to, from)| *to += from);
    };
    layers.for_each(|(to, from)| to.all_mut().into_iter().zip(from.all()).for_each(add));
    add((&mut to.norm, &from.norm));
}

#[cfg(test)]
mod tests;
