//! Columns against the definition, merged columns against built ones, and damaged bytes.

mod measure;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::filter::arbitrary;
use crate::filter::fields::{Fields, flatten};

/// Documents of a few rows each, with fields of their chunks.
fn rows(documents: &[(Map<String, Value>, usize)]) -> Vec<Fields> {
    let rows = documents.iter().flat_map(|(meta, n_chunks)| {
        let document = Fields::from(flatten(meta));
        (0..*n_chunks as u32).map(move |chunk| {
            let headings = [format!("Part {}", chunk / 2), "\u{e9}".to_owned()];
            document.with_chunk(chunk, (chunk > 0).then_some(chunk), &headings, chunk * 7 % 5)
        })
    });
    rows.collect()
}

fn built(rows: &[Fields]) -> Vec<u8> {
    Columns::build(rows.iter().cloned())
}

fn selected(section: &[u8], n_rows: usize, filter: &Filter) -> RowSet {
    Columns::open(section, n_rows).unwrap().select(filter).unwrap()
}

fn documents() -> impl Strategy<Value = Vec<(Map<String, Value>, usize)>> {
    prop::collection::vec((arbitrary::meta(), 0_usize..6), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn columns_select_what_the_definition_accepts(
        documents in documents(), filters in prop::collection::vec(arbitrary::filter(), 4),
    ) {
        let rows = rows(&documents);
        let section = built(&rows);
        for filter in filters {
            let expected = RowSet::of(rows.len(), |row| filter.matches(&rows[row.0 as usize]));
            prop_assert_eq!(selected(&section, rows.len(), &filter), expected, "{}", filter);
        }
    }

    #[test]
    fn merged_columns_are_those_of_the_live_rows(
        a in documents(), b in documents(), dead in any::<u64>(),
    ) {
        let (a, b) = (rows(&a), rows(&b));
        let is_live = |row: RowId| dead >> (row.0 % 64) & 1 == 0;
        let (live_a, live_b) = (RowSet::of(a.len(), is_live), RowSet::of(b.len(), is_live));
        let (section_a, section_b) = (built(&a), built(&b));
        let sources = [
            (Columns::open(&section_a, a.len()).unwrap(), &live_a),
            (Columns::open(&section_b, b.len()).unwrap(), &live_b),
        ];
        let kept = live_a.iter().map(|row| &a[row.0 as usize]);
        let kept: Vec<Fields> =
            kept.chain(live_b.iter().map(|row| &b[row.0 as usize])).cloned().collect();
        prop_assert!(Columns::merge(&sources).unwrap() == built(&kept));
    }

    #[test]
    fn random_bytes_are_an_error_or_an_answer(
        bytes in prop::collection::vec(any::<u8>(), 0..200), filter in arbitrary::filter(),
    ) {
        let mut section = 9_u32.to_le_bytes().to_vec();
        section.extend(1_u32.to_le_bytes());
        section.extend(&bytes);
        read_all(&section, 9, &filter);
    }
}

/// Asks for all there is; what comes out does not matter.
fn read_all(section: &[u8], n_rows: usize, filter: &Filter) {
    let Ok(columns) = Columns::open(section, n_rows) else { return };
    let _ = columns.select(filter);
    for name in columns.names().map_while(Result::ok).take(100) {
        let _ = columns.each_value(name, &mut |_, rows| _ = rows.count());
    }
    let _ = Columns::merge(&[(columns, &RowSet::all(n_rows))]);
}

#[test]
fn a_flipped_bit_or_a_cut_anywhere_is_an_error_or_an_answer() {
    let meta = |n: usize| json!({"lang": (["en", "de"][n % 2]), "n": n % 5, "x": [0.5, true], "name": format!("name {n}")});
    let documents: Vec<_> = (0..40).map(|n| (meta(n).as_object().unwrap().clone(), 2)).collect();
    let rows = rows(&documents);
    let section = built(&rows);
    let text = "lang = 'en' AND n > 1 AND name LIKE 'name 1%' AND x = 0.5 AND NOT tokens = 2";
    let filter = Filter::parse(text).unwrap();
    assert!(!selected(&section, rows.len(), &filter).is_empty());
    for end in 0..section.len() {
        read_all(&section[..end], rows.len(), &filter);
    }
    for bit in 0..8 * section.len() {
        let mut flipped = section.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        read_all(&flipped, rows.len(), &filter);
    }
    assert!(Columns::open(&section, rows.len() + 1).is_err());
}

#[test]
fn fields_of_many_and_of_few_values_answer_alike() {
    // 6,000 names are ranges, 2 languages are bitmaps, and dates and headings are cut into many blocks.
    let meta = |n: u32| {
        let date = format!("20{:02}-01-01T00:00:{:02}Z", n % 90, n % 60);
        json!({"name": format!("n{:05}", n * 7 % 6_000), "lang": (["en", "de"][n as usize % 2]), "at": date})
    };
    let documents: Vec<_> =
        (0..6_000).map(|n| (meta(n).as_object().unwrap().clone(), 1 + n as usize % 3)).collect();
    let rows = rows(&documents);
    let section = built(&rows);
    for text in [
        "name = 'n00700'",
        "name < 'n00020' OR name >= 'n05990'",
        "name BETWEEN 'n01000' AND 'n01200' AND lang = 'de'",
        "name LIKE 'n04_1%'",
        "name NOT LIKE '%7%'",
        "name IN ('n00001', 'n05999', 'zzz') OR at >= '2080'",
        "lang != 'en' AND NOT chunk = 0",
        "page IS NULL",
        "heading = 'Part 1 > \u{e9}'",
    ] {
        let filter = Filter::parse(text).unwrap();
        let expected = RowSet::of(rows.len(), |row| filter.matches(&rows[row.0 as usize]));
        assert!(!expected.is_empty() && expected.len() < rows.len(), "{text}");
        assert_eq!(selected(&section, rows.len(), &filter), expected, "{text}");
    }
}

#[test]
fn values_come_back_with_their_rows() {
    let documents = [(json!({"a": [3, "x", 1.5, true], "b": null}), 2), (json!({"a": 3}), 1)];
    let rows: Vec<Fields> = documents
        .iter()
        .flat_map(|(meta, n)| vec![Fields::from(flatten(meta.as_object().unwrap())); *n])
        .collect();
    let section = built(&rows);
    let columns = Columns::open(&section, 3).unwrap();
    assert_eq!(columns.names().collect::<Result<Vec<_>, _>>().unwrap(), ["a"]);
    let mut found = BTreeMap::new();
    columns
        .each_value("a", &mut |value, rows| _ = found.insert(value.clone(), rows.collect()))
        .unwrap();
    let expected: BTreeMap<Scalar, Vec<u32>> = [
        (Scalar::Bool(true), vec![0, 1]),
        (Scalar::Float(1.5), vec![0, 1]),
        (Scalar::Integer(3), vec![0, 1, 2]),
        (Scalar::Text("x".to_owned()), vec![0, 1]),
    ]
    .into();
    assert_eq!(found, expected);
    assert!(Columns::open(&built(&[]), 0).unwrap().names().next().is_none());
}
