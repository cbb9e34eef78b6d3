//! The forward pass once more, in f64 and plain loops, and its finite differences.

use std::f64::consts::PI;

use super::*;

/// Relative L2 error that f32 and the differences may cause.
const TOLERANCE: f64 = 2e-5;

/// Half the distance over which a difference is taken.
const STEP: f64 = 1e-5;

type Rows = Vec<Vec<f64>>;

/// Weights, and links, in f64.
pub(super) struct Twin<'a> {
    pub(super) config: &'a Config,
    pub(super) weights: Weights<Rows>,
}

pub(super) fn rows(m: &Matrix) -> Rows {
    m.values.chunks(m.n_cols).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

fn times(w: &Rows, x: &[f64]) -> Vec<f64> {
    w.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn gelu(z: f64) -> f64 {
    0.5 * z * (1.0 + ((2.0 / PI).sqrt() * (z + 0.044715 * z * z * z)).tanh())
}

impl<'a> Twin<'a> {
    pub(super) fn new(config: &'a Config, weights: &Weights) -> Twin<'a> {
        let Ok(weights) = weights.map(|m| Ok::<_, Infallible>(rows(m)));
        Twin { config, weights }
    }

    fn norm(&self, x: &[f64], w: &Rows) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let root = (mean + self.config.rms_norm_eps).sqrt();
        x.iter().zip(&w[0]).map(|(x, w)| x / root * (1.0 + w)).collect()
    }

    pub(super) fn inputs(&self, ids: &[u32]) -> Rows {
        let scale = (self.config.hidden as f64).sqrt();
        let row = |id: &u32| self.weights.embedding[*id as usize].iter().map(|x| x * scale);
        ids.iter().map(|id| row(id).collect()).collect()
    }

    fn heads(&self, x: &[f64], w: &Rows, norm: &Rows, position: usize, theta: f64) -> Rows {
        let (d, flat) = (self.config.head_dim, times(w, x));
        let turn = |head: &[f64]| {
            let head = self.norm(head, norm);
            let pair = |j: usize| {
                let angle = position as f64 * theta.powf(-2.0 * j as f64 / d as f64);
                let (a, b) = (head[j], head[j + d / 2]);
                (a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin())
            };
            let (first, second): (Vec<f64>, Vec<f64>) = (0..d / 2).map(pair).unzip();
            [first, second].concat()
        };
        flat.chunks(d).map(turn).collect()
    }

    fn attention(&self, i: usize, x: &Rows) -> Rows {
        let config = self.config;
        let (layer, is_full) = (&self.weights.layers[i], config.layers[i] == Full);
        let theta = if is_full { config.rope_theta_full } else { config.rope_theta_sliding };
        let heads = |w, norm| -> Vec<Rows> {
            let of = |(p, x): (usize, &Vec<f64>)| self.heads(x, w, norm, p, theta);
            x.iter().enumerate().map(of).collect()
        };
        let (q, k) = (heads(&layer.q, &layer.q_norm), heads(&layer.k, &layer.k_norm));
        let v: Rows = x.iter().map(|x| times(&layer.v, x)).collect();
        let mix = |p: usize| {
            let mut mixed = Vec::new();
            for head in 0..config.n_heads {
                let kv = head * config.n_kv_heads / config.n_heads;
                let seen =
                    (0..x.len()).filter(|&o| is_full || o.abs_diff(p) <= config.window_radius);
                let weigh = |o: usize| {
                    let dot: f64 = q[p][head].iter().zip(&k[o][kv]).map(|(q, k)| q * k).sum();
                    (o, (dot / config.query_pre_attn_scalar.sqrt()).exp())
                };
                let weighed: Vec<(usize, f64)> = seen.map(weigh).collect();
                let total: f64 = weighed.iter().map(|(_, w)| w).sum();
                for d in 0..config.head_dim {
                    let at = kv * config.head_dim + d;
                    mixed.push(weighed.iter().map(|(o, w)| w * v[*o][at]).sum::<f64>() / total);
                }
            }
            times(&layer.o, &mixed)
        };
        (0..x.len()).map(mix).collect()
    }

    fn feed_forward(&self, i: usize, x: &[f64]) -> Vec<f64> {
        let layer = &self.weights.layers[i];
        let (gate, up) = (times(&layer.gate, x), times(&layer.up, x));
        let inner: Vec<f64> = gate.into_iter().zip(up).map(|(z, up)| gelu(z) * up).collect();
        times(&layer.down, &inner)
    }

    /// The vector of one sequence, from its scaled and linked rows.
    pub(super) fn forward(&self, mut x: Rows) -> Vec<f64> {
        let add = |x: &mut Vec<f64>, branch: Vec<f64>| {
            x.iter_mut().zip(branch).for_each(|(x, branch)| *x += branch);
        };
        for (i, layer) in self.weights.layers.iter().enumerate() {
            let normed: Rows = x.iter().map(|x| self.norm(x, &layer.input_norm)).collect();
            for (x, a) in x.iter_mut().zip(self.attention(i, &normed)) {
                add(x, self.norm(&a, &layer.post_attention_norm));
                let m = self.feed_forward(i, &self.norm(x, &layer.pre_feedforward_norm));
                add(x, self.norm(&m, &layer.post_feedforward_norm));
            }
        }
        let mut mean = vec![0.0; self.config.hidden];
        for row in &x {
            add(&mut mean, self.norm(row, &self.weights.norm));
        }
        mean.iter_mut().for_each(|m| *m /= x.len() as f64);
        times(&self.weights.dense_2, &times(&self.weights.dense_1, &mean))
    }

    /// The sum over `factors * y` of all sequences.
    fn loss(&self, sequences: &[Vec<u32>], factors: &[f32]) -> f64 {
        let y = sequences.iter().flat_map(|ids| self.forward(self.inputs(ids)));
        y.zip(factors).map(|(y, f)| y * f64::from(*f)).sum()
    }
}

/// The slope of `loss` along one of its numbers.
pub(super) fn slope<T>(
    of: &mut T,
    number: impl Fn(&mut T) -> &mut f64,
    loss: impl Fn(&T) -> f64,
) -> f64 {
    let before = *number(of);
    *number(of) = before + STEP;
    let above = loss(of);
    *number(of) = before - STEP;
    let below = loss(of);
    *number(of) = before;
    (above - below) / (2.0 * STEP)
}

/// All weights, in the order of `named`.
fn all_mut(weights: &mut Weights<Rows>) -> Vec<&mut Rows> {
    let Weights { embedding, layers, norm, dense_1, dense_2 } = weights;
    let mut all = vec![embedding, norm, dense_1, dense_2];
    all.extend(layers.iter_mut().flat_map(LayerWeights::all_mut));
    all
}

#[test]
fn gradients_of_every_weight_equal_finite_differences() {
    let config = Config { vocab_size: 9, layers: vec![Sliding, Full], ..tiny() };
    let weights = random_weights(&config, 5);
    let sequences = sequences(&[1, 7, 3], config.vocab_size);
    let factors = Numbers(2).take(3 * 17);
    let mut twin = Twin::new(&config, &weights);
    let pass = Pass::new(&config, weights, Precision::F32);
    let found = gradients(&pass, &slices(&sequences), &[], &factors);
    let mut n_compared = 0;
    for (i, (name, found)) in named(&found).into_iter().enumerate() {
        let mut expected = Vec::new();
        for at in 0..found.values.len() {
            let (row, column) = (at / found.n_cols, at % found.n_cols);
            let slope = slope(
                &mut twin,
                |twin| &mut all_mut(&mut twin.weights).swap_remove(i)[row][column],
                |twin| twin.loss(&sequences, &factors),
            );
            expected.push(slope as f32);
        }
        let error = relative_error(&found.values, &expected);
        assert!(error < TOLERANCE, "{name}: {error:e}");
        n_compared += expected.len();
    }
    println!("{n_compared} slopes");
}
