//! Plain text: paragraphs, as blank lines part them.

use super::encoding::Decoded;
use super::{Extracted, Kind, Mark, MarkKind};

pub(super) fn extract(decoded: Decoded) -> Extracted {
    let mut marks = Vec::new();
    paragraphs(&decoded.text, 0, &mut marks);
    Extracted {
        text: decoded.text,
        offsets: decoded.offsets,
        marks,
        title: None,
        meta: decoded.meta,
        kind: Kind::Plain,
    }
}

/// Marks each line that has text and follows a blank line or the start; `base` is added to offsets.
pub(super) fn paragraphs(text: &str, base: usize, marks: &mut Vec<Mark>) {
    let mut after_blank = true;
    for (offset, line) in lines(text) {
        let blank = line.trim().is_empty();
        if after_blank && !blank {
            marks.push(Mark { offset: base + offset, kind: MarkKind::Block });
        }
        after_blank = blank;
    }
}

/// Lines with their byte offsets, without their ends.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    text.split_inclusive('\n').map(move |line| {
        let offset = next;
        next += line.len();
        (offset, line.trim_end_matches(['\n', '\r']))
    })
}
