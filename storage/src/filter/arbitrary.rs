//! Random metadata and filters for tests: few names and values, so that many of them meet.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::like::Pattern;
use super::scalar::Scalar;
use super::{Comparison, Condition, Filter, Test};

const NAMES: [&str; 7] = ["a", "b", "tag", "c.d", "caf\u{e9}", "select", "no such"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..4).prop_map(|n| json!(n)),
        2 => prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!(null))],
        2 => prop_oneof![
            Just(json!(0.5)),
            Just(json!(2.0)),
            Just(json!(-1e300)),
            Just(json!(u64::MAX)),
            Just(json!(i64::MAX)),
            Just(json!(i64::MIN)),
            Just(json!((1_i64 << 53) + 1)),
            Just(json!(9_007_199_254_740_992.0)),
        ],
        4 => "[ab]{0,3}".prop_map(|text| json!(text)),
        2 => prop_oneof![
            Just(json!("it's 100%_\\ \"so\"")),
            Just(json!("\u{e9}\u{1f600}")),
            Just(json!("\u{e8}\n")),
            Just(json!("2024-05-01T12:00:00+02:00")),
            Just(json!("2024-05-01T10:00:00Z")),
            Just(json!("2024-05-01")),
        ],
    ]
}

/// Metadata of a document.
pub(super) fn meta() -> impl Strategy<Value = Map<String, Value>> {
    let nested = value().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((prop::sample::select(&["d", "e"][..]), inner), 0..3)
                .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    });
    let name = prop::sample::select(&["a", "b", "tag", "c", "c.d", "caf\u{e9}", "select"][..]);
    prop::collection::vec((name, nested), 0..6)
        .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn scalar() -> impl Strategy<Value = Scalar> {
    value().prop_filter_map("null is no value", |value| Scalar::from_json(&value))
}

fn test() -> impl Strategy<Value = Test> {
    let like = ("[ab%_\u{e9}']{0,5}", prop::option::of(Just('a')), any::<bool>())
        .prop_filter_map("a pattern", |(text, escape, ignores_case)| {
            Pattern::new(text, escape, ignores_case).ok()
        });
    prop_oneof![
        4 => (prop::sample::select(&Comparison::ALL[..]), scalar())
            .prop_map(|(comparison, with)| Test::Compare(comparison, with)),
        1 => (scalar(), scalar()).prop_map(|(low, high)| Test::Between(low, high)),
        1 => prop::collection::vec(scalar(), 1..4).prop_map(Test::In),
        2 => like.prop_map(Test::Like),
    ]
}

/// Any filter on these names.
pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let name = || prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        1 => name().prop_map(Condition::IsNull),
        6 => (name(), test()).prop_map(|(name, test)| Condition::Has(name, test)),
    ];
    let condition = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::and),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::or),
            inner.prop_map(Condition::not),
        ]
    });
    condition.prop_map(|condition| Filter { condition })
}
