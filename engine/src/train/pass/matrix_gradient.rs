//! `gᵀ x`: what every gradient by a matrix is, a product that sums over rows.

use crate::kernel::{self, Epilogue, Lines, PANEL, Panels, Precision, Rows};
use crate::package::Matrix;

/// The buffers of such products.
pub(super) struct MatrixGradient {
    x: Lines,
    g: Rows,
}

/// Packed rows `x`.
pub(super) struct Inputs<'a> {
    x: Panels<'a>,
    g: &'a mut Rows,
}

impl MatrixGradient {
    pub(super) fn new(precision: Precision) -> MatrixGradient {
        MatrixGradient { x: Lines::default(), g: Rows::new(precision) }
    }

    /// `x`: `[n, n_inputs]`
    pub(super) fn inputs(&mut self, x: &[f32], n_inputs: usize) -> Inputs<'_> {
        let (n, precision) = (x.len() / n_inputs, self.g.precision());
        self.x.resize(n_inputs.div_ceil(PANEL) * precision.panel_bytes(n));
        kernel::pack_values(x, n_inputs, n, n_inputs, precision, self.x.bytes_mut());
        Inputs { x: Panels::new(precision, n_inputs, n, self.x.bytes()), g: &mut self.g }
    }
}

impl Inputs<'_> {
    /// Adds the gradient by the weight of a linear layer.
    ///
    /// `g`: `[n, width]`, of which the layer's outputs are the columns from `first` on.
    pub(super) fn add(&mut self, g: &[f32], width: usize, first: usize, sum: &mut Matrix) {
        self.add_to(&g[first..], width, sum.n_rows, &mut sum.values, sum.n_cols);
    }

    /// As [`add`](Inputs::add), to `out`: `[n_outputs, n_inputs]`, its rows `out_stride` apart.
    pub(super) fn add_to(
        &mut self,
        g: &[f32],
        width: usize,
        n_outputs: usize,
        out: &mut [f32],
        out_stride: usize,
    ) {
        self.g.set_columns(g, width, n_outputs, self.x.n_inputs);
        kernel::product(self.g, self.x, Epilogue::Add, out, out_stride);
    }

    /// As [`add`](Inputs::add), of all columns of `g`, by all threads.
    pub(super) fn add_shared(&mut self, g: &[f32], sum: &mut Matrix) {
        self.g.set_columns(g, sum.n_rows, sum.n_rows, self.x.n_inputs);
        let (out, out_stride) = (&mut sum.values, sum.n_cols);
        let mut blocks = Vec::new();
        kernel::product_shared(self.g, self.x, Epilogue::Add, &mut blocks, out, out_stride);
    }
}
