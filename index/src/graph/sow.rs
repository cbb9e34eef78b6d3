//! The first nodes of a graph, grown with hnsw_rs, in parallel, over node numbers instead of vectors.
//!
//! To hnsw_rs a point is a vector of one u32, the node's number; the distance looks both rows of codes
//! up. So no row is copied, and whatever scores nodes can grow their graph.
//!
//! Traps of hnsw_rs 0.3.5 kept out of the way: distances below zero or NaN make it panic, so ours are
//! neither; a parallel first insertion can leave a point without links, so the first is serial;
//! `set_keeping_pruned` loses outliers, so it is never called; identical points hide each other, so
//! callers collapse them first; its layer lists hold links to nodes that are not in the layer, so
//! those are dropped on the way out. Its levels come from a generator with a constant seed; the order
//! in which nodes meet that generator is the caller's.

use hnsw_rs::prelude::{Distance, Hnsw};

use super::lists::Lists;
use super::{EF_CONSTRUCTION, M};
use crate::score::CodeRows;
use crate::segment::MAX_LAYERS;

/// Nodes inserted between two looks at the flag that cancels a build.
const BATCH: usize = 1024;

/// What hnsw_rs asks for: zero for the closest, never negative, never NaN.
struct CodeDistance<'a>(CodeRows<'a>);

impl Distance<u32> for CodeDistance<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        // `max` also turns a NaN into 0; scales and biases are finite, so there is none.
        (self.0.score_max() - self.0.score_pair(a[0], b[0])).max(0.0)
    }
}

/// Builds the graph of the nodes of `order`, of which there is at least one, in lists for all rows of
/// `codes`; `levels` are the top layers of all nodes, and those of `order` are replaced. Returns also
/// where walks begin; `None` if cancelled.
pub(super) fn sow(
    codes: CodeRows<'_>,
    order: &[u32],
    mut levels: Vec<u8>,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<(Lists, u32)> {
    let points: Vec<(&[u32], usize)> =
        order.iter().map(|node| (std::slice::from_ref(node), *node as usize)).collect();
    let hnsw = Hnsw::new(M, points.len(), MAX_LAYERS, EF_CONSTRUCTION, CodeDistance(codes));
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
    let mut n_found = 0;
    for point in hnsw.get_point_indexation() {
        levels[point.get_origin_id()] = point.get_point_id().0;
        n_found += 1;
    }
    assert_eq!(n_found, order.len(), "hnsw_rs lost a node");
    let lists = Lists::new(levels);
    export(&hnsw, &lists);
    let entry = order.iter().copied().max_by_key(|node| (lists.level(*node), !node));
    Some((lists, entry?))
}

/// Copies the links out: of each node the layers it is in, of each layer the nodes that are in it.
fn export(hnsw: &Hnsw<'_, u32, CodeDistance<'_>>, lists: &Lists) {
    for point in hnsw.get_point_indexation() {
        let node = point.get_origin_id() as u32;
        let found = point.get_neighborhood_id();
        for (layer, neighbours) in found.iter().take(lists.level(node) + 1).enumerate() {
            let mut links: Vec<u32> = Vec::with_capacity(neighbours.len());
            for neighbour in neighbours {
                let to = neighbour.get_origin_id() as u32;
                if to != node && lists.level(to) >= layer && !links.contains(&to) {
                    links.push(to);
                }
            }
            links.truncate(Lists::room(layer));
            lists.lock(node).set(layer, &links);
        }
    }
}
