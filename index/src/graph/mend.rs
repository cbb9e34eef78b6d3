//! Makes every node reachable in layer 0 from the entry.
//!
//! Pruning can leave a node that no other links to, or an island. Each such node is sought as a query
//! is, among those that can be reached, and tied both ways to the nearest few found. Walks begin layer
//! 0 at the entry as well as where the upper layers lead, so this suffices for every walk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::build::Lists;
use super::walk::rank;
use crate::score::CodeRows;

/// Reachable nodes that a node without a way to it is tied to.
const TIES: usize = 3;
/// Candidates kept while these are sought.
const EF_MEND: usize = 64;

/// Adds links until every node can be reached from `entry`; returns how many.
pub(super) fn mend(lists: &mut Lists, entry: u32, codes: CodeRows<'_>) -> u64 {
    let mut reached = vec![false; lists.len()];
    spread(lists, entry, &mut reached);
    let mut visited = Visited { stamps: vec![0; lists.len()], now: 0 };
    let mut n_added = 0;
    for node in 0..lists.len() as u32 {
        if reached[node as usize] {
            continue;
        }
        // Everything seen on the way from the entry is reachable, so what is found is too.
        for near in nearest(lists, entry, node, codes, &mut visited) {
            n_added += add(&mut lists[near as usize][0], node);
            n_added += add(&mut lists[node as usize][0], near);
        }
        spread(lists, node, &mut reached);
    }
    n_added
}

fn add(links: &mut Vec<u32>, to: u32) -> u64 {
    if links.contains(&to) {
        return 0;
    }
    links.push(to);
    1
}

/// Marks all that can be reached from a node, the node included.
fn spread(lists: &Lists, from: u32, reached: &mut [bool]) {
    reached[from as usize] = true;
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for to in &lists[node as usize][0] {
            if !std::mem::replace(&mut reached[*to as usize], true) {
                open.push(*to);
            }
        }
    }
}

/// Which nodes one search has seen; the next begins by counting up.
struct Visited {
    stamps: Vec<u32>, // [n_nodes]
    now: u32,
}

impl Visited {
    /// Marks a node; true if it was not marked.
    fn first_time(&mut self, node: u32) -> bool {
        std::mem::replace(&mut self.stamps[node as usize], self.now) != self.now
    }
}

/// The nodes nearest to `target` that a search from the entry finds, at most [`TIES`].
fn nearest(
    lists: &Lists,
    entry: u32,
    target: u32,
    codes: CodeRows<'_>,
    visited: &mut Visited,
) -> Vec<u32> {
    visited.now += 1;
    visited.first_time(entry);
    let start = rank(codes.score_pair(target, entry), entry);
    let mut open = BinaryHeap::from([start]);
    let mut kept = BinaryHeap::from([Reverse(start)]);
    while let Some(candidate) = open.pop() {
        let worst = kept.peek().map_or(0, |Reverse(worst)| *worst);
        if kept.len() == EF_MEND && candidate < worst {
            break;
        }
        for to in &lists[super::walk::node_of(candidate) as usize][0] {
            if !visited.first_time(*to) {
                continue;
            }
            let ranked = rank(codes.score_pair(target, *to), *to);
            let worst = kept.peek().map_or(0, |Reverse(worst)| *worst);
            if kept.len() < EF_MEND || ranked > worst {
                open.push(ranked);
                kept.push(Reverse(ranked));
                if kept.len() > EF_MEND {
                    kept.pop();
                }
            }
        }
    }
    let best_first = kept.into_sorted_vec().into_iter();
    best_first.take(TIES).map(|Reverse(ranked)| super::walk::node_of(ranked)).collect()
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

    fn all_reached(lists: &Lists, entry: u32) -> bool {
        let mut reached = vec![false; lists.len()];
        spread(lists, entry, &mut reached);
        reached.iter().all(|reached| *reached)
    }

    #[test]
    fn nodes_nobody_links_to_and_islands_are_tied_to_their_nearest() {
        let (codes, scales) = circle();
        let codes = CodeRows::new(&codes, &scales, 2);
        // A ring of the even nodes; 3 links out but nobody to it; 7 and 9 are an island.
        let mut lists: Lists = (0..12u32)
            .map(|node| match node {
                3 => vec![vec![2]],
                7 => vec![vec![9]],
                9 => vec![vec![7]],
                node if node % 2 == 0 => vec![vec![(node + 2) % 12, (node + 10) % 12]],
                _ => vec![vec![]],
            })
            .collect();
        assert!(!all_reached(&lists, 0));
        let n_links = |lists: &Lists| lists.iter().map(|list| list[0].len() as u64).sum::<u64>();
        let before = n_links(&lists);
        let added = mend(&mut lists, 0, codes);
        assert!(all_reached(&lists, 0));
        assert_eq!(n_links(&lists), before + added);
        assert!(lists[2][0].contains(&3) && lists[4][0].contains(&3) && lists[3][0].contains(&4));
        assert_eq!(mend(&mut lists, 0, codes), 0);
    }

    #[test]
    fn a_graph_without_any_link_is_mended_too() {
        let (codes, scales) = circle();
        let codes = CodeRows::new(&codes, &scales, 2);
        let mut lists: Lists = vec![vec![vec![]]; 12];
        assert!(mend(&mut lists, 5, codes) >= 22);
        assert!(all_reached(&lists, 5));
    }
}
