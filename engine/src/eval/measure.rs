//! Measures of rankings and of scores.
//!
//! Rankings are measured as trec_eval does it (and pytrec_eval, which BEIR's numbers come from):
//! results are sorted by score, equal scores by document id, both descending, whatever order they
//! came in; a grade is its own gain; a document without a judgement is not relevant. Correlation
//! is scipy's: ranks are averaged over equal values. `tests/reference/measures.json` holds values
//! of both. What chance may have done to a mean over queries is in `chance`.

mod chance;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

pub use chance::{bootstrap_interval, paired_randomisation};

/// Means of the measures over the queries of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retrieval {
    /// Normalised discounted cumulative gain of the first 10 results.
    pub ndcg10: f64,
    /// The share of relevant documents among the first 10 results.
    pub recall10: f64,
    /// The share of relevant documents among the first 100 results.
    pub recall100: f64,
    /// One over the place of the first relevant document, 0 beyond the tenth.
    pub mrr10: f64,
    /// The queries that were asked and have judgements.
    pub n_queries: usize,
}

impl Retrieval {
    /// Means over the queries of `run` (id and results) that have judgements in `qrels`.
    ///
    /// A query with judgements that is not in `run` does not count; one with an empty ranking
    /// counts as 0, as does one for which no document is relevant. All means of no queries are 0.
    ///
    /// # Panics
    /// As [`ndcg`], and if `run` has a query twice.
    pub fn of(
        run: &[(String, Vec<(String, f32)>)],
        qrels: &HashMap<String, HashMap<String, i32>>,
    ) -> Retrieval {
        let mut asked = HashSet::new();
        let mut sums = [0.0; 4];
        let mut n_queries = 0;
        for (query, ranking) in run {
            assert!(asked.insert(query), "query {query} is in the run twice");
            let Some(relevant) = qrels.get(query) else { continue };
            n_queries += 1;
            sums[0] += ndcg(ranking, relevant, 10);
            sums[1] += recall(ranking, relevant, 10);
            sums[2] += recall(ranking, relevant, 100);
            sums[3] += reciprocal_rank(ranking, relevant, 10);
        }
        let [ndcg10, recall10, recall100, mrr10] = sums.map(|sum| sum / n_queries.max(1) as f64);
        Retrieval { ndcg10, recall10, recall100, mrr10, n_queries }
    }
}

/// Normalised discounted cumulative gain of the first `k` results of one query.
///
/// A grade `g` at place `p` (from 1) gains `g / log2(p + 1)`; grades below 0 gain nothing. The sum
/// is divided by that of the best ranking of all judged documents; 0 if none is relevant.
///
/// `ranking`: document ids and scores, in any order. `relevant`: grades by document id.
///
/// # Panics
/// If a score is not a number or a document is in `ranking` twice.
pub fn ndcg(ranking: &[(String, f32)], relevant: &HashMap<String, i32>, k: usize) -> f64 {
    let mut best: Vec<i32> = relevant.values().copied().filter(|grade| *grade > 0).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    best.truncate(k);
    let ideal = gain(&best);
    if ideal > 0.0 { gain(&first_grades(ranking, relevant, k)) / ideal } else { 0.0 }
}

/// The share of the relevant documents that are among the first `k` results; 0 if none is relevant.
///
/// # Panics
/// As [`ndcg`].
pub fn recall(ranking: &[(String, f32)], relevant: &HashMap<String, i32>, k: usize) -> f64 {
    let n_relevant = relevant.values().filter(|grade| **grade > 0).count();
    let found = first_grades(ranking, relevant, k).iter().filter(|grade| **grade > 0).count();
    if n_relevant > 0 { found as f64 / n_relevant as f64 } else { 0.0 }
}

/// One over the place of the first relevant document; 0 if none is among the first `k` results.
///
/// Its mean over queries is the mean reciprocal rank.
///
/// # Panics
/// As [`ndcg`].
pub fn reciprocal_rank(
    ranking: &[(String, f32)],
    relevant: &HashMap<String, i32>,
    k: usize,
) -> f64 {
    let first = first_grades(ranking, relevant, k).iter().position(|grade| *grade > 0);
    first.map_or(0.0, |place_idx| 1.0 / (place_idx + 1) as f64)
}

/// Spearman's rank correlation; none for fewer than two values or if one side is constant.
///
/// # Panics
/// If the sides differ in length or a value is not a number.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "a correlation needs pairs");
    pearson(&average_ranks(x), &average_ranks(y))
}

/// The discounted sum of grades in ranking order.
fn gain(grades: &[i32]) -> f64 {
    let discounted = |(place_idx, grade): (usize, &i32)| {
        f64::from((*grade).max(0)) / ((place_idx + 2) as f64).log2()
    };
    grades.iter().enumerate().map(discounted).sum()
}

/// The grades of the first `k` results in trec_eval's order, 0 where there is no judgement.
fn first_grades(ranking: &[(String, f32)], relevant: &HashMap<String, i32>, k: usize) -> Vec<i32> {
    let mut seen = HashSet::new();
    for (id, score) in ranking {
        assert!(seen.insert(id), "document {id} is in a ranking twice");
        assert!(!score.is_nan(), "document {id} has a score that is not a number");
    }
    let mut order: Vec<(&str, f32)> =
        ranking.iter().map(|(id, score)| (id.as_str(), *score)).collect();
    order.sort_unstable_by(|a, b| compare(b.1.into(), a.1.into()).then_with(|| b.0.cmp(a.0)));
    order.iter().take(k).map(|(id, _)| relevant.get(*id).copied().unwrap_or(0)).collect()
}

/// Places from 1 in ascending order; equal values share the mean of their places.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| compare(values[*a], values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        for value_idx in equal {
            ranks[*value_idx] = below as f64 + (equal.len() + 1) as f64 / 2.0;
        }
        below += equal.len();
    }
    ranks
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let [mut xx, mut xy, mut yy] = [0.0; 3];
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx.sqrt() * yy.sqrt()))
}

/// Compares numbers; 0 and -0 are equal, unlike in `total_cmp`.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).expect("a score is a number")
}

#[cfg(test)]
mod tests;
