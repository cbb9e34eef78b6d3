//! The pass against automatic differentiation of the reference, and against finite differences of a
//! twin in f64.

mod links;
mod precision;
mod reference;
mod twin;

use std::ops::Range;

use super::*;
use crate::package::LayerKind::{Full, Sliding};

/// Numbers between -1 and 1, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn take(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32).collect()
    }

    fn matrix(&mut self, n_rows: usize, n_cols: usize, size: f32) -> Matrix {
        let values = self.take(n_rows * n_cols).into_iter().map(|x| x * size).collect();
        Matrix { values, n_rows, n_cols }
    }
}

/// No size is a multiple of another's, of a vector or of a panel.
fn tiny() -> Config {
    Config {
        vocab_size: 23,
        hidden: 14,
        intermediate: 19,
        n_heads: 6,
        n_kv_heads: 2,
        head_dim: 6,
        layers: vec![Sliding, Full, Sliding],
        window_radius: 3,
        rope_theta_full: 1e4,
        rope_theta_sliding: 1e2,
        query_pre_attn_scalar: 5.0,
        rms_norm_eps: 1e-6,
        max_positions: 1000,
        bos: 2,
        eos: 1,
    }
}

fn random_weights(config: &Config, seed: u64) -> Weights {
    let mut numbers = Numbers(seed);
    let Config { vocab_size, hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
    let mut linear =
        |n_rows: usize, n_cols: usize| numbers.matrix(n_rows, n_cols, 1.5 / (n_cols as f32).sqrt());
    let layer = |_| LayerWeights {
        input_norm: linear(1, hidden),
        q: linear(n_heads * head_dim, hidden),
        k: linear(n_kv_heads * head_dim, hidden),
        v: linear(n_kv_heads * head_dim, hidden),
        q_norm: linear(1, head_dim),
        k_norm: linear(1, head_dim),
        o: linear(hidden, n_heads * head_dim),
        post_attention_norm: linear(1, hidden),
        pre_feedforward_norm: linear(1, hidden),
        gate: linear(intermediate, hidden),
        up: linear(intermediate, hidden),
        down: linear(hidden, intermediate),
        post_feedforward_norm: linear(1, hidden),
    };
    Weights {
        layers: (0..config.layers.len()).map(layer).collect(),
        embedding: linear(vocab_size, hidden),
        norm: linear(1, hidden),
        dense_1: linear(21, hidden),
        dense_2: linear(17, 21),
    }
}

/// Around the window of 3 to each side and beyond, and one token alone.
const LENGTHS: [usize; 6] = [1, 2, 4, 5, 9, 40];

fn sequences(lengths: &[usize], vocab_size: usize) -> Vec<Vec<u32>> {
    let id = |n: usize, i: usize| ((i * 7919 + n * 31 + 3) % vocab_size) as u32;
    lengths.iter().map(|&n| (0..n).map(|i| id(n, i)).collect()).collect()
}

fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(|ids| &ids[..]).collect()
}

/// Each weight with its name.
fn named<T>(weights: &Weights<T>) -> Vec<(String, &T)> {
    const NAMES: [&str; 13] = [
        "input_norm",
        "q",
        "k",
        "v",
        "q_norm",
        "k_norm",
        "o",
        "post_attention_norm",
        "pre_feedforward_norm",
        "gate",
        "up",
        "down",
        "post_feedforward_norm",
    ];
    let mut named = vec![
        ("embedding".to_owned(), &weights.embedding),
        ("norm".to_owned(), &weights.norm),
        ("dense_1".to_owned(), &weights.dense_1),
        ("dense_2".to_owned(), &weights.dense_2),
    ];
    for (i, layer) in weights.layers.iter().enumerate() {
        let names = NAMES.iter().map(|name| format!("layer {i} {name}"));
        named.extend(names.zip(layer.all()));
    }
    named
}

/// `|found - expected| / |expected|`
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let length: f64 = expected.iter().map(|&b| square(b)).sum();
    (difference / length).sqrt()
}

/// The largest relative error of any weight's gradient, and whose it is.
fn worst(found: &Weights, expected: &Weights) -> (f64, String) {
    let pairs = named(found).into_iter().zip(named(expected));
    let errors = pairs.map(|((name, found), (_, expected))| {
        (relative_error(&found.values, &expected.values), name)
    });
    // A NaN is worse than anything.
    errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Gradients of all weights of the sum over `factors * y`.
fn gradients(pass: &Pass, sequences: &[&[u32]], links: &[Option<&Link>], y: &[f32]) -> Weights {
    let mut sums = pass.weights().zeros();
    pass.backward(&pass.forward(sequences, links), y, &mut sums);
    sums
}

#[test]
fn every_weight_gets_a_gradient() {
    let config = tiny();
    let pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    let sequences = sequences(&LENGTHS, config.vocab_size);
    let y = Numbers(2).take(LENGTHS.len() * 17);
    let sums = gradients(&pass, &slices(&sequences), &[], &y);
    for (name, sum) in named(&sums) {
        let n_zeros = sum.values.iter().filter(|&&g| g == 0.0).count();
        assert!(n_zeros == 0, "{name}: {n_zeros} of {} are zero", sum.values.len());
    }
}

#[test]
fn backward_adds_to_what_is_there() {
    let config = tiny();
    let pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    let sequences = sequences(&[9, 4], config.vocab_size);
    let y = Numbers(2).take(2 * 17);
    let once = gradients(&pass, &slices(&sequences), &[], &y);
    let mut twice = gradients(&pass, &slices(&sequences), &[], &y);
    pass.backward(&pass.forward(&slices(&sequences), &[]), &y, &mut twice);
    for ((name, once), (_, twice)) in named(&once).into_iter().zip(named(&twice)) {
        let halves: Vec<f32> = twice.values.iter().map(|x| x / 2.0).collect();
        assert!(relative_error(&halves, &once.values) < 1e-6, "{name}");
    }
}

#[test]
fn the_same_batch_gives_the_same_bytes() {
    let config = tiny();
    let pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    // Several chunks a thread.
    let sequences = sequences(&[40; 30], config.vocab_size);
    let y = Numbers(2).take(30 * 17);
    let first = gradients(&pass, &slices(&sequences), &[], &y);
    for _ in 0..3 {
        let again = gradients(&pass, &slices(&sequences), &[], &y);
        assert_eq!(worst(&again, &first).0, 0.0);
    }
}

#[test]
fn layers_that_are_made_again_give_the_same_bytes() {
    let config = tiny();
    let mut pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    let sequences = sequences(&LENGTHS, config.vocab_size);
    let y = Numbers(2).take(LENGTHS.len() * 17);
    let kept = gradients(&pass, &slices(&sequences), &[], &y);
    let of_inputs = pass.backward_inputs(&pass.forward(&slices(&sequences), &[]), &y);
    pass.tape_bytes = 0;
    let tape = pass.forward(&slices(&sequences), &[]);
    assert!(tape.chunks.iter().all(|chunk| chunk.layers.is_empty()));
    assert_eq!(pass.backward_inputs(&tape, &y), of_inputs);
    assert_eq!(worst(&gradients(&pass, &slices(&sequences), &[], &y), &kept).0, 0.0);
}

#[test]
fn a_batch_is_cut_into_chunks_of_whole_sequences() {
    for (lengths, n_threads) in [
        (vec![1], 4),
        (vec![24; 32], 2),
        (vec![2048], 2),
        (vec![2048, 1, 1, 1, 300], 2),
        (vec![1, 1, 1, 2000], 3),
    ] {
        let mut end = 0;
        let spans = lengths.iter().map(|n| {
            end += n;
            end - n..end
        });
        let spans: Vec<Range<usize>> = spans.collect();
        let chunks = chunks(&spans, n_threads);
        let mut next = 0;
        for chunk in &chunks {
            assert!(chunk.start == next && chunk.end > chunk.start, "{lengths:?}: {chunks:?}");
            next = chunk.end;
        }
        assert_eq!(next, lengths.len(), "{lengths:?}: {chunks:?}");
    }
    let spans: Vec<_> = (0..32).map(|i| i * 24..(i + 1) * 24).collect();
    assert_eq!(chunks(&spans, 2), [0..8, 8..16, 16..24, 24..32]);
}
