//! A filter as text. What it prints, [`Filter::parse`] reads as the same filter.

use std::fmt::{self, Display, Formatter};

use super::scalar::Scalar;
use super::{Condition, Filter, Test};

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        print(&self.condition, f)
    }
}

fn print(condition: &Condition, f: &mut Formatter<'_>) -> fmt::Result {
    match condition {
        Condition::And(conditions) => print_all(conditions, "AND", "TRUE", f),
        Condition::Or(conditions) => print_all(conditions, "OR", "FALSE", f),
        Condition::Not(inner) => match &**inner {
            Condition::IsNull(field) => write!(f, "{} IS NOT NULL", Name(field)),
            Condition::Has(field, test) => print_test(field, true, test, f),
            inner => {
                f.write_str("NOT ")?;
                print_inner(inner, f)
            }
        },
        Condition::IsNull(field) => write!(f, "{} IS NULL", Name(field)),
        Condition::Has(field, test) => print_test(field, false, test, f),
    }
}

fn print_all(
    conditions: &[Condition],
    word: &str,
    of_none: &str,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    if conditions.is_empty() {
        return f.write_str(of_none);
    }
    for (idx, condition) in conditions.iter().enumerate() {
        if idx > 0 {
            write!(f, " {word} ")?;
        }
        print_inner(condition, f)?;
    }
    Ok(())
}

/// Parentheses around what is made of parts, whether precedence asks for them or not: a reader need not know it.
fn print_inner(condition: &Condition, f: &mut Formatter<'_>) -> fmt::Result {
    match condition {
        Condition::And(parts) | Condition::Or(parts) if !parts.is_empty() => {
            f.write_str("(")?;
            print(condition, f)?;
            f.write_str(")")
        }
        condition => print(condition, f),
    }
}

fn print_test(field: &str, is_negated: bool, test: &Test, f: &mut Formatter<'_>) -> fmt::Result {
    let (field, not) = (Name(field), if is_negated { "NOT " } else { "" });
    match test {
        Test::Compare(comparison, value) => match (comparison.symbol(), is_negated) {
            (symbol, false) => write!(f, "{field} {symbol} {value}"),
            ("=", true) => write!(f, "{field} != {value}"),
            (symbol, true) => write!(f, "NOT {field} {symbol} {value}"),
        },
        Test::Between(low, high) => write!(f, "{field} {not}BETWEEN {low} AND {high}"),
        Test::In(values) => {
            let values: Vec<String> = values.iter().map(Scalar::to_string).collect();
            write!(f, "{field} {not}IN ({})", values.join(", "))
        }
        Test::Like(pattern) => {
            let like = if pattern.ignores_case { "ILIKE" } else { "LIKE" };
            write!(f, "{field} {not}{like} {}", Quoted(&pattern.text))?;
            match pattern.escape {
                Some(escape) => write!(f, " ESCAPE {}", Quoted(&escape.to_string())),
                None => Ok(()),
            }
        }
    }
}

/// A field, in quotes.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_plain = super::tokens::is_plain(self.0);
        if is_plain {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// A text as a literal, as it is.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}
