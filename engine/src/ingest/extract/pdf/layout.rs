//! From glyphs with places to words, lines and paragraphs.
//!
//! The order is that in which the page draws, which is the reading order of nearly every producer. Where
//! a glyph lands relative to the end of the one before decides what stands between them: nothing, a
//! space, a new line or a new paragraph. Distances are measured along and across the direction of
//! writing, in units of the font's size, so turned pages and sheared text need no case of their own.
//!
//! A word cut by a hyphen at a line's end is put together again, ligatures are taken apart, and text
//! drawn twice in one place (how some producers make bold letters) counts once. Right-to-left letters
//! that a page draws from left to right are turned round.

use hayro_interpret::font::{Glyph, GlyphRun, PositionedGlyph};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::kurbo::{Affine, Point, Vec2};

/// A wider gap than this parts words, in font sizes.
const SPACE_GAP: f64 = 0.13;

/// A baseline this far off is another line, in font sizes. Sub- and superscripts stay below it.
const LINE_SHIFT: f64 = 0.5;

/// A baseline this far off begins a paragraph, in font sizes; common line spacing is 1.0 to 1.5.
const PARAGRAPH_SHIFT: f64 = 1.75;

/// A step back that is longer than this leaves the line, in font sizes. Kerning stays below it.
const BACK_STEP: f64 = 0.6;

/// Glyphs are drawn in thousandths of the font's size.
const UNITS: f64 = 1000.0;

/// One page's text while it is drawn.
#[derive(Default)]
pub(super) struct PageText {
    text: String,
    /// Where paragraphs begin.
    blocks: Vec<usize>,
    /// Where the current line begins, and whether it has right-to-left letters drawn left to right.
    line_start: usize,
    line_is_visual: bool,
    last: Option<Placed>,
    last_run: Option<(Point, String)>,
    pub(super) n_unmapped: u64,
}

/// Where a glyph stands.
#[derive(Clone, Copy, Debug)]
struct Placed {
    origin: Point,
    end: Point,
    /// The direction of writing, of length 1.
    along: Vec2,
    size: f64,
    is_backward: bool,
}

/// What stands between two glyphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    Space,
    Line,
    Paragraph,
}

impl PageText {
    /// How long the text is by now.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Adds the glyphs of one drawing operation.
    pub(super) fn push_run(&mut self, run: &GlyphRun<'_, '_>, transform: Affine) {
        let mut glyphs = Vec::with_capacity(run.glyphs().len());
        let mut whole = String::new();
        for glyph in run.glyphs() {
            match meaning(glyph) {
                Some(text) => {
                    whole.push_str(&text);
                    glyphs.extend(
                        place(glyph, transform, run.writing_mode(), &text)
                            .map(|placed| (placed, text)),
                    );
                }
                None => self.n_unmapped += 1,
            }
        }
        let Some((first, _)) = glyphs.first() else { return };
        let (origin, near) = (first.origin, first.size * 0.1);
        let again = self.last_run.as_ref().is_some_and(|(last_origin, last_text)| {
            (*last_origin - origin).hypot() < near && *last_text == whole
        });
        self.last_run = Some((origin, whole));
        if again {
            return;
        }
        for (placed, text) in glyphs {
            self.push(placed, &text);
        }
    }

    /// The text and where its paragraphs begin.
    pub(super) fn finish(mut self) -> (String, Vec<usize>) {
        self.end_line();
        self.text.truncate(self.text.trim_end().len());
        let end = self.text.len();
        self.blocks.retain(|at| *at < end);
        (self.text, self.blocks)
    }

    fn push(&mut self, placed: Placed, text: &str) {
        let between = match &self.last {
            Some(last) => between(last, &placed),
            None => Between::Paragraph,
        };
        let visual = self.last.is_some_and(|last| {
            let onward = (placed.origin - last.origin).dot(last.along) > 0.0;
            last.is_backward && placed.is_backward && onward
        });
        self.last = Some(placed);
        match between {
            Between::Nothing => {}
            Between::Space => self.push_space(),
            Between::Line if self.rejoins(text) => {
                self.text.pop();
            }
            Between::Line => self.break_line("\n"),
            Between::Paragraph => self.break_line("\n\n"),
        }
        if text.chars().all(char::is_whitespace) {
            self.push_space();
            return;
        }
        if between == Between::Paragraph || self.text.is_empty() {
            self.blocks.push(self.text.len());
        }
        self.line_is_visual |= visual && matches!(between, Between::Nothing | Between::Space);
        self.text.push_str(text);
    }

    fn push_space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    fn break_line(&mut self, with: &str) {
        self.end_line();
        self.text.truncate(self.text.trim_end().len());
        if !self.text.is_empty() {
            self.text.push_str(with);
        }
        self.line_start = self.text.len();
    }

    /// Whether the text ends in the first half of a word that goes on with `text`.
    fn rejoins(&self, text: &str) -> bool {
        let mut ends = self.text.chars().rev();
        let hyphen = ends.next();
        let cut = ends.next().is_some_and(char::is_lowercase);
        let goes_on = text.chars().next().is_some_and(char::is_lowercase);
        matches!(hyphen, Some('-' | '\u{ad}' | '\u{2010}')) && cut && goes_on
    }

    /// Turns letters that are read from right to left but came from left to right.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.line_is_visual) {
            let line = self.text.split_off(self.line_start.min(self.text.len()));
            self.text.push_str(&turned(&line));
        }
    }
}

/// What a glyph stands for, if the file says so.
fn meaning(glyph: &PositionedGlyph<'_>) -> Option<String> {
    let text = match glyph.as_unicode()? {
        BfString::Char(c) => c.to_string(),
        BfString::String(text) => text,
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{fb00}' => plain.push_str("ff"),
            '\u{fb01}' => plain.push_str("fi"),
            '\u{fb02}' => plain.push_str("fl"),
            '\u{fb03}' => plain.push_str("ffi"),
            '\u{fb04}' => plain.push_str("ffl"),
            '\u{fb05}' | '\u{fb06}' => plain.push_str("st"),
            '\u{a0}' | '\t' | '\n' | '\r' => plain.push(' '),
            // The bullet of Word's Symbol font.
            '\u{f0b7}' => plain.push('\u{2022}'),
            '\u{fffd}' => return None,
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// Where a glyph stands on the page; `None` where that is no number.
fn place(
    glyph: &PositionedGlyph<'_>,
    transform: Affine,
    mode: WritingMode,
    text: &str,
) -> Option<Placed> {
    let transform = transform * glyph.transform();
    let origin = transform * Point::ZERO;
    let right = transform * Point::new(UNITS, 0.0) - origin;
    let up = transform * Point::new(0.0, UNITS) - origin;
    let advance = match &**glyph {
        Glyph::Outline(glyph) => glyph.advance_width(),
        Glyph::Type3(glyph) => glyph.advance_width(),
    };
    let advance = advance.map_or(0.5, |advance| f64::from(advance) / UNITS);
    let (along, reach) = match mode {
        WritingMode::Horizontal => (right, right * advance),
        WritingMode::Vertical => (-up, -up),
    };
    let size = up.hypot().max(right.hypot() * 0.1);
    let finite = origin.is_finite() && along.is_finite() && size.is_finite() && size > 0.0;
    if !finite || along.hypot() == 0.0 {
        return None;
    }
    Some(Placed {
        origin,
        end: origin + reach,
        along: along / along.hypot(),
        size,
        is_backward: text.chars().any(is_right_to_left),
    })
}

/// What stands between a glyph and the next.
fn between(last: &Placed, next: &Placed) -> Between {
    let size = last.size.max(next.size);
    let step = next.origin - last.end;
    let (along, across) = (step.dot(last.along) / size, step.cross(last.along).abs() / size);
    let turned = last.along.dot(next.along) < 0.95;
    if turned || across > PARAGRAPH_SHIFT {
        return Between::Paragraph;
    }
    if across > LINE_SHIFT {
        let other_size = last.size.min(next.size) < size * 0.8;
        // A step up, against the order of lines, is the next column.
        let up = step.cross(last.along) < 0.0;
        return if other_size || up { Between::Paragraph } else { Between::Line };
    }
    if along < -BACK_STEP {
        // Right-to-left text goes back at each letter: the gap is between their near edges.
        let gap = (last.origin - next.end).dot(last.along) / size;
        return match last.is_backward && next.is_backward && gap > -BACK_STEP {
            true if gap > SPACE_GAP => Between::Space,
            true => Between::Nothing,
            false => Between::Line,
        };
    }
    if along > SPACE_GAP { Between::Space } else { Between::Nothing }
}

/// Hebrew, Arabic and their neighbours, with the Arabic presentation forms.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

/// A line with each run of right-to-left letters, and what stands inside it, the other way round.
fn turned(line: &str) -> String {
    let mut turned = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_right_to_left) {
        let (before, from) = rest.split_at(start);
        let stop = from.find(|c: char| c.is_alphanumeric() && !is_right_to_left(c));
        let reach = &from[..stop.unwrap_or(from.len())];
        // Spaces and marks behind the last letter stay where they are.
        let end = reach
            .rfind(is_right_to_left)
            .map_or(0, |last| last + reach[last..].chars().next().map_or(0, char::len_utf8));
        turned.push_str(before);
        turned.extend(reach[..end].chars().rev());
        rest = &from[end..];
    }
    turned.push_str(rest);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_to_left_letters_are_turned_and_the_rest_stays() {
        assert_eq!(turned("abc 12"), "abc 12");
        assert_eq!(turned("a \u{5d2}\u{5d1} \u{5d0}! b"), "a \u{5d0} \u{5d1}\u{5d2}! b");
        assert_eq!(turned("\u{5d1}\u{5d0} 12 \u{5d3}\u{5d2}"), "\u{5d0}\u{5d1} 12 \u{5d2}\u{5d3}");
    }
}
