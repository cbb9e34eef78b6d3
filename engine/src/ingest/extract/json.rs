//! JSON and JSON lines: the file as it is, a block at each member or element of the outermost value.
//!
//! A scanner of brackets and strings, not a parser: what no JSON parser accepts (lone surrogates,
//! comments, a file cut short) is still text that can be found. Where the outermost value has a single
//! member, the blocks are those one level down (`{"rows": [...]}`).

use super::encoding::Decoded;
use super::plain::{lines, paragraphs};
use super::{Extracted, Kind, Mark, MarkKind};

pub(super) fn extract(decoded: Decoded) -> Extracted {
    let mut marks = members(&decoded.text);
    if marks.is_empty() {
        paragraphs(&decoded.text, 0, &mut marks);
    }
    finish(decoded, marks, Kind::Json)
}

pub(super) fn extract_lines(decoded: Decoded) -> Extracted {
    let rows = lines(&decoded.text).filter(|(_, line)| !line.trim().is_empty());
    let marks = rows.map(|(offset, _)| Mark { offset, kind: MarkKind::Block }).collect();
    finish(decoded, marks, Kind::JsonLines)
}

fn finish(decoded: Decoded, marks: Vec<Mark>, kind: Kind) -> Extracted {
    Extracted {
        marks,
        text: decoded.text,
        offsets: decoded.offsets,
        title: None,
        meta: decoded.meta,
        kind,
    }
}

/// Where members and elements of the outer two levels begin.
fn members(text: &str) -> Vec<Mark> {
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    let (mut depth, mut quoted, mut escaped, mut awaits) = (0_usize, false, false, true);
    for (offset, byte) in text.bytes().enumerate() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let begins = awaits && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']' | b',');
        if begins {
            awaits = false;
            match depth {
                1 => outer.push(offset),
                2 => inner.push(offset),
                _ => {}
            }
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                awaits = true;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => awaits = true,
            _ => {}
        }
    }
    if outer.len() <= 1 && !inner.is_empty() {
        // The first inner one lies behind the outer one's key, which belongs to it.
        outer.extend(inner.into_iter().skip(1));
    }
    outer.into_iter().map(|offset| Mark { offset, kind: MarkKind::Block }).collect()
}
