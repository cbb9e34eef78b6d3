//! The two dense layers behind the pooled rows, for the whole batch at once, and their way back. The
//! threads share the weights, not the rows, which are few.

use super::Pass;
use super::tape::Tape;
use crate::kernel::{self, Epilogue, Lines, PANEL, Panels, Precision, Rows};
use crate::package::{Matrix, Weights};

impl Pass {
    /// `pooled`: `[n_sequences, hidden]`
    pub(super) fn dense(&self, pooled: Vec<f32>, tape: &mut Tape) {
        let (first, second) = (&self.packed.dense_1, &self.packed.dense_2);
        tape.between = linear(&pooled, first.forward());
        tape.vectors = linear(&tape.between, second.forward());
        tape.pooled = pooled;
    }

    /// Returns the gradient by the pooled rows; adds those of the two weights, if any are wanted.
    pub(super) fn dense_back(
        &self,
        tape: &Tape,
        gradient: &[f32],
        sums: Option<&mut Weights>,
    ) -> Vec<f32> {
        assert_eq!(gradient.len(), tape.vectors.len(), "numbers of the gradient by the vectors");
        let of_between = linear(gradient, self.packed.dense_2.back());
        if let Some(sums) = sums {
            add_weight_gradient(self.precision, &tape.between, gradient, &mut sums.dense_2);
            add_weight_gradient(self.precision, &tape.pooled, &of_between, &mut sums.dense_1);
        }
        linear(&of_between, self.packed.dense_1.back())
    }
}

/// `x · panelsᵀ`
fn linear(x: &[f32], panels: Panels) -> Vec<f32> {
    let mut rows = Rows::new(panels.precision);
    let n_rows = x.len() / panels.n_inputs;
    rows.reset(n_rows, panels.n_inputs);
    for (i, row) in x.chunks_exact(panels.n_inputs).enumerate() {
        rows.set(i, row);
    }
    let n_outputs = panels.n_outputs;
    let mut out = vec![0.0; n_rows * n_outputs];
    let mut blocks = Vec::new();
    kernel::product_shared(&rows, panels, Epilogue::Plain, &mut blocks, &mut out, n_outputs);
    out
}

/// Adds `g^T x`. `x`: `[n, n_inputs]`, `g`: `[n, n_outputs]`.
fn add_weight_gradient(precision: Precision, x: &[f32], g: &[f32], sum: &mut Matrix) {
    let (n_outputs, n_inputs) = (sum.n_rows, sum.n_cols);
    let n = x.len() / n_inputs;
    let mut lines = Lines::default();
    lines.resize(n_inputs.div_ceil(PANEL) * precision.panel_bytes(n));
    kernel::pack_values(x, n_inputs, n, n_inputs, precision, lines.bytes_mut());
    let panels = Panels::new(precision, n_inputs, n, lines.bytes());
    let mut rows = Rows::new(precision);
    rows.set_columns(g, n_outputs, n_outputs, n);
    let mut blocks = Vec::new();
    let out = &mut sum.values;
    kernel::product_shared(&rows, panels, Epilogue::Add, &mut blocks, out, n_inputs);
}
