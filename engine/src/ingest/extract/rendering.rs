//! A text that is put together from the pieces of a structured file, with its marks.
//!
//! Blocks are parted by a blank line. White space inside a block is what HTML says: any run of it is
//! one space, none at the edges. A mark is set when the first character of its block is written, so a
//! block without text leaves no mark.

use super::run::Watch;
use super::{Failure, Mark, MarkKind};

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Rendering {
    text: String,
    marks: Vec<Mark>,
    /// What the next character begins.
    begins: Option<MarkKind>,
    /// Where the open heading's text begins.
    heading_at: Option<usize>,
    /// White space is due before the next character.
    gap: Gap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Block,
}

impl Rendering {
    /// Ends the block before and begins one that will be marked.
    pub(super) fn block(&mut self) {
        self.close_heading();
        self.gap = Gap::Block;
        self.begins = Some(MarkKind::Block);
    }

    /// Ends the block before and begins a heading; the next block ends it.
    pub(super) fn heading(&mut self, level: u8) {
        self.block();
        self.begins = Some(MarkKind::Heading { level: level.clamp(1, 6), text: String::new() });
    }

    /// Ends the block before and begins a page.
    pub(super) fn page(&mut self, number: u32) {
        self.block();
        self.write_gap();
        self.marks.push(Mark { offset: self.text.len(), kind: MarkKind::Page(number) });
        self.gap = Gap::None;
    }

    /// Goes on in the next line, in the same block.
    pub(super) fn line(&mut self) {
        self.gap = self.gap.max(Gap::Line);
    }

    /// Parts two pieces of a line by a space.
    pub(super) fn space(&mut self) {
        self.gap = self.gap.max(Gap::Space);
    }

    /// Adds running text; runs of white space become one space.
    pub(super) fn push(&mut self, text: &str) {
        let mut words = text.split(is_space).filter(|word| !word.is_empty()).peekable();
        if words.peek().is_none() {
            if !text.is_empty() {
                self.space();
            }
            return;
        }
        if text.starts_with(is_space) {
            self.space();
        }
        while let Some(word) = words.next() {
            self.write(word);
            if words.peek().is_some() {
                self.text.push(' ');
            }
        }
        if text.ends_with(is_space) {
            self.space();
        }
    }

    /// Parts two cells of a table's row.
    pub(super) fn cell(&mut self) {
        self.gap = Gap::None;
        if self.begins.is_none() {
            self.text.truncate(self.text.trim_end().len());
            self.write(" | ");
        }
    }

    /// Adds text as it is, white space and all, but for blank lines at the block's ends.
    pub(super) fn push_verbatim(&mut self, text: &str) {
        let text = match self.begins {
            Some(_) => text.trim_start_matches(['\n', '\r']),
            None => text,
        };
        if self.begins.is_none() || !text.trim().is_empty() {
            self.write(text);
        }
    }

    /// Adds text as it is and its marks, which count from its start.
    pub(super) fn push_marked(&mut self, text: &str, marks: Vec<Mark>) {
        self.block();
        self.begins = None;
        self.write_gap();
        let base = self.text.len();
        self.text.push_str(text);
        self.marks
            .extend(marks.into_iter().map(|mark| Mark { offset: base + mark.offset, ..mark }));
    }

    /// How long the text is by now, in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Fails if the text is too long or the time over.
    pub(super) fn check(&self, watch: &Watch) -> Result<(), Failure> {
        watch.check_text(self.text.len())
    }

    /// The text and its marks.
    pub(super) fn finish(mut self) -> (String, Vec<Mark>) {
        self.close_heading();
        (self.text, self.marks)
    }

    fn write(&mut self, text: &str) {
        self.write_gap();
        let offset = self.text.len();
        if let Some(kind) = self.begins.take() {
            if matches!(kind, MarkKind::Heading { .. }) {
                self.heading_at = Some(offset);
            }
            self.marks.push(Mark { offset, kind });
        }
        self.text.push_str(text);
    }

    fn write_gap(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if self.text.is_empty() {
            return;
        }
        if gap == Gap::Block {
            // What was written verbatim may end in blank lines.
            self.text.truncate(self.text.trim_end().len());
        }
        match gap {
            Gap::None => {}
            Gap::Space => self.text.push(' '),
            Gap::Line => self.text.push('\n'),
            Gap::Block => self.text.push_str("\n\n"),
        }
    }

    fn close_heading(&mut self) {
        let Some(start) = self.heading_at.take() else { return };
        let heading = self.text[start..].split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(Mark { kind: MarkKind::Heading { text, .. }, .. }) = self.marks.last_mut() {
            *text = heading;
        }
    }
}

/// White space that HTML folds; a space that must not break is a character like others.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}
