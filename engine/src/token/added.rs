//! Tokens that are matched in the text as it stands, before normalisation: leftmost, then longest.
//!
//! The image lists them in the order of their bytes, behind a table by first byte. At a byte that
//! begins one, the list is narrowed byte by byte, so thousands of tokens cost no more than a few.

use super::layout::u32_at;
use super::tables::View;

/// A token found in a text.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) id: u32,
    /// In bytes of the text.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Finds the added tokens of an image.
pub(super) struct Finder<'a> {
    view: View<'a>,
    /// By byte: whether a token begins with it.
    begins: [bool; 256],
}

/// The section: by first byte, and one more, where its tokens begin in the list; then the ids.
pub(super) fn section(mut added: Vec<u32>, pieces: &[&str]) -> Vec<u32> {
    let bytes = |id: &u32| pieces[*id as usize].as_bytes();
    added.sort_unstable_by_key(bytes);
    let below = |byte: usize| added.partition_point(|id| (bytes(id)[0] as usize) < byte) as u32;
    let firsts: Vec<u32> = (0..=256).map(below).collect();
    [firsts, added].concat()
}

const LIST_AT: usize = 257;

impl<'a> Finder<'a> {
    pub(super) fn new(view: View<'a>) -> Finder<'a> {
        let first = |byte| u32_at(view.added, byte);
        Finder { view, begins: std::array::from_fn(|byte| first(byte) < first(byte + 1)) }
    }

    /// The first token at or after byte `from`, of those that begin there the longest.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<Found> {
        let mut start = from;
        loop {
            let bytes = text.as_bytes().get(start..)?;
            start += bytes.iter().position(|byte| self.begins[*byte as usize])?;
            if let Some((id, len)) = self.longest(&text.as_bytes()[start..]) {
                let end = start + len;
                // Always so, unless the image is damaged.
                if text.is_char_boundary(start) && text.is_char_boundary(end) {
                    return Some(Found { id, start, end });
                }
            }
            start += 1;
        }
    }

    /// The longest token that `text` begins with, and its length.
    fn longest(&self, text: &[u8]) -> Option<(u32, usize)> {
        let id = |at: usize| u32_at(self.view.added, LIST_AT + at);
        let token = |at: usize| id(at).and_then(|id| self.view.text(id)).unwrap_or(&[]);
        let first = *text.first()? as usize;
        let mut low = u32_at(self.view.added, first)? as usize;
        let mut high = u32_at(self.view.added, first + 1)? as usize;
        let mut longest = None;
        // All tokens in low..high begin with the `len` bytes before `next`.
        for len in 1.. {
            if low < high && token(low).len() == len {
                longest = Some((id(low)?, len));
                low += 1;
            }
            let Some(next) = text.get(len) else { break };
            let byte = |at: usize| token(at).get(len).copied().unwrap_or(0);
            low = partition(low, high, |at| byte(at) < *next);
            high = partition(low, high, |at| byte(at) <= *next);
            if low >= high {
                break;
            }
        }
        longest
    }
}

/// The first place in `low..high` where `is_before` is false.
fn partition(mut low: usize, mut high: usize, is_before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
