//! Makes every node reachable in layer 0 from the entry.
//!
//! Pruning can leave a node that no other links to, or an island. Each such node is sought as a query
//! is, among those that can be reached, and tied both ways to the nearest few found. Walks begin layer
//! 0 at the entry as well as where the upper layers lead, so this suffices for every walk.

use super::insert::Searcher;
use super::lists::Lists;
use crate::score::CodeRows;

/// Reachable nodes that a node without a way to it is tied to.
const TIES: usize = 3;
/// Candidates kept while these are sought.
const EF_MEND: usize = 64;
/// Nodes looked at between two looks at the flag that cancels a build.
const BATCH: u32 = 1024;

/// Adds links until every node can be reached from `entry`; returns how many, `None` if cancelled.
pub(super) fn mend(
    lists: &mut Lists,
    entry: u32,
    codes: CodeRows<'_>,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<u64> {
    let mut reached = vec![false; lists.n_nodes()];
    spread(lists, entry, &mut reached);
    let mut searcher = Searcher::new(lists.n_nodes());
    let mut n_added = 0;
    for node in 0..lists.n_nodes() as u32 {
        if node.is_multiple_of(BATCH) && cancelled() {
            return None;
        }
        if reached[node as usize] {
            continue;
        }
        // Everything seen on the way from the entry is reachable, so what is found is too.
        searcher.aim(codes, node);
        searcher.search(lists, codes, entry, 0, EF_MEND);
        for (near, _) in searcher.pool.best().take(TIES) {
            n_added += u64::from(lists.force(near, node)) + u64::from(lists.force(node, near));
        }
        spread(lists, node, &mut reached);
    }
    Some(n_added)
}

/// Marks all that can be reached from a node, the node included.
fn spread(lists: &Lists, from: u32, reached: &mut [bool]) {
    reached[from as usize] = true;
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for to in lists.links(node, 0) {
            if !std::mem::replace(&mut reached[to as usize], true) {
                open.push(to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve nodes on a circle, seen as two numbers each.
    fn circle() -> (Vec<i8>, Vec<f32>) {
        let angle = |i: usize| i as f32 * std::f32::consts::TAU / 12.0;
        let xy = |i: usize| [(angle(i).cos() * 127.0) as i8, (angle(i).sin() * 127.0) as i8];
        ((0..12).flat_map(xy).collect(), vec![1.0 / 127.0; 12])
    }

    fn lists(links_of: impl Fn(u32) -> Vec<u32>) -> Lists {
        let lists = Lists::new(vec![0; 12]);
        (0..12).for_each(|node| lists.lock(node).set(0, &links_of(node)));
        lists
    }

    fn all_reached(lists: &Lists, entry: u32) -> bool {
        let mut reached = [false; 12];
        spread(lists, entry, &mut reached);
        reached.iter().all(|reached| *reached)
    }

    #[test]
    fn nodes_nobody_links_to_and_islands_are_tied_to_their_nearest() {
        let (codes, scales) = circle();
        let codes = CodeRows::new(&codes, &scales, 2);
        // A ring of the even nodes; 3 links out but nobody to it; 7 and 9 are an island.
        let mut lists = lists(|node| match node {
            3 => vec![2],
            7 => vec![9],
            9 => vec![7],
            node if node % 2 == 0 => vec![(node + 2) % 12, (node + 10) % 12],
            _ => vec![],
        });
        assert!(!all_reached(&lists, 0));
        let n_links =
            |lists: &Lists| (0..12).map(|node| lists.links(node, 0).count()).sum::<usize>();
        let before = n_links(&lists);
        assert_eq!(mend(&mut lists, 0, codes, &|| true), None);
        let added = mend(&mut lists, 0, codes, &|| false).unwrap();
        assert!(all_reached(&lists, 0));
        assert_eq!(n_links(&lists), before + added as usize);
        let has = |node, link| lists.links(node, 0).any(|to| to == link);
        assert!(has(2, 3) && has(4, 3) && has(3, 4));
        assert_eq!(mend(&mut lists, 0, codes, &|| false), Some(0));
    }

    #[test]
    fn a_graph_without_any_link_is_mended_too() {
        let (codes, scales) = circle();
        let codes = CodeRows::new(&codes, &scales, 2);
        let mut lists = lists(|_| vec![]);
        assert!(mend(&mut lists, 5, codes, &|| false) >= Some(22));
        assert!(all_reached(&lists, 5));
    }
}
