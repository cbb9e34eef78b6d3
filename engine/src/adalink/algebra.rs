//! Arithmetic of links: what can be done with trained ones without training again.
//!
//! `U` and `V` are known only up to an invertible map between them, so the factors of two links are
//! never averaged; their products `U Vᵀ` are, and the result is cut to a rank by a singular value
//! decomposition. That of a product of thin matrices needs only their Gram matrices, as large as the
//! ranks together.

use super::Link;
use crate::linear::{dot, eigen};
use crate::package::Matrix;

/// Singular values below this share of the largest are rounding.
const SMALLEST: f64 = 1e-7;

impl Link {
    /// The best link of this rank for the weighted sum of links: `U Vᵀ ≈ Σ weight · strength · U Vᵀ`.
    ///
    /// Its strength is 1. Exact if the ranks together are no more than `rank`.
    ///
    /// # Panics
    /// If there is no link, or their widths differ.
    pub fn soup(links: &[(&Link, f32)], rank: usize) -> Link {
        let width = links[0].0.width();
        assert!(links.iter().all(|(link, _)| link.width() == width), "links of one width");
        // Columns as rows, so that each is one slice: M = Σ pᵢ rᵢᵀ.
        let (mut p, mut r) = (Vec::new(), Vec::new());
        for (link, weight) in links {
            let scale = f64::from(*weight) * f64::from(link.strength);
            p.extend(columns(&link.u, scale));
            r.extend(columns(&link.v, 1.0));
        }
        let n = p.len();
        let gram = |rows: &[Vec<f64>]| -> Vec<f64> {
            (0..n * n).map(|k| dot(&rows[k / n], &rows[k % n])).collect()
        };
        let (of_p, of_r) = (gram(&p), gram(&r));
        // M Mᵀ and K = G^½ (rᵀr) G^½, with G = pᵀp, have the same eigenvalues: squares of singular values.
        let half = square_root(&of_p, n);
        let k = times(&times(&half, &of_r, n), &half, n);
        let (squares, vectors) = eigen(&k, n);
        let largest = squares.first().map_or(0.0, |square| square.max(0.0).sqrt());
        let mut soup = Link::zeros(width, rank);
        for (i, square) in squares.iter().take(rank).enumerate() {
            let singular = square.max(0.0).sqrt();
            if singular <= SMALLEST * largest {
                break;
            }
            // Right singular vector v = r G^½ k / σ, and σ times the left one is M v = p (rᵀr) G^½ k / σ.
            let halved = apply(&half, &vectors[i * n..][..n], 1.0 / singular);
            let turned = apply(&of_r, &halved, 1.0);
            let sum = |rows: &[Vec<f64>], factors: &[f64], at: usize| -> f64 {
                rows.iter().zip(factors).map(|(row, factor)| row[at] * factor).sum()
            };
            for at in 0..width {
                soup.v.values[at * rank + i] = sum(&r, &halved, at) as f32;
                soup.u.values[at * rank + i] = sum(&p, &turned, at) as f32;
            }
        }
        soup
    }

    /// The link that does what `self` does and `next` after it, of both ranks together.
    ///
    /// `(I + N)(I + M) = I + M + N + N M`, so `U = [U₁ | U₂]` and `V = [V₁ | V₂ + V₁ (U₁ᵀ V₂)]`.
    ///
    /// # Panics
    /// If the widths differ.
    pub fn then(&self, next: &Link) -> Link {
        assert_eq!(self.width(), next.width(), "links of one width");
        let scaled = |link: &Link| columns(&link.u, f64::from(link.strength));
        let (u_1, v_1) = (scaled(self), columns(&self.v, 1.0));
        let (u_2, mut v_2) = (scaled(next), columns(&next.v, 1.0));
        for column in &mut v_2 {
            let factors: Vec<f64> = u_1.iter().map(|u| dot(u, column)).collect();
            for (v, factor) in v_1.iter().zip(factors) {
                column.iter_mut().zip(v).for_each(|(to, v)| *to += factor * v);
            }
        }
        let rank = self.rank() + next.rank();
        let mut link = Link::zeros(self.width(), rank);
        let columns = u_1.iter().chain(&u_2).zip(v_1.iter().chain(&v_2));
        for (i, (u, v)) in columns.enumerate() {
            for at in 0..self.width() {
                link.u.values[at * rank + i] = u[at] as f32;
                link.v.values[at * rank + i] = v[at] as f32;
            }
        }
        link
    }
}

fn columns(matrix: &Matrix, scale: f64) -> Vec<Vec<f64>> {
    let column = |i: usize| {
        let values = matrix.values[i..].iter().step_by(matrix.n_cols);
        values.map(|&x| f64::from(x) * scale).collect()
    };
    (0..matrix.n_cols).map(column).collect()
}

fn apply(a: &[f64], x: &[f64], scale: f64) -> Vec<f64> {
    a.chunks_exact(x.len()).map(|row| dot(row, x) * scale).collect()
}

/// `a · b`, where `b` is symmetric.
fn times(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    (0..n * n).map(|k| dot(&a[k / n * n..][..n], &b[k % n * n..][..n])).collect()
}

/// The symmetric square root of a positive semidefinite matrix.
fn square_root(a: &[f64], n: usize) -> Vec<f64> {
    let (values, vectors) = eigen(a, n);
    let roots: Vec<f64> = values.iter().map(|value| value.max(0.0).sqrt()).collect();
    let entry = |k: usize| -> f64 {
        let at = |i: usize, j: usize| vectors[i * n + j];
        (0..n).map(|i| roots[i] * at(i, k / n) * at(i, k % n)).sum()
    };
    (0..n * n).map(entry).collect()
}

#[cfg(test)]
mod tests;
