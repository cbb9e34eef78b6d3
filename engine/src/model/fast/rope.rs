//! The rotary angles, kept from pass to pass.

use std::sync::{Arc, Mutex, PoisonError};

use crate::package::Config;

/// Cosine and sine of the rotary angles, `[n_positions, head_dim / 2]` each.
pub(crate) struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

/// The angles of full and of sliding layers, for as many positions as were ever asked for.
#[derive(Default)]
pub(crate) struct Ropes(Mutex<Option<Arc<[Rope; 2]>>>);

impl Ropes {
    /// Full, then sliding, for at least this many positions.
    pub(crate) fn reaching(&self, n_positions: usize, config: &Config) -> Arc<[Rope; 2]> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(ropes) if ropes[0].reaches(n_positions) => ropes.clone(),
            _ => {
                let n = n_positions.next_power_of_two().max(64);
                let thetas = [config.rope_theta_full, config.rope_theta_sliding];
                let ropes = Arc::new(thetas.map(|theta| Rope::new(config.head_dim, n, theta)));
                *kept = Some(ropes.clone());
                ropes
            }
        }
    }
}

impl Rope {
    fn new(head_dim: usize, n_positions: usize, theta: f64) -> Rope {
        let half = head_dim / 2;
        let frequency = |j: usize| (1.0 / theta.powf(2.0 * j as f64 / head_dim as f64)) as f32;
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles = (0..n_positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Rope { cos, sin, half }
    }

    fn reaches(&self, n_positions: usize) -> bool {
        self.cos.len() >= n_positions * self.half
    }

    /// Cosine and sine at a position, `[head_dim / 2]` each.
    pub(crate) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}
