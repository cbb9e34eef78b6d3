//! The tables of an image: what the merges of a word look up.
//!
//! A piece's slot is one u32, a merge's one u64, both without pointers; probing is linear, so a
//! lookup stays on one or two cache lines. Every read is checked against its table's length, so a
//! damaged image gives wrong ids, never a panic, and no probe is longer than the header says.

use xxhash_rust::xxh3::xxh3_64;

use super::layout::{u32_at, u64_at};

pub(super) const EMPTY_PIECE: u32 = u32::MAX;
pub(super) const EMPTY_MERGE: u64 = u64::MAX;

/// In a piece's slot: the piece belongs to the model (else it is only matched before it).
pub(super) const OF_MODEL: u32 = 1 << 20;
/// In a piece's slot: the model turns the piece's own text into this one piece.
pub(super) const WHOLE: u32 = 1 << 21;
/// In a piece's slot: ten bits of the text's hash, so that most misses read no text.
const TAG_SHIFT: u32 = 22;
/// In a piece's slot: the id.
pub(super) const ID: u32 = OF_MODEL - 1;
/// In a merge's slot: the rank.
const RANK: u64 = (1 << 24) - 1;

/// Pairs of ASCII characters have a bit each; other pairs share the bits after these.
const ASCII_PAIRS: usize = 128 * 128;

/// The first slot to look at, of `n_slots`, for a hash.
pub(super) fn home(hash: u64, n_slots: usize) -> usize {
    ((u128::from(hash) * n_slots as u128) >> 64) as usize
}

pub(super) fn piece_hash(text: &[u8]) -> u64 {
    xxh3_64(text)
}

/// The slot of a piece: its id and ten bits of its hash; flags are added to it.
pub(super) fn piece_slot(id: u32, hash: u64) -> u32 {
    id | ((hash as u32) << TAG_SHIFT)
}

/// The slot of a merge without its rank.
pub(super) fn merge_key(left: u32, right: u32) -> u64 {
    (u64::from(left) << 44) | (u64::from(right) << 24)
}

pub(super) fn merge_hash(key: u64) -> u64 {
    // Fibonacci hashing, twice: one product leaves the low bits of `right` too weak at the top.
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The bit that stands for a pair of neighbours, among `n_bits`.
pub(super) fn pair_bit(left: char, right: char, n_bits: usize) -> usize {
    let (left, right) = (left as usize, right as usize);
    if left < 128 && right < 128 {
        return left * 128 + right;
    }
    let hash = merge_hash(((left as u64) << 32) | right as u64);
    ASCII_PAIRS + home(hash, n_bits.saturating_sub(ASCII_PAIRS))
}

/// Bytes of a bit set for `n_pairs` pairs: at least eight bits for each that is not ASCII.
pub(super) fn pair_set_len(n_pairs: usize) -> usize {
    ASCII_PAIRS / 8 + n_pairs.next_power_of_two().max(1024)
}

/// The tables of an image.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) steps: &'a [u8],
    pub(super) frame: &'a [u8],
    pub(super) starts: &'a [u8],
    pub(super) texts: &'a [u8],
    pub(super) pieces: &'a [u8],
    pub(super) merges: &'a [u8],
    pub(super) merged: &'a [u8],
    pub(super) byte_ids: &'a [u8],
    pub(super) ascii_ids: &'a [u8],
    pub(super) added: &'a [u8],
    pub(super) cuts: &'a [u8],
    pub(super) piece_probe: u32,
    pub(super) merge_probe: u32,
}

impl<'a> View<'a> {
    /// Ids of the image, added tokens included: every id is below this number.
    pub(super) fn n_ids(&self) -> usize {
        (self.starts.len() / 4).saturating_sub(1)
    }

    /// The text of a piece or added token.
    pub(super) fn text(&self, id: u32) -> Option<&'a [u8]> {
        let start = u32_at(self.starts, id as usize)? as usize;
        let end = u32_at(self.starts, id as usize + 1)? as usize;
        self.texts.get(start..end)
    }

    /// The slot of a text: id, `OF_MODEL`, `WHOLE`.
    fn slot(&self, text: &[u8]) -> Option<u32> {
        let n_slots = self.pieces.len() / 4;
        let hash = piece_hash(text);
        let tag = ((hash as u32) << TAG_SHIFT) >> TAG_SHIFT;
        let mut at = home(hash, n_slots);
        for _ in 0..=self.piece_probe {
            let slot = u32_at(self.pieces, at)?;
            if slot == EMPTY_PIECE {
                return None;
            }
            if slot >> TAG_SHIFT == tag && self.text(slot & ID) == Some(text) {
                return Some(slot);
            }
            at = if at + 1 == n_slots { 0 } else { at + 1 };
        }
        None
    }

    /// The id of a piece or added token.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.slot(text.as_bytes()).map(|slot| slot & ID)
    }

    /// The id of a piece of the model.
    pub(super) fn model_id(&self, text: &str) -> Option<u32> {
        self.slot(text.as_bytes()).filter(|slot| slot & OF_MODEL != 0).map(|slot| slot & ID)
    }

    /// The one piece that the model makes of a whole word, if it is known to make one.
    pub(super) fn whole(&self, word: &str) -> Option<u32> {
        self.slot(word.as_bytes()).filter(|slot| slot & WHOLE != 0).map(|slot| slot & ID)
    }

    /// The id of a character, if the model has it as a piece.
    pub(super) fn char_id(&self, text: &str) -> Option<u32> {
        match text.as_bytes() {
            [ascii] => u32_at(self.ascii_ids, *ascii as usize).filter(|id| *id != u32::MAX),
            _ => self.model_id(text),
        }
    }

    /// The id of a byte piece; 0 in a damaged image.
    pub(super) fn byte_id(&self, byte: u8) -> u32 {
        u32_at(self.byte_ids, byte as usize).unwrap_or(0)
    }

    /// The rank at which two neighbours merge, lowest first; `u32::MAX` if they do not.
    pub(super) fn rank(&self, left: u32, right: u32) -> u32 {
        let n_slots = self.merges.len() / 8;
        let key = merge_key(left, right);
        let mut at = home(merge_hash(key), n_slots);
        for _ in 0..=self.merge_probe {
            match u64_at(self.merges, at) {
                None | Some(EMPTY_MERGE) => return u32::MAX,
                Some(slot) if slot & !RANK == key => return (slot & RANK) as u32,
                Some(_) => at = if at + 1 == n_slots { 0 } else { at + 1 },
            }
        }
        u32::MAX
    }

    /// What the merge of this rank makes.
    pub(super) fn merged(&self, rank: u32) -> Option<u32> {
        u32_at(self.merged, rank as usize)
    }
}
