//! Heads: linear maps of a finished query vector.
//!
//! The cheap rungs of the ladder. [`ridge`] has a closed form; a low-rank head is a [`Link`] behind the
//! model and is trained on cached vectors. Both leave the model alone, so neither can change how words
//! of a query act on each other; that is what a link before the model is for.

use rayon::prelude::*;

use super::Link;
use crate::linear::solve;
use crate::package::Matrix;

/// A map of a query's vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// `q' = q + strength · (W q - q)`
    Full {
        /// `W`: `[width, width]`
        matrix: Matrix,
        /// 1 as fitted, 0 without effect.
        strength: f32,
    },
    /// `q' = q + strength · A (Bᵀ q)`
    LowRank(Link),
}

impl Head {
    /// Applies the head to unit vectors, `[any, width]`, in place; the results are of unit length.
    pub fn apply(&self, vectors: &mut [f32]) {
        self.map(vectors);
        vectors.chunks_exact_mut(self.width()).for_each(to_unit);
    }

    /// As [`apply`](Head::apply), but the lengths stay what the map makes them.
    pub(crate) fn map(&self, vectors: &mut [f32]) {
        let width = self.width();
        match self {
            Head::LowRank(link) => link.apply(vectors),
            Head::Full { matrix, strength } => {
                vectors.par_chunks_exact_mut(width).for_each(|vector| {
                    let rows = matrix.values.chunks_exact(width);
                    let mapped: Vec<f32> = rows.map(|row| dot(row, vector)).collect();
                    vector.iter_mut().zip(mapped).for_each(|(x, y)| *x += strength * (y - *x));
                });
            }
        }
    }

    /// The width of the vectors.
    pub fn width(&self) -> usize {
        match self {
            Head::Full { matrix, .. } => matrix.n_rows,
            Head::LowRank(link) => link.width(),
        }
    }

    /// The same head at another strength.
    pub fn at_strength(&self, strength: f32) -> Head {
        match self {
            Head::Full { matrix, .. } => Head::Full { matrix: matrix.clone(), strength },
            Head::LowRank(link) => Head::LowRank(link.at_strength(strength)),
        }
    }
}

/// The matrix that takes queries to their answers, and stays near the identity:
/// `W = (λ I + D Qᵀ) (λ I + Q Qᵀ)⁻¹`, the minimum of `Σ weight |W q - d|² + λ |W - I|²`.
///
/// `queries`, `answers`: `[n, width]`. `weights`: `[n]`. `None` if `lambda` is too small for the system
/// to be solved.
///
/// # Panics
/// If shapes differ.
pub fn ridge(queries: &Matrix, answers: &Matrix, weights: &[f32], lambda: f64) -> Option<Matrix> {
    let width = queries.n_cols;
    assert_eq!((queries.n_rows, width), (answers.n_rows, answers.n_cols), "a pair a row");
    assert_eq!(weights.len(), queries.n_rows, "a weight a row");
    // The system is W · a = b; `a` is symmetric, so each row of b is solved alone.
    let mut a = weighted_products(queries, queries, weights);
    let mut b = weighted_products(answers, queries, weights);
    for i in 0..width {
        a[i * width + i] += lambda;
        b[i * width + i] += lambda;
    }
    if !solve(&mut a, width, &mut b) {
        return None;
    }
    let values = b.into_iter().map(|x| x as f32).collect();
    Some(Matrix { values, n_rows: width, n_cols: width })
}

/// `Σ weight · left rightᵀ` over the rows: `[left.n_cols, right.n_cols]`.
fn weighted_products(left: &Matrix, right: &Matrix, weights: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; left.n_cols * right.n_cols];
    sums.par_chunks_mut(right.n_cols).enumerate().for_each(|(i, sums)| {
        let rows = right.values.chunks_exact(right.n_cols).enumerate();
        for ((n, row), weight) in rows.zip(weights) {
            let factor = f64::from(left.values[n * left.n_cols + i]) * f64::from(*weight);
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * f64::from(*x));
        }
    });
    sums
}

/// The sum of products, in 16 lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Scales a vector to unit length; one of zeros stays.
pub(crate) fn to_unit(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = (1.0 / square.sqrt().max(1e-12)) as f32;
    vector.iter_mut().for_each(|x| *x *= scale);
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn the_ridge_is_that_of_numpy() {
        let expected = reference::value("ridge");
        let [queries, answers, w] =
            ["queries", "answers", "w"].map(|name| reference::matrix(&expected[name]));
        let weights = reference::matrix(&expected["weights"]).values;
        let lambda = expected["lambda"].as_f64().unwrap();
        let found = ridge(&queries, &answers, &weights, lambda).unwrap();
        for (found, expected) in found.values.iter().zip(&w.values) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_strong_ridge_is_the_identity_and_none_at_all_is_refused() {
        let queries = Matrix { values: vec![1.0, 0.0, 0.6, 0.8], n_rows: 2, n_cols: 2 };
        let answers = Matrix { values: vec![0.0, 1.0, 0.8, 0.6], n_rows: 2, n_cols: 2 };
        let w = ridge(&queries, &answers, &[1.0; 2], 1e9).unwrap();
        assert!(w.values.iter().zip([1.0, 0.0, 0.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6));
        let one = Matrix { values: vec![1.0, 0.0], n_rows: 1, n_cols: 2 };
        assert!(ridge(&one, &one, &[1.0], 0.0).is_none());
    }

    #[test]
    fn a_head_of_strength_0_changes_nothing_and_all_results_are_of_unit_length() {
        let matrix = Matrix { values: vec![0.0, -2.0, 2.0, 0.0], n_rows: 2, n_cols: 2 };
        let head = Head::Full { matrix, strength: 1.0 };
        let mut vectors = [0.6, 0.8];
        head.apply(&mut vectors);
        assert!((vectors[0] + 0.8).abs() < 1e-6 && (vectors[1] - 0.6).abs() < 1e-6, "{vectors:?}");
        let mut vectors = [0.6, 0.8];
        head.at_strength(0.0).apply(&mut vectors);
        assert!((vectors[0] - 0.6).abs() < 1e-6 && (vectors[1] - 0.8).abs() < 1e-6);
    }
}
