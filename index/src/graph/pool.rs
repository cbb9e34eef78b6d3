//! The best nodes that a search has met, best first, each to be expanded once.
//!
//! Of a walk through a frozen graph and of the searches that grow one. All nodes met go into one list that
//! ends with the worst of the `most` best wanted ones: what would come behind it can no longer matter, and
//! a search is over when all that is left was expanded. Nodes that are not wanted are expanded but not
//! returned.
//!
//! Differs from the paper: one sorted list stands for its two heaps. It is short, so that inserting moves
//! few bytes, and the next node to expand is found where the last one was.

/// A score above, its node below: greater is closer, and of equal scores the lower node is greater.
/// A NaN is the lowest of all.
pub(super) fn rank(score: f32, node: u32) -> u64 {
    let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
    let bits = score.to_bits();
    // The usual trick: flips all bits of a negative number, only the sign of a positive one.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000);
    (u64::from(ordered) << 32) | u64::from(!node)
}

/// A node met by a search: its rank, moved up to make room for two flags below.
///
/// So nodes compare as their ranks do, whatever their flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Met(u64);

/// Bits of a u32 that the number of a node, below [`MAX_ROWS`](crate::MAX_ROWS), leaves free.
const N_FREE_BITS: u32 = crate::segment::MAX_ROWS.leading_zeros() - 31;

impl Met {
    /// The node has not been expanded yet.
    const OPEN: u64 = 1;
    /// The node may be returned.
    const WANTED: u64 = 2;

    fn new(score: f32, node: u32) -> Met {
        let ranked = rank(score, node);
        Met(ranked >> 32 << 32 | u64::from((ranked as u32) << N_FREE_BITS) | Met::OPEN)
    }

    fn node(self) -> u32 {
        !(self.0 as u32) >> N_FREE_BITS
    }

    /// That of a NaN is negative infinity.
    fn score(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered ^ 0x8000_0000 } else { !ordered })
    }

    fn is(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// The nodes met that can still matter.
#[derive(Default)]
pub(super) struct Pool {
    met: Vec<Met>, // best first; once `n_wanted` is `most` the last is wanted
    most: usize,
    n_wanted: usize,
    next: usize, // no node before this one is open
    n_met: usize,
    n_dropped: usize, // of them, those that may have been wanted
}

impl Pool {
    /// Forgets all nodes; keeps at most `most` wanted ones from now on.
    pub(super) fn reset(&mut self, most: usize) {
        self.met.clear();
        self.most = most;
        (self.n_wanted, self.next, self.n_met, self.n_dropped) = (0, 0, 0, 0);
    }

    /// Takes a node in, unless `most` better ones that are wanted are there already.
    #[inline]
    pub(super) fn offer(&mut self, score: f32, node: u32, wanted: &mut impl FnMut(u32) -> bool) {
        let mut met = Met::new(score, node);
        self.n_met += 1;
        let full = self.n_wanted == self.most;
        if full && self.met.last().is_some_and(|last| met < *last) {
            self.n_dropped += 1;
            return;
        }
        if wanted(node) {
            met.0 |= Met::WANTED;
            self.n_wanted += 1;
        }
        let at = self.met.partition_point(|other| *other > met);
        self.met.insert(at, met);
        self.next = self.next.min(at);
        if self.n_wanted > self.most {
            self.met.pop();
            self.n_wanted -= 1;
            self.n_dropped += 1;
        }
        while self.n_wanted == self.most && self.met.pop_if(|last| !last.is(Met::WANTED)).is_some()
        {
        }
    }

    /// The best node not expanded yet, from now on expanded.
    #[inline]
    pub(super) fn expand(&mut self) -> Option<u32> {
        let node = self.peek()?;
        self.met[self.next].0 &= !Met::OPEN;
        Some(node)
    }

    /// The best node not expanded yet.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u32> {
        while !self.met.get(self.next)?.is(Met::OPEN) {
            self.next += 1;
        }
        Some(self.met[self.next].node())
    }

    /// The wanted nodes kept and their scores, best first.
    pub(super) fn best(&self) -> impl Iterator<Item = (u32, f32)> {
        self.met.iter().filter(|met| met.is(Met::WANTED)).map(|met| (met.node(), met.score()))
    }

    /// Nodes offered.
    pub(super) fn n_met(&self) -> usize {
        self.n_met
    }

    /// Nodes that may be wanted and were not kept.
    pub(super) fn n_dropped(&self) -> usize {
        self.n_dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(pool: &Pool) -> Vec<(u32, f32)> {
        pool.best().collect()
    }

    fn keep(pool: &mut Pool, score: f32, node: u32) {
        pool.offer(score, node, &mut |_| true);
    }

    #[test]
    fn the_best_are_kept_and_expanded_in_order() {
        let mut pool = Pool::default();
        pool.reset(3);
        for (score, node) in [(0.5, 1), (-0.25, 2), (0.75, 3)] {
            keep(&mut pool, score, node);
        }
        assert_eq!(pool.expand(), Some(3));
        keep(&mut pool, 0.9, 4);
        keep(&mut pool, -0.5, 5);
        assert_eq!(best(&pool), [(4, 0.9), (3, 0.75), (1, 0.5)]);
        assert_eq!((pool.peek(), pool.expand()), (Some(4), Some(4)));
        assert_eq!((pool.expand(), pool.expand()), (Some(1), None));
        keep(&mut pool, 0.6, 6);
        assert_eq!((pool.expand(), pool.peek()), (Some(6), None));
        assert_eq!(best(&pool), [(4, 0.9), (3, 0.75), (6, 0.6)]);
    }

    #[test]
    fn equal_scores_go_by_node_and_one_place_is_enough() {
        let mut pool = Pool::default();
        pool.reset(1);
        [9, 4, 7].into_iter().for_each(|node| keep(&mut pool, 0.0, node));
        assert_eq!(best(&pool), [(4, 0.0)]);
        pool.reset(0);
        keep(&mut pool, 1.0, 1);
        assert_eq!(pool.expand(), None);
    }

    #[test]
    fn what_is_not_wanted_is_expanded_and_not_returned() {
        let mut pool = Pool::default();
        pool.reset(2);
        for (score, node) in [(0.9, 1), (0.8, 2), (0.7, 3), (0.6, 4), (0.5, 5)] {
            pool.offer(score, node, &mut |node| node % 2 == 0);
        }
        // Behind the second wanted node nothing matters any more.
        let expanded = [(); 5].map(|()| pool.expand());
        assert_eq!(expanded, [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(best(&pool), [(2, 0.8), (4, 0.6)]);
        assert_eq!((pool.n_met(), pool.n_dropped()), (5, 1));
    }

    #[test]
    fn ranks_follow_the_score_and_then_the_lower_node() {
        let scores = [f32::NEG_INFINITY, -1.5, -0.1, 0.0, 1e-30, 0.2, 7.0, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(rank(pair[0], 0) < rank(pair[1], 9), "{pair:?}");
        }
        assert!(rank(0.5, 3) > rank(0.5, 4));
        assert!(rank(f32::NAN, 0) < rank(f32::MIN, 1) && rank(-f32::NAN, 0) < rank(f32::MIN, 1));
        let met = Met::new(-3.25, 77);
        assert_eq!((met.node(), met.score()), (77, -3.25));
    }
}
