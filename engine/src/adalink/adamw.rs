//! AdamW (arXiv 1711.05101) on one run of numbers.

/// The state of one run of numbers; its length is that of the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdamW {
    mean: Vec<f32>,
    square: Vec<f32>,
    n_steps: i32,
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.98;
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// One step against `gradient`; the decay is that of the weights alone, times the rate.
    pub(crate) fn step(&mut self, weights: &mut [f32], gradient: &[f32], rate: f32, decay: f32) {
        self.mean.resize(weights.len(), 0.0);
        self.square.resize(weights.len(), 0.0);
        self.n_steps += 1;
        let of_mean = 1.0 - BETA_1.powi(self.n_steps);
        let of_square = 1.0 - BETA_2.powi(self.n_steps);
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((weight, g), (mean, square)) in weights.iter_mut().zip(gradient).zip(state) {
            *mean = BETA_1 * *mean + (1.0 - BETA_1) * g;
            *square = BETA_2 * *square + (1.0 - BETA_2) * g * g;
            let direction = (*mean / of_mean) / ((*square / of_square).sqrt() + EPSILON);
            *weight -= rate * (direction + decay * *weight);
        }
    }
}

/// The share of the full rate at a step: up from 0 over the first twentieth, then half a cosine to 0.
pub(crate) fn schedule(step: usize, n_steps: usize) -> f32 {
    let n_warm_up = n_steps.div_ceil(20);
    if step < n_warm_up {
        return (step + 1) as f32 / n_warm_up as f32;
    }
    let share = (step - n_warm_up) as f32 / (n_steps - n_warm_up).max(1) as f32;
    0.5 * (1.0 + (std::f32::consts::PI * share.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_formula() {
        let mut state = AdamW::default();
        let mut weights = [1.0, -2.0];
        state.step(&mut weights, &[0.5, 0.0], 0.1, 0.01);
        // In the first step mean and square are the gradient's own, so the direction is its sign.
        assert!((weights[0] - (1.0 - 0.1 * (1.0 + 0.01))).abs() < 1e-6, "{weights:?}");
        assert!((weights[1] - (-2.0 + 0.1 * 0.02)).abs() < 1e-6, "{weights:?}");
        let before = weights[0];
        state.step(&mut weights, &[-0.25, 0.0], 0.1, 0.0);
        let mean = (0.9 * 0.05 - 0.1 * 0.25) / (1.0 - 0.81);
        let square: f32 = (0.98 * 0.02 * 0.25 + 0.02 * 0.0625) / (1.0 - 0.9604);
        assert!((weights[0] - (before - 0.1 * mean / square.sqrt())).abs() < 1e-5, "{weights:?}");
    }

    #[test]
    fn the_rate_rises_and_falls() {
        let rates: Vec<f32> = (0..100).map(|step| schedule(step, 100)).collect();
        assert!(rates[..5].is_sorted() && rates[4] == 1.0);
        assert!(rates[5..].is_sorted_by(|a, b| a >= b) && rates[99] < 0.01);
        assert_eq!(schedule(0, 1), 1.0);
    }
}
