//! A model's weights as one list, in the order of the passes: embedding, layers, last norm, dense.

use crate::package::gguf::names;
use crate::package::{Config, LayerWeights, Matrix, Weights};

/// Every matrix and vector.
pub(super) fn all(weights: &Weights) -> Vec<&Matrix> {
    let mut all = vec![&weights.embedding];
    all.extend(weights.layers.iter().flat_map(LayerWeights::all));
    all.extend([&weights.norm, &weights.dense_1, &weights.dense_2]);
    all
}

/// As [`all`], to be changed.
pub(super) fn all_mut(weights: &mut Weights) -> Vec<&mut Matrix> {
    let mut all = vec![&mut weights.embedding];
    all.extend(weights.layers.iter_mut().flat_map(LayerWeights::all_mut));
    all.extend([&mut weights.norm, &mut weights.dense_1, &mut weights.dense_2]);
    all
}

/// The names of [`all`], as in a package.
pub(super) fn names(config: &Config) -> Vec<String> {
    let backbone = names::backbone(config).into_iter().map(|(name, _)| name);
    backbone.chain(names::DENSE.map(str::to_owned)).collect()
}

/// [`all`] with their names.
pub(crate) fn named<'w>(config: &Config, weights: &'w Weights) -> Vec<(String, &'w Matrix)> {
    names(config).into_iter().zip(all(weights)).collect()
}

/// Weights of the same shapes, all zero.
pub(super) fn zeros(weights: &Weights) -> Weights {
    let zeros = |m: &Matrix| Ok::<_, std::convert::Infallible>(Matrix::zeros(m.n_rows, m.n_cols));
    let Ok(zeros) = weights.map(zeros);
    zeros
}

/// A copy.
pub(super) fn copy(weights: &Weights) -> Weights {
    let Ok(copy) = weights.map(|m| Ok::<_, std::convert::Infallible>(m.clone()));
    copy
}

/// The uniform average of weights of the same shapes, a *soup* (Wortsman et al. 2022).
///
/// # Panics
/// If there are none, or their shapes differ.
pub(super) fn soup(weights: &[Weights]) -> Weights {
    let mut sum = copy(&weights[0]);
    for (i, to) in all_mut(&mut sum).into_iter().enumerate() {
        let others: Vec<&Matrix> = weights.iter().map(|weights| all(weights)[i]).collect();
        assert!(others.iter().all(|m| (m.n_rows, m.n_cols) == (to.n_rows, to.n_cols)));
        for (at, x) in to.values.iter_mut().enumerate() {
            let sum: f64 = others.iter().map(|m| f64::from(m.values[at])).sum();
            *x = (sum / others.len() as f64) as f32;
        }
    }
    sum
}
