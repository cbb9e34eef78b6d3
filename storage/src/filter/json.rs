//! A filter from and to JSON, for programs.
//!
//! A condition is an object with one member: the operator, and what it takes.
//!
//! ```json
//! {"and": [{"=": ["lang", "en"]}, {"not": {"in": ["tag", ["a", "b"]]}}]}
//! ```
//!
//! | operator | takes |
//! |---|---|
//! | `and`, `or` | a list of conditions |
//! | `not` | a condition |
//! | `=`, `!=`, `<`, `<=`, `>`, `>=` | `[field, value]` |
//! | `in` | `[field, [value, ...]]` |
//! | `between` | `[field, lowest, highest]` |
//! | `like`, `ilike` | `[field, pattern]` or `[field, pattern, escape]` |
//! | `null` | a field |

use serde_json::{Value, json};

use super::like::Pattern;
use super::scalar::Scalar;
use super::{Comparison, Condition, Filter, FilterError, MAX_DEPTH, Test};

const OPERATORS: &str = "and, or, not, =, !=, <, <=, >, >=, in, between, like, ilike or null";

impl Filter {
    /// Reads a filter from JSON: `{"and": [{"=": ["lang", "en"]}, {"in": ["tag", ["a", "b"]]}]}`.
    ///
    /// An object has one member, the operator: `and` and `or` with a list of conditions, `not` with one; `=`, `!=`, `<`,
    /// `<=`, `>`, `>=` with `[field, value]`; `in` with `[field, [value, ...]]`; `between` with `[field, lowest,
    /// highest]`; `like` and `ilike` with `[field, pattern]` or `[field, pattern, escape]`; `null` with a field. A field is
    /// a string, with dots into nested metadata. Meaning and limits are those of [`Filter::parse`].
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn from_json(value: &Value) -> Result<Filter, FilterError> {
        let condition = condition(value, &mut String::new(), MAX_DEPTH)?;
        if condition.depth() > MAX_DEPTH {
            return Err(too_deep(""));
        }
        Ok(Filter { condition })
    }

    /// The filter as JSON, as [`Filter::from_json`] reads it.
    pub fn to_json(&self) -> Value {
        to_json(&self.condition)
    }
}

fn condition(value: &Value, at: &mut String, depth: usize) -> Result<Condition, FilterError> {
    let member = value.as_object().filter(|object| object.len() == 1);
    let Some((operator, argument)) = member.and_then(|object| object.iter().next()) else {
        return Err(FilterError::in_json(
            at,
            "a condition is an object with one member, its operator",
        ));
    };
    let outer_bytes = at.len();
    at.push('/');
    at.push_str(&operator.replace('~', "~0").replace('/', "~1"));
    let deeper = || depth.checked_sub(1);
    let condition = match operator.as_str() {
        "and" | "or" => {
            let depth = deeper().ok_or_else(|| too_deep(at))?;
            let list = list(argument, at, "a list of conditions")?;
            let mut conditions = Vec::with_capacity(list.len());
            for (idx, value) in list.iter().enumerate() {
                let list_bytes = at.len();
                at.push_str(&format!("/{idx}"));
                conditions.push(self::condition(value, at, depth)?);
                at.truncate(list_bytes);
            }
            if operator == "and" { Condition::and(conditions) } else { Condition::or(conditions) }
        }
        "not" => {
            let depth = deeper().ok_or_else(|| too_deep(at))?;
            Condition::not(self::condition(argument, at, depth)?)
        }
        "null" => Condition::IsNull(text(argument, at, "the name of a field")?),
        operator => test(operator, argument, at)?,
    };
    at.truncate(outer_bytes);
    Ok(condition)
}

fn too_deep(at: &str) -> FilterError {
    FilterError::in_json(at, format!("it is nested more than {MAX_DEPTH} deep"))
}

/// What is said of a field's values.
fn test(operator: &str, argument: &Value, at: &str) -> Result<Condition, FilterError> {
    let comparison = Comparison::ALL.into_iter().find(|each| each.symbol() == operator);
    let takes = match operator {
        _ if comparison.is_some() => "[field, value]",
        "!=" => "[field, value]",
        "in" => "[field, [value, ...]]",
        "between" => "[field, lowest, highest]",
        "like" | "ilike" => "[field, pattern] or [field, pattern, escape]",
        _ => {
            let problem = format!("there is no operator {operator:?}; use {OPERATORS}");
            return Err(FilterError::in_json(at, problem));
        }
    };
    let wrong = || FilterError::in_json(at, format!("{operator:?} takes {takes}"));
    let list = list(argument, at, takes)?;
    let field = list.first().and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
    let test = match (operator, &list[1..]) {
        ("!=", [value]) => {
            let test = Test::Compare(Comparison::Equal, scalar(value, at)?);
            return Ok(Condition::not(Condition::Has(field, test)));
        }
        ("in", [Value::Array(values)]) if !values.is_empty() => {
            Test::In(values.iter().map(|value| scalar(value, at)).collect::<Result<_, _>>()?)
        }
        ("between", [low, high]) => Test::Between(scalar(low, at)?, scalar(high, at)?),
        ("like" | "ilike", [Value::String(pattern), rest @ ..]) => {
            let escape = match rest {
                [] => None,
                [Value::String(escape)] => Some(one_character(escape).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            };
            Pattern::new(pattern.clone(), escape, operator == "ilike")
                .map(Test::Like)
                .map_err(|problem| FilterError::in_json(at, problem))?
        }
        (_, [value]) => Test::Compare(comparison.ok_or_else(wrong)?, scalar(value, at)?),
        _ => return Err(wrong()),
    };
    Ok(Condition::Has(field, test))
}

fn one_character(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn list<'a>(value: &'a Value, at: &str, what: &str) -> Result<&'a Vec<Value>, FilterError> {
    value.as_array().ok_or_else(|| FilterError::in_json(at, format!("expected {what}")))
}

fn text(value: &Value, at: &str, what: &str) -> Result<String, FilterError> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| FilterError::in_json(at, format!("expected {what}")))
}

fn scalar(value: &Value, at: &str) -> Result<Scalar, FilterError> {
    Scalar::from_json(value).ok_or_else(|| {
        let problem = match value {
            Value::Null => "nothing equals null; use {\"null\": field}",
            _ => "a value is a number, a string, true or false",
        };
        FilterError::in_json(at, problem)
    })
}

fn to_json(condition: &Condition) -> Value {
    let all = |conditions: &[Condition]| conditions.iter().map(to_json).collect::<Vec<_>>();
    match condition {
        Condition::And(conditions) => json!({ "and": all(conditions) }),
        Condition::Or(conditions) => json!({ "or": all(conditions) }),
        Condition::Not(inner) => match &**inner {
            Condition::Has(field, Test::Compare(Comparison::Equal, value)) => {
                json!({ "!=": [field, value.to_json()] })
            }
            inner => json!({ "not": to_json(inner) }),
        },
        Condition::IsNull(field) => json!({ "null": field }),
        Condition::Has(field, test) => match test {
            Test::Compare(comparison, value) => {
                json!({ comparison.symbol(): [field, value.to_json()] })
            }
            Test::Between(low, high) => {
                json!({ "between": [field, low.to_json(), high.to_json()] })
            }
            Test::In(values) => {
                json!({ "in": [field, values.iter().map(Scalar::to_json).collect::<Vec<_>>()] })
            }
            Test::Like(pattern) => {
                let operator = if pattern.ignores_case { "ilike" } else { "like" };
                match pattern.escape {
                    None => json!({ operator: [field, pattern.text] }),
                    Some(escape) => json!({ operator: [field, pattern.text, escape.to_string()] }),
                }
            }
        },
    }
}
