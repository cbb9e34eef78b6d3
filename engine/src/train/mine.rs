//! Hard negatives: texts that the model itself takes for answers and that are none.
//!
//! All positives of a data set are scored for each of its queries by an exact scan, block by block, and
//! the best that are not the answer are taken. One that scores nearly as high as the answer is likely
//! an answer too, so candidates above a share of its score are passed over (Moreira et al. 2024,
//! NV-Retriever).

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Pass;
use super::data::{Corpus, PairSet, Texts};
use super::embed::units;
use crate::Result;

/// Queries whose scores are held at once.
const BLOCK_ROWS: usize = 512;

/// How hard negatives are chosen, as a recipe says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mining {
    /// Negatives of a pair.
    pub each: usize,
    /// Only candidates whose cosine is below this share of the answer's.
    pub below: f32,
}

impl Default for Mining {
    fn default() -> Mining {
        Mining { each: 1, below: 0.95 }
    }
}

/// For each pair of each set, its hard negatives, by the places of their texts.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if there is no memory.
pub(super) fn mine(pass: &Pass, mining: &Mining, corpus: &Corpus) -> Result<Vec<Vec<Vec<u32>>>> {
    corpus.sets.iter().map(|set| mine_set(pass, mining, &corpus.texts, set)).collect()
}

fn mine_set(pass: &Pass, mining: &Mining, texts: &Texts, set: &PairSet) -> Result<Vec<Vec<u32>>> {
    let distinct = |of_pair: fn(&super::data::Pair) -> u32| {
        let mut places: Vec<u32> = set.pairs.iter().map(of_pair).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    let (queries, documents) = (distinct(|pair| pair.query), distinct(|pair| pair.positive));
    let of_queries = units(pass, texts, &queries);
    let of_documents = units(pass, texts, &documents);
    let dims = of_queries.len() / queries.len();
    let place = |of: &[u32], text: u32| of.binary_search(&text).unwrap_or_else(|at| at);
    // All answers of a query are answers, whichever pair they are from.
    let mut answers: HashMap<u32, Vec<usize>> = HashMap::new();
    for pair in &set.pairs {
        answers.entry(pair.query).or_default().push(place(&documents, pair.positive));
    }
    let mut found: HashMap<u32, Vec<u32>> = HashMap::new();
    let documents_t =
        Tensor::from_slice(&of_documents, (documents.len(), dims), &Device::Cpu)?.t()?;
    for (block, vectors) in queries.chunks(BLOCK_ROWS).zip(of_queries.chunks(BLOCK_ROWS * dims)) {
        let rows = Tensor::from_slice(vectors, (block.len(), dims), &Device::Cpu)?;
        let scores: Vec<f32> = rows.matmul(&documents_t)?.flatten_all()?.to_vec1()?;
        let nearest = scores.par_chunks(documents.len()).zip(block).map(|(scores, query)| {
            let own = &answers[query];
            let bound = own.iter().map(|&i| scores[i]).fold(f32::INFINITY, f32::min) * mining.below;
            let best = best_below(scores, own, bound, mining.each);
            (*query, best.into_iter().map(|i| documents[i]).collect::<Vec<u32>>())
        });
        found.extend(nearest.collect::<Vec<_>>());
    }
    Ok(set.pairs.iter().map(|pair| found[&pair.query].clone()).collect())
}

/// The places of the highest scores below a bound, best first, but for those in `without`.
fn best_below(scores: &[f32], without: &[usize], bound: f32, n: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(n + 1);
    for (i, &score) in scores.iter().enumerate() {
        let is_full = best.len() == n && best.last().is_none_or(|&last| scores[last] >= score);
        if score.is_nan() || score >= bound || is_full || without.contains(&i) {
            continue;
        }
        let at = best.partition_point(|&other| scores[other] >= score);
        best.insert(at, i);
        best.truncate(n);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_below_the_bound_are_taken_in_order() {
        let scores = [0.1, 0.9, 0.5, 0.5, 0.8, 0.3, f32::NAN];
        assert_eq!(best_below(&scores, &[4], 0.85, 3), [2, 3, 5]);
        assert_eq!(best_below(&scores, &[], 0.85, 2), [4, 2]);
        assert_eq!(best_below(&scores, &[], 0.1, 2), [0usize; 0]);
        assert_eq!(best_below(&scores, &[], 0.2, 0), [0usize; 0]);
    }
}
