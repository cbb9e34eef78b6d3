//! Scans of a segment's rows, or of a set of them: at full width, or by their codes first.
//!
//! Many rows are cut into tasks for rayon's current pool. What is found depends on scores and rows only,
//! so it does not depend on the cut.

use std::ops::Range;

use rayon::prelude::*;

use super::Segment;
use super::search::{Asked, hits};
use crate::exact::Best;
use crate::query::{Found, Plan, RowId};
use crate::row_set::RowSet;

/// Rows that one task looks at; a multiple of 64, so that no two tasks share a word of a set.
const ROWS_A_TASK: usize = 1 << 13;

impl Segment {
    /// Scores every row that is asked for at full width.
    pub(super) fn scan_rows(&self, asked: Asked<'_>) -> Found {
        let Asked { query, k, among } = asked;
        let n_among = among.map_or(self.len(), RowSet::len);
        let (all, full) = (self.rows(), self.shape().full);
        let task = |range: Range<usize>| {
            let Some(set) = among else {
                let mut best = Best::new(k);
                let rows = all.range(range.start * full..range.end * full).rows(full);
                for (id, row) in (range.start as u32..).zip(rows) {
                    best.offer(RowId(id), query.target().score(row));
                }
                return best;
            };
            let rows: Vec<RowId> = set.iter_within(range).collect();
            self.score_rows(&rows, query, k)
        };
        let best = self.in_tasks(n_among, task, Best::join);
        Found { hits: hits(best), compared: n_among, exact: true, plan: Plan::ExactScan }
    }

    /// Scores every row that is asked for by its codes, then the best of them at full width: `depth`, and
    /// twice as many again until the next can no longer be among the best `k`.
    ///
    /// Rows far from the query lie close together, so that codes tell them apart badly; then many must be
    /// scored, at worst all. The graph's parts must be sound.
    pub(super) fn scan_codes(&self, asked: Asked<'_>, depth: usize) -> Found {
        let Asked { query, k, among } = asked;
        let n_among = among.map_or(self.len(), RowSet::len);
        let (scorer, node_of_row) = (self.codes().scorer(query), self.node_of_row());
        let task = |range: Range<usize>| {
            let rows: Vec<RowId> = match among {
                None => range.map(|row| RowId(row as u32)).collect(),
                Some(set) => set.iter_within(range).collect(),
            };
            let nodes: Vec<u32> = rows.iter().map(|row| node_of_row[row.0 as usize]).collect();
            let mut scores = Vec::with_capacity(rows.len());
            scorer.score_many(&nodes, &mut scores);
            let estimate = query.estimate();
            scores.iter_mut().for_each(|score| *score = estimate.of(*score));
            scores.into_iter().zip(rows).collect::<Vec<(f32, RowId)>>()
        };
        let mut coded = self.in_tasks(n_among, task, |mut a, b| {
            a.extend(b);
            a
        });
        let mut best = Best::new(k);
        let (mut n_scored, mut depth) = (0, depth.max(k).min(n_among));
        loop {
            let left = &mut coded[n_scored..];
            let n_new = depth - n_scored;
            if n_new < left.len() {
                left.select_nth_unstable_by(n_new, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            }
            let rows: Vec<RowId> = left[..n_new].iter().map(|(_, row)| *row).collect();
            let scores = self.score_each(&rows, query);
            rows.iter().zip(&scores).for_each(|(row, score)| best.offer(*row, *score));
            n_scored = depth;
            let Some((next, _)) = coded.get(n_scored) else { break };
            let errors =
                scores.iter().zip(&coded[n_scored - n_new..]).map(|(s, (code, _))| s - code);
            if best.worst().is_some_and(|worst| worst > next + upper_end(errors)) {
                break;
            }
            depth = depth.saturating_mul(2).min(n_among);
        }
        let exact = n_scored == n_among;
        Found { hits: hits(best), compared: n_among, exact, plan: Plan::CodeScan }
    }

    /// Does all rows at once if only `n_among` of them are asked for and these are few, else in tasks.
    fn in_tasks<T: Send>(
        &self,
        n_among: usize,
        task: impl Fn(Range<usize>) -> T + Sync,
        join: impl Fn(T, T) -> T + Send + Sync,
    ) -> T {
        if n_among <= ROWS_A_TASK {
            return task(0..self.len());
        }
        let starts = (0..self.len()).into_par_iter().step_by(ROWS_A_TASK);
        let tasks = starts.map(|start| task(start..self.len().min(start + ROWS_A_TASK)));
        tasks.reduce_with(join).expect("more than no rows are at least one task")
    }
}

/// Standard deviations above the mean error of codes up to which a score is thought possible.
///
/// With 2, ten of the farthest fifth of 100,000 rows are found to 92 of 100; near rows need no more than
/// the first `depth` with either.
const DEVIATIONS: f32 = 3.0;

/// What a full-width score may be above that of its codes, judged by the errors of others.
fn upper_end(errors: impl Iterator<Item = f32> + Clone) -> f32 {
    let n = errors.clone().count() as f32;
    let mean = errors.clone().sum::<f32>() / n;
    let variance = errors.map(|error| (error - mean) * (error - mean)).sum::<f32>() / n;
    mean + DEVIATIONS * variance.sqrt()
}
