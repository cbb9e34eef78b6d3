//! Word documents, rendered: paragraphs, headings, lists, tables, then notes and comments.
//!
//! A paragraph is a heading if its style is one, by the style's name (which is the same in every
//! language of Word) or its outline level. Deleted and moved-away text, field codes and the fallbacks of
//! drawings are left out; text boxes, equations and links are text like any other. Headers and footers
//! are left out: they say the same on every page.

use std::collections::HashMap;

use quick_xml::events::BytesStart;
use serde_json::{Map, Value};

use super::archive::{Archive, Piece, attribute, pieces};
use super::markdown::first_title;
use super::rendering::Rendering;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Offsets};

/// Parts with text, in the order in which they are rendered.
const PARTS: &[&str] =
    &["word/document.xml", "word/footnotes.xml", "word/endnotes.xml", "word/comments.xml"];

pub(super) fn extract(bytes: Vec<u8>, watch: &Watch) -> Result<Extracted, Failure> {
    let mut archive = Archive::open(bytes, watch)?;
    if !archive.has(PARTS[0]) {
        return Err(Failure::Failed("broken: there is no word/document.xml in it".to_owned()));
    }
    let styles = match archive.text("word/styles.xml")? {
        Some(xml) => heading_styles(&xml, watch)?,
        None => HashMap::new(),
    };
    let mut rendering = Rendering::default();
    for name in PARTS {
        if let Some(xml) = archive.text(name)? {
            render(&xml, &styles, &mut rendering, watch)?;
        }
    }
    let (title, meta) = properties(&mut archive, watch)?;
    let (text, marks) = rendering.finish();
    Ok(Extracted {
        title: title.or_else(|| first_title(&marks)),
        text,
        offsets: Offsets::Text,
        marks,
        meta,
        kind: Kind::Docx,
    })
}

/// Title, and author, subject, keywords and description, of any Office file.
pub(super) fn properties(
    archive: &mut Archive,
    watch: &Watch,
) -> Result<(Option<String>, Map<String, Value>), Failure> {
    let mut meta = Map::new();
    let Some(xml) = archive.text("docProps/core.xml")? else { return Ok((None, meta)) };
    let mut open = String::new();
    let mut values: HashMap<&str, String> = HashMap::new();
    pieces(&xml, watch, |piece| {
        match piece {
            Piece::Start(name, _) => open = name.to_owned(),
            Piece::End(_) => open.clear(),
            Piece::Text(text) => {
                let key = match open.as_str() {
                    "title" => "title",
                    "creator" => "author",
                    "subject" => "subject",
                    "keywords" => "keywords",
                    "description" => "description",
                    _ => return Ok(()),
                };
                values.entry(key).or_default().push_str(text);
            }
        }
        Ok(())
    })?;
    values.retain(|_, value| !value.trim().is_empty());
    let title = values.remove("title").map(|title| title.trim().to_owned());
    meta.extend(values.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value.trim()))));
    Ok((title, meta))
}

/// The heading level of each style that has one, by the style's id.
fn heading_styles(xml: &str, watch: &Watch) -> Result<HashMap<String, u8>, Failure> {
    let mut levels = HashMap::new();
    let mut style: Option<String> = None;
    pieces(xml, watch, |piece| {
        match piece {
            Piece::Start("style", tag) => style = attribute(tag, "styleId"),
            Piece::Start("name", tag) => {
                let name = attribute(tag, "val").unwrap_or_default();
                if let (Some(style), Some(level)) = (&style, level_of_name(&name)) {
                    levels.insert(style.clone(), level);
                }
            }
            Piece::Start("outlineLvl", tag) => {
                if let (Some(style), Some(level)) = (&style, outline_level(tag)) {
                    levels.entry(style.clone()).or_insert(level);
                }
            }
            Piece::End("style") => style = None,
            _ => {}
        }
        Ok(())
    })?;
    Ok(levels)
}

/// `heading 2` is 2; `Title` is 1. Also ids, which look like `Heading2` where there are no styles.
fn level_of_name(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(1);
    }
    let level: u8 = name.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(level.min(6))
}

/// Word counts outline levels from 0; 9 is running text.
fn outline_level(tag: &BytesStart<'_>) -> Option<u8> {
    let level: u8 = attribute(tag, "val")?.parse().ok()?;
    (level < 9).then_some((level + 1).min(6))
}

/// Where we are in a part.
#[derive(Default)]
struct State {
    /// Elements that are left out and are open here.
    n_left_out: usize,
    n_text: usize,
    n_tables: usize,
    in_heading: bool,
    /// The paragraph is a list item whose bullet is not yet written.
    bullet: bool,
    /// The row has a cell before this one.
    has_cell: bool,
    /// The cell has a paragraph before this one.
    has_paragraph: bool,
}

fn render(
    xml: &str,
    styles: &HashMap<String, u8>,
    rendering: &mut Rendering,
    watch: &Watch,
) -> Result<(), Failure> {
    let mut state = State::default();
    pieces(xml, watch, |piece| {
        rendering.check(watch)?;
        match piece {
            Piece::Start(name, _) if left_out(name) => state.n_left_out += 1,
            Piece::End(name) if left_out(name) => {
                state.n_left_out = state.n_left_out.saturating_sub(1);
            }
            _ if state.n_left_out > 0 => {}
            Piece::Start(name, tag) => start(name, tag, styles, rendering, &mut state),
            Piece::End("t") => state.n_text = state.n_text.saturating_sub(1),
            Piece::End("tbl") => {
                state.n_tables = state.n_tables.saturating_sub(1);
                rendering.block();
            }
            Piece::Text(text) if state.n_text > 0 => {
                if std::mem::take(&mut state.bullet) && !state.in_heading {
                    rendering.push("- ");
                }
                rendering.push(text);
            }
            Piece::End(_) | Piece::Text(_) => {}
        }
        Ok(())
    })
}

fn left_out(name: &str) -> bool {
    matches!(name, "Fallback" | "moveFrom" | "del")
}

fn start(
    name: &str,
    tag: &BytesStart<'_>,
    styles: &HashMap<String, u8>,
    rendering: &mut Rendering,
    state: &mut State,
) {
    let mut heading = |state: &mut State, level: Option<u8>| {
        if let (Some(level), 0) = (level, state.n_tables) {
            state.in_heading = true;
            rendering.heading(level);
        }
    };
    match name {
        "pStyle" => {
            let style = attribute(tag, "val").unwrap_or_default();
            heading(state, styles.get(&style).copied().or_else(|| level_of_name(&style)));
        }
        "outlineLvl" => heading(state, outline_level(tag)),
        "numPr" => state.bullet = true,
        "t" => state.n_text += 1,
        "p" => {
            state.in_heading = false;
            state.bullet = false;
            match state.n_tables {
                0 => rendering.block(),
                _ if std::mem::replace(&mut state.has_paragraph, true) => rendering.line(),
                _ => {}
            }
        }
        "tbl" => state.n_tables += 1,
        "tr" => {
            rendering.block();
            state.has_cell = false;
        }
        "tc" => {
            state.has_paragraph = false;
            if std::mem::replace(&mut state.has_cell, true) {
                rendering.cell();
            }
        }
        "tab" | "ptab" => rendering.space(),
        "br" | "cr" => rendering.line(),
        "noBreakHyphen" => rendering.push("-"),
        _ => {}
    }
}
