//! reStructuredText: the file as it is, with marks at section titles and blocks.
//!
//! A title is a line of text over a line of one repeated punctuation character at least as long, or
//! between two such lines. Which adornment means which level is decided by the order in which they
//! appear, as docutils does. A list of `Name: value` lines at the top (as PEPs have) or a field list of
//! `:name: value` becomes `meta`; it stays in the text as well.

use serde_json::{Map, Value};

use super::encoding::Decoded;
use super::markdown::first_title;
use super::plain::lines;
use super::{Extracted, Kind, Mark, MarkKind};

/// Longest value of a field that is taken as metadata.
const FIELD_BYTES_MAX: usize = 2_000;

pub(super) fn extract(decoded: Decoded) -> Extracted {
    let lines: Vec<(usize, &str)> = lines(&decoded.text).collect();
    let mut meta = fields(&lines);
    let marks = marks(&lines);
    let named = ["title", "Title"].iter().find_map(|key| meta.get(*key)?.as_str());
    let title = named.map(str::to_owned).or_else(|| first_title(&marks));
    meta.extend(decoded.meta);
    Extracted { title, marks, meta, text: decoded.text, offsets: decoded.offsets, kind: Kind::Rst }
}

/// How a title is adorned: by which character, and whether above it too.
type Adornment = (char, bool);

fn marks(lines: &[(usize, &str)]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut levels: Vec<Adornment> = Vec::new();
    let mut after_blank = true;
    let mut at = 0;
    while let Some(&(offset, line)) = lines.get(at) {
        if after_blank && let Some((adornment, title, n_lines)) = title_at(&lines[at..]) {
            let level = levels.iter().position(|known| *known == adornment).unwrap_or_else(|| {
                levels.push(adornment);
                levels.len() - 1
            });
            let level = (level + 1).min(6) as u8;
            let text = title.trim().to_owned();
            marks.push(Mark { offset, kind: MarkKind::Heading { level, text } });
            at += n_lines;
            // What follows a title is a new block, with or without a blank line.
            after_blank = true;
            continue;
        }
        let blank = line.trim().is_empty();
        if !blank && (after_blank || begins_item(line)) {
            marks.push(Mark { offset, kind: MarkKind::Block });
        }
        after_blank = blank;
        at += 1;
    }
    marks
}

/// A title that begins at the first of these lines: its adornment, its text, how many lines it takes.
fn title_at<'a>(lines: &[(usize, &'a str)]) -> Option<(Adornment, &'a str, usize)> {
    let line = |idx: usize| lines.get(idx).map(|(_, line)| line.trim_end());
    let (first, second) = (line(0)?, line(1)?);
    if let Some(adornment) = rule(first) {
        let fits = !second.trim().is_empty() && rule(second).is_none();
        return (fits && line(2)? == first && width(second) <= width(first)).then_some((
            (adornment, true),
            second,
            3,
        ));
    }
    let adornment = rule(second)?;
    // Docutils lets a short underline pass with a warning if it has four characters.
    let fits = width(second) >= width(first) || width(second) >= 4;
    (fits && !first.is_empty() && !first.starts_with([' ', '\t'])).then_some((
        (adornment, false),
        first,
        2,
    ))
}

/// The character of which a line is made, if it is a line of one repeated punctuation character.
fn rule(line: &str) -> Option<char> {
    let first = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() >= 2 && line.chars().all(|c| c == first)).then_some(first)
}

fn width(line: &str) -> usize {
    line.chars().count()
}

/// A list item or directive directly below another line.
fn begins_item(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("* ") || line.starts_with("- ") || line.starts_with("#. ")
}

/// The field list at the very top, if there is one.
fn fields(lines: &[(usize, &str)]) -> Map<String, Value> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let top = lines.iter().map(|(_, line)| *line).skip_while(|line| line.trim().is_empty());
    for line in top.take_while(|line| !line.trim().is_empty()) {
        match field(line) {
            Some((name, value)) => fields.push((name.to_owned(), value.trim().to_owned())),
            None => match fields.last_mut() {
                Some((_, value)) if line.starts_with([' ', '\t']) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                _ => return Map::new(),
            },
        }
    }
    let short = |value: &String| value.len() <= FIELD_BYTES_MAX;
    let kept = fields.into_iter().filter(|(_, value)| short(value));
    kept.map(|(name, value)| (name, Value::from(value))).collect()
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix(':').unwrap_or(line).split_once(':')?;
    let starts = name.chars().next().is_some_and(char::is_alphabetic);
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    let parted = value.is_empty() || value.starts_with([' ', '\t']);
    (starts && plain && parted && name.len() <= 40).then_some((name, value))
}
