//! The linear algebra that tuning and training need, in f64: systems with a positive definite matrix, the
//! eigenvectors of a small symmetric one, the turn between two sets of vectors.
//!
//! The matrices are as large as a vector is wide, or as a few links have columns. Textbook methods:
//! Cholesky, and Jacobi's rotations (Golub and Van Loan, Matrix Computations, 4.2 and 8.5).

use rayon::prelude::*;

/// Solves `x · a = b` for each row of `b`, in place.
///
/// `a`: `[n, n]`, symmetric and positive definite; its factor is left in its lower half. `b`:
/// `[any, n]`. False, and `b` as it was, if `a` is not positive definite.
pub(crate) fn solve(a: &mut [f64], n: usize, b: &mut [f64]) -> bool {
    if !factor(a, n) {
        return false;
    }
    let a = &*a;
    b.par_chunks_mut(n).for_each(|row| {
        for i in 0..n {
            let (before, rest) = row.split_at_mut(i);
            rest[0] = (rest[0] - dot(&a[i * n..][..i], before)) / a[i * n + i];
        }
        for i in (0..n).rev() {
            let (before, rest) = row.split_at_mut(i);
            rest[0] /= a[i * n + i];
            let x = rest[0];
            before.iter_mut().zip(&a[i * n..]).for_each(|(to, l)| *to -= l * x);
        }
    });
    true
}

/// Cholesky: the lower half of `a` becomes `l` with `l · lᵀ = a`.
fn factor(a: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        let (above, rest) = a.split_at_mut(i * n);
        let row = &mut rest[..n];
        for j in 0..i {
            row[j] = (row[j] - dot(&above[j * n..][..j], &row[..j])) / above[j * n + j];
        }
        let square = row[i] - dot(&row[..i], &row[..i]);
        if square.is_nan() || square <= 0.0 {
            return false;
        }
        row[i] = square.sqrt();
    }
    true
}

/// The sum of products, in eight lanes.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Eigenvalues, largest first, and their unit eigenvectors as rows.
///
/// `a`: `[n, n]`, symmetric. Returns `[n]` and `[n, n]`.
pub(crate) fn eigen(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    /// Jacobi's method needs about ten at any size.
    const MOST_SWEEPS: usize = 50;
    let mut a = a.to_vec();
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let whole: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..MOST_SWEEPS {
        let outside = |i: usize| a[i * n..][..i].iter().map(|x| x * x).sum::<f64>();
        if (0..n).map(outside).sum::<f64>() <= 1e-30 * whole {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let rows = order.iter().flat_map(|&i| vectors[i * n..][..n].to_vec()).collect();
    (values, rows)
}

/// The turn that brings vectors nearest to others: the orthogonal `r` with the largest sum of `(r x) · y` over pairs
/// (Schönemann 1966). Directions of `x` that no `y` answers go to what is left of the space of `y`.
///
/// `products`: the sum of `xᵢ yⱼ` over the pairs, `[n, m]`. Returns `[m, n]`; its rows are orthonormal if `m <= n`, else
/// its columns.
pub(crate) fn nearest_turn(products: &[f64], n: usize, m: usize) -> Vec<f64> {
    let square: Vec<f64> = (0..n * n)
        .into_par_iter()
        .map(|k| dot(&products[k / n * m..][..m], &products[k % n * m..][..m]))
        .collect();
    let (_, from) = eigen(&square, n);
    let mut to: Vec<Vec<f64>> = Vec::new(); // of each axis in `from`, where it goes
    let mut bases = 0..m;
    for axis in from.chunks_exact(n).take(m) {
        let mut image = vec![0.0; m];
        for (x, row) in axis.iter().zip(products.chunks_exact(m)) {
            image.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
        let mut image = beside(&to, image);
        while image.is_none()
            && let Some(base) = bases.next()
        {
            image = beside(&to, (0..m).map(|j| f64::from(u8::from(j == base))).collect());
        }
        to.extend(image);
    }
    let mut turn = vec![0.0; m * n];
    for (axis, image) in from.chunks_exact(n).zip(&to) {
        for (row, y) in turn.chunks_exact_mut(n).zip(image) {
            row.iter_mut().zip(axis).for_each(|(sum, x)| *sum += y * x);
        }
    }
    turn
}

/// The part of a vector that is orthogonal to others, at unit length; none if that is but rounding.
fn beside(others: &[Vec<f64>], mut vector: Vec<f64>) -> Option<Vec<f64>> {
    let whole = dot(&vector, &vector).sqrt();
    // Twice is enough (Kahan): what the first time leaves by rounding, the second takes.
    for other in others.iter().chain(others) {
        let along = dot(other, &vector);
        vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
    }
    let length = dot(&vector, &vector).sqrt();
    (length > 1e-6 * whole).then(|| vector.iter().map(|x| x / length).collect())
}

/// Turns the plane of `p` and `q` so that `a[p][q]` becomes 0.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let tan = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cos = 1.0 / tan.hypot(1.0);
    let sin = tan * cos;
    let turn = |m: &mut [f64], i: usize, j: usize| {
        let (x, y) = (m[i], m[j]);
        (m[i], m[j]) = (cos * x - sin * y, sin * x + cos * y);
    };
    for k in 0..n {
        turn(a, k * n + p, k * n + q);
    }
    for k in 0..n {
        turn(a, p * n + k, q * n + k);
        turn(vectors, p * n + k, q * n + k);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn symmetric(n: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let rows: Vec<f64> = (0..n * n).map(|_| random.normal()).collect();
        let entry = |k: usize| dot(&rows[k / n * n..][..n], &rows[k % n * n..][..n]);
        (0..n * n).map(entry).collect()
    }

    #[test]
    fn a_system_is_solved() {
        let n = 37;
        let a = symmetric(n, 3);
        let mut random = Random::new(4);
        let x: Vec<f64> = (0..2 * n).map(|_| random.normal()).collect();
        let product =
            |k: usize| -> f64 { (0..n).map(|i| x[k / n * n + i] * a[i * n + k % n]).sum() };
        let mut b: Vec<f64> = (0..2 * n).map(product).collect();
        assert!(solve(&mut a.clone(), n, &mut b));
        assert!(x.iter().zip(&b).all(|(x, b)| (x - b).abs() < 1e-6), "{x:?} {b:?}");
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_told() {
        for mut a in [vec![1.0, 2.0, 2.0, 1.0], vec![f64::NAN; 4], vec![0.0; 4]] {
            let mut b = vec![5.0, 6.0];
            assert!(!solve(&mut a, 2, &mut b));
            assert_eq!(b, [5.0, 6.0]);
        }
    }

    #[test]
    fn eigenvectors_are_scaled_by_the_matrix_and_orthogonal() {
        let n = 24;
        let a = symmetric(n, 5);
        let (values, vectors) = eigen(&a, n);
        assert!(values.is_sorted_by(|a, b| a >= b));
        for (i, value) in values.iter().enumerate() {
            let vector = &vectors[i * n..][..n];
            for (k, x) in vector.iter().enumerate() {
                assert!((dot(&a[k * n..][..n], vector) - value * x).abs() < 1e-8);
            }
            for j in 0..n {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(vector, &vectors[j * n..][..n]) - expected).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_turn_is_found_again_also_where_half_the_space_is_empty() {
        let n = 12;
        let mut random = Random::new(6);
        let (_, turn) = eigen(&symmetric(n, 7), n);
        for rank in [12, 7] {
            let mut products = vec![0.0; n * n];
            let (mut pairs, mut whole) = (Vec::new(), 0.0);
            for _ in 0..2000 {
                let x: Vec<f64> = (0..n).map(|_| random.normal()).collect();
                let seen = |j: usize| if j < rank { dot(&turn[j * n..][..n], &x) } else { 0.0 };
                let y: Vec<f64> = (0..n).map(seen).collect();
                (0..n * n).for_each(|k| products[k] += x[k / n] * y[k % n]);
                whole += dot(&y, &y);
                pairs.push((x, y));
            }
            let found = nearest_turn(&products, n, n);
            for k in 0..n * n {
                let expected = f64::from(u8::from(k / n == k % n));
                let along = dot(&found[k / n * n..][..n], &found[k % n * n..][..n]);
                assert!((along - expected).abs() < 1e-10, "rank {rank}, rows {k}: {along}");
            }
            // No more than the length of y can be reached, and only by the turn that made it.
            let along = |(x, y): &(Vec<f64>, Vec<f64>)| -> f64 {
                (0..n).map(|j| y[j] * dot(&found[j * n..][..n], x)).sum()
            };
            let reached: f64 = pairs.iter().map(along).sum();
            assert!(reached > 0.999 * whole, "rank {rank}: {reached} of {whole}");
        }
    }

    #[test]
    fn a_turn_into_a_narrower_or_wider_space_keeps_what_fits() {
        for (n, m) in [(6, 4), (4, 6)] {
            // Axis i of x answers axis i of y, the first ones most.
            let mut products = vec![0.0; n * m];
            (0..n.min(m)).for_each(|i| products[i * m + i] = 10.0 - i as f64);
            let found = nearest_turn(&products, n, m);
            for k in 0..m * n {
                let expected = f64::from(u8::from(k / n == k % n));
                assert!((found[k].abs() - expected).abs() < 1e-9, "{n} to {m}: {found:?}");
            }
        }
    }
}
