//! One word to ids: byte-pair merges in the order of their rank.
//!
//! A word starts as its characters; a character that is no piece becomes its UTF-8 bytes. Then the
//! pair of neighbours with the lowest rank is merged, of equals the leftmost, until none is left.
//! Short words keep the ranks in a row and look for the smallest; long ones use a heap over a
//! linked list, so that a text without any boundary costs n log n.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::tables::View;

/// Up to this many parts, looking through the row beats the heap.
const ROW_MAX: usize = 40;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Part {
    /// [`NONE`] when the part was merged into one on its left.
    id: u32,
    /// The rank of this part with the next; [`NONE`] if they do not merge.
    rank: u32,
    /// Where it begins in the word, in bytes.
    start: u32,
}

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// Buffers that one text after another can use.
#[derive(Default)]
pub(super) struct Merger {
    parts: Vec<Part>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Merger {
    /// Gives the ids of `word`, each with the byte at which it begins in the word.
    pub(super) fn merge(&mut self, view: &View, word: &str, mut give: impl FnMut(u32, usize)) {
        self.start(view, word);
        if self.parts.len() <= ROW_MAX {
            self.merge_row(view);
        } else {
            self.merge_heap(view);
        }
        for part in self.parts.iter().filter(|part| part.id != NONE) {
            give(part.id, part.start as usize);
        }
    }

    fn start(&mut self, view: &View, word: &str) {
        self.parts.clear();
        for (start, c) in word.char_indices() {
            let text = &word[start..start + c.len_utf8()];
            let mut push = |id, start| {
                self.parts.push(Part { id, rank: NONE, start: start as u32 });
            };
            match view.char_id(text) {
                Some(id) => push(id, start),
                None => text.bytes().enumerate().for_each(|(i, b)| {
                    push(view.byte_id(b), start + i);
                }),
            }
        }
        for right in 1..self.parts.len() {
            self.parts[right - 1].rank = view.rank(self.parts[right - 1].id, self.parts[right].id);
        }
    }

    fn merge_row(&mut self, view: &View) {
        let parts = &mut self.parts;
        // `min_by_key` gives the first of equals: the leftmost.
        while let Some((at, rank)) =
            parts.iter().map(|part| part.rank).enumerate().min_by_key(|(_, rank)| *rank)
        {
            if rank == NONE {
                return;
            }
            let Some(id) = view.merged(rank) else { return };
            parts[at].id = id;
            // Only a damaged image has a rank in the last part.
            if at + 1 < parts.len() {
                parts.remove(at + 1);
            }
            parts[at].rank = parts.get(at + 1).map_or(NONE, |right| view.rank(id, right.id));
            if at > 0 {
                parts[at - 1].rank = view.rank(parts[at - 1].id, id);
            }
        }
    }

    fn merge_heap(&mut self, view: &View) {
        let Merger { parts, links, heap } = self;
        let n = parts.len() as u32;
        links.clear();
        links.extend((0..n).map(|i| Link {
            previous: i.wrapping_sub(1), // NONE before the first
            next: if i + 1 == n { NONE } else { i + 1 },
        }));
        let key = |rank: u32, at: u32| Reverse((u64::from(rank) << 32) | u64::from(at));
        let mut keys = std::mem::take(heap).into_vec();
        keys.clear();
        keys.extend(
            (0..n).zip(parts.iter()).filter(|(_, p)| p.rank != NONE).map(|(i, p)| key(p.rank, i)),
        );
        *heap = keys.into();
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32);
            let left = parts[at as usize];
            // Pairs change and vanish while their keys are in the heap.
            if left.id == NONE || left.rank != rank {
                continue;
            }
            let right = links[at as usize].next;
            let (Some(id), true) = (view.merged(rank), right != NONE) else { continue };
            parts[right as usize].id = NONE;
            let next = links[right as usize].next;
            links[at as usize].next = next;
            let mut new_rank = NONE;
            if next != NONE {
                links[next as usize].previous = at;
                new_rank = view.rank(id, parts[next as usize].id);
                if new_rank != NONE {
                    heap.push(key(new_rank, at));
                }
            }
            parts[at as usize].id = id;
            parts[at as usize].rank = new_rank;
            let previous = links[at as usize].previous;
            if previous != NONE {
                let new_rank = view.rank(parts[previous as usize].id, id);
                parts[previous as usize].rank = new_rank;
                if new_rank != NONE {
                    heap.push(key(new_rank, previous));
                }
            }
        }
    }
}
