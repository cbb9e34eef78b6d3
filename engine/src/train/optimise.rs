//! From gradients to weights: clipping, AdamW, a schedule of rates, and the moving average that becomes
//! the model.
//!
//! Only matrices decay; norms, which are stored minus one, would be pulled to one.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::adamw::{Step, schedule};
use crate::package::Weights;

/// How weights follow gradients, as a recipe says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optimiser {
    /// The highest learning rate.
    pub rate: f64,
    /// The share of steps in which the rate climbs to it, in a straight line.
    pub warm_up: f64,
    /// The rate at the end, as a share of the highest; a cosine leads there.
    pub last_rate: f64,
    /// How much of the gradients' mean, and of their mean square, a step keeps.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// How much of a matrix goes with each step, times the rate.
    pub decay: f64,
    /// Gradients of a larger norm, all weights together, are scaled down to it.
    pub clip: f64,
    /// How much of the moving average of weights a step keeps; 0 for the last weights themselves.
    pub average: f64,
}

impl Default for Optimiser {
    fn default() -> Optimiser {
        Optimiser {
            rate: 1e-3,
            warm_up: 0.05,
            last_rate: 0.0,
            betas: [0.9, 0.98],
            epsilon: 1e-8,
            decay: 0.01,
            clip: 1.0,
            average: 0.99,
        }
    }
}

impl Optimiser {
    /// The learning rate of a step, counted from 0.
    pub fn rate_at(&self, step: usize, n_steps: usize) -> f64 {
        let n_climbing = (self.warm_up * n_steps as f64).round() as usize;
        self.rate * schedule(step, n_steps, n_climbing, self.last_rate)
    }

    /// What is wrong with the numbers, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let Optimiser { rate, warm_up, last_rate, betas, epsilon, decay, clip, average } = *self;
        let checks = [
            ("rate", rate, rate > 0.0, "more than 0"),
            ("warm_up", warm_up, (0.0..=1.0).contains(&warm_up), "0 to 1"),
            ("last_rate", last_rate, (0.0..=1.0).contains(&last_rate), "0 to 1"),
            ("betas[0]", betas[0], (0.0..1.0).contains(&betas[0]), "0 up to 1"),
            ("betas[1]", betas[1], (0.0..1.0).contains(&betas[1]), "0 up to 1"),
            ("epsilon", epsilon, epsilon > 0.0, "more than 0"),
            ("decay", decay, decay >= 0.0, "0 or more"),
            ("clip", clip, clip > 0.0, "more than 0"),
            ("average", average, (0.0..1.0).contains(&average), "0 up to 1"),
        ];
        let wrong = checks.iter().find(|(_, value, is_right, _)| !(*is_right && value.is_finite()));
        wrong.map(|(name, value, _, expected)| {
            format!("optimiser: {name} is {value}, expected {expected}")
        })
    }
}

/// The state of AdamW: for each weight, the mean of its gradients and that of their squares.
pub(super) struct AdamW {
    pub(super) n_steps: u64,
    pub(super) means: Weights,
    pub(super) squares: Weights,
}

impl AdamW {
    /// Moves the weights against their gradients.
    pub(super) fn step(
        &mut self,
        settings: &Optimiser,
        rate: f64,
        weights: &mut Weights,
        gradients: &Weights,
    ) {
        self.n_steps += 1;
        let Optimiser { betas, epsilon, decay, .. } = *settings;
        let step = Step { number: self.n_steps, rate, betas, epsilon };
        let states = self.means.all_mut().into_iter().zip(self.squares.all_mut());
        let moved = weights.all_mut().into_iter().zip(gradients.all()).zip(states);
        for ((weight, gradient), (mean, square)) in moved {
            let decay = if weight.n_rows > 1 { decay } else { 0.0 };
            let (mean, square) = (&mut mean.values, &mut square.values);
            step.apply(decay, &mut weight.values, &gradient.values, mean, square);
        }
    }
}

/// Scales gradients down to the norm `most`, if theirs is larger. Returns the norm before: not finite if
/// a gradient is not.
pub(super) fn clip(gradients: &mut Weights, most: f64) -> f64 {
    // In parts of fixed length, so that the sum does not depend on the threads.
    const PART: usize = 1 << 14;
    let square = |part: &[f32]| part.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let squares = |values: &[f32]| -> f64 {
        let parts: Vec<f64> = values.par_chunks(PART).map(square).collect();
        parts.iter().sum()
    };
    let norm = gradients.all().iter().map(|m| squares(&m.values)).sum::<f64>().sqrt();
    if norm > most {
        scale(gradients, (most / (norm + 1e-6)) as f32);
    }
    norm
}

/// Multiplies everything by a number.
pub(super) fn scale(weights: &mut Weights, factor: f32) {
    for matrix in weights.all_mut() {
        matrix.values.par_iter_mut().with_min_len(1 << 14).for_each(|x| *x *= factor);
    }
}

/// Moves the average towards the weights. The first steps count more, so that the start is soon forgotten.
pub(super) fn follow(average: &mut Weights, weights: &Weights, keep: f64, step: usize) {
    let keep = keep.min((1 + step) as f64 / (10 + step) as f64) as f32;
    for (average, weight) in average.all_mut().into_iter().zip(weights.all()) {
        let numbers = average.values.par_iter_mut().zip(&weight.values);
        numbers.with_min_len(1 << 14).for_each(|(a, w)| *a = *a * keep + w * (1.0 - keep));
    }
}

impl AdamW {
    /// Before the first step.
    pub(super) fn new(weights: &Weights) -> AdamW {
        let zeros = weights.zeros();
        AdamW { n_steps: 0, means: zeros.clone(), squares: zeros }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Matrix;
    use crate::train::reference::{numbers, value};

    /// Weights of which two are used: the embedding, a matrix, and the last norm, a vector.
    fn two(matrix: Vec<f32>, vector: Vec<f32>) -> Weights {
        Weights {
            embedding: Matrix { values: matrix, n_rows: 3, n_cols: 4 },
            layers: Vec::new(),
            norm: Matrix { values: vector, n_rows: 1, n_cols: 5 },
            dense_1: Matrix::default(),
            dense_2: Matrix::default(),
        }
    }

    #[test]
    fn steps_and_norms_are_those_of_pytorch() {
        let reference = value("adamw");
        let pair = |v: &serde_json::Value| two(numbers(&v[0]), numbers(&v[1]));
        let number = |name: &str| reference[name].as_f64().unwrap();
        let settings = Optimiser {
            betas: [0.9, 0.98],
            epsilon: number("epsilon"),
            decay: number("decay"),
            clip: number("clip"),
            ..Optimiser::default()
        };
        let mut weights = pair(&reference["start"]);
        let mut adamw = AdamW::new(&weights);
        let mut n_clipped = 0;
        for (i, rate) in numbers(&reference["rates"]).into_iter().enumerate() {
            let mut gradients = pair(&reference["gradients"][i]);
            let norm = clip(&mut gradients, settings.clip);
            n_clipped += usize::from(norm > settings.clip);
            assert!((norm - reference["norms"][i].as_f64().unwrap()).abs() < 1e-5);
            adamw.step(&settings, f64::from(rate), &mut weights, &gradients);
            let expected = pair(&reference["states"][i]);
            for (found, expected) in weights.all().into_iter().zip(expected.all()) {
                for (a, b) in found.values.iter().zip(&expected.values) {
                    assert!((a - b).abs() < 2e-6, "step {i}: {a}, expected {b}");
                }
            }
        }
        assert!(n_clipped > 0, "the reference clips");
    }

    #[test]
    fn the_rate_climbs_and_falls() {
        let settings =
            Optimiser { rate: 2.0, warm_up: 0.1, last_rate: 0.5, ..Optimiser::default() };
        let rates: Vec<f64> = (0..100).map(|step| settings.rate_at(step, 100)).collect();
        assert_eq!((rates[0], rates[4], rates[9], rates[10]), (0.2, 1.0, 2.0, 2.0));
        assert!(rates[10..].is_sorted_by(|a, b| a > b));
        assert!((rates[55] - 1.5).abs() < 1e-9 && (rates[99] - 1.0).abs() < 1e-2);
        let flat = Optimiser { warm_up: 1.0, ..Optimiser::default() };
        assert!(flat.rate_at(9, 10) == flat.rate && flat.rate_at(0, 1) == flat.rate);
    }

    #[test]
    fn an_average_forgets_its_start() {
        let mut average = two(vec![100.0; 12], vec![100.0; 5]);
        let weights = two(vec![1.0; 12], vec![1.0; 5]);
        (0..200).for_each(|step| follow(&mut average, &weights, 0.95, step));
        assert!((average.norm.values[0] - 1.0).abs() < 1e-3, "{:?}", average.norm.values);
    }

    #[test]
    fn a_gradient_that_is_no_number_shows_in_the_norm() {
        let mut gradients = two(vec![1.0; 12], vec![f32::NAN; 5]);
        assert!(!clip(&mut gradients, 1.0).is_finite());
    }
}
