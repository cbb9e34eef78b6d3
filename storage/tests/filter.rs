//! Searches among the rows that pass a filter: against conditions written in Rust on the documents as they were put.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use storage::index::Form;
use storage::{Document, Filter, Request, Source, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES, Numbers};

const N_NUMBERS: u64 = 40;

/// A document with metadata that follows from its number and version.
fn document(number: u64, version: u64) -> Document {
    let mut numbers = Numbers(number * 31 + version);
    let mut meta = Map::new();
    let mut member = |name: &str, value: Value| _ = meta.insert(name.to_owned(), value);
    match numbers.below(3) {
        0 => member("lang", json!("en")),
        1 => member("lang", json!("de")),
        _ => member("lang", Value::Null),
    }
    let year = 2015 + numbers.below(10);
    match numbers.below(3) {
        0 => member("year", json!(year)),
        1 => member("year", json!(year as f64 + 0.5)),
        _ => {}
    }
    let tags: Vec<&str> =
        ["a", "b", "\u{e9}"].into_iter().filter(|_| numbers.below(2) == 0).collect();
    member("tag", json!(tags));
    member("author", json!({"name": format!("Author {}", numbers.below(4)), "big": u64::MAX}));
    member("at", json!(format!("2024-05-01T{:02}:00:00+05:00", numbers.below(24))));
    Document { meta, ..content::document(number, version) }
}

/// A document, the row of its first chunk, and its source as it was put.
type Put = (Document, u64, Option<Source>);

type Passes = fn(&Put, usize) -> bool;

fn meta<'a>(put: &'a Put, name: &str) -> Option<&'a Value> {
    put.0.meta.get(name)
}

fn year(put: &Put) -> Option<f64> {
    meta(put, "year")?.as_f64()
}

fn has_tag(put: &Put, tag: &str) -> bool {
    meta(put, "tag").unwrap().as_array().unwrap().contains(&json!(tag))
}

fn has_tags(put: &Put) -> bool {
    !meta(put, "tag").unwrap().as_array().unwrap().is_empty()
}

const FILTERS: [(&str, Passes); 16] = [
    ("lang = 'en'", |put, _| meta(put, "lang").unwrap() == "en"),
    ("lang != 'en'", |put, _| meta(put, "lang").unwrap() == "de"),
    ("lang IS NULL", |put, _| meta(put, "lang").unwrap().is_null()),
    ("year >= 2020", |put, _| year(put).is_some_and(|year| year >= 2020.0)),
    ("NOT year >= 2020", |put, _| year(put).is_some_and(|year| year < 2020.0)),
    ("year = 2020.5 OR year BETWEEN 2016 AND 2017", |put, _| {
        year(put).is_some_and(|year| year == 2020.5 || (2016.0..=2017.0).contains(&year))
    }),
    ("tag IN ('a', 'b')", |put, _| has_tag(put, "a") || has_tag(put, "b")),
    ("tag NOT IN ('a', 'b')", |put, _| has_tags(put) && !has_tag(put, "a") && !has_tag(put, "b")),
    ("tag = '\u{e9}' AND lang = 'en'", |put, _| {
        has_tag(put, "\u{e9}") && meta(put, "lang").unwrap() == "en"
    }),
    ("author.name LIKE 'Author _' AND author.name != 'Author 1'", |put, _| {
        meta(put, "author").unwrap()["name"] != "Author 1"
    }),
    ("id LIKE 'document 1%' AND author.big > 9223372036854775807", |put, _| {
        put.0.id.starts_with("document 1")
    }),
    ("path LIKE '/notes/%' AND kind = 'markdown'", |put, _| put.0.source.is_some()),
    ("time < 0 AND time >= '1969-12-31' AND indexed < '1970-01-01T00:00:00.0000001Z'", |put, _| {
        put.2.as_ref().is_some_and(|source| source.mtime_ns == -5)
    }),
    ("page = 3 AND chunk > 0", |put, chunk| put.0.chunks[chunk].page == Some(3) && chunk > 0),
    ("page IS NULL AND tokens >= 20", |put, chunk| {
        put.0.chunks[chunk].page.is_none() && put.0.chunks[chunk].n_tokens >= 20
    }),
    (
        "title IS NOT NULL AND heading LIKE 'One > Two \u{e9} %' AND at >= '2024-05-01T03:00:00Z'",
        |put, _| {
            // Hour h at +05:00 is hour h - 5 in UTC.
            let hour: u32 = meta(put, "at").unwrap().as_str().unwrap()[11..13].parse().unwrap();
            put.0.title.is_some() && hour >= 8
        },
    ),
];

#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Put>,
    next_row: u64,
}

impl Model {
    fn put(&mut self, document: Document) {
        let first_row = self.next_row;
        self.next_row += document.chunks.len() as u64;
        let source = document.source.clone();
        self.documents.insert(document.id.clone(), (document, first_row, source));
    }

    /// Rows that pass with their scores, best first.
    fn passing(&self, passes: Passes, query: &[f32]) -> Vec<(u64, f32)> {
        let mut rows: Vec<(u64, f32)> = Vec::new();
        for put in self.documents.values() {
            for (idx, chunk) in put.0.chunks.iter().enumerate().filter(|(idx, _)| passes(put, *idx))
            {
                rows.push((put.1 + idx as u64, content::score(&chunk.vector, query, Form::Unit)));
            }
        }
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        rows
    }

    fn check(&self, store: &Store) {
        let query = content::unit_vector(self.next_row % 89);
        for (text, passes) in FILTERS {
            let filter = Filter::parse(text).unwrap();
            let expected = self.passing(passes, &query);
            assert_eq!(store.count(NOTES, &filter).unwrap(), expected.len(), "{text}");
            for k in [1, 5, 10_000] {
                let request = Request::new(query.clone(), k).filter(filter.clone());
                let answer = store.search(NOTES, &request.clone().exact()).unwrap();
                let found: Vec<_> = answer.hits.iter().map(|hit| (hit.row, hit.score)).collect();
                assert_eq!(found, expected[..k.min(expected.len())], "{text}, k {k}");
                assert_eq!(answer.compared, expected.len(), "{text}: only what passes is compared");
                let near = store.search(NOTES, &request).unwrap();
                assert_eq!(near.hits.len(), k.min(expected.len()), "{text}, k {k}");
                let is_expected = |row: u64| expected.iter().any(|(expected, _)| *expected == row);
                assert!(near.hits.iter().all(|hit| is_expected(hit.row)), "{text}, k {k}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Put(u64, u64),
    Touch(u64),
    Delete(u64),
    DeleteWhere(usize),
    Seal,
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..N_NUMBERS, 0..100_u64).prop_map(|(first, version)| Operation::Put(first, version)),
        1 => (0..N_NUMBERS).prop_map(Operation::Touch),
        1 => (0..N_NUMBERS).prop_map(Operation::Delete),
        1 => (0..13_usize).prop_map(Operation::DeleteWhere),
        3 => Just(Operation::Seal),
        2 => Just(Operation::Reopen),
    ]
}

fn run(operations: &[Operation]) {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut model = Model::default();
    for operation in operations {
        match operation {
            Operation::Put(first, version) => {
                let documents: Vec<_> =
                    (*first..first + 8).map(|n| document(n, *version)).collect();
                store.put(NOTES, &documents).unwrap();
                documents.into_iter().for_each(|document| model.put(document));
            }
            Operation::Touch(number) => {
                let id = content::id(*number);
                let stored = store.document(NOTES, &id).unwrap().and_then(|info| info.source);
                let touched = stored.map(|source| (id, Source { mtime_ns: i64::MAX, ..source }));
                store.touch(NOTES, touched.as_slice()).unwrap();
            }
            Operation::Delete(number) => {
                let id = content::id(*number);
                let n_deleted = store.delete(NOTES, std::slice::from_ref(&id)).unwrap();
                assert_eq!(n_deleted, usize::from(model.documents.remove(&id).is_some()));
            }
            Operation::DeleteWhere(idx) => {
                // The first of FILTERS ask for nothing that differs between chunks.
                let (text, passes) = FILTERS[*idx];
                let n_before = model.documents.len();
                model.documents.retain(|_, put| !passes(put, 0));
                let n_deleted = store.delete_where(NOTES, &Filter::parse(text).unwrap()).unwrap();
                assert_eq!(n_deleted, n_before - model.documents.len(), "{text}");
            }
            Operation::Seal => _ = store.seal(NOTES, &|| false).unwrap(),
            Operation::Reopen => {
                drop(store);
                store = Store::open(dir.path()).unwrap();
                assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
            }
        }
        model.check(&store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_passes_the_same_rows_sealed_or_not_after_any_operations(
        operations in prop::collection::vec(operation(), 1..10),
    ) {
        run(&operations);
    }
}

#[test]
fn a_touch_leaves_the_time_of_the_content_whether_sealed_or_not() {
    let all: Vec<_> = (0..N_NUMBERS).step_by(8).map(|first| Operation::Put(first, 1)).collect();
    let touch: Vec<_> = (0..N_NUMBERS).map(Operation::Touch).collect();
    let rest =
        [Operation::Reopen, Operation::Seal, Operation::Touch(3), Operation::DeleteWhere(12)];
    run(&[&all[..], &touch[..], &rest[..]].concat());
}

fn store_of(documents: &[Document]) -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    store.put(NOTES, documents).unwrap();
    (dir, store)
}

/// A document with one chunk and this metadata.
fn one_chunk(id: &str, meta: Value) -> Document {
    let chunks =
        (0..).map(|n| content::document(n, 1)).find(|d| !d.chunks.is_empty()).unwrap().chunks;
    let meta = meta.as_object().unwrap().clone();
    let chunks = chunks.into_iter().take(1).collect();
    Document { id: id.to_owned(), source: None, title: None, meta, chunks }
}

#[test]
fn fields_tell_what_there_is_to_filter_by() {
    let (_dir, store) = store_of(&[
        one_chunk("1", json!({"lang": "en", "n": [1, 2.5, "x"]})),
        one_chunk("2", json!({"lang": "en", "n": true})),
        one_chunk("3", json!({"gone": 1})),
    ]);
    store.seal(NOTES, &|| false).unwrap();
    store.put(NOTES, &[one_chunk("4", json!({"lang": "de"}))]).unwrap();
    store.delete(NOTES, &["3".to_owned()]).unwrap();
    let fields = store.fields(NOTES).unwrap();
    let find = |name: &str| fields.iter().find(|field| field.name == name);
    let lang = find("lang").unwrap();
    assert_eq!((lang.types.as_slice(), lang.n_values, lang.n_rows), (&["text"][..], 2, 3));
    assert_eq!(lang.examples, [json!("en"), json!("de")]);
    let n = find("n").unwrap();
    assert_eq!((n.types.as_slice(), n.n_rows), (&["boolean", "number", "text"][..], 2));
    assert_eq!(n.examples, [json!(true), json!(1), json!(2.5), json!("x")]);
    assert_eq!(find("id").unwrap().n_values, 3);
    assert!(find("path").is_some() && find("chunk").is_some() && find("tokens").is_some());
    assert_eq!(find("gone"), None);
    assert_eq!(find("time"), None);
}

#[test]
fn deleting_by_what_differs_between_chunks_is_refused() {
    let (_dir, store) = store_of(&[one_chunk("1", json!({}))]);
    for text in ["page IS NULL", "lang = 'x' OR NOT (chunk = 0)", "tokens > 1", "heading = 'x'"] {
        let error = store.delete_where(NOTES, &Filter::parse(text).unwrap()).unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains("chunks"), "{error}");
    }
    assert_eq!(store.delete_where(NOTES, &Filter::parse("lang IS NULL").unwrap()).unwrap(), 1);
    let nowhere = Filter::parse("TRUE").unwrap();
    assert!(store.count("nowhere", &nowhere).unwrap_err().is_invalid_input());
    assert!(store.delete_where("nowhere", &nowhere).unwrap_err().is_invalid_input());
    assert!(store.fields("nowhere").unwrap_err().is_invalid_input());
}

#[test]
fn metadata_may_be_nested_64_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let wrap = |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) };
        json!({ "a": (1..depth).fold(json!("deep"), wrap) })
    };
    let (dir, store) = store_of(&[one_chunk("ok", nested(64))]);
    for depth in [65, 129, 1_000] {
        let error = store.put(NOTES, &[one_chunk("bad", nested(depth))]).unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains("64 deep"), "{error}");
    }
    let path = store.fields(NOTES).unwrap().into_iter().map(|field| field.name);
    let path = path.max_by_key(String::len).unwrap();
    let filter = Filter::from_json(&json!({ "=": [path, "deep"] })).unwrap();
    assert_eq!(store.count(NOTES, &filter).unwrap(), 1);
    store.seal(NOTES, &|| false).unwrap();
    assert_eq!(store.count(NOTES, &filter).unwrap(), 1);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    assert_eq!(
        store.document(NOTES, "ok").unwrap().unwrap().meta,
        *nested(64).as_object().unwrap()
    );
    assert_eq!(store.documents(NOTES).unwrap().len(), 1);
}

#[test]
fn damaged_columns_are_an_error_that_names_the_segment_and_only_for_filters() {
    let (dir, store) = store_of(&[one_chunk("1", json!({"lang": "needle"}))]);
    store.seal(NOTES, &|| false).unwrap();
    drop(store);
    let name =
        std::fs::read_dir(dir.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&name).unwrap();
    // The last place: the document's record, in an earlier section, has it too.
    let at = bytes.windows(6).rposition(|window| window == b"needle").unwrap();
    let filter = Filter::parse("lang = 'needle'").unwrap();
    for (at, bit) in [(at, 0), (at - 1, 7), (at + 5, 3)] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        std::fs::write(&name, &flipped).unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.maintain(false);
        let request = Request::new(content::unit_vector(1), 3);
        assert_eq!(store.search(NOTES, &request).unwrap().hits.len(), 1);
        for error in [
            store.search(NOTES, &request.filter(filter.clone())).unwrap_err(),
            store.count(NOTES, &filter).unwrap_err(),
            store.fields(NOTES).unwrap_err(),
        ] {
            let file = name.file_name().unwrap().to_str().unwrap();
            assert!(error.is_corruption() && error.to_string().contains(file), "{error}");
        }
    }
    std::fs::write(&name, &bytes).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().count(NOTES, &filter).unwrap(), 1);
}

#[test]
fn a_number_of_the_metadata_is_found_by_its_every_digit() {
    // The nearest double of each is missed by a reader of JSON that rounds on the way.
    let numbers = [31.245270191439438, 121.48791951161945, 1795537617.228187, 0.1 + 0.2];
    let documents: Vec<Document> =
        (0..).zip(numbers).map(|(n, x)| one_chunk(&format!("d{n}"), json!({ "x": x }))).collect();
    let (dir, store) = store_of(&documents);
    let check = |store: &Store| {
        for (document, x) in documents.iter().zip(numbers) {
            let info = store.document(NOTES, &document.id).unwrap().unwrap();
            assert_eq!(info.meta["x"].as_f64(), Some(x));
            let text = json!({ "=": ["x", x] }).to_string();
            let from_json = Filter::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            for filter in [from_json, Filter::parse(&format!("x = {x:?}")).unwrap()] {
                assert_eq!(store.count(NOTES, &filter).unwrap(), 1, "{filter}");
            }
        }
    };
    check(&store);
    store.seal(NOTES, &|| false).unwrap();
    drop(store);
    check(&Store::open(dir.path()).unwrap());
}
