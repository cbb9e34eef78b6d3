//! A navigable small-world graph over nodes (HNSW, arXiv 1603.09320): built, mended, frozen, walked.
//!
//! `build.rs` grows it with hnsw_rs over node numbers, `mend.rs` makes every node reachable,
//! `freeze.rs` renumbers the nodes and lays the lists out flat, `walk.rs` searches the flat form.
//!
//! A graph knows scores between nodes and nothing of rows, ids or bytes. It is never changed once
//! frozen: no insert, no delete.

mod build;
mod freeze;
mod mend;
mod walk;

pub(crate) use build::build;
pub(crate) use freeze::Frozen;
pub(crate) use walk::{Limits, walk};

/// Links asked for per node and layer, twice that in layer 0 (`M` in the paper).
pub const M: usize = 16;
/// Candidates kept while building (`efConstruction` in the paper).
pub const EF_CONSTRUCTION: usize = 200;
/// Nodes kept while walking, unless told otherwise (`ef` in the paper).
///
/// Chosen at the size of a whole segment, since smaller ones are easier: of 32,768 rows cut to a quarter,
/// `tests/recall.rs` finds less than 98 of 100 at 96, 98.2 at 128 and 99.0 at 192.
pub const EF_DEFAULT: usize = 160;

/// A frozen graph: for each layer and node the list of nodes linked to.
///
/// Layer `l` is the nodes `0..layer_nodes[l]`; node 0 is in all of them and every walk begins there.
/// Whoever makes a `Graph` has checked that offsets never fall and links stay inside their layer.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    layer_nodes: &'a [u32],  // [n_layers]
    list_offsets: &'a [u32], // [n_lists + 1]
    links: &'a [u32],        // [n_links]
}

impl<'a> Graph<'a> {
    pub(crate) fn new(layer_nodes: &'a [u32], list_offsets: &'a [u32], links: &'a [u32]) -> Self {
        Graph { layer_nodes, list_offsets, links }
    }

    pub(crate) fn n_nodes(&self) -> usize {
        self.layer_nodes.first().map_or(0, |n| *n as usize)
    }

    /// The links of layer 0.
    fn links(&self, node: u32) -> &'a [u32] {
        self.list(node as usize)
    }

    /// The links of a layer whose lists begin with number `first_list`.
    fn upper_links(&self, first_list: usize, node: u32) -> &'a [u32] {
        self.list(first_list + node as usize)
    }

    fn list(&self, list: usize) -> &'a [u32] {
        &self.links[self.list_offsets[list] as usize..self.list_offsets[list + 1] as usize]
    }

    /// The number of the first list of each layer above 0, from the top down.
    fn upper_layers(&self) -> impl Iterator<Item = usize> + use<'a> {
        let layer_nodes = self.layer_nodes;
        (1..layer_nodes.len())
            .rev()
            .map(move |layer| layer_nodes[..layer].iter().map(|n| *n as usize).sum())
    }
}

#[cfg(test)]
mod tests;
