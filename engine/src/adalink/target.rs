//! What each query is compared with in training, from the collection's own rows.
//!
//! Positives are the rows of documents that answer, the best one of each. Negatives are hard ones, from
//! among the best rows of the query as it is now, and random ones. What may be an answer that nobody
//! judged is left out of the hard ones: rows that the base puts almost as high as the answer, and rows
//! that say nearly the same as it.
//!
//! Differs from the usual: rows never change, so mining anew each epoch costs one comparison, not an
//! index.

use std::collections::{HashMap, HashSet};

use super::documents::{Documents, first_of};
use super::head::dot;
use super::loss::Target;
use super::query::{Positive, Query};
use crate::package::Matrix;
use crate::random::Random;

/// Hard negatives are drawn from these ranks of the query as it is now.
const HARD_RANKS: std::ops::Range<usize> = 10..200;
const N_HARD: usize = 64;
const N_RANDOM: usize = 256;

/// Rows whose order the base gave is kept.
const N_ANCHORS: usize = 64;

/// A row that the base scores above this share of the answer's score may be an answer.
const MOST_OF_POSITIVE: f32 = 0.95;

/// A row that is closer than this to an answer says the same.
const SAME: f32 = 0.95;

/// What the targets of an epoch are made from.
pub(crate) struct Targets<'a> {
    documents: &'a Documents,
    rows: HashMap<&'a str, Vec<u32>>,
    queries: &'a [Query],
    base: &'a Matrix,
    /// For each query the base's best rows; filled for those that are trained on.
    anchors: HashMap<usize, Vec<u32>>,
}

impl<'a> Targets<'a> {
    /// `base`: `[n_queries, full_width]`, unit vectors. `train`: places of queries.
    pub(crate) fn new(
        documents: &'a Documents,
        queries: &'a [Query],
        base: &'a Matrix,
        train: &[usize],
    ) -> Targets<'a> {
        let best = documents.compare(0, &gather(base, train), |_, scores| {
            first_of(scores.len(), HARD_RANKS.end, by_score(scores))
        });
        let anchors = train.iter().copied().zip(best).collect();
        Targets { documents, rows: documents.rows_by_id(), queries, base, anchors }
    }

    /// The targets of these queries; `current`: their vectors as they are now, `[n, full_width]`.
    pub(crate) fn of(&self, train: &[usize], current: &Matrix, random: &mut Random) -> Vec<Target> {
        let seeds: Vec<u64> = train.iter().map(|_| random.next()).collect();
        self.documents.compare(0, current, |i, scores| {
            let hard = first_of(scores.len(), HARD_RANKS.end, by_score(scores));
            self.target(train[i], &hard, &mut Random::new(seeds[i]))
        })
    }

    /// The best row of each document that answers a query, as the base sees it, and its share: these sum
    /// to 1.
    pub(crate) fn answers(&self, query_idx: usize) -> Vec<(u32, f32)> {
        let base = &self.base.values[query_idx * self.base.n_cols..][..self.base.n_cols];
        let score = |row: &u32| dot(base, self.documents.row(0, *row));
        let answer = |positive: &Positive| {
            let rows = self.rows.get(&*positive.document)?.iter();
            let best = rows.max_by(|a, b| score(a).total_cmp(&score(b)))?;
            let gain = (positive.grade.min(10) as f32).exp2() - 1.0;
            Some((*best, gain * positive.weight))
        };
        let positives = &self.queries[query_idx].positives;
        let mut answers: Vec<(u32, f32)> = positives.iter().filter_map(answer).collect();
        let sum: f32 = answers.iter().map(|(_, share)| share).sum();
        answers.iter_mut().for_each(|(_, share)| *share /= sum);
        answers
    }

    fn target(&self, query_idx: usize, best: &[u32], random: &mut Random) -> Target {
        let query = &self.queries[query_idx];
        let base = &self.base.values[query_idx * self.base.n_cols..][..self.base.n_cols];
        let score = |row: u32| dot(base, self.documents.row(0, row));
        let positives = self.answers(query_idx);
        let documents = query.positives.iter().filter_map(|p| self.rows.get(&*p.document));
        let own: HashSet<u32> = documents.flatten().copied().collect();
        let highest = positives.iter().map(|(row, _)| score(*row)).fold(f32::MIN, f32::max);
        let is_answer = |row: u32| {
            let like = |(positive, _): &(u32, f32)| {
                dot(self.documents.row(0, row), self.documents.row(0, *positive)) > SAME
            };
            score(row) > MOST_OF_POSITIVE * highest || positives.iter().any(like)
        };
        let hard = best.iter().skip(HARD_RANKS.start).copied();
        let mut hard: Vec<u32> =
            hard.filter(|row| !own.contains(row) && !is_answer(*row)).collect();
        random.shuffle(&mut hard);
        hard.truncate(N_HARD);
        let judged = query.negatives.iter().filter_map(|id| self.rows.get(&**id)).flatten();
        let drawn = (0..N_RANDOM).map(|_| random.below(self.documents.n_rows()) as u32);
        let mut negatives: Vec<u32> =
            hard.into_iter().chain(judged.copied()).chain(drawn).collect();
        negatives.sort_unstable();
        negatives.dedup();
        negatives.retain(|row| !own.contains(row));
        let anchors = self.anchors.get(&query_idx).map_or(&[][..], Vec::as_slice).iter();
        let anchors = anchors.filter(|row| !own.contains(row)).take(N_ANCHORS).copied().collect();
        Target { positives, negatives, anchors, base: base.to_vec() }
    }
}

fn by_score(scores: &[f32]) -> impl Fn(&u32, &u32) -> std::cmp::Ordering {
    |a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b))
}

/// Some rows of a matrix.
pub(crate) fn gather(matrix: &Matrix, rows: &[usize]) -> Matrix {
    let width = matrix.n_cols;
    let values = rows.iter().flat_map(|&row| &matrix.values[row * width..][..width]);
    Matrix { values: values.copied().collect(), n_rows: rows.len(), n_cols: width }
}

#[cfg(test)]
mod tests {
    use super::super::documents::Form;
    use super::*;

    /// A row for each angle, in degrees.
    fn documents(angles: &[f32], document_idx: Vec<u32>) -> Documents {
        let values =
            angles.iter().flat_map(|angle| [angle.to_radians().cos(), angle.to_radians().sin()]);
        let rows = Matrix { values: values.collect(), n_rows: angles.len(), n_cols: 2 };
        let n_documents = document_idx.iter().max().unwrap() + 1;
        let ids = (0..n_documents).map(|i| format!("d{i}")).collect();
        Documents::new(ids, document_idx, vec![Form { name: "2".to_owned(), rows }])
    }

    #[test]
    fn the_best_row_of_each_answer_counts_and_none_of_its_rows_is_a_negative() {
        // Document 0 has the rows 0 and 1; the query lies at 0 degrees.
        let documents = documents(&[80.0, 20.0, 170.0, 60.0, 100.0], vec![0, 0, 1, 2, 3]);
        let positive =
            |document: &str, grade| Positive { document: document.to_owned(), grade, weight: 1.0 };
        let query = Query {
            positives: vec![positive("d0", 2), positive("d2", 1), positive("gone", 1)],
            negatives: vec!["d3".to_owned()],
            ..Query::default()
        };
        let base = Matrix { values: vec![1.0, 0.0], n_rows: 1, n_cols: 2 };
        let queries = [query];
        let targets = Targets::new(&documents, &queries, &base, &[0]);
        let target = &targets.of(&[0], &base, &mut Random::new(1))[0];
        assert_eq!(target.positives, [(1, 0.75), (3, 0.25)]);
        assert_eq!(target.negatives, [2, 4]);
        assert_eq!(target.anchors, [4, 2]);
        assert_eq!(target.base, [1.0, 0.0]);
    }

    #[test]
    fn what_may_be_an_answer_is_no_hard_negative() {
        // The answer at 30 degrees; rows nearer to the query, and rows beside the answer, may be answers.
        let mut angles: Vec<f32> = vec![30.0];
        angles.extend((0..300).map(|i| 1.0 + i as f32 * 0.5));
        let documents = documents(&angles, (0..301).collect());
        let query = Query {
            positives: vec![Positive { document: "d0".to_owned(), grade: 1, weight: 1.0 }],
            ..Query::default()
        };
        let base = Matrix { values: vec![1.0, 0.0], n_rows: 1, n_cols: 2 };
        let queries = [query];
        let targets = Targets::new(&documents, &queries, &base, &[0]);
        let best: Vec<u32> = (1..301).collect();
        let mut random = Random::new(3);
        let target = targets.target(0, &best, &mut random);
        // Hard ones come first in no order, random ones are anywhere: count those close to the query.
        let close = |row: &&u32| angles[**row as usize] < 48.0;
        let n_close = target.negatives.iter().filter(close).count();
        let drawn = 256 * 95 / 300;
        assert!(n_close < drawn, "{n_close} of {}", target.negatives.len());
        assert!(target.negatives.len() > 64);
    }
}
