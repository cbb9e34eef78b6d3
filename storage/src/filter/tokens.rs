//! The words, literals and signs of a filter's text, each with its place, as `sqlparser` finds them.

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};

use super::FilterError;

/// Words that cannot be names unless they are quoted.
const RESERVED: [&str; 12] =
    ["AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "ESCAPE", "BETWEEN", "IS", "NULL", "TRUE", "FALSE"];

/// What names look like without quotes; all else as the library has it.
#[derive(Debug)]
struct Names;

impl Dialect for Names {
    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_'
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"'
    }
}

/// A token and its bytes in the text.
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tokens of a text without the space between them. Comments are refused: they hide what a filter says.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, FilterError> {
    let mut offsets = Offsets { text, location: Location { line: 1, column: 1 }, offset: 0 };
    let found = Tokenizer::new(&Names, text).tokenize_with_location().map_err(|error| {
        let at = offsets.of(error.location);
        FilterError::in_text(text, at, text.len(), lower_first(&error.message))
    })?;
    let mut placed = Vec::with_capacity(found.len() / 2);
    for found in found {
        let (start, end) = (offsets.of(found.span.start), offsets.of(found.span.end));
        match found.token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => {}
            Token::Whitespace(_) => {
                return Err(FilterError::in_text(text, start, end, "comments are not supported"));
            }
            token => placed.push(Placed { token, start, end }),
        }
    }
    Ok(placed)
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// Turns the library's lines and columns, asked for in rising order, into bytes.
struct Offsets<'a> {
    text: &'a str,
    location: Location,
    offset: usize,
}

impl Offsets<'_> {
    fn of(&mut self, wanted: Location) -> usize {
        for character in self.text[self.offset..].chars() {
            let Location { line, column } = self.location;
            if (line, column) >= (wanted.line, wanted.column) {
                break;
            }
            self.location = match character {
                '\n' => Location { line: line + 1, column: 1 },
                _ => Location { line, column: column + 1 },
            };
            self.offset += character.len_utf8();
        }
        self.offset
    }
}

/// Whether a path reads as the same path without quotes.
pub(super) fn is_plain(path: &str) -> bool {
    path.split('.').all(|name| {
        let mut characters = name.chars();
        let is_name = characters.next().is_some_and(|first| Names.is_identifier_start(first))
            && characters.all(|character| Names.is_identifier_part(character));
        is_name && !is_reserved(name)
    })
}

pub(super) fn is_reserved(word: &str) -> bool {
    is_other_sql(word) || RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}

/// Words that begin what SQL has and filters have not. They name fields only in quotes, so that the error names them.
pub(super) fn is_other_sql(word: &str) -> bool {
    const OTHER: [&str; 8] =
        ["SELECT", "EXISTS", "CASE", "CAST", "ANY", "ALL", "INTERVAL", "REGEXP"];
    OTHER.iter().any(|other| word.eq_ignore_ascii_case(other))
}
