//! A *soup* (Wortsman et al. 2022): the uniform average of weights that were trained apart.

use crate::package::{Matrix, Weights};

/// The average.
///
/// # Panics
/// If there are none, or their shapes differ.
pub(super) fn soup(weights: &[Weights]) -> Weights {
    let mut sum = weights[0].clone();
    for (i, to) in sum.all_mut().into_iter().enumerate() {
        let others: Vec<&Matrix> = weights.iter().map(|weights| weights.all()[i]).collect();
        assert!(others.iter().all(|m| (m.n_rows, m.n_cols) == (to.n_rows, to.n_cols)));
        for (at, x) in to.values.iter_mut().enumerate() {
            let sum: f64 = others.iter().map(|m| f64::from(m.values[at])).sum();
            *x = (sum / others.len() as f64) as f32;
        }
    }
    sum
}
