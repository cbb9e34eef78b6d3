//! The answer of one segment: a plan, then a walk or a scan, then scores at full width.

use rayon::prelude::*;

use super::Segment;
use super::curve::Effort;
use super::format::code_bytes;
use super::plan::{Widths, plan};
use crate::exact::Best;
use crate::graph::{Limits, walk};
use crate::query::{Found, Plan, Query, RowId, Scored, Search, Shape};
use crate::row_set::RowSet;
use crate::score::prefetch;

/// How many rows ahead of the one being scored are asked from memory.
const PREFETCH_ROWS: usize = 2;

/// What is asked of a segment.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) query: &'a Query,
    pub(super) k: usize,
    /// The rows that may be returned; all if there is no set.
    pub(super) among: Option<&'a RowSet>,
}

impl Segment {
    /// Finds the `k` rows closest to a query, of those in `among` or of all: as many as there are, if
    /// there are fewer.
    ///
    /// Few rows are scanned at full width, more by their codes, many are found by a walk through all,
    /// whichever costs least; [`Found::plan`] says what was done. A walk that cannot gather `k` rows, or
    /// would cost more than a scan, becomes a scan of the codes, and with a damaged graph every search
    /// is an exact scan. [`Search::Graph`] over all rows always walks.
    ///
    /// # Panics
    /// If the query was prepared for another shape or form, or `among` for another number of rows.
    pub fn search(&self, query: &Query, k: usize, how: Search, among: Option<&RowSet>) -> Found {
        assert_eq!(query.shape(), self.shape(), "a query prepared for another shape");
        assert_eq!(query.target().form(), self.form(), "a query prepared for another form");
        assert!(among.is_none_or(|set| set.n_rows() == self.len()), "a set of another segment");
        let n_among = among.map_or(self.len(), RowSet::len);
        if k == 0 || n_among == 0 {
            return Found { hits: Vec::new(), compared: 0, exact: true, plan: Plan::ExactScan };
        }
        let asked = Asked { query, k, among: among.filter(|set| set.len() < self.len()) };
        let effort = match how {
            Search::Exact => return self.scan_rows(asked),
            Search::Graph { ef } => Effort { ef: ef.max(k), depth: ef.max(k) },
            Search::Recall { target } => self.header.curve.effort(target, k),
        };
        if self.graph().is_none() {
            return self.scan_rows(asked);
        }
        let mut planned = plan(n_among, self.len(), k, effort, self.widths());
        if asked.among.is_none() && matches!(how, Search::Graph { .. }) {
            planned.plan = Plan::Walk;
        }
        match planned.plan {
            Plan::ExactScan => self.scan_rows(asked),
            Plan::CodeScan => self.scan_codes(asked, effort.depth),
            Plan::Walk => self.walk(asked, effort, planned.compared_max).unwrap_or_else(|before| {
                let scanned = self.scan_codes(asked, effort.depth);
                Found { compared: before + scanned.compared, ..scanned }
            }),
        }
    }

    /// Answers many queries, in parallel in rayon's current pool, each as [`search`](Self::search) does.
    ///
    /// # Panics
    /// As `search` does.
    pub fn search_many(
        &self,
        queries: &[Query],
        k: usize,
        how: Search,
        among: Option<&RowSet>,
    ) -> Vec<Found> {
        queries.par_iter().map(|query| self.search(query, k, how, among)).collect()
    }

    /// Walks, then scores the rows of the best nodes at full width. If a scan has to answer, the error is
    /// the number of nodes that were scored in vain.
    pub(super) fn walk(
        &self,
        asked: Asked<'_>,
        effort: Effort,
        compared_max: usize,
    ) -> Result<Found, usize> {
        let Some((graph, node_rows)) = self.graph() else { return Err(0) };
        let Asked { query, k, among } = asked;
        let limits = Limits { ef: effort.ef, compared: compared_max };
        let is_in = |row: &u32| among.is_none_or(|set| set.contains(RowId(*row)));
        let scorer = self.codes().scorer(query);
        let walked = match among {
            None => walk(graph, &scorer, limits, |_| true),
            Some(_) => walk(graph, &scorer, limits, |node| node_rows.of(node).iter().any(is_in)),
        };
        if walked.gave_up {
            return Err(walked.compared);
        }
        let depth = if walked.complete { walked.best.len() } else { effort.depth };
        let rows = walked.best.iter().take(depth).flat_map(|node| node_rows.of(*node));
        let rows: Vec<RowId> = rows.filter(|row| is_in(row)).map(|row| RowId(*row)).collect();
        // Fewer than k are an answer only if there are no more.
        if rows.len() < k && !walked.complete {
            return Err(walked.compared);
        }
        let hits = hits(self.score_rows(&rows, query, k));
        Ok(Found { hits, compared: walked.compared, exact: walked.complete, plan: Plan::Walk })
    }

    fn widths(&self) -> Widths {
        let Shape { full, dims } = self.shape();
        let row_bytes = self.form().number_bytes() * full;
        Widths { code_bytes: code_bytes(dims, self.quant()), row_bytes }
    }

    /// The best of rows that lie anywhere in memory, by their scores at full width.
    pub(super) fn score_rows(&self, rows: &[RowId], query: &Query, k: usize) -> Best<RowId> {
        let mut best = Best::new(k);
        let scores = self.score_each(rows, query);
        rows.iter().zip(scores).for_each(|(row, score)| best.offer(*row, score));
        best
    }

    /// The full-width score of each row.
    pub(super) fn score_each(&self, rows: &[RowId], query: &Query) -> Vec<f32> {
        let (all, full) = (self.rows(), self.shape().full);
        let row = |id: RowId| all.row(id.0 as usize, full);
        rows.iter().take(PREFETCH_ROWS).for_each(|id| prefetch(row(*id).bytes()));
        let score = |(position, id): (usize, &RowId)| {
            if let Some(ahead) = rows.get(position + PREFETCH_ROWS) {
                prefetch(row(*ahead).bytes());
            }
            query.target().score(row(*id))
        };
        rows.iter().enumerate().map(score).collect()
    }
}

pub(super) fn hits(best: Best<RowId>) -> Vec<Scored> {
    best.into_sorted().into_iter().map(|(row, score)| Scored { row, score }).collect()
}
