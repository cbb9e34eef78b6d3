//! The links of a graph that is growing: flat arrays with room for a fixed number of links a list.
//!
//! Threads change lists under a lock of one byte a node and read them without. A list that changes
//! while it is read shows some old links and some new ones, each of which is a link that a search may
//! follow; nothing else depends on it. Compared with a vector a list this is a tenth of the memory, and
//! a list is two lines of the cache.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::M;

/// The most links of a list in layer 0 (`Mmax0` in the paper).
pub(super) const M0: usize = 2 * M;

/// Where a list ends.
const END: u32 = u32::MAX;

/// Tries for a lock before the processor is given to whoever holds it.
const SPINS: u32 = 64;

/// A list of layer 0, on lines of the cache of its own.
#[repr(align(64))]
struct Base([AtomicU32; M0]);

/// For each node and each of its layers a list of links.
pub(super) struct Lists {
    levels: Vec<u8>,               // [n_nodes], the top layer of each node
    base: Vec<Base>,               // [n_nodes]
    upper: Vec<[AtomicU32; M]>,    // layers 1..=level of each node, one node after the other
    upper_first: Vec<u32>,         // [n_nodes], where the node's lists begin in `upper`
    locks: Vec<AtomicU8>,          // [n_nodes]
    over: BTreeMap<u32, Vec<u32>>, // links of layer 0 for which a list has no room
}

/// The right to change the lists of one node; given back when dropped.
pub(super) struct Locked<'a> {
    lists: &'a Lists,
    node: u32,
}

impl Lists {
    /// Empty lists for nodes with these top layers.
    pub(super) fn new(levels: Vec<u8>) -> Self {
        let empty = || AtomicU32::new(END);
        let mut n_upper = 0;
        let upper_first = levels.iter().map(|level| {
            let first = n_upper;
            n_upper += u32::from(*level);
            first
        });
        let upper_first: Vec<u32> = upper_first.collect();
        Lists {
            base: levels.iter().map(|_| Base(std::array::from_fn(|_| empty()))).collect(),
            upper: (0..n_upper).map(|_| std::array::from_fn(|_| empty())).collect(),
            upper_first,
            locks: levels.iter().map(|_| AtomicU8::new(0)).collect(),
            over: BTreeMap::new(),
            levels,
        }
    }

    pub(super) fn n_nodes(&self) -> usize {
        self.levels.len()
    }

    /// The top layer of a node.
    pub(super) fn level(&self, node: u32) -> usize {
        usize::from(self.levels[node as usize])
    }

    /// The most links that a list of this layer has room for.
    pub(super) fn room(layer: usize) -> usize {
        if layer == 0 { M0 } else { M }
    }

    /// The slots of a list, those behind its end too.
    pub(super) fn slots(&self, node: u32, layer: usize) -> &[AtomicU32] {
        match layer.checked_sub(1) {
            None => &self.base[node as usize].0,
            Some(above) => &self.upper[self.upper_first[node as usize] as usize + above],
        }
    }

    /// The links of a list as they are now.
    pub(super) fn links(&self, node: u32, layer: usize) -> impl Iterator<Item = u32> {
        let slots = self.slots(node, layer).iter().map(|slot| slot.load(Ordering::Relaxed));
        // While a graph grows there are none, and a look at the map is saved.
        let is_over = layer == 0 && !self.over.is_empty();
        let over = is_over.then(|| self.over.get(&node)).flatten();
        slots.take_while(|link| *link != END).chain(over.into_iter().flatten().copied())
    }

    pub(super) fn lock(&self, node: u32) -> Locked<'_> {
        let lock = &self.locks[node as usize];
        let mut n_tries = 0;
        while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            n_tries += 1;
            if n_tries % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        Locked { lists: self, node }
    }

    /// Adds a link in layer 0 even to a list without room; false if it was there.
    pub(super) fn force(&mut self, node: u32, to: u32) -> bool {
        if self.links(node, 0).any(|link| link == to) {
            return false;
        }
        if !self.lock(node).push(0, to) {
            self.over.entry(node).or_default().push(to);
        }
        true
    }
}

impl Locked<'_> {
    /// Adds a link; false if there is no room.
    pub(super) fn push(&self, layer: usize, to: u32) -> bool {
        let mut slots = self.lists.slots(self.node, layer).iter();
        let free = slots.find(|slot| slot.load(Ordering::Relaxed) == END);
        free.inspect(|slot| slot.store(to, Ordering::Relaxed)).is_some()
    }

    /// Replaces a list.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(super) fn set(&self, layer: usize, links: &[u32]) {
        let slots = self.lists.slots(self.node, layer);
        assert!(links.len() <= slots.len(), "a list without room");
        let padded = links.iter().copied().chain(std::iter::repeat(END));
        slots.iter().zip(padded).for_each(|(slot, link)| slot.store(link, Ordering::Relaxed));
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.lists.locks[self.node as usize].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(lists: &Lists, node: u32, layer: usize) -> Vec<u32> {
        lists.links(node, layer).collect()
    }

    #[test]
    fn each_layer_of_each_node_has_a_list_of_its_own() {
        let mut lists = Lists::new(vec![0, 2, 0, 1]);
        for node in 0..4 {
            for layer in 0..=lists.level(node) {
                assert_eq!(links(&lists, node, layer), []);
                lists.lock(node).set(layer, &[10 * node, layer as u32]);
            }
        }
        for node in 0..4 {
            for layer in 0..=lists.level(node) {
                assert_eq!(links(&lists, node, layer), [10 * node, layer as u32]);
            }
        }
        lists.lock(1).set(2, &[7]);
        assert_eq!(links(&lists, 1, 2), [7]);
        assert!(lists.force(0, 5) && !lists.force(0, 5));
        assert_eq!(links(&lists, 0, 0), [0, 0, 5]);
    }

    #[test]
    fn only_force_goes_beyond_the_room() {
        let mut lists = Lists::new(vec![1]);
        for link in 0..M0 as u32 {
            assert!(lists.lock(0).push(0, link));
        }
        assert!(!lists.lock(0).push(0, 99));
        assert!(lists.force(0, 99) && !lists.force(0, 99));
        assert!(links(&lists, 0, 0).into_iter().eq((0..M0 as u32).chain([99])));
        (0..M as u32).for_each(|link| assert!(lists.lock(0).push(1, link)));
        assert!(!lists.lock(0).push(1, 99));
    }

    #[test]
    fn a_lock_lets_one_thread_in() {
        let lists = Lists::new(vec![0]);
        std::thread::scope(|scope| {
            for number in 0..4u32 {
                let lists = &lists;
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        let locked = lists.lock(0);
                        let before = lists.links(0, 0).next().unwrap_or(0);
                        if number == 0 {
                            std::thread::yield_now();
                        }
                        locked.set(0, &[before + 1]);
                    }
                });
            }
        });
        assert_eq!(links(&lists, 0, 0), [4_000]);
    }
}
