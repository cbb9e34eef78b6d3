//! Walks a frozen graph towards a query (the paper's algorithms 2 and 5).
//!
//! From the entry greedily down the upper layers, then best first through layer 0. All nodes met go
//! into one list, best first, that ends with the worst of the `ef` best wanted ones: what would come
//! behind it can no longer matter, and the walk is over when the links of all that is left were followed.
//! Nodes that the caller does not want are walked through but not returned, so the fewer are wanted the
//! longer the list and the walk, up to a limit.
//!
//! All unvisited neighbours of a node are scored together, so that their codes are fetched from memory
//! at once. A score and its node travel as one u64 ([`rank`]), compared in one instruction.
//!
//! Differs from the paper: one sorted list stands for its two heaps. It is short, so that inserting
//! moves few bytes, and the next node to follow is found where the last one was.

use std::cell::Cell;

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

/// A node met by a walk: its rank, moved up to make room for two flags below.
///
/// So nodes compare as their ranks do, whatever their flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Met(u64);

/// Bits of a u32 that the number of a node, below [`MAX_ROWS`](crate::MAX_ROWS), leaves free.
const N_FREE_BITS: u32 = crate::segment::MAX_ROWS.leading_zeros() - 31;

impl Met {
    /// The node's links have not been followed yet.
    const OPEN: u64 = 1;
    /// The node may be returned.
    const WANTED: u64 = 2;

    fn new(score: f32, node: u32) -> Met {
        let ranked = rank(score, node);
        Met(ranked >> 32 << 32 | u64::from((ranked as u32) << N_FREE_BITS) | Met::OPEN)
    }

    fn node(self) -> u32 {
        !(self.0 as u32) >> N_FREE_BITS
    }

    fn is(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// The nodes met that can still matter.
#[derive(Default)]
struct Pool {
    met: Vec<Met>, // best first; once `n_wanted` is `ef` the last is wanted
    n_wanted: usize,
    next: usize, // no node before this one is open
    n_met: usize,
    n_dropped: usize, // of them, those that may have been wanted
}

impl Pool {
    /// Takes a node in, unless `ef` better ones that are wanted are there already.
    #[inline]
    fn admit(&mut self, mut met: Met, ef: usize, wanted: &mut impl FnMut(u32) -> bool) {
        self.n_met += 1;
        let full = self.n_wanted == ef;
        if full && self.met.last().is_some_and(|last| met < *last) {
            self.n_dropped += 1;
            return;
        }
        if wanted(met.node()) {
            met.0 |= Met::WANTED;
            self.n_wanted += 1;
        }
        let at = self.met.partition_point(|other| *other > met);
        self.met.insert(at, met);
        self.next = self.next.min(at);
        if self.n_wanted > ef {
            self.met.pop();
            self.n_wanted -= 1;
            self.n_dropped += 1;
        }
        while self.n_wanted == ef && self.met.pop_if(|last| !last.is(Met::WANTED)).is_some() {}
    }

    /// The best open node.
    #[inline]
    fn peek(&mut self) -> Option<u32> {
        while !self.met.get(self.next)?.is(Met::OPEN) {
            self.next += 1;
        }
        Some(self.met[self.next].node())
    }

    /// Closes the node that was peeked at.
    fn close(&mut self) {
        self.met[self.next].0 &= !Met::OPEN;
    }

    fn clear(&mut self) {
        self.met.clear();
        (self.n_wanted, self.next, self.n_met, self.n_dropped) = (0, 0, 0, 0);
    }
}

/// What a walk needs for itself, kept by each thread for its next one.
#[derive(Default)]
struct Scratch {
    visited: Vec<u64>, // one bit a node; all zero between walks
    touched: Vec<u32>, // words of `visited` that are not zero
    fresh: Vec<u32>,   // the neighbours to score
    scores: Vec<f32>,  // their scores
    pool: Pool,
}

thread_local! {
    /// Taken out during a walk, so that a walk inside a walk would get one of its own.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// Marks a node as visited; true if it was not.
    #[inline]
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
        self.pool.clear();
    }
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
    let Limits { ef, compared: limit } = limits;
    let mut walked = Walked { best: Vec::new(), compared: 0, gave_up: false, complete: false };
    if graph.n_nodes() == 0 || ef == 0 {
        walked.complete = graph.n_nodes() == 0;
        return walked;
    }
    for (score, node) in descend(scratch, graph, codes, query, &mut walked.compared) {
        if scratch.first_time(node) {
            scratch.pool.admit(Met::new(score, node), ef, &mut wanted);
        }
    }
    while let Some(node) = scratch.pool.peek() {
        if walked.compared > limit {
            walked.gave_up = true;
            break;
        }
        scratch.pool.close();
        scratch.fresh.clear();
        for to in graph.links(node) {
            if scratch.first_time(*to) {
                scratch.fresh.push(*to);
            }
        }
        // Most often the next to follow, and its links arrive while the scores are computed: a walk is
        // 15 of 100 faster than with those that are known to be next, asked for afterwards.
        if let Some(next) = scratch.pool.peek() {
            prefetch(graph.links(next));
        }
        codes.score_many(&scratch.fresh, query, &mut scratch.scores);
        walked.compared += scratch.fresh.len();
        for (node, score) in scratch.fresh.iter().zip(&scratch.scores) {
            scratch.pool.admit(Met::new(*score, *node), ef, &mut wanted);
        }
    }
    let pool = &scratch.pool;
    walked.complete = pool.n_dropped == 0 && pool.n_met == graph.n_nodes();
    walked.best = pool.met.iter().filter(|met| met.is(Met::WANTED)).map(|met| met.node()).collect();
    walked
}

/// Goes down the upper layers, in each to the node closest to the query. Returns where layer 0 begins,
/// with scores: at the entry, from which all nodes can be reached, and at the node found.
fn descend(
    scratch: &mut Scratch,
    graph: Graph<'_>,
    codes: CodeRows<'_>,
    query: &QueryCodes,
    compared: &mut usize,
) -> [(f32, u32); 2] {
    let scores = &mut scratch.scores;
    codes.score_many(&[0], query, scores);
    *compared += 1;
    let entry = (scores[0], 0);
    let mut here = entry;
    for first_list in graph.upper_layers() {
        loop {
            let links = graph.upper_links(first_list, here.1);
            codes.score_many(links, query, scores);
            *compared += links.len();
            let scored = scores.iter().copied().zip(links.iter().copied());
            match scored.max_by_key(|(score, node)| rank(*score, *node)) {
                Some(best) if rank(best.0, best.1) > rank(here.0, here.1) => here = best,
                _ => break,
            }
        }
    }
    [entry, here]
}
