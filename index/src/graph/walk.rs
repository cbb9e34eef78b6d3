//! Walks a frozen graph towards a query (the paper's algorithms 2 and 5).
//!
//! From the entry greedily down the upper layers, then best first through layer 0, with the `ef` best
//! nodes kept. Nodes that the caller does not want are walked through but not kept, so the fewer are
//! wanted the wider the walk, up to a limit.
//!
//! All unvisited neighbours of a node are scored together, so that their codes are fetched from memory
//! at once. A score and its node travel as one u64 ([`rank`]), which heaps compare in one instruction.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Graph;
use crate::score::{CodeRows, QueryCodes, prefetch};

/// How far a walk may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Nodes kept.
    pub(crate) ef: usize,
    /// Nodes scored before the walk gives up.
    pub(crate) compared: usize,
}

/// What a walk found.
pub(crate) struct Walked {
    /// The best wanted nodes, best first, at most `ef`.
    pub(crate) best: Vec<u32>,
    /// Nodes scored.
    pub(crate) compared: usize,
    /// Whether the walk gave up at its limit.
    pub(crate) gave_up: bool,
    /// Whether every wanted node of the graph is in `best`.
    pub(crate) complete: bool,
}

/// A score above, its node below: greater is closer, and of equal scores the lower node is greater.
/// A NaN is the lowest of all.
pub(super) fn rank(score: f32, node: u32) -> u64 {
    let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
    let bits = score.to_bits();
    // The usual trick: flips all bits of a negative number, only the sign of a positive one.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000);
    (u64::from(ordered) << 32) | u64::from(!node)
}

/// The node of a [`rank`].
pub(super) fn node_of(ranked: u64) -> u32 {
    !(ranked as u32)
}

/// What a walk needs for itself, kept by each thread for its next one.
#[derive(Default)]
struct Scratch {
    visited: Vec<u64>, // one bit a node; all zero between walks
    touched: Vec<u32>, // words of `visited` that are not zero
    fresh: Vec<u32>,   // the neighbours to score
    scores: Vec<f32>,  // their scores
    open: BinaryHeap<u64>,
    kept: BinaryHeap<Reverse<u64>>,
}

thread_local! {
    /// Taken out during a walk, so that a walk inside a walk would get one of its own.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// Marks a node as visited; true if it was not.
    fn first_time(&mut self, node: u32) -> bool {
        let (word, bit) = ((node / 64) as usize, 1u64 << (node % 64));
        let before = self.visited[word];
        if before == 0 {
            self.touched.push(word as u32);
        }
        self.visited[word] = before | bit;
        before & bit == 0
    }

    fn clear(&mut self) {
        for word in self.touched.drain(..) {
            self.visited[word as usize] = 0;
        }
        self.open.clear();
        self.kept.clear();
    }

    fn worst_kept(&self) -> u64 {
        self.kept.peek().map_or(0, |Reverse(worst)| *worst)
    }

    /// Takes a node seen for the first time into the walk, unless `ef` better ones are kept already.
    fn admit(
        &mut self,
        ranked: u64,
        ef: usize,
        tally: &mut Tally,
        wanted: &mut impl FnMut(u32) -> bool,
    ) {
        tally.n_visited += 1;
        let full = self.kept.len() == ef;
        if full && ranked < self.worst_kept() {
            tally.n_dropped += 1;
            return;
        }
        self.open.push(ranked);
        if !wanted(node_of(ranked)) {
            return;
        }
        if full {
            tally.n_dropped += 1;
            // Replaces the worst in place: one sift instead of a push and a pop.
            *self.kept.peek_mut().expect("ef is above zero") = Reverse(ranked);
        } else {
            self.kept.push(Reverse(ranked));
        }
    }
}

/// Counts that tell whether a walk saw everything.
struct Tally {
    n_visited: usize,
    /// Nodes seen that may have been wanted but are not kept.
    n_dropped: usize,
}

/// Walks towards `query` and returns the best nodes that `wanted` accepts.
pub(crate) fn walk(
    graph: Graph<'_>,
    codes: CodeRows<'_>,
    query: &QueryCodes,
    limits: Limits,
    wanted: impl FnMut(u32) -> bool,
) -> Walked {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let n_words = graph.n_nodes().div_ceil(64);
    if scratch.visited.len() < n_words {
        scratch.visited.resize(n_words, 0);
    }
    let walked = walk_with(&mut scratch, graph, codes, query, limits, wanted);
    scratch.clear();
    SCRATCH.set(Some(scratch));
    walked
}

fn walk_with(
    scratch: &mut Scratch,
    graph: Graph<'_>,
    codes: CodeRows<'_>,
    query: &QueryCodes,
    limits: Limits,
    mut wanted: impl FnMut(u32) -> bool,
) -> Walked {
    let mut walked = Walked { best: Vec::new(), compared: 0, gave_up: false, complete: false };
    if graph.n_nodes() == 0 || limits.ef == 0 {
        walked.complete = graph.n_nodes() == 0;
        return walked;
    }
    let starts = descend(scratch, graph, codes, query, &mut walked.compared);
    let mut tally = Tally { n_visited: 0, n_dropped: 0 };
    for start in starts {
        if scratch.first_time(node_of(start)) {
            scratch.admit(start, limits.ef, &mut tally, &mut wanted);
        }
    }
    while let Some(candidate) = scratch.open.pop() {
        if scratch.kept.len() == limits.ef && candidate < scratch.worst_kept() {
            break;
        }
        if walked.compared > limits.compared {
            walked.gave_up = true;
            break;
        }
        scratch.fresh.clear();
        for to in graph.links(node_of(candidate)) {
            if scratch.first_time(*to) {
                scratch.fresh.push(*to);
            }
        }
        codes.score_many(&scratch.fresh, query, &mut scratch.scores);
        walked.compared += scratch.fresh.len();
        for idx in 0..scratch.fresh.len() {
            let ranked = rank(scratch.scores[idx], scratch.fresh[idx]);
            scratch.admit(ranked, limits.ef, &mut tally, &mut wanted);
        }
        if let Some(next) = scratch.open.peek() {
            prefetch(graph.links(node_of(*next)));
        }
    }
    walked.complete = tally.n_dropped == 0 && tally.n_visited == graph.n_nodes();
    let mut best: Vec<u64> = scratch.kept.drain().map(|Reverse(ranked)| ranked).collect();
    best.sort_unstable_by_key(|ranked| Reverse(*ranked));
    walked.best = best.into_iter().map(node_of).collect();
    walked
}

/// Goes down the upper layers, in each to the node closest to the query. Returns where layer 0 begins,
/// ranked: at the entry, from which all nodes can be reached, and at the node found.
fn descend(
    scratch: &mut Scratch,
    graph: Graph<'_>,
    codes: CodeRows<'_>,
    query: &QueryCodes,
    compared: &mut usize,
) -> [u64; 2] {
    let scores = &mut scratch.scores;
    codes.score_many(&[0], query, scores);
    *compared += 1;
    let entry = rank(scores[0], 0);
    let mut here = entry;
    for first_list in graph.upper_layers() {
        loop {
            let links = graph.upper_links(first_list, node_of(here));
            codes.score_many(links, query, scores);
            *compared += links.len();
            let ranked = links.iter().zip(&*scores).map(|(node, score)| rank(*score, *node));
            match ranked.max() {
                Some(best) if best > here => here = best,
                _ => break,
            }
        }
    }
    [entry, here]
}
