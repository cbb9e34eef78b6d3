//! Builds a graph: the first nodes from hnsw_rs or from a donor, the others inserted.

use super::freeze::Frozen;
use super::insert::insert;
use super::mend::mend;
use super::random::{levels, shuffled};
use super::sow::sow;
use super::thaw::{Donor, GONE, thaw};
use crate::score::CodeRows;

/// Up to this many nodes hnsw_rs builds all of a graph without a donor: a segment as it is sealed.
const SOWN_ALONE: usize = 32 << 10;
/// Of more nodes it builds the graph of this many, into which the others are inserted.
const SOWN_FIRST: usize = 16 << 10;

/// Builds the graph of all rows of `codes`, no two of which should be equal; `None` if cancelled.
///
/// With a donor, the first rows are the nodes it still has, in the order of their places.
pub(crate) fn build(
    codes: CodeRows<'_>,
    donor: Option<Donor<'_>>,
    seed: u64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<Frozen> {
    if codes.len() == 0 {
        return (!cancelled()).then(Frozen::empty);
    }
    let n_nodes = codes.len();
    let levels = levels(n_nodes, seed).collect();
    let n_donated = donor.map_or(0, |donor| donor.nodes.iter().filter(|n| **n != GONE).count());
    let order = shuffled(n_donated as u32..n_nodes as u32, seed);
    let ((mut lists, entry), rest) = match donor.filter(|_| n_donated > 0) {
        Some(donor) => (thaw(donor, codes, levels, cancelled)?, &order[..]),
        None => {
            let n_sown = if n_nodes <= SOWN_ALONE { n_nodes } else { SOWN_FIRST };
            let (first, rest) = order.split_at(n_sown);
            (sow(codes, first, levels, cancelled)?, rest)
        }
    };
    let entry = insert(&lists, codes, entry, rest, cancelled)?;
    let n_mended = mend(&mut lists, entry, codes, cancelled)?;
    Frozen::new(&lists, entry, n_mended, cancelled)
}
