//! Filters: which rows a search may return, by what is known of them.
//!
//! ```text
//! lang = 'en' AND year >= 2020 AND path LIKE 'docs/%' AND tag IN ('a', 'b')
//! ```
//!
//! [`Filter`] says which fields there are and what conditions mean.
//!
//! # Two evaluations
//!
//! [`Filter::matches`] looks at the fields of one row and is the definition. `columns` answers for all rows of a
//! segment from sorted values and bitmaps, and is tested against it.

pub(crate) mod columns;
mod error;
pub(crate) mod fields;
mod json;
mod like;
mod parse;
mod print;
mod scalar;
mod survey;
mod tokens;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::path::{MAIN_SEPARATOR, Path};
use std::str::FromStr;

pub use error::{FilterError, Place};
pub use survey::Field;

use fields::{CHUNK_FIELDS, Fields};
use like::Pattern;
use scalar::Scalar;

/// Takes the meaning from `%` and `_` in patterns that are made here.
const ESCAPE: char = '!';

/// Most ANDs, ORs and NOTs around a comparison. As JSON each is two levels, and JSON readers stop at 128.
const MAX_DEPTH: usize = 32;

/// A condition on the fields of a row, from text or JSON; prints itself as text.
///
/// ```
/// use storage::Filter;
///
/// let filter = Filter::parse("lang = 'en' AND year >= 2020 AND tag IN ('a', 'b')").unwrap();
/// assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), filter);
///
/// let error = Filter::parse("lang = = 'en'").unwrap_err();
/// assert_eq!(error.caret().unwrap(), "lang = = 'en'\n       ^");
/// ```
///
/// # Fields
///
/// A document's metadata is flattened: `{"author": {"name": "Ada"}}` has the field `author.name`, and the elements of
/// an array are all values of one field. A JSON null is no value. Besides, every row has these fields, which hide
/// metadata of the same name; where a row has none of its own, metadata of that name counts.
///
/// | field | is |
/// |---|---|
/// | `id` | the document's id |
/// | `path` | the path of its source: absolute, from the folder that was indexed, and from the folder above it; its id if it has no source |
/// | `title` | its title |
/// | `kind` | what kind of file its source is |
/// | `time` | when the source was last changed, as a date and as seconds since 1970 |
/// | `indexed` | when the source was indexed, as a date and as seconds since 1970 |
/// | `heading` | the chunk's headings, outermost first, joined with ` > ` |
/// | `page` | the chunk's page |
/// | `chunk` | the chunk's position in its document |
/// | `tokens` | tokens in the chunk |
///
/// `time` and `indexed` are those of the last change of content: [`Store::touch`](crate::Store::touch) leaves them.
///
/// # Meaning
///
/// - A comparison is true if one of the field's values compares so, false if none does, and *unknown* if the field has
///   no value. NOT, AND and OR treat unknown as SQL does, and a row passes if the whole is true. So neither
///   `year > 2020` nor `NOT year > 2020` nor `year != 2020` passes rows without a year; `year IS NULL` does.
/// - `a != x` is `NOT a = x`, and so for NOT IN, NOT LIKE and NOT BETWEEN: with several values, none may be so.
///   BETWEEN includes both ends, and one value has to be between them.
/// - Values of different types are unequal, and none is above the other. Numbers compare by what they are worth,
///   without rounding. Texts compare by their bytes, case included.
/// - Dates are texts. A date and time with an offset, as RFC 3339 has it, is brought to UTC with nine digits of the
///   second, in metadata and in filters, so that order of bytes is order of time: `time >= '2024-05-01'` and
///   `time < '2024-05-01T14:00:00+02:00'` both work.
/// - LIKE and ILIKE look at texts only; `%` is any characters, `_` is one, nothing escapes them unless ESCAPE says so.
///   ILIKE compares in lower case.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    condition: Condition,
}

/// The tree of a filter. `!=` and the NOT forms of IN, LIKE, BETWEEN and IS NULL are a `Not` around the plain form.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// All hold; TRUE if there are none. Never exactly one.
    And(Vec<Condition>),
    /// One holds; FALSE if there are none. Never exactly one.
    Or(Vec<Condition>),
    Not(Box<Condition>),
    IsNull(String),
    /// A field has a value that passes a test.
    Has(String, Test),
}

/// What is asked of one value.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Compare(Comparison, Scalar),
    Between(Scalar, Scalar),
    In(Vec<Scalar>),
    Like(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    const ALL: [Comparison; 5] = [
        Comparison::Equal,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Test {
    fn passes(&self, value: &Scalar) -> bool {
        match self {
            Test::Compare(comparison, with) => {
                value.compare(with).is_some_and(|ordering| comparison.accepts(ordering))
            }
            Test::Between(low, high) => {
                value.compare(low).is_some_and(Ordering::is_ge)
                    && value.compare(high).is_some_and(Ordering::is_le)
            }
            Test::In(values) => values.contains(value),
            Test::Like(pattern) => match value {
                Scalar::Text(text) => pattern.matches(text),
                _ => false,
            },
        }
    }
}

impl Condition {
    fn and(mut conditions: Vec<Condition>) -> Condition {
        match conditions.pop() {
            Some(only) if conditions.is_empty() => only,
            last => {
                conditions.extend(last);
                Condition::And(conditions)
            }
        }
    }

    fn or(mut conditions: Vec<Condition>) -> Condition {
        match conditions.pop() {
            Some(only) if conditions.is_empty() => only,
            last => {
                conditions.extend(last);
                Condition::Or(conditions)
            }
        }
    }

    fn not(condition: Condition) -> Condition {
        Condition::Not(Box::new(condition))
    }

    /// True, false, or `None` for unknown.
    fn truth(&self, fields: &Fields) -> Option<bool> {
        match self {
            Condition::And(conditions) => {
                conditions.iter().map(|each| each.truth(fields)).fold(Some(true), and)
            }
            Condition::Or(conditions) => {
                let negated = |each: &Condition| each.truth(fields).map(|truth| !truth);
                conditions.iter().map(negated).fold(Some(true), and).map(|truth| !truth)
            }
            Condition::Not(condition) => condition.truth(fields).map(|truth| !truth),
            Condition::IsNull(field) => Some(fields.get(field).is_empty()),
            Condition::Has(field, test) => match fields.get(field) {
                [] => None,
                values => Some(values.iter().any(|value| test.passes(value))),
            },
        }
    }

    /// ANDs, ORs and NOTs around the deepest comparison.
    fn depth(&self) -> usize {
        match self {
            Condition::And(conditions) | Condition::Or(conditions) => {
                1 + conditions.iter().map(Condition::depth).max().unwrap_or(0)
            }
            Condition::Not(condition) => 1 + condition.depth(),
            Condition::IsNull(_) | Condition::Has(..) => 0,
        }
    }

    fn any_field(&self, is_asked: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Condition::And(conditions) | Condition::Or(conditions) => {
                conditions.iter().any(|each| each.any_field(is_asked))
            }
            Condition::Not(condition) => condition.any_field(is_asked),
            Condition::IsNull(field) | Condition::Has(field, _) => is_asked(field),
        }
    }
}

/// AND of SQL: false wins over unknown.
fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

impl Filter {
    /// Passes what lies at a path, a file or a folder: rows with a `path` that is this one or begins with it.
    ///
    /// The path is absolute, or from an indexed folder or the folder above it.
    pub fn below(path: &Path) -> Filter {
        let path = path.to_string_lossy();
        let mut prefix = String::new();
        for character in path.trim_end_matches(MAIN_SEPARATOR).chars().chain([MAIN_SEPARATOR]) {
            if matches!(character, '%' | '_' | ESCAPE) {
                prefix.push(ESCAPE);
            }
            prefix.push(character);
        }
        let pattern = Pattern::new(prefix + "%", Some(ESCAPE), false);
        let inside = Test::Like(pattern.expect("it does not end with the escape character"));
        let itself = Test::Compare(Comparison::Equal, Scalar::text(&path));
        let of_path = |test| Condition::Has("path".to_owned(), test);
        Filter { condition: Condition::or(vec![of_path(itself), of_path(inside)]) }
    }

    /// Passes what passes both.
    #[must_use]
    pub fn and(self, other: Filter) -> Filter {
        Filter { condition: Condition::and(vec![self.condition, other.condition]) }
    }

    /// Whether a row with these fields passes: the definition.
    pub(crate) fn matches(&self, fields: &Fields) -> bool {
        self.condition.truth(fields) == Some(true)
    }

    /// The first field it names that only chunks have, not documents.
    pub(crate) fn chunk_field(&self) -> Option<&'static str> {
        CHUNK_FIELDS.into_iter().find(|own| self.condition.any_field(&|name| name == *own))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads a filter from text, or from the text of a JSON object if it begins with `{`.
    fn from_str(text: &str) -> Result<Filter, FilterError> {
        if !text.trim_start().starts_with('{') {
            return Filter::parse(text);
        }
        let value = serde_json::from_str(text)
            .map_err(|error| FilterError::in_json("", format!("it is no JSON: {error}")))?;
        Filter::from_json(&value)
    }
}
