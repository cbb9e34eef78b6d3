//! Sections: what lies between headings and pages, and which of them go together.
//!
//! A section is the text from a heading, or from the start of a page or of the text, to the next. A
//! heading without a text of its own is given to its neighbour; then small neighbours form one unit.
//! Whether two sections go together depends on those two alone (never on how much was put together
//! before them), so that an edit cannot reach further than the sections it touches; a unit that is too
//! long for one chunk is cut like any text, with the starts of its sections as its best boundaries.

use std::ops::Range;

use super::tokens::TokenStarts;
use crate::ingest::extract::{Extracted, MarkKind};

/// Neighbouring sections that may share a chunk: often just one.
pub(super) struct Unit {
    /// All of it.
    pub(super) range: Range<usize>,
    /// The page it lies on.
    pub(super) page: Option<u32>,
    sections: Vec<Section>,
}

impl Unit {
    /// Where its sections begin, but for the first.
    pub(super) fn inner_starts(&self) -> impl Iterator<Item = usize> {
        self.sections.iter().skip(1).map(|section| section.range.start)
    }

    /// The heading path shared by all sections that a part of the unit touches.
    pub(super) fn headings(&self, part: &Range<usize>) -> Vec<String> {
        let first = self.sections.partition_point(|section| section.range.end <= part.start);
        let end = self.sections.partition_point(|section| section.range.start < part.end);
        let touched = &self.sections[first..end];
        let path = &touched[0].path;
        let shared = touched.iter().fold(path.len(), |shared, section| {
            path[..shared].iter().zip(&section.path).take_while(|(a, b)| a == b).count()
        });
        path[..shared].to_vec()
    }
}

/// A heading, a page or the start of the text, up to the next of them.
struct Section {
    range: Range<usize>,
    /// Headings it lies under, its own included.
    path: Vec<String>,
    page: Option<u32>,
    /// Whether nothing of what comes before may be put together with it.
    begins_page: bool,
    /// Whether it is a heading and nothing else.
    bare: bool,
}

/// Cuts a text into units. Sections with fewer than `small` tokens are put together.
pub(super) fn units(extracted: &Extracted, starts: &TokenStarts, small: usize) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut before_is_small = false;
    for section in join_bare(sections(extracted)) {
        let is_small = starts.count(&section.range) < small;
        let together = is_small && before_is_small && !section.begins_page;
        before_is_small = is_small;
        match units.last_mut() {
            Some(unit)
                if together && unit.sections.last().is_some_and(|s| goes_with(s, &section)) =>
            {
                unit.range.end = section.range.end;
                unit.sections.push(section);
            }
            _ => units.push(Unit {
                range: section.range.clone(),
                page: section.page,
                sections: vec![section],
            }),
        }
    }
    units
}

/// Whether a section is the sibling of the one before it, or its first child.
fn goes_with(before: &Section, section: &Section) -> bool {
    let parent = |path: &Vec<String>| path[..path.len().saturating_sub(1)].to_vec();
    let own = parent(&section.path);
    own == parent(&before.path) || own == before.path
}

/// The sections of a text, in order, without empty ones.
fn sections(extracted: &Extracted) -> Vec<Section> {
    let text = extracted.text.as_str();
    let mut sections = Vec::new();
    let mut open: Vec<(u8, String)> = Vec::new();
    let mut current =
        Section { range: 0..0, path: Vec::new(), page: None, begins_page: true, bare: false };
    let mut has_heading = false;
    let mut close = |section: &mut Section, has_heading: bool, end: usize| {
        section.range.end = end;
        let own = &text[section.range.clone()];
        section.bare = has_heading && !has_body(own);
        let next = Section {
            range: end..end,
            path: section.path.clone(),
            page: section.page,
            begins_page: false,
            bare: false,
        };
        if own.trim().is_empty() {
            // Nothing there, but a page that began there still begins.
            section.range.start = end;
        } else {
            sections.push(std::mem::replace(section, next));
        }
    };
    for mark in &extracted.marks {
        match &mark.kind {
            MarkKind::Block => continue,
            MarkKind::Page(page) => {
                close(&mut current, has_heading, mark.offset);
                current.page = Some(*page);
                current.begins_page = true;
                has_heading = false;
            }
            MarkKind::Heading { level, text: title } => {
                close(&mut current, has_heading, mark.offset);
                open.retain(|(outer, _)| outer < level);
                open.push((*level, title.clone()));
                current.path = open.iter().map(|(_, title)| title.clone()).collect();
                has_heading = true;
            }
        }
    }
    close(&mut current, has_heading, text.len());
    sections
}

/// Gives each heading without a text of its own to the section after it; where its page or the text
/// ends, to the section before it; and leaves it alone on a page that holds nothing else.
fn join_bare(sections: Vec<Section>) -> Vec<Section> {
    let mut joined: Vec<Section> = Vec::with_capacity(sections.len());
    let mut sections = sections.into_iter().peekable();
    let mut pending: Option<Section> = None;
    while let Some(mut section) = sections.next() {
        if let Some(heading) = pending.take() {
            section.range.start = heading.range.start;
            section.begins_page = heading.begins_page;
        }
        let page_ends = sections.peek().is_none_or(|next| next.begins_page);
        if !section.bare {
            joined.push(section);
        } else if !page_ends {
            pending = Some(section);
        } else if let Some(before) = joined.last_mut().filter(|_| !section.begins_page) {
            before.range.end = section.range.end;
        } else {
            joined.push(section);
        }
    }
    joined
}

/// Whether a section that begins with a heading has anything after it. The heading is the first line
/// with a letter or digit; lines of mere punctuation are its underline, overline or a rule.
fn has_body(section: &str) -> bool {
    let mut lines = section.lines().filter(|line| line.contains(char::is_alphanumeric));
    lines.next().is_some() && lines.next().is_some()
}
