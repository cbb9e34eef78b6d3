//! Tables of comma- or tab-separated rows: the file as it is, a block at each row.
//!
//! A line end inside quotes does not end a row, unless the quote never closes: then the lines are rows.

use super::encoding::Decoded;
use super::plain::lines;
use super::{Extracted, Kind, Mark, MarkKind};

pub(super) fn extract(decoded: Decoded) -> Extracted {
    Extracted {
        marks: rows(&decoded.text),
        text: decoded.text,
        offsets: decoded.offsets,
        title: None,
        meta: decoded.meta,
        kind: Kind::Table,
    }
}

fn rows(text: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut quoted = false;
    let mut n_sure = 0;
    for (offset, line) in lines(text) {
        if !quoted {
            n_sure = marks.len();
        }
        if !quoted && !line.trim().is_empty() {
            marks.push(Mark { offset, kind: MarkKind::Block });
        }
        quoted ^= quotes(line) % 2 == 1;
    }
    if quoted {
        let start = marks.get(n_sure).map_or(0, |mark| mark.offset);
        marks.truncate(n_sure);
        let rest = lines(&text[start..]).filter(|(_, line)| !line.trim().is_empty());
        marks
            .extend(rest.map(|(offset, _)| Mark { offset: start + offset, kind: MarkKind::Block }));
    }
    marks
}

/// Quotes of a line; doubled ones inside a field leave the parity as it is.
fn quotes(line: &str) -> usize {
    line.bytes().filter(|&byte| byte == b'"').count()
}
