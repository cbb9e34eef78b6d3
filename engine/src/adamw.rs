//! AdamW (Loshchilov and Hutter, 2019), step by step as `torch.optim.AdamW` does it, and the schedule of its rate.

use std::f64::consts::PI;

use rayon::prelude::*;

/// Numbers that a thread takes at a time.
const PART: usize = 1 << 14;

/// What is the same for all weights of a step.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) rate: f64,
    /// How much of the gradients' mean, and of their mean square, is kept.
    pub(crate) betas: [f64; 2],
    /// Added to the root of the mean square.
    pub(crate) epsilon: f64,
}

impl Step {
    /// Moves weights against their gradients. `decay`: how much of the weights goes, times the rate.
    pub(crate) fn apply(
        &self,
        decay: f64,
        weights: &mut [f32],
        gradients: &[f32],
        means: &mut [f32],
        squares: &mut [f32],
    ) {
        let number = i32::try_from(self.number).unwrap_or(i32::MAX);
        let [beta_1, beta_2] = self.betas;
        let size = (self.rate / (1.0 - beta_1.powi(number))) as f32;
        let root = (1.0 - beta_2.powi(number)).sqrt() as f32;
        let epsilon = self.epsilon as f32;
        let (keep_1, keep_2) = (beta_1 as f32, beta_2 as f32);
        let (new_1, new_2) = ((1.0 - beta_1) as f32, (1.0 - beta_2) as f32);
        let kept = (1.0 - self.rate * decay) as f32;
        let states = means.par_chunks_mut(PART).zip(squares.par_chunks_mut(PART));
        let parts = weights.par_chunks_mut(PART).zip(gradients.par_chunks(PART)).zip(states);
        parts.for_each(|((weights, gradients), (means, squares))| {
            let states = means.iter_mut().zip(squares);
            for ((w, g), (mean, square)) in weights.iter_mut().zip(gradients).zip(states) {
                *mean = *mean * keep_1 + g * new_1;
                *square = *square * keep_2 + g * g * new_2;
                *w = *w * kept - size * *mean / (square.sqrt() / root + epsilon);
            }
        });
    }
}

/// The share of the highest rate at a step, counted from 0: up in a straight line over the first
/// `n_climbing`, then down to `last` by half a cosine.
pub(crate) fn schedule(step: usize, n_steps: usize, n_climbing: usize, last: f64) -> f64 {
    if step < n_climbing {
        return (step + 1) as f64 / n_climbing as f64;
    }
    let way = (step - n_climbing) as f64 / (n_steps - n_climbing).max(1) as f64;
    last + (1.0 - last) * (1.0 + (PI * way).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_formula() {
        let (mut means, mut squares) = ([0.0; 2], [0.0; 2]);
        let mut weights = [1.0_f32, -2.0];
        let mut step = Step { number: 1, rate: 0.1, betas: [0.9, 0.98], epsilon: 1e-8 };
        step.apply(0.01, &mut weights, &[0.5, 0.0], &mut means, &mut squares);
        // In the first step mean and square are the gradient's own, so the direction is its sign.
        assert!((weights[0] - (1.0 - 0.1 * (1.0 + 0.01))).abs() < 1e-6, "{weights:?}");
        assert!((weights[1] - (-2.0 + 0.1 * 0.02)).abs() < 1e-6, "{weights:?}");
        let before = weights[0];
        step.number = 2;
        step.apply(0.0, &mut weights, &[-0.25, 0.0], &mut means, &mut squares);
        let mean = (0.9 * 0.05 - 0.1 * 0.25) / (1.0 - 0.81);
        let square: f32 = (0.98 * 0.02 * 0.25 + 0.02 * 0.0625) / (1.0 - 0.9604);
        assert!((weights[0] - (before - 0.1 * mean / square.sqrt())).abs() < 1e-5, "{weights:?}");
    }

    #[test]
    fn the_rate_rises_and_falls() {
        let rates: Vec<f64> = (0..100).map(|step| schedule(step, 100, 5, 0.0)).collect();
        assert!(rates[..5].is_sorted() && rates[4] == 1.0);
        assert!(rates[5..].is_sorted_by(|a, b| a >= b) && rates[99] < 0.01);
        assert_eq!(schedule(0, 1, 1, 0.0), 1.0);
    }
}
