//! From a text with marks to the ranges that get a vector each.
//!
//! Sizes are counted in tokens of the model that will read the chunks, never in characters. The text
//! is tokenised once, in pieces, which gives the size of any range (`tokens`); headings and pages cut
//! it into sections, and small neighbours are put together (`section`); what is longer than a chunk
//! is cut at its best boundaries (`boundary`, `split`); the result is counted again, exactly.
//!
//! # Why boundaries are chosen by content
//!
//! A vector is the expensive part of a chunk, and it can be kept if the chunk's text is still the
//! same after an edit. Cutting every so many tokens from the start of a file would move every later
//! boundary when a word is added on the first page. Here a long run is cut at the boundary with the
//! highest priority, then both halves likewise, until all of them are small enough. A priority is the
//! kind of the boundary (a paragraph before a sentence before a word), then a hash of the few bytes
//! that follow it; both say nothing about where in the file the boundary lies. So the cuts form a
//! treap over the text: a paragraph that comes or goes adds or takes one node, and the cuts far from
//! it stay where they were. The idea is that of content-defined chunking, where a rolling hash picks
//! the cuts of a backup; a treap is used because the limit here is strict and the kinds of boundaries
//! are not equal.
//!
//! # What is promised
//!
//! - Chunks are in order, do not overlap, and hold every byte of the text but white space.
//! - No chunk has more than [`ChunkOptions::tokens`] tokens, counted on its own text without special
//!   tokens; the one exception is a single character that is more by itself (a limit of a few tokens).
//! - No chunk runs over a page mark, so its page is the page of all of it.
//! - No chunk runs over a heading, with two exceptions. A heading that has no text of its own goes with
//!   the section after it (with the one before it where a page or the text ends there). Neighbouring
//!   sections below a quarter of the limit are put together if the later one is a sibling of the
//!   earlier or its first child; a chunk of several sections has the heading path that they share.
//! - A cut falls inside a word only where the word is too long, and inside a grapheme cluster only
//!   where the cluster is.
//! - The same text, marks, tokenizer and options give the same chunks. Time grows as n log n, whatever
//!   the text: there is no text whose lines, words or clusters are too long.
//!
//! # What is not promised
//!
//! - How far an edit reaches. A tested expectation, not a bound: in random documents of hundreds of
//!   paragraphs and at the default size, at most three chunks are new after one paragraph came, went or
//!   changed, in at least 99 of 100 cases. Where a paragraph is as long as a chunk, it is a little
//!   more. A changed heading changes the path of the chunks below it, not their ranges.
//! - A smallest size: a short section between long ones is a short chunk. Nor full chunks: text is cut
//!   where it is best cut, and running text fills about two thirds of the limit.
//! - Text that repeats itself has no content to choose by. There cuts are counted from the start of
//!   the run, which fills the chunks and moves the cuts after an edit.
//!
//! Chunks do not overlap because an overlap is embedded twice and stored twice; what a chunk lacks in
//! context comes from its headings and the document's title, which go into the prompt.

mod boundary;
mod section;
mod split;
mod tokens;

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::package::Tokenizer;

use self::split::Splitter;
use self::tokens::TokenStarts;
use super::extract::Extracted;
use crate::error::Result;

/// How a text is cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkOptions {
    /// Most tokens of a chunk's own text: without prompt, title and special tokens. 0 counts as 1.
    pub tokens: usize,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        ChunkOptions { tokens: 256 }
    }
}

/// A part of a text that gets one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of [`Extracted::text`]; on char boundaries, without blank lines at the start (the
    /// indentation of the first line stays) and without white space at the end.
    pub range: Range<usize>,
    /// The page it lies on, if the text has pages.
    pub page: Option<u32>,
    /// The headings it lies under, outermost first; the heading the chunk begins with is one of them.
    pub headings: Vec<String>,
    /// Tokens of its text, without special tokens.
    pub n_tokens: usize,
}

/// Cuts a text into chunks.
///
/// # Errors
/// [`Error::Tokenize`](crate::Error::Tokenize) if the tokenizer refuses a piece of the text.
///
/// # Panics
/// If the text has more than `u32::MAX` bytes, or a mark is not on a char boundary of it.
pub fn chunk(
    extracted: &Extracted,
    tokenizer: &Tokenizer,
    options: &ChunkOptions,
) -> Result<Vec<Chunk>> {
    let most = options.tokens.max(1);
    let starts = TokenStarts::new(&extracted.text, tokenizer)?;
    let splitter = Splitter::new(extracted, tokenizer, &starts, most);
    let mut chunks = Vec::new();
    for unit in section::units(extracted, &starts, most / 4) {
        for piece in splitter.split(&unit)? {
            chunks.push(Chunk {
                headings: unit.headings(&piece.range),
                page: unit.page,
                range: piece.range,
                n_tokens: piece.n_tokens,
            });
        }
    }
    Ok(chunks)
}
