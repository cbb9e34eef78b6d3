//! The link: a low-rank map added to the identity, `x' = x + strength · U (Vᵀ x)`.
//!
//! In AdaLink (arXiv 2310.12100) it stands between the token embeddings and the first layer of a frozen
//! model, and is applied to each token's row alone. The same map behind the model, on a finished
//! vector, is a low-rank [`Head`](super::Head).
//!
//! It is linear: links can be [added](Link::soup), scaled and [baked](Link::bake) into the embedding
//! table without training anything again. `U` begins as zeros, so that a new link changes nothing.

use crate::package::Matrix;
use crate::random::Random;

/// A low-rank map: `x' = x + strength · U (Vᵀ x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// `[width, rank]`: back to the width of what it is applied to, `hidden` before the model.
    pub u: Matrix,
    /// `[width, rank]`: down to the rank.
    pub v: Matrix,
    /// 1 as trained, 0 without effect.
    pub strength: f32,
}

impl Link {
    /// A link that changes nothing yet: `U` is 0, `V` normal with variance 1 / width.
    pub fn new(width: usize, rank: usize, seed: u64) -> Link {
        let mut random = Random::new(seed);
        let scale = (width as f64).powf(-0.5);
        let values = (0..width * rank).map(|_| (random.normal() * scale) as f32).collect();
        Link { v: Matrix { values, n_rows: width, n_cols: rank }, ..Link::zeros(width, rank) }
    }

    /// All numbers 0, at full strength: a place for sums and gradients.
    pub(crate) fn zeros(width: usize, rank: usize) -> Link {
        let zeros = Matrix { values: vec![0.0; width * rank], n_rows: width, n_cols: rank };
        Link { u: zeros.clone(), v: zeros, strength: 1.0 }
    }

    /// The same link at another strength.
    pub fn at_strength(&self, strength: f32) -> Link {
        Link { strength, ..self.clone() }
    }

    /// The width of what it is applied to.
    pub fn width(&self) -> usize {
        self.u.n_rows
    }

    /// Columns of `U` and `V`.
    pub fn rank(&self) -> usize {
        self.u.n_cols
    }

    /// Applies the link to each row of `rows`, `[any, width]`, in place.
    pub fn apply(&self, rows: &mut [f32]) {
        let mut inner = vec![0.0; self.rank()];
        for row in rows.chunks_exact_mut(self.width()) {
            self.down(row, &mut inner);
            for (x, u) in row.iter_mut().zip(self.u.values.chunks_exact(self.rank())) {
                *x += self.strength * dot(u, &inner);
            }
        }
    }

    /// `inner = Vᵀ row`.
    fn down(&self, row: &[f32], inner: &mut [f32]) {
        inner.fill(0.0);
        for (x, v) in row.iter().zip(self.v.values.chunks_exact(self.rank())) {
            add_scaled(v, *x, inner);
        }
    }

    /// Adds to `gradient` what a loss has for `U` and `V`.
    ///
    /// `rows`: what the link was applied to, before it; `gradients`: the loss's gradient of what came
    /// out; both `[any, width]`. With `H = rows · V`: `gU = gradientsᵀ H`, `gV = rowsᵀ (gradients U)`,
    /// times the strength.
    pub(crate) fn add_gradient(&self, rows: &[f32], gradients: &[f32], gradient: &mut Link) {
        let (width, rank) = (self.width(), self.rank());
        let mut down = vec![0.0; rank];
        let mut back = vec![0.0; rank];
        for (x, g) in rows.chunks_exact(width).zip(gradients.chunks_exact(width)) {
            self.down(x, &mut down);
            back.fill(0.0);
            for (g, u) in g.iter().zip(self.u.values.chunks_exact(rank)) {
                add_scaled(u, *g, &mut back);
            }
            for (g, to) in g.iter().zip(gradient.u.values.chunks_exact_mut(rank)) {
                add_scaled(&down, g * self.strength, to);
            }
            for (x, to) in x.iter().zip(gradient.v.values.chunks_exact_mut(rank)) {
                add_scaled(&back, x * self.strength, to);
            }
        }
    }

    /// How far the link moves `rows`, `[any, width]`: the mean of `|x' - x| / |x|`.
    pub(crate) fn shift(&self, rows: &[f32]) -> f64 {
        let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let (mut sum, mut n_rows) = (0.0, 0);
        for row in rows.chunks_exact(self.width()) {
            let mut moved = row.to_vec();
            self.apply(&mut moved);
            moved.iter_mut().zip(row).for_each(|(moved, x)| *moved -= x);
            sum += norm(&moved) / norm(row).max(f64::MIN_POSITIVE);
            n_rows += 1;
        }
        sum / f64::from(n_rows.max(1))
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(row: &[f32], factor: f32, to: &mut [f32]) {
    to.iter_mut().zip(row).for_each(|(to, x)| *to += factor * x);
}

#[cfg(test)]
mod tests {
    use super::super::reference::random_link;
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..n).map(|_| random.normal() as f32).collect()
    }

    #[test]
    fn a_new_link_changes_no_bit() {
        let rows = numbers(5 * 48, 1);
        let mut linked = rows.clone();
        Link::new(48, 16, 2).apply(&mut linked);
        assert!(rows.iter().zip(&linked).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (width, rank, n_rows) = (6, 2, 3);
        let link = random_link(width, rank, 3);
        let rows = numbers(n_rows * width, 4);
        let weights = numbers(n_rows * width, 5);
        // A loss that is not linear in the link: the sum of w · x'²; its gradient is 2 w x'.
        let applied = |u: &[f64], v: &[f64]| -> Vec<f64> {
            let at = |row: &[f32], i: usize| {
                let inner = |j: usize| -> f64 {
                    (0..width).map(|k| f64::from(row[k]) * v[k * rank + j]).sum()
                };
                let moved: f64 = (0..rank).map(|j| u[i * rank + j] * inner(j)).sum();
                f64::from(row[i]) + f64::from(link.strength) * moved
            };
            rows.chunks_exact(width).flat_map(|row| (0..width).map(move |i| at(row, i))).collect()
        };
        let loss = |u: &[f64], v: &[f64]| -> f64 {
            applied(u, v).iter().zip(&weights).map(|(x, w)| f64::from(*w) * x * x).sum()
        };
        let wide = |m: &Matrix| m.values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (u, v) = (wide(&link.u), wide(&link.v));
        let mut linked = rows.clone();
        link.apply(&mut linked);
        let upstream: Vec<f32> = linked.iter().zip(&weights).map(|(x, w)| 2.0 * w * x).collect();
        let mut gradient = Link::zeros(width, rank);
        link.add_gradient(&rows, &upstream, &mut gradient);
        const STEP: f64 = 1e-6;
        for i in 0..width * rank {
            let moved = |values: &[f64], by: f64| {
                let mut values = values.to_vec();
                values[i] += by;
                values
            };
            let of_u = (loss(&moved(&u, STEP), &v) - loss(&moved(&u, -STEP), &v)) / (2.0 * STEP);
            let of_v = (loss(&u, &moved(&v, STEP)) - loss(&u, &moved(&v, -STEP))) / (2.0 * STEP);
            let close = |found: f32, expected: f64| {
                (f64::from(found) - expected).abs() < 1e-4 * expected.abs().max(1.0)
            };
            assert!(close(gradient.u.values[i], of_u), "u {i}: {} {of_u}", gradient.u.values[i]);
            assert!(close(gradient.v.values[i], of_v), "v {i}: {} {of_v}", gradient.v.values[i]);
        }
    }

    #[test]
    fn the_shift_is_relative() {
        let mut link = Link::zeros(2, 1);
        (link.u.values[0], link.v.values[0]) = (0.5, 1.0);
        // The first row moves by half its length, the second not at all.
        assert!((link.shift(&[4.0, 0.0, 0.0, 3.0]) - 0.25).abs() < 1e-9);
    }
}
