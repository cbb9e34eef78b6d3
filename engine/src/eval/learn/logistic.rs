//! Multinomial logistic regression, as scikit-learn's `LogisticRegression` defines it.

use super::lbfgs::{dot, minimise};

/// The largest part of the gradient at which the fit ends. The sum over examples is minimised, where
/// scikit-learn looks at the mean and stops at 1e-4: the fit here is closer to the minimum.
const TOLERANCE: f64 = 1e-5;

/// A linear classifier.
#[derive(Debug)]
pub struct Logistic {
    weights: Vec<f64>, // [n_classes, dims + 1]; the last of each row is the intercept
    dims: usize,
}

impl Logistic {
    /// Minimises `sum of cross entropies + |W|^2 / 2` (scikit-learn's C = 1) over examples with the
    /// classes `0..n_classes`. Intercepts are not penalised.
    ///
    /// # Panics
    /// If there is no example, their widths differ, or the classes of the examples are not all of
    /// `0..n_classes`: of a class without an example the intercept would have no minimum.
    pub fn fit(features: &[&[f32]], classes: &[usize], n_classes: usize) -> Logistic {
        assert_eq!(features.len(), classes.len(), "each example has a class");
        assert!(
            (0..n_classes).all(|class| classes.contains(&class))
                && classes.iter().all(|class| *class < n_classes)
                && n_classes > 0,
            "each class needs an example"
        );
        let dims = features[0].len();
        assert!(features.iter().all(|row| row.len() == dims), "examples are of one width");
        // The intercept is the weight of a feature that is always 1.
        let with_one = |row: &&[f32]| row.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
        let rows: Vec<Vec<f64>> = features.iter().map(with_one).collect();
        let start = vec![0.0; n_classes * (dims + 1)];
        let weights = minimise(start, TOLERANCE, |weights, gradient| {
            loss(weights, &rows, classes, n_classes, gradient)
        });
        Logistic { weights, dims }
    }

    /// The likeliest class.
    ///
    /// # Panics
    /// If the width is not that of the examples.
    pub fn predict(&self, features: &[f32]) -> usize {
        assert_eq!(features.len(), self.dims, "a vector has the width of the examples");
        let row: Vec<f64> = features.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
        let scores = self.weights.chunks_exact(self.dims + 1).map(|weights| dot(weights, &row));
        // Of equal classes the first.
        let best =
            scores.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(0, |(class, _)| class)
    }

    /// Weights, then intercept, of each class.
    #[cfg(test)]
    pub(super) fn weights(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.chunks_exact(self.dims + 1)
    }
}

/// The penalised sum of cross entropies, and its gradient.
fn loss(
    weights: &[f64],
    rows: &[Vec<f64>],
    classes: &[usize],
    n_classes: usize,
    gradient: &mut [f64],
) -> f64 {
    let width = weights.len() / n_classes;
    gradient.copy_from_slice(weights);
    gradient.chunks_exact_mut(width).for_each(|row| row[width - 1] = 0.0);
    let mut value = dot(gradient, gradient) / 2.0;
    let mut shares = vec![0.0; n_classes];
    for (row, &class) in rows.iter().zip(classes) {
        for (share, weights) in shares.iter_mut().zip(weights.chunks_exact(width)) {
            *share = dot(weights, row);
        }
        value -= shares[class];
        let largest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        shares.iter_mut().for_each(|share| *share = (*share - largest).exp());
        let sum: f64 = shares.iter().sum();
        value += sum.ln() + largest;
        shares.iter_mut().for_each(|share| *share /= sum);
        shares[class] -= 1.0;
        for (share, gradient) in shares.iter().zip(gradient.chunks_exact_mut(width)) {
            gradient.iter_mut().zip(row).for_each(|(gradient, x)| *gradient += share * x);
        }
    }
    value
}
