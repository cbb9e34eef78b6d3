//! Grows a graph with hnsw_rs, in parallel, over node numbers instead of vectors.
//!
//! To hnsw_rs a point is a vector of one u32, the node's number; the distance looks both rows of codes
//! up. So no row is copied, and whatever scores nodes can grow their graph.
//!
//! Traps of hnsw_rs 0.3.5 kept out of the way: distances below zero or NaN make it panic, so ours are
//! neither; a parallel first insertion can leave a point without links, so the first is serial;
//! `set_keeping_pruned` loses outliers, so it is never called; identical points hide each other, so
//! callers collapse them first; its layer lists hold links to nodes that are not in the layer, so
//! those are dropped on the way out. Its levels come from a generator with a constant seed; our seed
//! shuffles the order in which nodes meet that generator.

use hnsw_rs::prelude::{Distance, Hnsw};

use super::freeze::Frozen;
use super::mend::mend;
use super::{EF_CONSTRUCTION, M};
use crate::score::CodeRows;
use crate::segment::MAX_LAYERS;

/// Nodes inserted between two looks at the flag that cancels a build.
const BATCH: usize = 1024;

/// Lists of links that can still change: `lists[node][layer]`, layers `0..=level` of the node.
pub(super) type Lists = Vec<Vec<Vec<u32>>>;

/// Builds the graph of all rows of `codes`, no two of which should be equal; `None` if cancelled.
pub(crate) fn build(
    codes: CodeRows<'_>,
    seed: u64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<Frozen> {
    if codes.len() == 0 {
        return (!cancelled()).then(Frozen::empty);
    }
    let mut lists = grow(codes, seed, cancelled)?;
    let entry = entry(&lists);
    let n_mended = mend(&mut lists, entry, codes);
    Some(Frozen::new(&lists, entry, n_mended))
}

/// What hnsw_rs asks for: zero for the closest, never negative, never NaN.
struct CodeDistance<'a>(CodeRows<'a>);

impl Distance<u32> for CodeDistance<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        // `max` also turns a NaN into 0; scales are finite, so there is none.
        (1.0 - self.0.score_pair(a[0], b[0])).max(0.0)
    }
}

fn grow(codes: CodeRows<'_>, seed: u64, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Lists> {
    let n_nodes = codes.len();
    let order = shuffled(n_nodes, seed);
    let points: Vec<(&[u32], usize)> =
        order.iter().map(|node| (std::slice::from_ref(node), *node as usize)).collect();
    let hnsw = Hnsw::new(M, n_nodes, MAX_LAYERS, EF_CONSTRUCTION, CodeDistance(codes));
    let (first, rest) = points.split_first()?;
    hnsw.insert_slice(*first);
    for batch in rest.chunks(BATCH) {
        if cancelled() {
            return None;
        }
        hnsw.parallel_insert_slice(&batch.to_vec());
    }
    if cancelled() {
        return None;
    }
    Some(export(&hnsw, n_nodes))
}

/// Copies the links out: of each node the layers it is in, of each layer the nodes that are in it.
fn export(hnsw: &Hnsw<'_, u32, CodeDistance<'_>>, n_nodes: usize) -> Lists {
    let points = hnsw.get_point_indexation();
    let mut n_layers = vec![0usize; n_nodes];
    for point in points {
        n_layers[point.get_origin_id()] = usize::from(point.get_point_id().0) + 1;
    }
    assert!(n_layers.iter().all(|n| *n > 0), "hnsw_rs lost a node");
    let mut lists: Lists = vec![Vec::new(); n_nodes];
    for point in points {
        let node = point.get_origin_id();
        let found = point.get_neighborhood_id();
        let layers = found.iter().take(n_layers[node]).enumerate();
        lists[node] = layers
            .map(|(layer, neighbours)| {
                let mut links: Vec<u32> = Vec::with_capacity(neighbours.len());
                for neighbour in neighbours {
                    let to = neighbour.get_origin_id();
                    if to != node && n_layers[to] > layer && !links.contains(&(to as u32)) {
                        links.push(to as u32);
                    }
                }
                links
            })
            .collect();
    }
    lists
}

/// The node where walks begin: of those in the most layers the first.
fn entry(lists: &Lists) -> u32 {
    let best = lists.iter().enumerate().max_by_key(|(node, list)| (list.len(), usize::MAX - node));
    best.expect("a graph that is not empty").0 as u32
}

/// The numbers `0..n` in an order that follows from the seed (Fisher and Yates; SplitMix64).
fn shuffled(n: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        // The bias of a remainder is below 2^-38 for the largest segment.
        order.swap(last, (next() % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    #[test]
    fn a_seed_gives_one_order_and_another_seed_another() {
        assert_eq!(shuffled(100, 7), shuffled(100, 7));
        assert_ne!(shuffled(100, 7), shuffled(100, 8));
        let mut sorted = shuffled(100, 7);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        assert!(shuffled(0, 1).is_empty());
    }
}
