//! What a seed decides: the order in which nodes are inserted, and the layers of each.

use super::M;
use crate::segment::MAX_LAYERS;

/// The numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The nodes in an order that follows from the seed (Fisher and Yates).
pub(super) fn shuffled(nodes: std::ops::Range<u32>, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut order: Vec<u32> = nodes.collect();
    for last in (1..order.len()).rev() {
        // The bias of a remainder is below 2^-38 for the largest segment.
        order.swap(last, (random.next() % (last as u64 + 1)) as usize);
    }
    order
}

/// The top layer of each of `n` nodes: layer `l` or higher with probability `M^-l` (the paper's `mL`
/// is `1 / ln M`).
pub(super) fn levels(n: usize, seed: u64) -> impl Iterator<Item = u8> {
    // Another stream than the one that shuffles.
    let mut random = Random(!seed);
    (0..n).map(move |_| {
        let unit = ((random.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let level = -unit.ln() / (M as f64).ln();
        (level as usize).min(MAX_LAYERS - 1) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_another_seed_another() {
        assert_eq!(shuffled(0..100, 7), shuffled(0..100, 7));
        assert_ne!(shuffled(0..100, 7), shuffled(0..100, 8));
        let mut sorted = shuffled(50..100, 7);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(50..100));
        assert!(shuffled(3..3, 1).is_empty());
    }

    #[test]
    fn one_node_in_m_is_in_the_next_layer() {
        let levels: Vec<u8> = levels(160_000, 3).collect();
        let n_above = |layer: u8| levels.iter().filter(|level| **level >= layer).count();
        assert!((9_500..10_500).contains(&n_above(1)), "{}", n_above(1));
        assert!((500..750).contains(&n_above(2)), "{}", n_above(2));
    }
}
