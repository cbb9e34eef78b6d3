//! Cosines between all rows of two matrices, at every width, and the way back to the rows.
//!
//! The dot products of a prefix are those of the next narrower prefix and of the columns between
//! them, so all widths together cost one product. The way back is the same sum read from the other
//! end: a column takes part in each width that reaches it.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::Result;

/// A prefix is divided by its length, or by this if it is shorter.
const SHORTEST: f32 = 1e-12;

/// Rows whose prefixes are made unit length.
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32], // [n, dims]
    pub(super) n: usize,
    pub(super) dims: usize,
    /// Widest first.
    pub(super) widths: &'a [usize],
    tensor: Tensor,
    /// For each width, one divided by the length of each row's prefix.
    inverse: Vec<Vec<f32>>,
}

impl<'a> Rows<'a> {
    /// `values`: `[any, dims]`, where `dims` is at least the first of `widths`.
    pub(super) fn new(values: &'a [f32], dims: usize, widths: &'a [usize]) -> Result<Rows<'a>> {
        assert!(widths.is_sorted_by(|a, b| a > b), "widths are distinct, widest first");
        assert!(widths.first().is_some_and(|&widest| widest <= dims), "widths within the rows");
        let n = values.len() / dims;
        let inverse = |&width: &usize| {
            let length = |row: &[f32]| {
                let square: f64 = row[..width].iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                1.0 / (square.sqrt() as f32).max(SHORTEST)
            };
            values.chunks_exact(dims).map(length).collect()
        };
        let tensor = Tensor::from_slice(values, (n, dims), &Device::Cpu)?;
        Ok(Rows { values, n, dims, widths, tensor, inverse: widths.iter().map(inverse).collect() })
    }

    fn columns(&self, from: usize, to: usize) -> candle_core::Result<Tensor> {
        self.tensor.narrow(1, from, to - from)
    }

    /// The cosines of this row with a row of another matrix, at each width.
    pub(super) fn with(&self, i: usize, other: &Rows<'_>, j: usize) -> Vec<f32> {
        let (a, b) = (self.row(i), other.row(j));
        let mut sum = 0.0;
        let mut from = 0;
        let mut cosines = vec![0.0; self.widths.len()];
        for (k, &width) in self.widths.iter().enumerate().rev() {
            let products = a[from..width].iter().zip(&b[from..width]);
            sum += products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            cosines[k] = sum as f32 * self.inverse[k][i] * other.inverse[k][j];
            from = width;
        }
        cosines
    }

    /// Adds to `gradient`, `[dims]`, what the gradients of [`with`](Rows::with) mean for this row.
    pub(super) fn back(
        &self,
        i: usize,
        (other, j): (&Rows<'_>, usize),
        (cosines, of_cosines): (&[f32], &[f32]),
        gradient: &mut [f32],
    ) {
        let (a, b) = (self.row(i), other.row(j));
        for (k, &width) in self.widths.iter().enumerate() {
            let inverse = self.inverse[k][i];
            let toward = of_cosines[k] * inverse * other.inverse[k][j];
            let along = of_cosines[k] * cosines[k] * inverse * inverse;
            for d in 0..width {
                gradient[d] += toward * b[d] - along * a[d];
            }
        }
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dims..][..self.dims]
    }
}

/// The cosines of all rows of one matrix with all rows of another.
pub(super) struct Cosines<'r> {
    a: &'r Rows<'r>,
    b: &'r Rows<'r>,
    /// For each width `[a.n, b.n]`.
    pub(super) at: Vec<Vec<f32>>,
}

impl<'r> Cosines<'r> {
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) if there is no memory.
    pub(super) fn new(a: &'r Rows<'r>, b: &'r Rows<'r>) -> Result<Cosines<'r>> {
        assert!(a.widths == b.widths, "rows of the same widths");
        let mut dots = vec![0.0_f32; a.n * b.n];
        let mut at = vec![Vec::new(); a.widths.len()];
        let mut from = 0;
        for (k, &width) in a.widths.iter().enumerate().rev() {
            let part = a.columns(from, width)?.matmul(&b.columns(from, width)?.t()?)?;
            let part: Vec<f32> = part.flatten_all()?.to_vec1()?;
            dots.par_iter_mut().zip(&part).for_each(|(dot, part)| *dot += part);
            let mut cosines = dots.clone();
            cosines.par_chunks_mut(b.n).zip(&a.inverse[k]).for_each(|(row, inverse)| {
                row.iter_mut().zip(&b.inverse[k]).for_each(|(x, other)| *x *= inverse * other);
            });
            at[k] = cosines;
            from = width;
        }
        Ok(Cosines { a, b, at })
    }

    /// The gradients of the rows of both matrices, `[a.n, dims]` and `[b.n, dims]`.
    ///
    /// `of_cosines`: for each width `[a.n, b.n]`; none where a width takes no part.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) if there is no memory.
    pub(super) fn back(&self, of_cosines: &[Option<Vec<f32>>]) -> Result<(Vec<f32>, Vec<f32>)> {
        let (a, b) = (self.a, self.b);
        let mut of_a = vec![0.0; a.n * a.dims];
        let mut of_b = vec![0.0; b.n * b.dims];
        // What each dot product, and each row's own length, count for in the columns at hand.
        let mut of_dots = vec![0.0_f32; a.n * b.n];
        let (mut along_a, mut along_b) = (vec![0.0_f32; a.n], vec![0.0_f32; b.n]);
        for (k, &width) in a.widths.iter().enumerate() {
            if let Some(gradient) = &of_cosines[k] {
                let cosines = &self.at[k];
                add_lengths(&mut along_a, &a.inverse[k], &row_sums(gradient, cosines, b.n));
                add_lengths(&mut along_b, &b.inverse[k], &column_sums(gradient, cosines, b.n));
                let rows = of_dots.par_chunks_mut(b.n).zip(gradient.par_chunks(b.n));
                rows.zip(&a.inverse[k]).for_each(|((row, gradient), inverse)| {
                    let factors = gradient.iter().zip(&b.inverse[k]);
                    row.iter_mut()
                        .zip(factors)
                        .for_each(|(x, (g, other))| *x += g * inverse * other);
                });
            }
            let from = a.widths.get(k + 1).copied().unwrap_or(0);
            let dots = Tensor::from_slice(&of_dots, (a.n, b.n), &Device::Cpu)?;
            place(&mut of_a, a, from..width, &dots.matmul(&b.columns(from, width)?)?, &along_a)?;
            let transposed = dots.t()?;
            place(
                &mut of_b,
                b,
                from..width,
                &transposed.matmul(&a.columns(from, width)?)?,
                &along_b,
            )?;
        }
        Ok((of_a, of_b))
    }
}

/// Puts the gradient of some columns in their place.
fn place(
    gradient: &mut [f32],
    rows: &Rows<'_>,
    columns: std::ops::Range<usize>,
    toward: &Tensor,
    along: &[f32],
) -> candle_core::Result<()> {
    let toward: Vec<f32> = toward.flatten_all()?.to_vec1()?;
    let of_rows = gradient.chunks_exact_mut(rows.dims).zip(rows.values.chunks_exact(rows.dims));
    let parts = toward.chunks_exact(columns.len()).zip(along);
    for ((gradient, row), (toward, along)) in of_rows.zip(parts) {
        let numbers = row[columns.clone()].iter().zip(toward);
        for (to, (x, toward)) in gradient[columns.clone()].iter_mut().zip(numbers) {
            *to = toward - along * x;
        }
    }
    Ok(())
}

/// A vector's length takes back what its direction gets along the vector itself.
fn add_lengths(along: &mut [f32], inverse: &[f32], sums: &[f32]) {
    for ((along, inverse), sum) in along.iter_mut().zip(inverse).zip(sums) {
        *along += sum * inverse * inverse;
    }
}

fn row_sums(gradient: &[f32], cosines: &[f32], n_cols: usize) -> Vec<f32> {
    let rows = gradient.par_chunks(n_cols).zip(cosines.par_chunks(n_cols));
    rows.map(|(g, c)| g.iter().zip(c).map(|(g, c)| g * c).sum()).collect()
}

fn column_sums(gradient: &[f32], cosines: &[f32], n_cols: usize) -> Vec<f32> {
    let mut sums = vec![0.0; n_cols];
    for (g, c) in gradient.chunks_exact(n_cols).zip(cosines.chunks_exact(n_cols)) {
        let products = g.iter().zip(c).map(|(g, c)| g * c);
        sums.iter_mut().zip(products).for_each(|(sum, x)| *sum += x);
    }
    sums
}
