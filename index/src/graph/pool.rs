//! The best nodes that a search has met, best first, each to be expanded once.
//!
//! One sorted array does the work of the paper's two heaps: what lies in it is kept, and its best node
//! not expanded yet is the next candidate. A node too bad to be kept would never be expanded either.

use super::walk::rank;

/// Set in a ranked node until it is expanded. Nodes are below 2^26, so this bit of `!node` is free.
const OPEN: u64 = 1 << 31;

/// At most `most` ranked nodes.
#[derive(Default)]
pub(super) struct Pool {
    ranked: Vec<u64>, // best first
    most: usize,
    next: usize, // nodes before this are expanded
}

impl Pool {
    /// Forgets all nodes; keeps at most `most` from now on.
    pub(super) fn reset(&mut self, most: usize) {
        self.ranked.clear();
        (self.most, self.next) = (most, 0);
    }

    /// Keeps a node unless it is worse than all of as many as may be kept.
    pub(super) fn offer(&mut self, score: f32, node: u32) {
        let ranked = rank(score, node);
        if self.ranked.len() == self.most {
            if self.ranked.last().is_none_or(|worst| ranked < *worst) {
                return;
            }
            self.ranked.pop();
        }
        let at = self.ranked.partition_point(|better| *better > ranked);
        self.ranked.insert(at, ranked);
        self.next = self.next.min(at);
    }

    /// The best node not expanded yet, from now on expanded.
    pub(super) fn expand(&mut self) -> Option<u32> {
        let next = self.peek()?;
        self.ranked[self.next] &= !OPEN;
        self.next += 1;
        Some(next)
    }

    /// The best node not expanded yet.
    pub(super) fn peek(&mut self) -> Option<u32> {
        let left = &self.ranked[self.next..];
        self.next += left.iter().take_while(|ranked| **ranked & OPEN == 0).count();
        self.ranked.get(self.next).map(|ranked| node_of(*ranked))
    }

    /// All nodes kept and their scores, best first.
    pub(super) fn best(&self) -> impl ExactSizeIterator<Item = (u32, f32)> {
        self.ranked.iter().map(|ranked| (node_of(*ranked), score_of(*ranked)))
    }
}

fn node_of(ranked: u64) -> u32 {
    !((ranked | OPEN) as u32)
}

/// The score of a ranked node; that of a NaN is negative infinity.
fn score_of(ranked: u64) -> f32 {
    let ordered = (ranked >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered ^ 0x8000_0000 } else { !ordered })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(pool: &Pool) -> Vec<(u32, f32)> {
        pool.best().collect()
    }

    #[test]
    fn the_best_are_kept_and_expanded_in_order() {
        let mut pool = Pool::default();
        pool.reset(3);
        for (score, node) in [(0.5, 1), (-0.25, 2), (0.75, 3)] {
            pool.offer(score, node);
        }
        assert_eq!(pool.expand(), Some(3));
        pool.offer(0.9, 4);
        pool.offer(-0.5, 5);
        assert_eq!(best(&pool), [(4, 0.9), (3, 0.75), (1, 0.5)]);
        assert_eq!((pool.peek(), pool.expand()), (Some(4), Some(4)));
        assert_eq!((pool.expand(), pool.expand()), (Some(1), None));
        pool.offer(0.6, 6);
        assert_eq!((pool.expand(), pool.peek()), (Some(6), None));
        assert_eq!(best(&pool), [(4, 0.9), (3, 0.75), (6, 0.6)]);
    }

    #[test]
    fn equal_scores_go_by_node_and_one_place_is_enough() {
        let mut pool = Pool::default();
        pool.reset(1);
        [9, 4, 7].into_iter().for_each(|node| pool.offer(0.0, node));
        assert_eq!(best(&pool), [(4, 0.0)]);
        pool.reset(0);
        pool.offer(1.0, 1);
        assert_eq!(pool.expand(), None);
    }
}
