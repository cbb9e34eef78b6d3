//! Cuts a normalised text into words that the model treats apart.
//!
//! A vocabulary without a pre-tokeniser treats the whole text as one word. It may still be cut
//! between two neighbours that no merge result holds side by side: no merge can reach across, and
//! the merges on the two sides do not see each other. The image has a set of all pairs that do
//! stand side by side; pairs beyond ASCII share its bits, and a false "may join" only makes a word
//! longer. (For Gemma nearly every space is such a cut: of all pieces, only runs of spaces and
//! `>▁</` have a `▁` behind something.)
//!
//! The other way is the word pattern of `nano`: [`PATTERN`], scanned by hand over a table of
//! Unicode classes. The table is made when the image is built, by the regex engine's own parser.

use regex_syntax::hir::{Class, HirKind};

use super::layout::u32_at;
use super::tables::pair_bit;

/// The pattern that a `Split` pre-tokeniser may have.
pub(super) const PATTERN: &str = r"▁?[\p{L}\p{M}]+|▁?\p{N}{1,4}|▁?[^\p{L}\p{M}\p{N}▁]{1,3}|▁+";

/// Most numerals and most other characters in one word of [`PATTERN`].
const NUMERALS_MAX: usize = 4;
const OTHERS_MAX: usize = 3;

/// The space of SentencePiece vocabularies.
const SPACE: char = '▁';

/// Classes are stored for blocks of this many characters, two bits each.
const BLOCK: usize = 256;
const BLOCK_BYTES: usize = BLOCK / 4;
const N_BLOCKS: usize = 0x11_0000 / BLOCK;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Other = 0,
    Letter = 1,
    Numeral = 2,
}

/// How a text is cut.
#[derive(Clone, Copy)]
pub(super) enum Cut<'a> {
    /// Between neighbours that never merge; the set of those that may.
    Pairs(&'a [u8]),
    /// By [`PATTERN`]; the table of classes.
    Pattern(&'a [u8]),
}

impl<'a> Cut<'a> {
    pub(super) fn new(kind: u32, table: &'a [u8]) -> Cut<'a> {
        if kind == 0 { Cut::Pairs(table) } else { Cut::Pattern(table) }
    }

    /// The byte at which the first word of a text ends; of an empty text, 0.
    pub(super) fn first_word(self, text: &str) -> usize {
        match self {
            Cut::Pairs(set) => first_by_pairs(set, text),
            Cut::Pattern(classes) => first_by_pattern(classes, text),
        }
    }
}

fn first_by_pairs(set: &[u8], text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, mut left)) = chars.next() else { return 0 };
    for (at, right) in chars {
        let bit = pair_bit(left, right, set.len() * 8);
        // A set that is too short may join everything: slow, not wrong.
        if set.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 0) {
            return at;
        }
        left = right;
    }
    text.len()
}

/// Marks two characters as neighbours within a piece.
pub(super) fn join(set: &mut [u8], left: char, right: char) {
    let bit = pair_bit(left, right, set.len() * 8);
    set[bit / 8] |= 1 << (bit % 8);
}

fn first_by_pattern(classes: &[u8], text: &str) -> usize {
    let spaces = text.len() - text.trim_start_matches(SPACE).len();
    let n_spaces = spaces / SPACE.len_utf8();
    let rest = &text[spaces..];
    let Some(first) = rest.chars().next() else { return text.len() };
    // One space belongs to the word behind it; several are a word of their own.
    if n_spaces > 1 {
        return spaces;
    }
    let kind = kind_of(classes, first);
    let limit = match kind {
        Kind::Letter => usize::MAX,
        Kind::Numeral => NUMERALS_MAX,
        Kind::Other => OTHERS_MAX,
    };
    let end = rest
        .char_indices()
        .take(limit)
        .find(|(_, c)| *c == SPACE || kind_of(classes, *c) != kind)
        .map(|(at, _)| at)
        .or_else(|| rest.char_indices().nth(limit).map(|(at, _)| at))
        .unwrap_or(rest.len());
    spaces + end
}

fn kind_of(classes: &[u8], c: char) -> Kind {
    match c {
        'a'..='z' | 'A'..='Z' => return Kind::Letter,
        '0'..='9' => return Kind::Numeral,
        '\0'..='\x7f' => return Kind::Other,
        _ => {}
    }
    let block = u32_at(classes, c as usize / BLOCK).unwrap_or(0) as usize;
    let within = c as usize % BLOCK;
    let byte = classes.get(N_BLOCKS * 4 + block * BLOCK_BYTES + within / 4).unwrap_or(&0);
    match byte >> (within % 4 * 2) & 3 {
        1 => Kind::Letter,
        2 => Kind::Numeral,
        _ => Kind::Other,
    }
}

/// The table of classes: a block number (u32) for each 256 characters, then the blocks.
pub(super) fn classes() -> Vec<u8> {
    let mut kinds = vec![0u8; 0x11_0000 / 4];
    for (pattern, kind) in [(r"[\p{L}\p{M}]", Kind::Letter), (r"\p{N}", Kind::Numeral)] {
        let hir = regex_syntax::parse(pattern).map(|hir| hir.into_kind());
        if let Ok(HirKind::Class(Class::Unicode(class))) = hir {
            for c in class.ranges().iter().flat_map(|r| r.start() as usize..=r.end() as usize) {
                kinds[c / 4] |= (kind as u8) << (c % 4 * 2);
            }
        }
    }
    let mut blocks: Vec<&[u8]> = Vec::new();
    let mut table = Vec::new();
    for block in kinds.chunks_exact(BLOCK_BYTES) {
        let number = blocks.iter().position(|b| *b == block).unwrap_or_else(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        table.extend((number as u32).to_le_bytes());
    }
    table.extend(blocks.concat());
    table
}
