//! Takes a frozen graph up again, so that nodes can be inserted, without the nodes that are gone.
//!
//! A node that is gone was a way from each of its neighbours to the others. So whoever linked to it is
//! linked to some of those instead, chosen by the heuristic of insertion.

use rayon::prelude::*;

use super::Graph;
use super::lists::Lists;
use super::pool::Pool;
use super::select::Select;
use crate::score::{CodeRows, QueryCodes};

/// In [`Donor::nodes`], a place whose node is gone.
pub(crate) const GONE: u32 = u32::MAX;

/// Nodes thawed between two looks at the flag that cancels a build.
const BATCH: usize = 1024;

/// A frozen graph that another grows from.
#[derive(Clone, Copy)]
pub(crate) struct Donor<'a> {
    pub(crate) graph: Graph<'a>,
    /// For each place of the graph its node from now on, rising from 0, or [`GONE`].
    pub(crate) nodes: &'a [u32],
}

/// Fills the lists of the nodes that the donor still has; `levels` are the top layers of all nodes, and
/// those of the donor's are replaced. Returns also where walks begin; `None` if cancelled.
///
/// # Panics
/// If all of the donor's nodes are gone.
pub(super) fn thaw(
    donor: Donor<'_>,
    codes: CodeRows<'_>,
    mut levels: Vec<u8>,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Option<(Lists, u32)> {
    let Donor { graph, nodes } = donor;
    for (layer, n_nodes) in graph.layer_nodes.iter().enumerate() {
        for node in nodes[..*n_nodes as usize].iter().filter(|node| **node != GONE) {
            levels[*node as usize] = layer as u8;
        }
    }
    let lists = Lists::new(levels);
    let places: Vec<u32> = (0..nodes.len() as u32).collect();
    places.par_chunks(BATCH).try_for_each_init(Thaw::default, |thaw, places| {
        if cancelled() {
            return None;
        }
        for place in places.iter().filter(|place| nodes[**place as usize] != GONE) {
            thaw.node(donor, codes, &lists, *place);
        }
        Some(())
    })?;
    // Places begin with the nodes in the most layers.
    let entry = nodes.iter().copied().find(|node| *node != GONE);
    Some((lists, entry.expect("a donor with nodes")))
}

/// What thawing a node needs for itself.
#[derive(Default)]
struct Thaw {
    target: QueryCodes,
    kept: Vec<u32>,
    around: Vec<u32>,
    scores: Vec<f32>,
    pool: Pool,
    select: Select,
}

impl Thaw {
    fn node(&mut self, donor: Donor<'_>, codes: CodeRows<'_>, lists: &Lists, place: u32) {
        let Donor { graph, nodes } = donor;
        let node = nodes[place as usize];
        for layer in 0..=lists.level(node) {
            let links = graph.links_in(layer, place);
            let live = |links: &[u32], into: &mut Vec<u32>| {
                let links = links.iter().map(|link| nodes[*link as usize]);
                into.extend(links.filter(|to| *to != GONE && *to != node));
            };
            self.kept.clear();
            live(links, &mut self.kept);
            let most = links.len().min(Lists::room(layer));
            self.around.clear();
            for gone in links.iter().filter(|link| nodes[**link as usize] == GONE) {
                live(graph.links_in(layer, *gone), &mut self.around);
            }
            if self.kept.len() > most {
                // Mending went beyond the room of a list: all links are chosen again.
                self.around.append(&mut self.kept);
            }
            self.around.sort_unstable();
            self.around.dedup();
            self.around.retain(|to| !self.kept.contains(to));
            if !self.around.is_empty() {
                self.target.set(codes, node);
                codes.score_many(&self.around, &self.target, &mut self.scores);
                self.pool.reset(self.around.len());
                let scored = self.around.iter().zip(&self.scores);
                scored.for_each(|(to, score)| self.pool.offer(*score, *to, &mut |_| true));
                self.select.choose(codes, self.pool.best(), most, &mut self.kept);
            }
            lists.lock(node).set(layer, &self.kept);
        }
    }
}
