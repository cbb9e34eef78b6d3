//! Clustering as in MTEB: do clusters of vectors agree with the classes of their texts?

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::kmeans;
use crate::eval::measure::v_measure;
use crate::random::Random;

/// Draws of vectors that are clustered.
const N_DRAWS: usize = 10;

/// Vectors of a draw.
const VECTORS_PER_DRAW: usize = 2048;

/// How well clusters agree with classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustered {
    /// V-measure: the mean over all draws.
    pub v_measure: f64,
    /// The V-measure of each draw.
    pub each: Vec<f64>,
}

/// Draws 2,048 of the vectors ten times, with replacement, and clusters each draw into as many clusters
/// as it has classes.
///
/// Differs from MTEB's fast clustering tasks in that a draw is clustered by whole steps of k-means, not
/// by mini-batches of 512: they are there for speed, which 2,048 vectors do not need, and add chance.
///
/// # Panics
/// If there is no vector, or not one class for each.
pub fn cluster(vectors: &[Vec<f32>], classes: &[usize], seed: u64) -> Clustered {
    assert_eq!(vectors.len(), classes.len(), "each vector has a class");
    assert!(!vectors.is_empty(), "there is nothing to cluster");
    let draw = |draw_idx: usize| {
        let mut random = Random::of_piece(seed, draw_idx);
        let drawn = (0..VECTORS_PER_DRAW).map(|_| random.below(vectors.len()));
        let (features, classes): (Vec<&[f32]>, Vec<usize>) =
            drawn.map(|idx| (&*vectors[idx], classes[idx])).unzip();
        let n_clusters = classes.iter().collect::<BTreeSet<_>>().len();
        v_measure(&classes, &kmeans(&features, n_clusters, random.next()))
    };
    let each: Vec<f64> = (0..N_DRAWS).into_par_iter().map(draw).collect();
    Clustered { v_measure: each.iter().sum::<f64>() / N_DRAWS as f64, each }
}
