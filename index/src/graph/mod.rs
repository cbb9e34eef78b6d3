//! A navigable small-world graph over nodes (HNSW, arXiv 1603.09320).

mod build;

pub(crate) use build::{Frozen, build};

/// Links asked for per node and layer, twice that in layer 0 (`M` in the paper).
pub const M: usize = 16;
/// Candidates kept while building (`efConstruction` in the paper).
pub const EF_CONSTRUCTION: usize = 200;
/// Nodes kept while walking, unless told otherwise.
pub const EF_DEFAULT: usize = 96;

/// A frozen graph: for each layer and node the list of nodes linked to.
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
}
