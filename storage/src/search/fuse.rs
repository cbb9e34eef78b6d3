//! Hits of vectors and hits of words, put together. Pure functions over lists of rows.

use std::collections::BTreeMap;

/// Rows that each side finds at least, and the factor by which these are more than the hits wanted.
pub(crate) const DEPTH: usize = 200;
pub(crate) const DEPTH_FACTOR: usize = 4;

/// Added to each rank, so that the first ranks do not decide alone. The value of Cormack et al. 2009, who brought it up.
const RANK_CONSTANT: f32 = 60.0;

/// How the hits of a vector and of a text become one list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// Only vectors are compared.
    VectorOnly,
    /// Only words are looked for.
    TextOnly,
    /// Reciprocal ranks: the sum of `weight / (60 + rank)`, where the weights are `vector` and `1 - vector`.
    Ranks {
        /// Weight of the vector's ranks, from 0 to 1.
        vector: f32,
    },
    /// Scores: each side's scores are stretched from 0 (its lowest) to 1 (its highest) and summed with the weights
    /// `vector` and `1 - vector`; a row that a side has not found gets 0 from it.
    Scores {
        /// Weight of the vector's scores, from 0 to 1.
        vector: f32,
    },
}

/// The place of a row on one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// From 1.
    pub rank: usize,
    /// The dot product, or the BM25 score.
    pub score: f32,
}

/// A row of a fused list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused {
    pub(crate) row: u64,
    pub(crate) score: f32,
    pub(crate) vector: Option<Ranked>,
    pub(crate) text: Option<Ranked>,
}

/// Puts two lists together: best first, equal scores in the order of their rows. Both lists are best first.
pub(crate) fn fuse(vector: &[(u64, f32)], text: &[(u64, f32)], fusion: Fusion) -> Vec<Fused> {
    let (parts_of_vector, parts_of_text) = match fusion {
        Fusion::VectorOnly => (scores(vector), vec![0.0; text.len()]),
        Fusion::TextOnly => (vec![0.0; vector.len()], scores(text)),
        Fusion::Ranks { vector: weight } => {
            (by_rank(vector.len(), weight), by_rank(text.len(), 1.0 - weight))
        }
        Fusion::Scores { vector: weight } => {
            (by_score(vector, weight), by_score(text, 1.0 - weight))
        }
    };
    let mut rows: BTreeMap<u64, Fused> = BTreeMap::new();
    let ranked = |rank: usize, score: f32| Some(Ranked { rank: rank + 1, score });
    for (rank, ((row, score), part)) in vector.iter().zip(parts_of_vector).enumerate() {
        let vector = ranked(rank, *score);
        rows.insert(*row, Fused { row: *row, score: part, vector, text: None });
    }
    for (rank, ((row, score), part)) in text.iter().zip(parts_of_text).enumerate() {
        let empty = Fused { row: *row, score: 0.0, vector: None, text: None };
        let fused = rows.entry(*row).or_insert(empty);
        fused.score += part;
        fused.text = ranked(rank, *score);
    }
    let mut fused: Vec<Fused> = rows.into_values().collect();
    // The sort is stable, and the rows ascend.
    fused.sort_by(|a, b| b.score.total_cmp(&a.score));
    fused
}

fn scores(list: &[(u64, f32)]) -> Vec<f32> {
    list.iter().map(|(_, score)| *score).collect()
}

fn by_rank(n: usize, weight: f32) -> Vec<f32> {
    (1..=n).map(|rank| weight / (RANK_CONSTANT + rank as f32)).collect()
}

fn by_score(list: &[(u64, f32)], weight: f32) -> Vec<f32> {
    let lowest = list.iter().map(|(_, score)| *score).fold(f32::INFINITY, f32::min);
    let highest = list.iter().map(|(_, score)| *score).fold(f32::NEG_INFINITY, f32::max);
    let stretched = |score: f32| {
        if lowest < highest { (score - lowest) / (highest - lowest) } else { 1.0 }
    };
    list.iter().map(|(_, score)| weight * stretched(*score)).collect()
}

impl Default for Fusion {
    /// Chosen on seven sets, checked on six others: ARCHITECTURE.md has the numbers.
    fn default() -> Fusion {
        Fusion::Scores { vector: 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: [(u64, f32); 3] = [(7, 0.9), (2, 0.8), (5, 0.5)];
    const TEXT: [(u64, f32); 3] = [(5, 12.0), (9, 6.0), (7, 2.0)];

    fn rows(fusion: Fusion) -> Vec<(u64, f32)> {
        fuse(&VECTOR, &TEXT, fusion).iter().map(|fused| (fused.row, fused.score)).collect()
    }

    #[test]
    fn ranks_are_summed_and_ties_go_by_row() {
        let (first, second, third) = (0.5 / 61.0, 0.5 / 62.0, 0.5 / 63.0);
        let both = first + third;
        let expected = [(5, both), (7, both), (2, second), (9, second)];
        assert_eq!(rows(Fusion::Ranks { vector: 0.5 }), expected);
        assert_eq!(rows(Fusion::Ranks { vector: 0.9 })[0].0, 7);
    }

    #[test]
    fn scores_are_stretched_before_they_are_summed() {
        let rows = rows(Fusion::Scores { vector: 0.25 });
        let expected = [(5, 0.75), (9, 0.75 * 0.4), (7, 0.25), (2, 0.25 * 0.75)];
        for ((row, score), (expected_row, expected_score)) in rows.into_iter().zip(expected) {
            assert!(row == expected_row && (score - expected_score).abs() < 1e-6, "{row} {score}");
        }
    }

    #[test]
    fn one_side_alone_keeps_its_scores_and_the_other_keeps_its_place() {
        let fused = fuse(&VECTOR, &[], Fusion::VectorOnly);
        assert_eq!(fused.iter().map(|f| (f.row, f.score)).collect::<Vec<_>>(), VECTOR);
        let fused = fuse(&[], &TEXT, Fusion::TextOnly);
        assert_eq!(fused.iter().map(|f| (f.row, f.score)).collect::<Vec<_>>(), TEXT);
        let fused = fuse(&VECTOR, &TEXT, Fusion::default());
        let seven = fused.iter().find(|fused| fused.row == 7).unwrap();
        assert_eq!(seven.vector, Some(Ranked { rank: 1, score: 0.9 }));
        assert_eq!(seven.text, Some(Ranked { rank: 3, score: 2.0 }));
        assert!(fuse(&[], &[], Fusion::default()).is_empty());
        assert_eq!(fuse(&[(1, 0.0)], &[(1, 3.0)], Fusion::Scores { vector: 0.5 })[0].score, 1.0);
    }
}
