//! Vectors of different texts are to be as far apart as random ones: the second moment of Global
//! Orthogonal Regularisation (Zhang et al. 2017), as EmbeddingGemma's recipe has it.

use rayon::prelude::*;

/// `cosines`: `[n, n]`, of rows with themselves. Returns the mean square outside the diagonal, and its
/// gradient.
pub(super) fn spread(cosines: &[f32], n: usize) -> (f64, Vec<f32>) {
    if n < 2 {
        return (0.0, vec![0.0; n * n]);
    }
    let share = 1.0 / (n * (n - 1)) as f64;
    let squares = |(i, row): (usize, &[f32])| -> f64 {
        let others = row.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, &x)| f64::from(x) * f64::from(x)).sum()
    };
    let rows: Vec<f64> = cosines.par_chunks(n).enumerate().map(squares).collect();
    let slope = 2.0 * share as f32;
    let gradient = |(at, x): (usize, &f32)| if at / n == at % n { 0.0 } else { slope * x };
    let of_cosines = cosines.par_iter().enumerate().map(gradient).collect();
    (rows.iter().sum::<f64>() * share, of_cosines)
}
