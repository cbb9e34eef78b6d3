//! One layer for the rows of one chunk, forward and back.
//!
//! Back follows the lines of forward from the last to the first. In it `g` is the gradient by the
//! layer's output and becomes that by its input: what goes round the two branches stays in place, and
//! what comes through them is added.

use std::ops::Range;

use super::tape::LayerTape;
use super::{Pass, Scratch};
use crate::kernel::{self, Epilogue, Panels, Rows};
use crate::package::{Config, LayerKind, LayerWeights, Matrix};

/// Where in the pass: a layer, and the rows of a chunk's sequences.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) layer: usize,
    pub(super) spans: &'a [Range<usize>],
}

impl Pass {
    /// From `x` to `next`, `[n, hidden]` both.
    pub(super) fn layer(
        &self,
        at: At,
        x: &[f32],
        tape: &mut LayerTape,
        next: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) {
        let (layer, eps) = (&self.packed.layers[at.layer], self.eps());
        self.norm(x, &layer.input_norm, &mut scratch.normed);
        linear(&scratch.normed, layer.qkv.forward(), &mut scratch.rows, &mut tape.qkv);
        self.turn(at, &tape.qkv, scratch);
        self.attend(at, scratch, &mut tape.mixed);
        linear(&tape.mixed, layer.o.forward(), &mut scratch.rows, &mut tape.attention);
        refill(&mut tape.middle, x);
        kernel::rms_norm_add(&tape.attention, &layer.post_attention_norm, eps, &mut tape.middle);

        self.norm(&tape.middle, &layer.pre_feedforward_norm, &mut scratch.normed);
        linear(&scratch.normed, layer.gate_up.forward(), &mut scratch.rows, &mut tape.gate_up);
        scratch.inner.resize(tape.gate_up.len() / 2, 0.0);
        kernel::geglu(&tape.gate_up, self.config.intermediate, &mut scratch.inner);
        linear(&scratch.inner, layer.down.forward(), &mut scratch.rows, &mut tape.feed_forward);
        refill(next, &tape.middle);
        kernel::rms_norm_add(&tape.feed_forward, &layer.post_feedforward_norm, eps, next);
    }

    /// `g`: `[n, hidden]`. Adds the gradients of the layer's weights to `sums`, if any are wanted.
    pub(super) fn layer_back(
        &self,
        at: At,
        x: &[f32],
        tape: &LayerTape,
        g: &mut [f32],
        mut sums: Option<&mut LayerWeights>,
        scratch: &mut Scratch,
    ) {
        self.feed_forward_back(at, tape, g, sums.as_deref_mut(), scratch);
        self.attention_back(at, x, tape, g, sums, scratch);
    }

    fn feed_forward_back(
        &self,
        at: At,
        tape: &LayerTape,
        g: &mut [f32],
        mut sums: Option<&mut LayerWeights>,
        scratch: &mut Scratch,
    ) {
        let (layer, eps) = (&self.packed.layers[at.layer], self.eps());
        let Config { hidden, intermediate, .. } = self.config;
        scratch.branch.resize(g.len(), 0.0);
        let gain = &layer.post_feedforward_norm;
        let sum = values(&mut sums, |sums| &mut sums.post_feedforward_norm);
        kernel::rms_norm_back(&tape.feed_forward, gain, eps, g, &mut scratch.branch, sum);
        linear(&scratch.branch, layer.down.back(), &mut scratch.rows, &mut scratch.inner);
        scratch.gate_up.resize(tape.gate_up.len(), 0.0);
        let (inner, gate_up) = (&mut scratch.inner, &mut scratch.gate_up);
        (self.geglu_back)(&tape.gate_up, intermediate, inner, gate_up);
        if let Some(sums) = sums.as_deref_mut() {
            let mut inputs = scratch.matrix_gradient.inputs(&scratch.inner, intermediate);
            inputs.add(&scratch.branch, hidden, 0, &mut sums.down);
            self.norm(&tape.middle, &layer.pre_feedforward_norm, &mut scratch.normed);
            let mut inputs = scratch.matrix_gradient.inputs(&scratch.normed, hidden);
            inputs.add(&scratch.gate_up, 2 * intermediate, 0, &mut sums.gate);
            inputs.add(&scratch.gate_up, 2 * intermediate, intermediate, &mut sums.up);
        }
        linear(&scratch.gate_up, layer.gate_up.back(), &mut scratch.rows, &mut scratch.branch);
        let gain = &layer.pre_feedforward_norm;
        let sum = values(&mut sums, |sums| &mut sums.pre_feedforward_norm);
        kernel::rms_norm_back_add(&tape.middle, gain, eps, &scratch.branch, g, sum);
    }

    fn attention_back(
        &self,
        at: At,
        x: &[f32],
        tape: &LayerTape,
        g: &mut [f32],
        mut sums: Option<&mut LayerWeights>,
        scratch: &mut Scratch,
    ) {
        let (layer, eps) = (&self.packed.layers[at.layer], self.eps());
        let Config { hidden, n_heads, n_kv_heads, head_dim, .. } = self.config;
        let sum = values(&mut sums, |sums| &mut sums.post_attention_norm);
        let gain = &layer.post_attention_norm;
        kernel::rms_norm_back(&tape.attention, gain, eps, g, &mut scratch.branch, sum);
        if let Some(sums) = sums.as_deref_mut() {
            let mut inputs = scratch.matrix_gradient.inputs(&tape.mixed, n_heads * head_dim);
            inputs.add(&scratch.branch, hidden, 0, &mut sums.o);
        }
        linear(&scratch.branch, layer.o.back(), &mut scratch.rows, &mut scratch.mixed);
        self.turn(at, &tape.qkv, scratch);
        self.attend_back(at, scratch);
        self.turn_back(at, &tape.qkv, sums.as_deref_mut(), scratch);
        if let Some(sums) = sums.as_deref_mut() {
            self.norm(x, &layer.input_norm, &mut scratch.normed);
            let mut inputs = scratch.matrix_gradient.inputs(&scratch.normed, hidden);
            let width = (n_heads + 2 * n_kv_heads) * head_dim;
            let firsts = [0, n_heads * head_dim, (n_heads + n_kv_heads) * head_dim];
            for (first, sum) in firsts.into_iter().zip([&mut sums.q, &mut sums.k, &mut sums.v]) {
                inputs.add(&scratch.qkv, width, first, sum);
            }
        }
        linear(&scratch.qkv, layer.qkv.back(), &mut scratch.rows, &mut scratch.branch);
        let sum = values(&mut sums, |sums| &mut sums.input_norm);
        kernel::rms_norm_back_add(x, &layer.input_norm, eps, &scratch.branch, g, sum);
    }

    /// From `qkv` to `scratch.turned`: q and k normed by head and turned by their positions.
    fn turn(&self, at: At, qkv: &[f32], scratch: &mut Scratch) {
        let layer = &self.packed.layers[at.layer];
        let Config { n_heads, head_dim, .. } = self.config;
        refill(&mut scratch.turned, qkv);
        scratch.head.resize(head_dim, 0.0);
        self.each_head(at, |start, head, cos, sin| {
            let gain = if head < n_heads { &layer.q_norm } else { &layer.k_norm };
            let turned = &mut scratch.turned[start..start + head_dim];
            kernel::rms_norm(&qkv[start..start + head_dim], gain, self.eps(), turned);
            kernel::rope(turned, cos, sin);
        });
    }

    /// The derivative of `turn`, in place, in `scratch.qkv`.
    fn turn_back(
        &self,
        at: At,
        qkv: &[f32],
        mut sums: Option<&mut LayerWeights>,
        scratch: &mut Scratch,
    ) {
        let layer = &self.packed.layers[at.layer];
        let Config { n_heads, head_dim, .. } = self.config;
        scratch.head.resize(head_dim, 0.0);
        self.each_head(at, |start, head, cos, sin| {
            let is_query = head < n_heads;
            let gain = if is_query { &layer.q_norm } else { &layer.k_norm };
            let sum = values(
                &mut sums,
                |sums| {
                    if is_query { &mut sums.q_norm } else { &mut sums.k_norm }
                },
            );
            let g = &mut scratch.qkv[start..start + head_dim];
            kernel::rope_back(g, cos, sin);
            let x = &qkv[start..start + head_dim];
            kernel::rms_norm_back(x, gain, self.eps(), g, &mut scratch.head, sum);
            g.copy_from_slice(&scratch.head);
        });
    }

    /// Shows where each query and key head lies in `[n, width of q, k and v]`, its number (queries
    /// first), and cosine and sine of its position.
    fn each_head(&self, at: At, mut visit: impl FnMut(usize, usize, &[f32], &[f32])) {
        let Config { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let longest = at.spans.iter().map(Range::len).max().unwrap_or(0);
        let ropes = self.ropes.reaching(longest, &self.config);
        let rope = &ropes[usize::from(self.config.layers[at.layer] == LayerKind::Sliding)];
        let width = (n_heads + 2 * n_kv_heads) * head_dim;
        for span in at.spans {
            for row in span.clone() {
                let (cos, sin) = rope.at(row - span.start);
                for head in 0..n_heads + n_kv_heads {
                    visit(row * width + head * head_dim, head, cos, sin);
                }
            }
        }
    }

    pub(super) fn norm(&self, x: &[f32], gain: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        kernel::rms_norm(x, gain, self.eps(), out);
    }

    pub(super) fn eps(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }
}

/// `out = x · panelsᵀ`, one row of `out` for one of `x`.
pub(super) fn linear(x: &[f32], panels: Panels, rows: &mut Rows, out: &mut Vec<f32>) {
    let n = x.len() / panels.n_inputs;
    rows.reset(n, panels.n_inputs);
    for (i, row) in x.chunks_exact(panels.n_inputs).enumerate() {
        rows.set(i, row);
    }
    out.resize(n * panels.n_outputs, 0.0);
    kernel::product(rows, panels, Epilogue::Plain, out, panels.n_outputs);
}

/// The numbers of one of the gradients, or none if none are wanted.
fn values<'a>(
    sums: &'a mut Option<&mut LayerWeights>,
    of: impl FnOnce(&mut LayerWeights) -> &mut Matrix,
) -> &'a mut [f32] {
    sums.as_deref_mut().map_or(&mut [], |sums| &mut of(sums).values)
}

/// Makes `to` a copy, in the room it has.
fn refill(to: &mut Vec<f32>, from: &[f32]) {
    to.clear();
    to.extend_from_slice(from);
}
