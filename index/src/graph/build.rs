//! Builds a graph: the first nodes from hnsw_rs or from a donor, the others inserted.

use super::freeze::Frozen;
use super::insert::insert;
use super::mend::mend;
use super::random::{levels, shuffled};
use super::sow::sow;
use super::thaw::{Donor, GONE, thaw};
use crate::score::CodeRows;

/// Without a donor hnsw_rs builds the graph of this many nodes, into which the others are inserted.
///
/// More would cost time and gain nothing: the graph of 50,000 rows (codes of 192 numbers, one thread)
/// takes 27 s when it begins with 16,384 nodes, 9.3 s with 4,096, and walks find as much.
const SOWN: usize = 4 << 10;

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
            let (first, rest) = order.split_at(n_nodes.min(SOWN));
            (sow(codes, first, levels, cancelled)?, rest)
        }
    };
    let entry = insert(&lists, codes, entry, rest, cancelled)?;
    let n_mended = mend(&mut lists, entry, codes, cancelled)?;
    Frozen::new(&lists, entry, n_mended, cancelled)
}
