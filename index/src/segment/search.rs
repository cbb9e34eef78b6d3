//! The answer of one segment: walk or scan, then score at full width.

use half::f16;

use super::Segment;
use super::format::ROWS;
use crate::exact::Best;
use crate::graph::{Limits, walk};
use crate::query::{Found, Query, RowId, Scored, Search};
use crate::score::{dot_f16, prefetch};

/// A walk gives up after this many nodes scored for each node kept: more than thrice what it needs
/// when all rows live (10,000 rows, `ef` 96: 1,600).
const COMPARED_PER_EF: usize = 64;
/// A walk may score this share of all nodes before it gives up; a scan of the rest costs about as much.
const COMPARED_SHARE: usize = 8;

impl Segment {
    /// Finds the `k` live rows closest to a query.
    ///
    /// Dead rows are walked through but never returned. A walk that cannot gather `k` live rows, or
    /// would cost more than a scan, or meets a damaged graph, becomes a scan of every live row, and
    /// the answer says so in [`Found::exact`].
    ///
    /// `live` is asked more than once about a row, about few of them by a walk, and must not change its
    /// mind meanwhile.
    ///
    /// # Panics
    /// If the query was prepared for another shape.
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        how: Search,
        live: &dyn Fn(RowId) -> bool,
    ) -> Found {
        assert_eq!(query.shape(), self.shape(), "a query prepared for another shape");
        if k == 0 {
            return Found { hits: Vec::new(), compared: 0, exact: true };
        }
        match how {
            Search::Graph { ef } => self
                .search_graph(query, k, ef.max(k), live)
                .unwrap_or_else(|| self.search_exact(query, k, live)),
            Search::Exact => self.search_exact(query, k, live),
        }
    }

    /// Walks, then scores every live row of the nodes found; `None` if a scan has to answer.
    fn search_graph(
        &self,
        query: &Query,
        k: usize,
        ef: usize,
        live: &dyn Fn(RowId) -> bool,
    ) -> Option<Found> {
        let (graph, node_rows) = self.graph()?;
        let compared = (COMPARED_PER_EF.saturating_mul(ef)).max(graph.n_nodes() / COMPARED_SHARE);
        let has_live = |node| node_rows.of(node).iter().any(|row| live(RowId(*row)));
        let walked = walk(graph, self.codes(), query.codes(), Limits { ef, compared }, has_live);
        if walked.gave_up {
            return None;
        }
        let rows = walked.best.iter().flat_map(|node| node_rows.of(*node));
        let rows: Vec<RowId> = rows.map(|row| RowId(*row)).filter(|row| live(*row)).collect();
        // Fewer than k are an answer only if there are no more.
        if rows.len() < k && !walked.complete {
            return None;
        }
        let best = self.score_rows(&rows, query, k);
        Some(Found { hits: hits(best), compared: walked.compared, exact: walked.complete })
    }

    /// Scores rows that lie anywhere in memory at full width.
    fn score_rows(&self, rows: &[RowId], query: &Query, k: usize) -> Best<RowId> {
        let (all, full) = (self.part::<f16>(ROWS), self.shape().full);
        let row = |id: RowId| &all[id.0 as usize * full..][..full];
        let mut best = Best::new(k);
        for (idx, id) in rows.iter().enumerate() {
            if let Some(next) = rows.get(idx + 1) {
                prefetch(row(*next));
            }
            best.offer(*id, dot_f16(row(*id), query.full()));
        }
        best
    }

    fn search_exact(&self, query: &Query, k: usize, live: &dyn Fn(RowId) -> bool) -> Found {
        let rows: &[f16] = self.part(ROWS);
        let mut best = Best::new(k);
        let mut compared = 0;
        for (idx, row) in rows.chunks_exact(self.shape().full).enumerate() {
            let id = RowId(idx as u32);
            if live(id) {
                best.offer(id, dot_f16(row, query.full()));
                compared += 1;
            }
        }
        Found { hits: hits(best), compared, exact: true }
    }
}

fn hits(best: Best<RowId>) -> Vec<Scored> {
    best.into_sorted().into_iter().map(|(row, score)| Scored { row, score }).collect()
}
