//! Where the tokens of a text begin, so that the size of any range can be looked up.
//!
//! The text is tokenised in pieces of at most 4 KiB, because a tokenizer may see a text without spaces
//! as one word and takes more than linear time for it. Pieces end before white space, where most
//! vocabularies begin a token; a token that would have run over a piece's end is counted as two. The
//! counts are therefore good for planning; what they lead to is counted again on its own text.

use std::ops::Range;

use crate::Result;
use crate::package::Tokenizer;

/// Longest piece that is tokenised at once, in bytes.
const PIECE_BYTES: usize = 4096;

/// The byte offsets at which the tokens of a text begin, ascending.
pub(super) struct TokenStarts {
    starts: Vec<u32>, // [n_tokens]
}

impl TokenStarts {
    /// Tokenises the whole text. A token that holds the space before a word begins with the word, so
    /// that it is counted with it.
    pub(super) fn new(text: &str, tokenizer: &Tokenizer) -> Result<Self> {
        assert!(u32::try_from(text.len()).is_ok(), "a text of {} bytes", text.len());
        let mut starts: Vec<u32> = Vec::with_capacity(text.len() / 4);
        let mut froms = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let end = piece_end(text, at);
            let piece = &text[at..end];
            froms.clear();
            tokenizer.starts(piece, &mut froms)?;
            for (i, &from) in froms.iter().enumerate() {
                let from = from as usize;
                let to = froms.get(i + 1).map_or(piece.len(), |&to| to as usize);
                let spaces = piece.get(from..to).map_or(0, |token| {
                    let rest = token.trim_start();
                    if rest.is_empty() { 0 } else { token.len() - rest.len() }
                });
                let start = (at + from + spaces) as u32;
                // A normaliser may reorder characters, and their offsets with them.
                starts.push(starts.last().map_or(start, |&last| last.max(start)));
            }
            at = end;
        }
        Ok(TokenStarts { starts })
    }

    /// Tokens that begin before a byte offset.
    pub(super) fn before(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| (start as usize) < offset)
    }

    /// Tokens that begin in a range of bytes.
    pub(super) fn count(&self, range: &Range<usize>) -> usize {
        self.before(range.end) - self.before(range.start)
    }
}

/// The end of the piece that begins at `at`: the end of the text, else the last place in reach where
/// white space begins, else as far as a piece may go.
fn piece_end(text: &str, at: usize) -> usize {
    if text.len() - at <= PIECE_BYTES {
        return text.len();
    }
    let reach = text.floor_char_boundary(at + PIECE_BYTES);
    let mut white_follows = text[reach..].starts_with(char::is_whitespace);
    for (idx, c) in text[at..reach].char_indices().rev() {
        if white_follows && !c.is_whitespace() {
            return at + idx + c.len_utf8();
        }
        white_follows = c.is_whitespace();
    }
    reach
}
