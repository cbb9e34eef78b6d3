//! Brute force at full width: the oracle in tests, the answer for few rows and for unsealed ones.
//!
//! [`Best`] is the one place that says which of two hits is better: the higher score, and of equal
//! scores the lower row.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::form::{Form, Target, Values};

/// A candidate of a top-k list; the greatest is the worst, so that a max-heap gives up the worst.
struct Ranked<R> {
    row: R,
    score: f32,
}

impl<R: Ord> Ord for Ranked<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.row.cmp(&other.row))
    }
}

impl<R: Ord> PartialOrd for Ranked<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Ord> PartialEq for Ranked<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Ord> Eq for Ranked<R> {}

/// The best `k` of the rows offered to it.
pub(crate) struct Best<R> {
    k: usize,
    worst_first: BinaryHeap<Ranked<R>>, // at most k
}

impl<R: Ord + Copy> Best<R> {
    pub(crate) fn new(k: usize) -> Self {
        Best { k, worst_first: BinaryHeap::new() }
    }

    /// Offers a row; NaN counts as the lowest score, and -0 as 0 so that they tie.
    pub(crate) fn offer(&mut self, row: R, score: f32) {
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        let ranked = Ranked { row, score };
        if self.worst_first.len() < self.k {
            self.worst_first.push(ranked);
        } else if let Some(mut worst) = self.worst_first.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    /// The score of the worst of `k` rows; none as long as there are fewer.
    pub(crate) fn worst(&self) -> Option<f32> {
        let full = self.worst_first.len() == self.k;
        self.worst_first.peek().filter(|_| full).map(|ranked| ranked.score)
    }

    /// The best of both.
    #[must_use]
    pub(crate) fn join(mut self, other: Best<R>) -> Best<R> {
        let rows = other.worst_first.into_iter();
        rows.for_each(|ranked| self.offer(ranked.row, ranked.score));
        self
    }

    /// The rows kept, best first.
    pub(crate) fn into_sorted(self) -> Vec<(R, f32)> {
        let best_first = self.worst_first.into_sorted_vec();
        best_first.into_iter().map(|ranked| (ranked.row, ranked.score)).collect()
    }
}

/// Scores rows that are in no segment yet and returns the best `k`, best first, ties by id.
///
/// The score is that of [`Segment::search`](crate::Segment::search), so both lists can be merged.
///
/// # Panics
/// If a row is not of this form, or not as wide as the query.
pub fn scan<'a, R: Into<Values<'a>>>(
    rows: impl Iterator<Item = (u64, R)>,
    form: Form,
    query: &[f32],
    k: usize,
) -> Vec<(u64, f32)> {
    let target = Target::new(query, form);
    let mut best = Best::new(k);
    for (id, row) in rows {
        best.offer(id, target.score(row.into()));
    }
    best.into_sorted()
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn best(k: usize, scores: &[f32]) -> Vec<(usize, f32)> {
        let mut best = Best::new(k);
        scores.iter().enumerate().for_each(|(row, score)| best.offer(row, *score));
        best.into_sorted()
    }

    #[test]
    fn the_best_come_first_and_ties_by_row() {
        assert_eq!(best(3, &[0.5, 0.9, 0.5, 0.1, 0.5]), [(1, 0.9), (0, 0.5), (2, 0.5)]);
        assert_eq!(best(9, &[0.0, -0.0]), [(0, 0.0), (1, 0.0)]);
    }

    #[test]
    fn none_are_kept_for_k_zero() {
        assert_eq!(best(0, &[0.5, 0.9]), []);
    }

    #[test]
    fn nan_ranks_last_but_is_kept_when_there_is_room() {
        let found = best(2, &[f32::NAN, -5.0]);
        assert_eq!(found, [(1, -5.0), (0, f32::NEG_INFINITY)]);
    }

    #[test]
    fn scan_scores_at_full_width() {
        let rows: Vec<[f16; 2]> =
            [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]].map(|row| row.map(f16::from_f32)).to_vec();
        let ids = [7u64, 8, 9];
        let rows = rows.iter().map(|row| &row[..]);
        let found = scan(ids.into_iter().zip(rows), Form::Unit, &[0.0, 1.0], 2);
        assert_eq!(found[0], (8, 1.0));
        assert_eq!(found[1].0, 9);
    }
}
