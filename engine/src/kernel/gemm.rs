//! Matrix products through the `gemm` crate, with lengths checked.

/// A matrix inside a slice: where it begins and how far its rows and columns are apart.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    values: &'a [f32],
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Side<'a> {
    /// Rows that are `row_stride` apart.
    pub(crate) fn rows(values: &'a [f32], row_stride: usize) -> Side<'a> {
        Side { values, row_stride, col_stride: 1 }
    }

    /// The transpose of such rows.
    pub(crate) fn transposed(values: &'a [f32], row_stride: usize) -> Side<'a> {
        Side { values, row_stride: 1, col_stride: row_stride }
    }

    /// Panics unless `[n_rows, n_cols]` of it lie in the slice.
    fn check(&self, n_rows: usize, n_cols: usize) {
        let last = (n_rows - 1) * self.row_stride + (n_cols - 1) * self.col_stride;
        assert!(last < self.values.len(), "a matrix that reaches beyond its slice");
    }
}

/// `out = left right`, on the calling thread.
///
/// `left`: `[m, k]`, `right`: `[k, n]`, `out`: `[m, n]`, its rows `out_stride` apart.
pub(crate) fn matmul(
    (m, n, k): (usize, usize, usize),
    left: Side,
    right: Side,
    out: &mut [f32],
    out_stride: usize,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    left.check(m, k);
    right.check(k, n);
    assert!(
        n <= out_stride && (m - 1) * out_stride + n <= out.len(),
        "an output that is too small"
    );
    // SAFETY: all three matrices were just checked to lie inside their slices; `out` is borrowed
    // mutably, so it overlaps neither of the others.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            false,
            left.values.as_ptr(),
            left.col_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.col_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
