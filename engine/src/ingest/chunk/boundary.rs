//! The places where a text may be cut, and how good each is.
//!
//! A boundary lies before a character that is not white space (for a new line: before the line's
//! indentation). Its class is what begins there; its hash is taken over the bytes that follow, so that
//! text inserted before a boundary leaves it as good as it was.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes after a boundary that its hash sees: enough to tell the rows of a table apart, few enough
/// that most edits of a paragraph leave its start alone.
const HASH_BYTES: usize = 64;

/// What begins at a boundary, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Any character.
    Char,
    /// A grapheme cluster.
    Grapheme,
    /// A word, after white space.
    Word,
    /// A line that seems to go on with the sentence of the line before it.
    Wrap,
    /// A sentence.
    Sentence,
    /// A line.
    Line,
    /// A line after a blank line.
    Paragraph,
    /// A block that the extractor marked.
    Block,
    /// A section that was put together with the one before it.
    Section,
}

/// A place where a text may be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundary {
    /// The part after the cut begins here, in bytes of the text.
    pub(super) offset: usize,
    /// What begins there.
    pub(super) class: Class,
    /// Class, then hash: the higher, the earlier it is cut.
    pub(super) priority: u64,
}

/// What is looked for where.
pub(super) struct Scan<'a> {
    /// The whole text.
    pub(super) text: &'a str,
    /// Ends the hashed bytes: what comes after is another section's.
    pub(super) unit_end: usize,
    /// Starts of sections and blocks in the unit, ascending by offset.
    pub(super) marked: &'a [(usize, Class)],
    /// What a line break means.
    pub(super) line_rule: LineRule,
}

/// What a line break means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineRule {
    /// A new line always begins something: code, tables, records.
    Always,
    /// A line that begins with a letter, after one that ends no sentence, is wrapped prose.
    Prose,
}

impl Scan<'_> {
    /// The boundaries strictly inside a range, ascending, of class `least` and better.
    pub(super) fn boundaries(&self, range: &Range<usize>, least: Class) -> Vec<Boundary> {
        let mut found = self.words(range, least);
        if least <= Class::Grapheme {
            let mut finer = Vec::new();
            let slice = &self.text[range.clone()];
            if least == Class::Grapheme {
                finer.extend(slice.grapheme_indices(true).skip(1).map(|(at, _)| at));
            } else {
                finer.extend(slice.char_indices().skip(1).map(|(at, _)| at));
            }
            let mut coarse = found.into_iter().peekable();
            let mut all = Vec::with_capacity(finer.len());
            for at in finer {
                let offset = range.start + at;
                match coarse.next_if(|boundary| boundary.offset == offset) {
                    Some(boundary) => all.push(boundary),
                    None => all.push(self.boundary(offset, offset, least)),
                }
            }
            found = all;
        }
        found
    }

    /// The boundaries of class [`Class::Word`] and better.
    fn words(&self, range: &Range<usize>, least: Class) -> Vec<Boundary> {
        let mut found = Vec::new();
        let mut marked = self.marked.iter().peekable();
        while marked.next_if(|(offset, _)| *offset <= range.start).is_some() {}
        let mut before = Before::default();
        for (at, c) in self.text[range.clone()].char_indices() {
            let here = range.start + at;
            if c.is_whitespace() {
                before.white(c, here);
                continue;
            }
            let mut class = before.class(c, self.line_rule);
            while let Some((_, mark)) = marked.next_if(|(offset, _)| *offset <= here) {
                class = class.max(Some(*mark));
            }
            let offset = if before.n_newlines > 0 { before.line_start } else { here };
            if at > 0
                && before.any
                && let Some(class) = class.filter(|class| *class >= least)
                && (c.is_ascii() || begins_grapheme(self.text, here))
            {
                found.push(self.boundary(offset, here, class));
            }
            before.text(c);
        }
        found
    }

    /// A boundary at `offset`, before the text that begins at `text_start`.
    fn boundary(&self, offset: usize, text_start: usize, class: Class) -> Boundary {
        let end = self.unit_end.min(text_start + HASH_BYTES);
        let hash = xxh3_64(&self.text.as_bytes()[text_start..end]);
        Boundary { offset, class, priority: (class as u64) << 56 | hash >> 8 }
    }
}

/// What the scan remembers of the text before a character.
#[derive(Default)]
struct Before {
    /// Whether there was anything but white space.
    any: bool,
    /// Whether white space was last.
    white: bool,
    n_newlines: usize,
    /// After the last newline.
    line_start: usize,
    /// Whether the last text ended a sentence that white space must follow.
    stop: bool,
    /// Whether it ended a sentence that needs no white space after it (Chinese, Japanese).
    full_stop: bool,
    /// Whether it ended with a colon.
    colon: bool,
}

impl Before {
    fn white(&mut self, c: char, here: usize) {
        self.white = true;
        if c == '\n' {
            self.n_newlines += 1;
            self.line_start = here + 1;
        }
    }

    fn text(&mut self, c: char) {
        (self.stop, self.full_stop) = match c {
            '.' | '!' | '?' | '\u{2026}' => (true, self.full_stop && !self.white),
            '\u{3002}' | '\u{ff01}' | '\u{ff1f}' => (true, true),
            '"' | '\'' | ')' | ']' | '\u{2019}' | '\u{201d}' | '\u{300d}' | '\u{300f}' | '*'
            | '_' | '`'
                if !self.white =>
            {
                (self.stop, self.full_stop)
            }
            _ => (false, false),
        };
        self.colon = c == ':';
        self.any = true;
        self.white = false;
        self.n_newlines = 0;
    }

    /// What a character that is not white space begins, if anything.
    fn class(&self, c: char, rule: LineRule) -> Option<Class> {
        match self.n_newlines {
            0 if self.white && self.stop && !c.is_lowercase() => Some(Class::Sentence),
            0 if self.full_stop && c.is_alphanumeric() => Some(Class::Sentence),
            0 if self.white => Some(Class::Word),
            0 => None,
            1 if rule == LineRule::Always || self.stop || self.colon || !c.is_alphabetic() => {
                Some(Class::Line)
            }
            1 => Some(Class::Wrap),
            _ => Some(Class::Paragraph),
        }
    }
}

/// Whether a grapheme cluster begins at an offset. White space or a full stop is before it, so that
/// the answer never needs to look far back.
fn begins_grapheme(text: &str, offset: usize) -> bool {
    GraphemeCursor::new(offset, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}
