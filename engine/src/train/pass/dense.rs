//! The two dense layers behind the pooled rows, for the whole batch at once, and their way back. The
//! threads share the weights, not the rows, which are few.

use super::Pass;
use super::matrix_gradient::MatrixGradient;
use super::tape::Tape;
use crate::kernel::{self, Epilogue, Panels, Rows};
use crate::package::Weights;

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
            let mut product = MatrixGradient::new(self.precision);
            let (first, second) = (&mut sums.dense_1, &mut sums.dense_2);
            product.inputs(&tape.between, second.n_cols).add_shared(gradient, second);
            product.inputs(&tape.pooled, first.n_cols).add_shared(&of_between, first);
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
