//! Activations as the kernels read them: one row a token, in the precision of the weights they meet.

use super::lines::Lines;
use super::panels::{BLOCK, Precision, padded};
use super::{pack_columns, quantise, to_bf16};
use crate::package::Matrix;

/// Rows of activations, reused from product to product.
pub(crate) struct Rows {
    precision: Precision,
    n_rows: usize,
    n_cols: usize,
    lines: Lines,
    /// int8 and int4: what one step is worth, `[n_rows]`.
    scales: Vec<f32>,
    /// What must be added because weights are kept as unsigned numbers: int8 `[n_rows]`; int4, per
    /// block of inputs, `[n_rows][n_blocks]`.
    offsets: Vec<i32>,
}

impl Rows {
    pub(crate) fn new(precision: Precision) -> Rows {
        let (lines, scales, offsets) = (Lines::default(), Vec::new(), Vec::new());
        Rows { precision, n_rows: 0, n_cols: 0, lines, scales, offsets }
    }

    /// Makes room for a matrix; what was there is gone.
    pub(crate) fn reset(&mut self, n_rows: usize, n_cols: usize) {
        (self.n_rows, self.n_cols) = (n_rows, n_cols);
        self.lines.resize(n_rows * self.stride());
        self.scales.resize(n_rows, 0.0);
        self.offsets.resize(n_rows * self.offsets_per_row(), 0);
    }

    /// Writes a row, `[n_cols]`, in this precision.
    pub(crate) fn set(&mut self, i: usize, row: &[f32]) {
        assert!(i < self.n_rows && row.len() == self.n_cols);
        let (stride, per_row) = (self.stride(), self.offsets_per_row());
        let bytes = &mut self.lines.bytes_mut()[i * stride..][..stride];
        match self.precision {
            Precision::F32 => {
                let (numbers, padding) = bytes.split_at_mut(row.len() * 4);
                for (to, x) in numbers.as_chunks_mut::<4>().0.iter_mut().zip(row) {
                    *to = x.to_le_bytes();
                }
                padding.fill(0);
            }
            Precision::Bf16 => to_bf16(row, bytes),
            Precision::Int8 | Precision::Int4 => {
                let block = if self.precision == Precision::Int8 { stride } else { BLOCK };
                let unit = if self.precision == Precision::Int8 { -128 } else { -8 };
                let offsets = &mut self.offsets[i * per_row..][..per_row];
                quantise(row, bytes, &mut self.scales[i], block, unit, offsets);
            }
        }
    }

    /// Makes the columns of a matrix the rows; f32 or bf16.
    ///
    /// `matrix`: `[n_rows, n_cols]`, its rows `stride` apart.
    pub(crate) fn set_columns(
        &mut self,
        matrix: &[f32],
        stride: usize,
        n_cols: usize,
        n_rows: usize,
    ) {
        self.reset(n_cols, n_rows);
        pack_columns(matrix, stride, n_cols, n_rows, self.precision, self.lines.bytes_mut());
    }

    /// The numbers of f32 rows; of others nothing.
    pub(crate) fn to_matrix(&self) -> Matrix {
        let mut values = Vec::new();
        if self.precision == Precision::F32 {
            for row in self.bytes().chunks_exact(self.stride()) {
                let numbers = row.as_chunks::<4>().0.iter().take(self.n_cols);
                values.extend(numbers.map(|b| f32::from_le_bytes(*b)));
            }
        }
        Matrix { values, n_rows: self.n_rows, n_cols: self.n_cols }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_cols(&self) -> usize {
        self.n_cols
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes from row to row.
    pub(super) fn stride(&self) -> usize {
        self.precision.row_bytes(self.n_cols)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.lines.bytes()
    }

    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(super) fn offsets(&self) -> &[i32] {
        &self.offsets
    }

    pub(super) fn offsets_per_row(&self) -> usize {
        match self.precision {
            Precision::F32 | Precision::Bf16 => 0,
            Precision::Int8 => 1,
            Precision::Int4 => padded(self.n_cols) / BLOCK,
        }
    }
}
