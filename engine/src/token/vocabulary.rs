//! A vocabulary on its way into an image: what `tokenizer.json` and piece lists have in common.

use super::layout::{self, Header, N_IDS_MAX, N_MERGES_MAX, Numbers, PROBE_MAX, Section};
use super::merge::Merger;
use super::normalise::Step;
use super::tables::{
    EMPTY_MERGE, EMPTY_PIECE, ID, OF_MODEL, WHOLE, home, merge_hash, merge_key, pair_set_len,
    piece_hash, piece_slot,
};
use super::{added, split};
use crate::{Error, Result};

/// How normalised text is cut.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Words {
    /// The model sees the whole text.
    WholeText,
    /// The pattern in `split`.
    Pattern,
}

/// All that decides which ids a text gets.
pub(super) struct Vocabulary<'a> {
    /// By id: the model's pieces, then tokens that are only matched before it.
    pub(super) pieces: Vec<&'a str>,
    /// How many of them are the model's.
    pub(super) n_model: usize,
    /// Ids of the tokens that are matched before the model sees the text.
    pub(super) added: Vec<u32>,
    pub(super) steps: Vec<Step>,
    pub(super) words: Words,
    /// Ids before and after a framed text.
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

pub(super) fn refuse(
    field: impl Into<String>,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Error {
    Error::Vocabulary {
        field: field.into(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// Finds ids by text while a vocabulary is read. Open addressing, at most half full.
pub(super) struct Ids<'a> {
    slots: Vec<u32>,
    pieces: &'a [&'a str],
}

impl<'a> Ids<'a> {
    /// # Errors
    /// If two pieces are equal.
    pub(super) fn new(pieces: &'a [&'a str]) -> Result<Ids<'a>> {
        if pieces.len() > N_IDS_MAX {
            return Err(refuse("the vocabulary", pieces.len(), format!("<= {N_IDS_MAX} ids")));
        }
        let slots = vec![EMPTY_PIECE; pieces.len().max(1) * 2];
        let mut ids = Ids { slots, pieces };
        for (id, piece) in pieces.iter().enumerate() {
            let at = ids.find(piece, "");
            if ids.slots[at] != EMPTY_PIECE {
                return Err(refuse("the vocabulary", format!("{piece:?} twice"), "once"));
            }
            ids.slots[at] = id as u32;
        }
        Ok(ids)
    }

    /// The slot of a text given in two parts: its own, or the empty one where it would be.
    fn find(&self, head: &str, tail: &str) -> usize {
        let mut hash = piece_hash(head.as_bytes());
        if !tail.is_empty() {
            let mut joined = [0u8; 256];
            let len = head.len() + tail.len();
            match joined.get_mut(..len) {
                Some(joined) => {
                    joined[..head.len()].copy_from_slice(head.as_bytes());
                    joined[head.len()..].copy_from_slice(tail.as_bytes());
                    hash = piece_hash(joined);
                }
                None => hash = piece_hash([head, tail].concat().as_bytes()),
            }
        }
        let mut at = home(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == EMPTY_PIECE || is_joined(self.pieces[slot as usize], head, tail) {
                return at;
            }
            at = (at + 1) % self.slots.len();
        }
    }

    /// The piece of an id.
    pub(super) fn text(&self, id: u32) -> Option<&'a str> {
        self.pieces.get(id as usize).copied()
    }

    /// The id of `head` and `tail` together.
    pub(super) fn get(&self, head: &str, tail: &str) -> Option<u32> {
        Some(self.slots[self.find(head, tail)]).filter(|id| *id != EMPTY_PIECE)
    }
}

fn is_joined(piece: &str, head: &str, tail: &str) -> bool {
    piece.len() == head.len() + tail.len() && piece.starts_with(head) && piece.ends_with(tail)
}

/// A merge of two neighbours; its rank is its place in the list.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) merged: u32,
}

impl Vocabulary<'_> {
    /// The image of this vocabulary with these merges.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if a number is beyond the image's, a byte has no piece, or a byte
    /// piece takes part in a merge.
    pub(super) fn image(&self, ids: &Ids, merges: &[Merge]) -> Result<Vec<u8>> {
        if merges.len() > N_MERGES_MAX {
            return Err(refuse("model.merges", merges.len(), format!("<= {N_MERGES_MAX} merges")));
        }
        let (pieces, piece_probe) = self.piece_table()?;
        let (slots, merge_probe) = merge_table(merges)?;
        let bytes = byte_ids(ids, self.n_model, merges)?;
        let ascii = (0..128u8).map(|b| {
            let id = ids.get((b as char).encode_utf8(&mut [0; 4]), "");
            id.filter(|id| (*id as usize) < self.n_model).unwrap_or(u32::MAX)
        });
        let mut starts = vec![0u32];
        starts.extend(self.pieces.iter().scan(0u32, |end, piece| {
            *end = end.saturating_add(piece.len() as u32);
            Some(*end)
        }));
        let mut frame = vec![self.before.len() as u32];
        frame.extend(self.before.iter().chain(&self.after));
        let numbers = Numbers {
            vocab_size: self.n_model as u32,
            piece_probe,
            merge_probe,
            cut: u32::from(self.words == Words::Pattern),
        };
        let mut image = layout::join(
            &numbers,
            [
                Step::write(&self.steps),
                words(frame),
                words(starts),
                self.pieces.concat().into_bytes(),
                words(pieces),
                slots.iter().flat_map(|slot| slot.to_le_bytes()).collect(),
                words(merges.iter().map(|merge| merge.merged)),
                words(bytes),
                words(ascii),
                words(added::section(self.added.clone(), &self.pieces)),
                self.cuts(merges),
            ],
        );
        if u32::try_from(image.len()).is_err() {
            return Err(refuse("the vocabulary", image.len(), "an image below 4 GiB"));
        }
        layout::seal(&mut image);
        mark_whole(&mut image)?;
        layout::seal(&mut image);
        Ok(image)
    }

    /// The table from text to id, without `WHOLE`, and its longest probe.
    fn piece_table(&self) -> Result<(Vec<u32>, u32)> {
        let mut slots = vec![EMPTY_PIECE; self.pieces.len() * 4 / 3 + 8];
        let mut longest = 0;
        for (id, piece) in self.pieces.iter().enumerate() {
            let hash = piece_hash(piece.as_bytes());
            let flags = if id < self.n_model { OF_MODEL } else { 0 };
            let probe = insert(&mut slots, hash, EMPTY_PIECE, piece_slot(id as u32, hash) | flags);
            longest = longest.max(probe);
        }
        check_probe("the vocabulary", longest)?;
        Ok((slots, longest))
    }

    fn cuts(&self, merges: &[Merge]) -> Vec<u8> {
        if self.words == Words::Pattern {
            return split::classes();
        }
        // A merge adds one pair to those of its parts: last of the left, first of the right.
        let text = |id: u32| self.pieces[id as usize];
        let mut pairs: Vec<(char, char)> = merges
            .iter()
            .filter_map(|m| {
                Some((text(m.left).chars().next_back()?, text(m.right).chars().next()?))
            })
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut set = vec![0; pair_set_len(pairs.len())];
        for (left, right) in pairs {
            split::join(&mut set, left, right);
        }
        set
    }
}

/// Marks the pieces that the model makes of their own text: a word that is such a piece needs no
/// merging. Byte pairs that were learnt make nearly all pieces so, but not all.
fn mark_whole(image: &mut [u8]) -> Result<()> {
    let header = Header::read(image)?;
    let view = header.view(image);
    let mut merger = Merger::default();
    let mut whole = vec![false; view.n_ids()];
    for id in 0..header.vocab_size {
        let Some(Ok(text)) = view.text(id).map(std::str::from_utf8) else { continue };
        let mut ids = (0, 0);
        merger.merge(&view, text, |id, _| ids = (ids.0 + 1, id));
        whole[id as usize] = ids == (1, id);
    }
    let place = layout::place(image, Section::Pieces);
    for slot in image[place].chunks_exact_mut(4) {
        let Some(bytes) = slot.first_chunk_mut::<4>() else { continue };
        let value = u32::from_le_bytes(*bytes);
        if value != EMPTY_PIECE && whole.get((value & ID) as usize) == Some(&true) {
            *bytes = (value | WHOLE).to_le_bytes();
        }
    }
    Ok(())
}

/// The table from pairs to ranks, and its longest probe.
fn merge_table(merges: &[Merge]) -> Result<(Vec<u64>, u32)> {
    let mut slots = vec![EMPTY_MERGE; merges.len() * 4 / 3 + 8];
    let mut longest = 0;
    for (rank, merge) in merges.iter().enumerate() {
        let key = merge_key(merge.left, merge.right);
        let probe = insert(&mut slots, merge_hash(key), EMPTY_MERGE, key | rank as u64);
        longest = longest.max(probe);
    }
    check_probe("model.merges", longest)?;
    Ok((slots, longest))
}

/// Puts a value into the first empty slot from its home on; gives the steps to it.
fn insert<T: Copy + PartialEq>(slots: &mut [T], hash: u64, empty: T, value: T) -> u32 {
    let mut at = home(hash, slots.len());
    let mut probe = 0;
    while slots[at] != empty {
        at = (at + 1) % slots.len();
        probe += 1;
    }
    slots[at] = value;
    probe
}

fn check_probe(field: &str, longest: u32) -> Result<()> {
    if longest > PROBE_MAX {
        let expected = format!("a hash table with probes of at most {PROBE_MAX}");
        return Err(refuse(field, format!("a probe of {longest}"), expected));
    }
    Ok(())
}

/// The 256 byte pieces. They stand for characters that are no piece, so each must be there; and if
/// one could merge, a cut beside such a character would not be safe.
fn byte_ids(ids: &Ids, n_model: usize, merges: &[Merge]) -> Result<Vec<u32>> {
    let bytes = (0..=255u8)
        .map(|byte| {
            let piece = format!("<0x{byte:02X}>");
            ids.get(&piece, "")
                .filter(|id| (*id as usize) < n_model)
                .ok_or_else(|| refuse("model.vocab", format!("without {piece}"), "all byte pieces"))
        })
        .collect::<Result<Vec<u32>>>()?;
    let mut is_byte = vec![false; ids.pieces.len()];
    bytes.iter().for_each(|id| is_byte[*id as usize] = true);
    let joins = |m: &&Merge| [m.left, m.right, m.merged].iter().any(|id| is_byte[*id as usize]);
    match merges.iter().find(joins) {
        Some(merge) => {
            let found = format!("a byte piece in {:?}", ids.pieces[merge.merged as usize]);
            Err(refuse("model.merges", found, "no merges of byte pieces"))
        }
        None => Ok(bytes),
    }
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}
