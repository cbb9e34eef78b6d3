//! Source code and configuration: the file as it is, with a block at each top-level item.
//!
//! No grammar, one rule that holds in most languages: an item begins where a line without indentation
//! follows a blank line. A line that only closes what is open (`}`, `)`, `end`) begins nothing, and in
//! files of `[sections]` each section begins a block even without a blank line before it.

use serde_json::Value;

use super::encoding::Decoded;
use super::plain::lines;
use super::{Extracted, Kind, Mark, MarkKind};

pub(super) fn extract(decoded: Decoded, language: &str) -> Extracted {
    let mut meta = decoded.meta;
    meta.insert("language".to_owned(), Value::from(language));
    Extracted {
        marks: items(&decoded.text, matches!(language, "toml" | "ini")),
        text: decoded.text,
        offsets: decoded.offsets,
        title: None,
        meta,
        kind: Kind::Code,
    }
}

fn items(text: &str, has_sections: bool) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut after_blank = true;
    for (offset, line) in lines(text) {
        let blank = line.trim().is_empty();
        let section = has_sections && line.starts_with('[') && line.trim_end().ends_with(']');
        let begins = !blank && !line.starts_with([' ', '\t']) && !closes(line);
        if begins && (after_blank || section) {
            marks.push(Mark { offset, kind: MarkKind::Block });
        }
        after_blank = blank;
    }
    marks
}

/// Whether a line only ends what lines above it began.
fn closes(line: &str) -> bool {
    line.starts_with(['}', ')', ']']) || matches!(line.trim_end(), "end" | "fi" | "done" | "esac")
}
