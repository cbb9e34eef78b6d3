//! The answer of one segment: walk or scan, then score at full width.

use half::f16;

use super::Segment;
use super::format::ROWS;
use crate::exact::Best;
use crate::graph::{Limits, walk};
use crate::query::{Found, Query, RowId, Scored, Search};
use crate::row_set::RowSet;
use crate::score::{dot_f16, prefetch};

/// A walk gives up after this many nodes scored for each node kept: more than thrice what it needs
/// when all rows live (10,000 rows, `ef` 96: 1,600).
const COMPARED_PER_EF: usize = 64;
/// A walk may score this share of all nodes before it gives up; a scan of the rest costs about as much.
const COMPARED_SHARE: usize = 8;

impl Segment {
    /// Finds the `k` rows closest to a query, of those in `among` or of all.
    ///
    /// Other rows are walked through but never returned. A walk that cannot gather `k` rows, or would
    /// cost more than a scan, or meets a damaged graph, becomes a scan of every row of `among`, and the
    /// answer says so in [`Found::exact`].
    ///
    /// # Panics
    /// If the query was prepared for another shape, or `among` for another number of rows.
    pub fn search(&self, query: &Query, k: usize, how: Search, among: Option<&RowSet>) -> Found {
        assert_eq!(query.shape(), self.shape(), "a query prepared for another shape");
        assert!(among.is_none_or(|set| set.n_rows() == self.len()), "a set of another segment");
        if k == 0 {
            return Found { hits: Vec::new(), compared: 0, exact: true };
        }
        match how {
            Search::Graph { ef } => self
                .search_graph(query, k, ef.max(k), among)
                .unwrap_or_else(|| self.search_exact(query, k, among)),
            Search::Exact => self.search_exact(query, k, among),
        }
    }

    /// Walks, then scores every live row of the nodes found; `None` if a scan has to answer.
    fn search_graph(
        &self,
        query: &Query,
        k: usize,
        ef: usize,
        among: Option<&RowSet>,
    ) -> Option<Found> {
        let (graph, node_rows) = self.graph()?;
        let compared = (COMPARED_PER_EF.saturating_mul(ef)).max(graph.n_nodes() / COMPARED_SHARE);
        let is_in = |row: RowId| among.is_none_or(|set| set.contains(row));
        let wanted = |node| node_rows.of(node).iter().any(|row| is_in(RowId(*row)));
        let walked = walk(graph, self.codes(), query.codes(), Limits { ef, compared }, wanted);
        if walked.gave_up {
            return None;
        }
        let rows = walked.best.iter().flat_map(|node| node_rows.of(*node));
        let rows: Vec<RowId> = rows.map(|row| RowId(*row)).filter(|row| is_in(*row)).collect();
        // Fewer than k are an answer only if there are no more.
        if rows.len() < k && !walked.complete {
            return None;
        }
        let best = self.score_rows(rows.into_iter(), query, k);
        Some(Found { hits: hits(best), compared: walked.compared, exact: walked.complete })
    }

    /// Scores rows that lie anywhere in memory at full width.
    fn score_rows(
        &self,
        rows: impl Iterator<Item = RowId>,
        query: &Query,
        k: usize,
    ) -> Best<RowId> {
        let (all, full) = (self.part::<f16>(ROWS), self.shape().full);
        let row = |id: RowId| &all[id.0 as usize * full..][..full];
        let mut best = Best::new(k);
        let mut rows = rows.peekable();
        while let Some(id) = rows.next() {
            if let Some(next) = rows.peek() {
                prefetch(row(*next));
            }
            best.offer(id, dot_f16(row(id), query.full()));
        }
        best
    }

    fn search_exact(&self, query: &Query, k: usize, among: Option<&RowSet>) -> Found {
        let best = match among {
            None => self.score_rows((0..self.len() as u32).map(RowId), query, k),
            Some(set) => self.score_rows(set.iter(), query, k),
        };
        let compared = among.map_or(self.len(), RowSet::len);
        Found { hits: hits(best), compared, exact: true }
    }
}

fn hits(best: Best<RowId>) -> Vec<Scored> {
    best.into_sorted().into_iter().map(|(row, score)| Scored { row, score }).collect()
}
