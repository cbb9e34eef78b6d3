//! Clusters by k-means: Lloyd's steps from a start by k-means++.
//!
//! As scikit-learn's `KMeans` with `n_init=1`, but for the numbers that follow from a seed: greedy
//! k-means++ (Arthur and Vassilvitskii, 2007: the best of a few candidates), and a cluster that has
//! lost its last vector begins anew at the one farthest from its own centre.

use crate::random::Random;

/// Steps after which it ends in any case.
const MAX_STEPS: usize = 300;

/// The cluster of each vector, from 0 to `n_clusters - 1`.
///
/// # Panics
/// If `n_clusters` is 0 or there is no vector, or their widths differ.
pub fn kmeans(vectors: &[&[f32]], n_clusters: usize, seed: u64) -> Vec<usize> {
    assert!(n_clusters > 0 && !vectors.is_empty(), "a cluster needs vectors");
    let dims = vectors[0].len();
    assert!(vectors.iter().all(|vector| vector.len() == dims), "vectors are of one width");
    let centres = plus_plus(vectors, n_clusters, &mut Random::new(seed));
    lloyd(vectors, centres)
}

/// Moves centres to the means of the vectors that are nearest to them until no vector changes its
/// cluster.
pub(super) fn lloyd(vectors: &[&[f32]], mut centres: Vec<Vec<f64>>) -> Vec<usize> {
    let mut clusters = Vec::new();
    for _ in 0..MAX_STEPS {
        let nearest: Vec<(usize, f64)> = vectors.iter().map(|v| nearest(v, &centres)).collect();
        let next: Vec<usize> = nearest.iter().map(|(cluster, _)| *cluster).collect();
        if next == clusters {
            break;
        }
        clusters = next;
        centres = means(vectors, &nearest, centres.len());
    }
    clusters
}

/// The nearest centre, of equal ones the first, and its squared distance.
fn nearest(vector: &[f32], centres: &[Vec<f64>]) -> (usize, f64) {
    let distances = centres.iter().map(|centre| squared_distance(vector, centre));
    let least =
        distances.enumerate().reduce(|best, next| if next.1 < best.1 { next } else { best });
    least.unwrap_or_default()
}

/// The mean of each cluster. One without vectors takes the vector that is farthest from its centre.
fn means(vectors: &[&[f32]], nearest: &[(usize, f64)], n_clusters: usize) -> Vec<Vec<f64>> {
    let mut clusters: Vec<usize> = nearest.iter().map(|(cluster, _)| *cluster).collect();
    let mut n_vectors = vec![0usize; n_clusters];
    clusters.iter().for_each(|cluster| n_vectors[*cluster] += 1);
    let empty: Vec<usize> = (0..n_clusters).filter(|cluster| n_vectors[*cluster] == 0).collect();
    if !empty.is_empty() {
        let mut far: Vec<usize> = (0..vectors.len()).collect();
        far.sort_by(|a, b| nearest[*b].1.total_cmp(&nearest[*a].1));
        for (cluster, vector_idx) in empty.into_iter().zip(far) {
            n_vectors[clusters[vector_idx]] -= 1;
            n_vectors[cluster] += 1;
            clusters[vector_idx] = cluster;
        }
    }
    let mut sums = vec![vec![0.0; vectors[0].len()]; n_clusters];
    for (vector, cluster) in vectors.iter().zip(&clusters) {
        sums[*cluster].iter_mut().zip(*vector).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    for (sum, n) in sums.iter_mut().zip(n_vectors) {
        sum.iter_mut().for_each(|sum| *sum /= n.max(1) as f64);
    }
    sums
}

/// First centres, far from each other: each is drawn with a probability in proportion to the squared
/// distance from those there are; of a few candidates the one that brings the vectors nearest.
fn plus_plus(vectors: &[&[f32]], n_clusters: usize, random: &mut Random) -> Vec<Vec<f64>> {
    let centre_at =
        |idx: usize| -> Vec<f64> { vectors[idx].iter().map(|x| f64::from(*x)).collect() };
    let n_candidates = 2 + (n_clusters as f64).ln() as usize;
    let mut centres = vec![centre_at(random.below(vectors.len()))];
    let mut distances: Vec<f64> =
        vectors.iter().map(|vector| squared_distance(vector, &centres[0])).collect();
    while centres.len() < n_clusters {
        let sum: f64 = distances.iter().sum();
        let candidate = |_| {
            let centre = centre_at(draw(&distances, random.unit() * sum));
            let with = |(vector, distance): (&&[f32], &f64)| {
                distance.min(squared_distance(vector, &centre))
            };
            let with: Vec<f64> = vectors.iter().zip(&distances).map(with).collect();
            (centre, with)
        };
        let total = |candidate: &(_, Vec<f64>)| candidate.1.iter().sum::<f64>();
        let best = (0..n_candidates).map(candidate);
        let best = best.reduce(|a, b| if total(&b) < total(&a) { b } else { a });
        let (centre, with) = best.expect("there are candidates");
        centres.push(centre);
        distances = with;
    }
    centres
}

/// Where the running sum of the weights passes `at`.
fn draw(weights: &[f64], at: f64) -> usize {
    let mut sum = 0.0;
    let passed = weights.iter().position(|weight| {
        sum += weight;
        at < sum
    });
    passed.unwrap_or(weights.len() - 1)
}

/// In four sums that the compiler can keep in registers.
fn squared_distance(vector: &[f32], centre: &[f64]) -> f64 {
    const LANES: usize = 4;
    let mut sums = [0.0; LANES];
    let (blocks, centres) = (vector.chunks_exact(LANES), centre.chunks_exact(LANES));
    let rest = blocks.remainder().iter().zip(centres.remainder());
    let rest: f64 = rest.map(|(x, c)| (f64::from(*x) - c).powi(2)).sum();
    for (block, centre) in blocks.zip(centres) {
        for lane in 0..LANES {
            let off = f64::from(block[lane]) - centre[lane];
            sums[lane] += off * off;
        }
    }
    sums.iter().sum::<f64>() + rest
}
