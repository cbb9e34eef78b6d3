//! Walks a frozen graph towards a query (the paper's algorithms 2 and 5).
//!
//! From the entry greedily down the upper layers, then best first through layer 0, with the nodes met in
//! a [`Pool`]. Nodes that the caller does not want are walked through but not returned, so the fewer are
//! wanted the longer the walk, up to a limit.
//!
//! All unvisited neighbours of a node are scored together, so that their codes are fetched from memory
//! at once.

use std::cell::Cell;

use super::Graph;
use super::pool::{Pool, rank};
use crate::score::{Scorer, prefetch};

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
    }
}

/// Walks towards the query of `scorer` and returns the best nodes that `wanted` accepts.
pub(crate) fn walk(
    graph: Graph<'_>,
    scorer: &Scorer<'_>,
    limits: Limits,
    wanted: impl FnMut(u32) -> bool,
) -> Walked {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let n_words = graph.n_nodes().div_ceil(64);
    if scratch.visited.len() < n_words {
        scratch.visited.resize(n_words, 0);
    }
    let walked = walk_with(&mut scratch, graph, scorer, limits, wanted);
    scratch.clear();
    SCRATCH.set(Some(scratch));
    walked
}

fn walk_with(
    scratch: &mut Scratch,
    graph: Graph<'_>,
    scorer: &Scorer<'_>,
    limits: Limits,
    mut wanted: impl FnMut(u32) -> bool,
) -> Walked {
    let Limits { ef, compared: limit } = limits;
    let mut walked = Walked { best: Vec::new(), compared: 0, gave_up: false, complete: false };
    if graph.n_nodes() == 0 || ef == 0 {
        walked.complete = graph.n_nodes() == 0;
        return walked;
    }
    scratch.pool.reset(ef);
    for (score, node) in descend(scratch, graph, scorer, &mut walked.compared) {
        if scratch.first_time(node) {
            scratch.pool.offer(score, node, &mut wanted);
        }
    }
    while let Some(node) = scratch.pool.expand() {
        if walked.compared > limit {
            walked.gave_up = true;
            break;
        }
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
        scorer.score_many(&scratch.fresh, &mut scratch.scores);
        walked.compared += scratch.fresh.len();
        for (node, score) in scratch.fresh.iter().zip(&scratch.scores) {
            scratch.pool.offer(*score, *node, &mut wanted);
        }
    }
    let pool = &scratch.pool;
    walked.complete = pool.n_dropped() == 0 && pool.n_met() == graph.n_nodes();
    walked.best = pool.best().map(|(node, _)| node).collect();
    walked
}

/// Goes down the upper layers, in each to the node closest to the query. Returns where layer 0 begins,
/// with scores: at the entry, from which all nodes can be reached, and at the node found.
fn descend(
    scratch: &mut Scratch,
    graph: Graph<'_>,
    scorer: &Scorer<'_>,
    compared: &mut usize,
) -> [(f32, u32); 2] {
    let scores = &mut scratch.scores;
    scorer.score_many(&[0], scores);
    *compared += 1;
    let entry = (scores[0], 0);
    let mut here = entry;
    for first_list in graph.upper_layers() {
        loop {
            let links = graph.upper_links(first_list, here.1);
            scorer.score_many(links, scores);
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
