//! What is wrong with a filter, and where.

use std::fmt;

/// Most characters of a filter that an error shows on either side of the place.
const SHOWN_CHARS: usize = 60;

/// Why a text or a JSON value is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    message: String,
    place: Place,
}

/// Where a filter is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a text.
    Text {
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
        /// Bytes before it in the whole text.
        offset: usize,
        /// The part that is wrong; empty at the end of the text.
        fragment: String,
        /// The line around it, cut to what a terminal shows, and the character in it that is wrong, from 0.
        shown: (String, usize),
    },
    /// In a JSON value: a JSON pointer (RFC 6901) to the part that is wrong.
    Json(String),
}

impl FilterError {
    /// An error at bytes `offset..end` of a text.
    pub(crate) fn in_text(
        text: &str,
        offset: usize,
        end: usize,
        message: impl Into<String>,
    ) -> FilterError {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[line_start..].chars().count();
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let skipped = column.saturating_sub(SHOWN_CHARS);
        let shown = text[line_start..line_end].chars().skip(skipped).take(2 * SHOWN_CHARS);
        let fragment = text.get(offset..end).unwrap_or_default();
        FilterError {
            message: message.into(),
            place: Place::Text {
                line: before.matches('\n').count() + 1,
                column: column + 1,
                offset,
                fragment: fragment.chars().take(SHOWN_CHARS).collect(),
                shown: (shown.collect(), column - skipped),
            },
        }
    }

    /// An error in a JSON value.
    pub(crate) fn in_json(pointer: &str, message: impl Into<String>) -> FilterError {
        FilterError { message: message.into(), place: Place::Json(pointer.to_owned()) }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is wrong.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The line that is wrong and below it a line with a caret, for terminals; `None` for JSON.
    pub fn caret(&self) -> Option<String> {
        let Place::Text { fragment, shown: (line, at), .. } = &self.place else { return None };
        let n_left = line.chars().count().saturating_sub(*at);
        let n_carets = fragment.lines().next().unwrap_or("").chars().count().min(n_left).max(1);
        // A tab keeps its width only if the line below has one too.
        let before = line.chars().take(*at).map(|c| if c == '\t' { '\t' } else { ' ' });
        Some(format!("{line}\n{}{}", before.collect::<String>(), "^".repeat(n_carets)))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Text { line, column, .. } => {
                write!(
                    f,
                    "cannot read the filter at line {line}, column {column}: {}",
                    self.message
                )
            }
            Place::Json(pointer) if pointer.is_empty() => {
                write!(f, "cannot read the filter: {}", self.message)
            }
            Place::Json(pointer) => {
                write!(f, "cannot read the filter at {pointer}: {}", self.message)
            }
        }
    }
}

impl std::error::Error for FilterError {}
