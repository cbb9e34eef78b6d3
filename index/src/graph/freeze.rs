//! Renumbers nodes and lays the lists of a mended graph out flat.
//!
//! Nodes get new numbers, their *places*: first those in the most layers, and among equals in the order
//! in which a breadth-first visit of layer 0 from the entry meets them. So a layer is a range of
//! places, no node needs a note of its level, and neighbours tend to lie near each other in memory.

use super::lists::Lists;

/// A graph in its final arrays, in places.
#[derive(Debug, PartialEq)]
pub(crate) struct Frozen {
    /// The node that each place holds, `[n_nodes]`.
    pub(crate) order: Vec<u32>,
    /// Nodes in each layer, `[n_layers]`.
    pub(crate) layer_nodes: Vec<u32>,
    /// Where each list begins in `links`, `[n_lists + 1]`: all of layer 0, then of layer 1, ...
    pub(crate) list_offsets: Vec<u32>,
    /// Places linked to.
    pub(crate) links: Vec<u32>,
    /// Links that mending added.
    pub(crate) n_mended: u64,
}

impl Frozen {
    pub(super) fn empty() -> Self {
        Frozen {
            order: Vec::new(),
            layer_nodes: Vec::new(),
            list_offsets: vec![0],
            links: Vec::new(),
            n_mended: 0,
        }
    }

    /// Freezes lists in which every node can be reached in layer 0 from `entry`, which is in the most
    /// layers; `None` if cancelled.
    pub(super) fn new(
        lists: &Lists,
        entry: u32,
        n_mended: u64,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Option<Self> {
        let order = order(lists, entry);
        if cancelled() {
            return None;
        }
        let mut place_of = vec![0u32; order.len()];
        for (place, node) in order.iter().enumerate() {
            place_of[*node as usize] = place as u32;
        }
        let n_layers = lists.level(entry) + 1;
        let mut layer_nodes = Vec::with_capacity(n_layers);
        let (mut list_offsets, mut links) = (vec![0u32], Vec::new());
        for layer in 0..n_layers {
            let n_nodes = order.partition_point(|node| lists.level(*node) >= layer);
            for node in &order[..n_nodes] {
                links.extend(lists.links(*node, layer).map(|to| place_of[to as usize]));
                let end =
                    u32::try_from(links.len()).expect("2^26 nodes have fewer links than 2^32");
                list_offsets.push(end);
            }
            layer_nodes.push(n_nodes as u32);
        }
        links.shrink_to_fit();
        (!cancelled()).then_some(Frozen { order, layer_nodes, list_offsets, links, n_mended })
    }
}

/// All nodes: by the number of their layers, falling, then as met from the entry.
fn order(lists: &Lists, entry: u32) -> Vec<u32> {
    let mut met = vec![false; lists.n_nodes()];
    let mut order = Vec::with_capacity(lists.n_nodes());
    met[entry as usize] = true;
    order.push(entry);
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        for to in lists.links(node, 0) {
            if !std::mem::replace(&mut met[to as usize], true) {
                order.push(to);
            }
        }
        next += 1;
    }
    assert_eq!(order.len(), lists.n_nodes(), "mending makes every node reachable");
    // Stable, so that equals stay as they were met; the entry is in the most layers and met first.
    order.sort_by_key(|node| std::cmp::Reverse(lists.level(*node)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_become_ranges_of_places() {
        // Node 2 is in three layers, node 0 in two; layer 0 is the path 2 - 1 - 3 - 0.
        let lists = Lists::new(vec![1, 0, 2, 0]);
        let layers: [(u32, usize, &[u32]); 6] = [
            (0, 0, &[3]),
            (0, 1, &[2]),
            (1, 0, &[2, 3]),
            (2, 0, &[1]),
            (2, 1, &[0]),
            (3, 0, &[1, 0]),
        ];
        for (node, layer, links) in layers {
            lists.lock(node).set(layer, links);
        }
        let frozen = Frozen::new(&lists, 2, 5, &|| false);
        assert_eq!(
            frozen,
            Some(Frozen {
                order: vec![2, 0, 1, 3],
                layer_nodes: vec![4, 2, 1],
                list_offsets: vec![0, 1, 2, 4, 6, 7, 8, 8],
                links: vec![2, 3, 0, 3, 2, 1, 1, 0],
                n_mended: 5,
            })
        );
        assert_eq!(Frozen::new(&lists, 2, 5, &|| true), None);
    }
}
