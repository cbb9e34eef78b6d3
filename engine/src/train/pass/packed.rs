//! The weights as the kernels read them, made anew after each update: once as they are, for the way
//! forward, and once turned, for the way back.

use rayon::prelude::*;

use crate::kernel::{self, Lines, PANEL, Panels, Precision};
use crate::package::{LayerWeights, Matrix, Weights};

/// Every weight but the embedding's.
pub(super) struct Packed {
    pub(super) layers: Vec<Layer>, // input side first
    pub(super) norm: Vec<f32>,     // [hidden], a gain
    pub(super) dense_1: Linear,
    pub(super) dense_2: Linear,
}

/// One layer. Norms are gains: the stored weights plus one.
pub(super) struct Layer {
    pub(super) input_norm: Vec<f32>,            // [hidden]
    pub(super) qkv: Linear,                     // q, k and v, joined
    pub(super) q_norm: Vec<f32>,                // [head_dim]
    pub(super) k_norm: Vec<f32>,                // [head_dim]
    pub(super) o: Linear,                       //
    pub(super) post_attention_norm: Vec<f32>,   // [hidden]
    pub(super) pre_feedforward_norm: Vec<f32>,  // [hidden]
    pub(super) gate_up: Linear,                 // gate and up, joined
    pub(super) down: Linear,                    //
    pub(super) post_feedforward_norm: Vec<f32>, // [hidden]
}

/// The weight `W` of a linear layer, `[n_outputs, n_inputs]`.
pub(super) struct Linear {
    precision: Precision,
    n_outputs: usize,
    n_inputs: usize,
    forward: Lines,
    back: Lines,
}

impl Packed {
    pub(super) fn new(weights: &Weights, precision: Precision) -> Packed {
        let layers = weights.layers.par_iter().map(|layer| Layer::new(layer, precision));
        Packed {
            layers: layers.collect(),
            norm: gain(&weights.norm),
            dense_1: Linear::new(&[&weights.dense_1], precision),
            dense_2: Linear::new(&[&weights.dense_2], precision),
        }
    }
}

impl Layer {
    fn new(layer: &LayerWeights, precision: Precision) -> Layer {
        Layer {
            input_norm: gain(&layer.input_norm),
            qkv: Linear::new(&[&layer.q, &layer.k, &layer.v], precision),
            q_norm: gain(&layer.q_norm),
            k_norm: gain(&layer.k_norm),
            o: Linear::new(&[&layer.o], precision),
            post_attention_norm: gain(&layer.post_attention_norm),
            pre_feedforward_norm: gain(&layer.pre_feedforward_norm),
            gate_up: Linear::new(&[&layer.gate, &layer.up], precision),
            down: Linear::new(&[&layer.down], precision),
            post_feedforward_norm: gain(&layer.post_feedforward_norm),
        }
    }
}

fn gain(norm: &Matrix) -> Vec<f32> {
    norm.values.iter().map(|w| w + 1.0).collect()
}

impl Linear {
    /// `parts`: one or more weights of the same inputs; their outputs follow each other.
    fn new(parts: &[&Matrix], precision: Precision) -> Linear {
        let n_inputs = parts[0].n_cols;
        let n_outputs = parts.iter().map(|part| part.n_rows).sum();
        let joined;
        let values = match parts {
            [only] => &only.values,
            _ => {
                joined = parts.iter().flat_map(|part| &part.values).copied().collect::<Vec<_>>();
                &joined
            }
        };
        // An output is a key, as attention has them; turned, it is a value.
        let forward = packed(precision, n_outputs, n_inputs, |first, n, panel| {
            let rows = &values[first * n_inputs..];
            kernel::pack_keys(rows, n_inputs, n, n_inputs, precision, panel);
        });
        let back = packed(precision, n_inputs, n_outputs, |first, n, panel| {
            kernel::pack_values(&values[first..], n_inputs, n_outputs, n, precision, panel);
        });
        Linear { precision, n_outputs, n_inputs, forward, back }
    }

    /// For `x W^T`.
    pub(super) fn forward(&self) -> Panels<'_> {
        Panels::new(self.precision, self.n_outputs, self.n_inputs, self.forward.bytes())
    }

    /// For `g W`.
    pub(super) fn back(&self) -> Panels<'_> {
        Panels::new(self.precision, self.n_inputs, self.n_outputs, self.back.bytes())
    }
}

/// Panels, each made by `pack` from its first output, how many there are, and its bytes.
fn packed(
    precision: Precision,
    n_outputs: usize,
    n_inputs: usize,
    pack: impl Fn(usize, usize, &mut [u8]) + Sync,
) -> Lines {
    let mut lines = Lines::default();
    let n_bytes = precision.panel_bytes(n_inputs);
    lines.resize(n_outputs.div_ceil(PANEL) * n_bytes);
    let panels = lines.bytes_mut().par_chunks_exact_mut(n_bytes).enumerate();
    panels.for_each(|(i, panel)| pack(i * PANEL, PANEL.min(n_outputs - i * PANEL), panel));
    lines
}
