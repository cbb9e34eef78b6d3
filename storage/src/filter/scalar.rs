//! One value of a field: what metadata is flattened to and what a filter compares with.
//!
//! Values have one order, total and exact: truth values, then numbers, then texts. Numbers compare by what they are worth:
//! an integer beyond 2^53 is not rounded to compare it with a fraction, or `a < b` and `b < c` would not give `a < c`,
//! and a sorted list could not be searched. Texts compare by their bytes.
//!
//! Equal values have one form. A number without a fraction that fits in `i64` is an integer; another integer is the
//! nearest `f64`. A text that is a date and time with an offset as RFC 3339 has it is kept in UTC with nine digits of
//! the second, `2024-05-01T12:00:00.000000000Z`: so moments sort as texts, and `2024-05-01` sorts before all of its day.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Number, Value};

/// 2^63, the first float above all `i64`.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// A truth value, a number or a text, in its one form.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Bool(bool),
    Integer(i64),
    /// Finite, and no integer of the kind above.
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The value of a JSON number, truth value or string; `None` for the other kinds.
    pub(crate) fn from_json(value: &Value) -> Option<Scalar> {
        match value {
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Some(Scalar::Integer(integer)),
                None => Scalar::float(number.as_f64()?),
            },
            Value::String(text) => Some(Scalar::text(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A number; `None` if it is not finite.
    pub(crate) fn float(value: f64) -> Option<Scalar> {
        let is_integer = value.fract() == 0.0 && (-I64_END..I64_END).contains(&value);
        match value.is_finite() {
            true if is_integer => Some(Scalar::Integer(value as i64)),
            true => Some(Scalar::Float(value)),
            false => None,
        }
    }

    /// A text, in UTC if it is a date and time.
    pub(crate) fn text(text: &str) -> Scalar {
        // The shortest is 2024-05-01T12:00:00Z, and most texts are told from a date by their first bytes.
        let may_be_date = text.len() >= 20 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
        match may_be_date.then(|| DateTime::parse_from_rfc3339(text)) {
            Some(Ok(date)) => Scalar::Text(date_text(&date.to_utc())),
            _ => Scalar::Text(text.to_owned()),
        }
    }

    /// A moment, in nanoseconds since 1970, as a text.
    pub(crate) fn date(nanoseconds: i64) -> Scalar {
        Scalar::Text(date_text(&DateTime::from_timestamp_nanos(nanoseconds)))
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Number((*value).into()),
            Scalar::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Scalar::Text(text) => Value::String(text.clone()),
        }
    }

    /// The name of its type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Scalar::Bool(_) => "boolean",
            Scalar::Integer(_) | Scalar::Float(_) => "number",
            Scalar::Text(_) => "text",
        }
    }

    /// Where its type stands in the order of all values.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Scalar::Bool(_) => 0,
            Scalar::Integer(_) | Scalar::Float(_) => 1,
            Scalar::Text(_) => 2,
        }
    }

    /// How it compares with a value of the same type; `None` if the types differ.
    pub(crate) fn compare(&self, other: &Scalar) -> Option<Ordering> {
        (self.rank() == other.rank()).then(|| self.cmp(other))
    }
}

fn date_text(date: &DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

impl Ord for Scalar {
    fn cmp(&self, other: &Scalar) -> Ordering {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Integer(a), Scalar::Integer(b)) => a.cmp(b),
            (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(b),
            (Scalar::Integer(a), Scalar::Float(b)) => compare_exactly(*a, *b),
            (Scalar::Float(a), Scalar::Integer(b)) => compare_exactly(*b, *a).reverse(),
            (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Compares an integer with a float that is finite and has a fraction or lies beyond all `i64`.
fn compare_exactly(integer: i64, float: f64) -> Ordering {
    if float >= I64_END {
        Ordering::Less
    } else if float < -I64_END {
        Ordering::Greater
    } else {
        // Not equal, since the float has a fraction: the integer below it decides.
        if integer <= float.floor() as i64 { Ordering::Less } else { Ordering::Greater }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Scalar::Bool(value) => value.hash(state),
            Scalar::Integer(value) => value.hash(state),
            Scalar::Float(value) => value.to_bits().hash(state),
            Scalar::Text(text) => text.hash(state),
        }
    }
}

/// As a literal of a filter's text.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(true) => f.write_str("TRUE"),
            Scalar::Bool(false) => f.write_str("FALSE"),
            Scalar::Integer(value) => write!(f, "{value}"),
            // With an exponent: 1e300 in full would be 301 digits.
            Scalar::Float(value) => write!(f, "{value:e}"),
            Scalar::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scalar(value: Value) -> Scalar {
        Scalar::from_json(&value).unwrap()
    }

    #[test]
    fn numbers_are_ordered_by_what_they_are_worth() {
        let big = 1_i64 << 53;
        let rising = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-0.5),
            json!(0),
            json!(0.5),
            json!(1),
            json!(1.5),
            json!(big),
            json!(big + 1),
            json!(big + 2),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
        ];
        let rising: Vec<Scalar> = rising.into_iter().map(scalar).collect();
        for (a, low) in rising.iter().enumerate() {
            for (b, high) in rising.iter().enumerate() {
                assert_eq!(low.cmp(high), a.cmp(&b), "{low:?} and {high:?}");
            }
        }
        assert_eq!(scalar(json!(2020.0)), scalar(json!(2020)));
        assert_eq!(scalar(json!(-0.0)), scalar(json!(0)));
        assert_eq!(scalar(json!(9_007_199_254_740_992.0)), scalar(json!(big)));
        assert_eq!(Scalar::float(f64::NAN), None);
    }

    #[test]
    fn moments_have_one_form_and_other_texts_stay_as_they_are() {
        let noon = "2024-05-01T12:00:00.000000000Z";
        for same in [
            "2024-05-01T12:00:00Z",
            "2024-05-01t12:00:00.000z",
            "2024-05-01T14:30:00+02:30",
            "2024-04-30T23:00:00-13:00",
            noon,
        ] {
            assert_eq!(Scalar::text(same), Scalar::Text(noon.to_owned()));
        }
        for other in [
            "2024-05-01",
            "2024-05-01T12:00:00",
            "2024-13-01T12:00:00Z",
            "2024-05-01T12:00:00Zulu time",
            "20240501T120000Z_________",
            "a text of no date at all",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(Scalar::text(other), Scalar::Text(other.to_owned()));
        }
        assert!(Scalar::text("2024-05-01T12:00:00.5Z") > Scalar::text(noon));
        assert!(Scalar::text("2024-05-01") < Scalar::text("2024-05-01T00:00:00Z"));
        assert_eq!(Scalar::date(1_714_564_800_000_000_000), Scalar::text(noon));
        assert_eq!(Scalar::date(-1), Scalar::text("1969-12-31T23:59:59.999999999Z"));
    }
}
