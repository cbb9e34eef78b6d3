//! Builds and freezes a graph.

use crate::score::CodeRows;

/// A graph in its final arrays.
pub(crate) struct Frozen {
    /// The node that each place holds.
    pub(crate) order: Vec<u32>,
    pub(crate) layer_nodes: Vec<u32>,
    pub(crate) list_offsets: Vec<u32>,
    pub(crate) links: Vec<u32>,
    pub(crate) n_mended: u64,
}

pub(crate) fn build(
    codes: CodeRows<'_>,
    _seed: u64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<Frozen> {
    if cancelled() {
        return None;
    }
    let n = codes.len() as u32;
    Some(Frozen {
        order: (0..n).collect(),
        layer_nodes: if n == 0 { vec![] } else { vec![n] },
        list_offsets: vec![0; n as usize + 1],
        links: vec![],
        n_mended: 0,
    })
}
