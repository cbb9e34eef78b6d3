//! Inserts nodes into a graph, in parallel (the paper's algorithms 1, 2 and 4).
//!
//! A node is searched for as a query is; of the best found the heuristic chooses its links, and each
//! node linked to links back, pruning its own list by the same heuristic when there is no room.
//!
//! Differs from the paper: levels are known beforehand, so nodes in more layers are inserted before
//! those in fewer. The first is then the entry ever after, the upper layers are whole when most nodes
//! come, and walks find more (50,000 rows, recall@10 at `ef` 64: 0.833 instead of 0.820). A node is
//! linked from layer 0 upwards, so that whoever meets it in a layer finds its links in those below.

use std::cmp::Reverse;
use std::sync::Mutex;

use rayon::prelude::*;

use super::lists::Lists;
use super::pool::Pool;
use super::select::Select;
use super::{EF_CONSTRUCTION, M};
use crate::score::{CodeRows, QueryCodes, prefetch};

/// Nodes inserted between two looks at the flag that cancels a build: some hundredths of a second.
const BATCH: usize = 64;

/// Inserts the nodes of `order` into a graph that holds `entry`. Returns where walks begin from now on;
/// `None` if cancelled.
pub(super) fn insert(
    lists: &Lists,
    codes: CodeRows<'_>,
    entry: u32,
    order: &[u32],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<u32> {
    let inserter = Inserter { lists, codes };
    let idle: Mutex<Vec<Box<Searcher>>> = Mutex::default();
    let batch = |entry: u32, nodes: &[u32]| {
        if cancelled() {
            return None;
        }
        let lent = lock(&idle).pop();
        let mut searcher = lent.unwrap_or_else(|| Box::new(Searcher::new(lists.n_nodes())));
        nodes.iter().for_each(|node| inserter.insert(*node, entry, &mut searcher));
        lock(&idle).push(searcher);
        Some(())
    };
    let mut order = order.to_vec();
    order.sort_by_key(|node| Reverse(lists.level(*node))); // stable
    let highest = order.first().copied().filter(|node| lists.level(*node) > lists.level(entry));
    let (first, rest) = order.split_at(usize::from(highest.is_some()));
    batch(entry, first)?;
    let entry = highest.unwrap_or(entry);
    rest.par_chunks(BATCH).try_for_each(|nodes| batch(entry, nodes))?;
    Some(entry)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Inserter<'a> {
    lists: &'a Lists,
    codes: CodeRows<'a>,
}

impl Inserter<'_> {
    fn insert(&self, node: u32, entry: u32, searcher: &mut Searcher) {
        let (lists, codes) = (self.lists, self.codes);
        let (top, level) = (lists.level(entry), lists.level(node));
        searcher.aim(codes, node);
        let mut start = searcher.descend(lists, codes, entry, top, level);
        let mut chosen: Vec<Vec<u32>> = vec![Vec::new(); level + 1];
        for layer in (0..=level.min(top)).rev() {
            searcher.search(lists, codes, start, layer, EF_CONSTRUCTION);
            let Searcher { pool, select, .. } = searcher;
            select.choose(codes, pool.best(), M, &mut chosen[layer]);
            start = pool.best().next().map_or(start, |(best, _)| best);
        }
        for (layer, chosen) in chosen.iter().enumerate() {
            // Nobody has met the node in this layer yet, so no link to it is lost.
            lists.lock(node).set(layer, chosen);
            chosen.iter().for_each(|to| self.link(*to, node, layer, searcher));
        }
    }

    /// Links `from` to `to`; if there is no room, the links worth keeping are chosen again.
    fn link(&self, from: u32, to: u32, layer: usize, searcher: &mut Searcher) {
        let locked = self.lists.lock(from);
        if locked.push(layer, to) {
            return;
        }
        let Searcher { target, links, scores, pool, select, .. } = searcher;
        links.clear();
        links.extend(self.lists.links(from, layer).chain([to]));
        target.set(self.codes, from);
        self.codes.score_many(links, target, scores);
        pool.reset(links.len());
        links
            .iter()
            .zip(&*scores)
            .for_each(|(link, score)| pool.offer(*score, *link, &mut |_| true));
        links.clear();
        select.choose(self.codes, pool.best(), Lists::room(layer), links);
        locked.set(layer, links);
    }
}

/// One thread's searches over lists that may change meanwhile.
pub(super) struct Searcher {
    target: QueryCodes,
    seen: Vec<u8>, // [n_nodes], `now` if the current search has met the node
    now: u8,
    links: Vec<u32>,
    scores: Vec<f32>,
    select: Select,
    /// What the last search found.
    pub(super) pool: Pool,
}

impl Searcher {
    pub(super) fn new(n_nodes: usize) -> Self {
        Searcher {
            target: QueryCodes::default(),
            seen: vec![0; n_nodes],
            now: 0,
            links: Vec::new(),
            scores: Vec::new(),
            select: Select::default(),
            pool: Pool::default(),
        }
    }

    /// Makes a node the target of the searches that follow.
    pub(super) fn aim(&mut self, codes: CodeRows<'_>, node: u32) {
        self.target.set(codes, node);
    }

    /// Goes down from layer `top` to above `level`, in each layer to the node closest to the target.
    fn descend(
        &mut self,
        lists: &Lists,
        codes: CodeRows<'_>,
        entry: u32,
        top: usize,
        level: usize,
    ) -> u32 {
        let mut here = entry;
        codes.score_many(&[here], &self.target, &mut self.scores);
        let mut score = self.scores[0];
        for layer in (level + 1..=top).rev() {
            loop {
                self.links.clear();
                self.links.extend(lists.links(here, layer));
                codes.score_many(&self.links, &self.target, &mut self.scores);
                let before = here;
                for (link, found) in self.links.iter().zip(&self.scores) {
                    if *found > score {
                        (here, score) = (*link, *found);
                    }
                }
                if here == before {
                    break;
                }
            }
        }
        here
    }

    /// Fills `pool` with the `ef` nodes closest to the target that a walk through a layer meets.
    pub(super) fn search(
        &mut self,
        lists: &Lists,
        codes: CodeRows<'_>,
        start: u32,
        layer: usize,
        ef: usize,
    ) {
        self.forget();
        self.pool.reset(ef);
        self.seen[start as usize] = self.now;
        codes.score_many(&[start], &self.target, &mut self.scores);
        self.pool.offer(self.scores[0], start, &mut |_| true);
        while let Some(node) = self.pool.expand() {
            self.links.clear();
            for to in lists.links(node, layer) {
                if std::mem::replace(&mut self.seen[to as usize], self.now) != self.now {
                    self.links.push(to);
                }
            }
            if let Some(next) = self.pool.peek() {
                prefetch(lists.slots(next, layer));
            }
            codes.score_many(&self.links, &self.target, &mut self.scores);
            for (link, score) in self.links.iter().zip(&self.scores) {
                self.pool.offer(*score, *link, &mut |_| true);
            }
        }
    }

    /// Begins a search that has met no node: by counting up, and once in 255 times by wiping.
    fn forget(&mut self) {
        self.now = self.now.wrapping_add(1);
        if self.now == 0 {
            self.seen.fill(0);
            self.now = 1;
        }
    }
}
