//! Scans of a segment's rows, or of a set of them: at full width, or by their codes first.
//!
//! Many rows are cut into tasks for rayon's current pool. What is kept depends on scores and rows only,
//! so it does not depend on the cut.

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use super::Segment;
use super::format::ROWS;
use super::search::{Asked, hits};
use crate::exact::Best;
use crate::graph::{node_of, rank};
use crate::query::{Found, Plan, RowId};
use crate::row_set::RowSet;
use crate::score::dot_f16;

/// Rows that one task looks at; a multiple of 64, so that no two tasks share a word of a set.
const ROWS_A_TASK: usize = 1 << 13;
/// Rows whose codes are scored together.
const BATCH: usize = 256;

impl Segment {
    /// Scores every row that is asked for at full width.
    pub(super) fn scan_rows(&self, asked: Asked<'_>) -> Found {
        let Asked { query, k, among } = asked;
        let n_among = among.map_or(self.len(), RowSet::len);
        let (all, full) = (self.part::<f16>(ROWS), self.shape().full);
        let task = |range: Range<usize>| {
            let Some(set) = among else {
                let mut best = Best::new(k);
                let rows = all[range.start * full..range.end * full].chunks_exact(full);
                for (id, row) in (range.start as u32..).zip(rows) {
                    best.offer(RowId(id), dot_f16(row, query.full()));
                }
                return best;
            };
            let rows: Vec<RowId> = set.iter_within(range).collect();
            self.score_rows(&rows, query, k)
        };
        let best = self.in_tasks(n_among, task, Best::join);
        Found { hits: hits(best), compared: n_among, exact: true, plan: Plan::ExactScan }
    }

    /// Scores every row that is asked for by its codes, then the best `depth` of them at full width.
    ///
    /// The graph's parts must be sound.
    pub(super) fn scan_codes(&self, asked: Asked<'_>, depth: usize) -> Found {
        let Asked { query, k, among } = asked;
        let n_among = among.map_or(self.len(), RowSet::len);
        let depth = depth.max(k);
        let (codes, node_of_row) = (self.codes(), self.node_of_row());
        let task = |range: Range<usize>| {
            let mut best = BestRanks { n_kept: depth, ranks: Vec::new(), floor: 0 };
            let rows: Vec<RowId> = match among {
                None => range.map(|row| RowId(row as u32)).collect(),
                Some(set) => set.iter_within(range).collect(),
            };
            let (mut nodes, mut scores) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            for rows in rows.chunks(BATCH) {
                nodes.clear();
                nodes.extend(rows.iter().map(|row| node_of_row[row.0 as usize]));
                codes.score_many(&nodes, query.codes(), &mut scores);
                for (row, score) in rows.iter().zip(&scores) {
                    best.offer(rank(*score, row.0));
                }
            }
            best
        };
        let best = self.in_tasks(n_among, task, BestRanks::join);
        let rows: Vec<RowId> = best.into_ranks().into_iter().map(|r| RowId(node_of(r))).collect();
        let hits = hits(self.score_rows(&rows, query, k));
        Found { hits, compared: n_among, exact: depth >= n_among, plan: Plan::CodeScan }
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

/// The greatest of the ranks offered to it.
///
/// Unlike [`Best`], made for keeping hundreds: it collects twice as many before it drops any.
struct BestRanks {
    n_kept: usize,
    ranks: Vec<u64>,
    floor: u64, // the least rank that can still matter
}

impl BestRanks {
    #[inline]
    fn offer(&mut self, ranked: u64) {
        if ranked < self.floor {
            return;
        }
        self.ranks.push(ranked);
        if self.ranks.len() >= self.n_kept.saturating_mul(2) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.ranks.len() > self.n_kept {
            let (_, least, _) = self.ranks.select_nth_unstable_by(self.n_kept - 1, |a, b| b.cmp(a));
            self.floor = *least;
            self.ranks.truncate(self.n_kept);
        }
    }

    fn join(mut self, other: BestRanks) -> BestRanks {
        other.ranks.into_iter().for_each(|ranked| self.offer(ranked));
        self
    }

    fn into_ranks(mut self) -> Vec<u64> {
        self.shrink();
        self.ranks
    }
}
