//! Filters as text and as JSON, and what they mean, against an evaluation of the raw JSON that knows no fields.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::arbitrary;
use super::fields::{Fields, flatten};
use super::scalar::Scalar;
use super::*;

fn fields(meta: Value) -> Fields {
    Fields::from(flatten(meta.as_object().unwrap()))
}

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.caret().unwrap()))
}

fn error(text: &str) -> FilterError {
    Filter::parse(text).expect_err(text)
}

/// All values at a path, found by walking the JSON: every way of cutting the path into keys is tried.
fn values_at<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    if let Value::Array(elements) = value {
        elements.iter().for_each(|element| values_at(element, path, found));
    } else if let Value::Object(object) = value {
        for (key, inner) in object {
            if key == path {
                leaves(inner, found);
            }
            if let Some(rest) = path.strip_prefix(key.as_str()).and_then(|p| p.strip_prefix('.')) {
                values_at(inner, rest, found);
            }
        }
    }
}

fn leaves<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| leaves(element, found)),
        Value::Null | Value::Object(_) => {}
        value => found.push(value),
    }
}

/// True 1, unknown 0, false -1: AND is the least, OR the greatest, NOT the opposite.
fn twin(condition: &Condition, meta: &Value) -> i8 {
    match condition {
        Condition::And(all) => all.iter().map(|each| twin(each, meta)).min().unwrap_or(1),
        Condition::Or(all) => all.iter().map(|each| twin(each, meta)).max().unwrap_or(-1),
        Condition::Not(inner) => -twin(inner, meta),
        Condition::IsNull(field) | Condition::Has(field, _) => {
            let mut values = Vec::new();
            values_at(meta, field, &mut values);
            match condition {
                Condition::Has(..) if values.is_empty() => 0,
                Condition::Has(_, test) => {
                    let passes = |value: &&Value| test.passes(&Scalar::from_json(value).unwrap());
                    if values.iter().any(passes) { 1 } else { -1 }
                }
                _ => {
                    if values.is_empty() {
                        1
                    } else {
                        -1
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fields_say_what_a_walk_through_the_json_says(
        meta in arbitrary::meta(), filter in arbitrary::filter(),
    ) {
        let expected = twin(&filter.condition, &Value::Object(meta.clone())) == 1;
        prop_assert_eq!(filter.matches(&Fields::from(flatten(&meta))), expected, "{}", filter);
    }

    #[test]
    fn text_and_json_give_the_filter_back(filter in arbitrary::filter()) {
        let text = filter.to_string();
        prop_assert_eq!(&Filter::parse(&text).unwrap(), &filter, "{}", text);
        let json = filter.to_json();
        prop_assert_eq!(&Filter::from_json(&json).unwrap(), &filter, "{}", json);
        let read: Value = serde_json::from_str(&json.to_string()).unwrap();
        prop_assert_eq!(&Filter::from_json(&read).unwrap(), &filter, "{}", json);
    }

    #[test]
    fn each_part_of_a_filter_is_read_or_refused_at_a_place_inside_it(
        filter in arbitrary::filter(), cut in any::<prop::sample::Index>(), other in any::<char>(),
    ) {
        let text = filter.to_string();
        let at = text.floor_char_boundary(cut.index(text.len() + 1));
        let end = text.ceil_char_boundary(at + 1).min(text.len());
        for changed in [text[..at].to_owned(), format!("{}{other}{}", &text[..at], &text[end..])] {
            if let Err(error) = Filter::parse(&changed) {
                let Place::Text { line, column, offset, fragment, .. } = error.place() else {
                    panic!("a place in a text")
                };
                prop_assert!(changed[*offset..].starts_with(fragment.as_str()), "{changed:?} {error:?}");
                let before = &changed[..*offset];
                prop_assert_eq!(*line, before.split('\n').count());
                prop_assert_eq!(*column, before.rsplit('\n').next().unwrap().chars().count() + 1);
                prop_assert_eq!(error.caret().unwrap().lines().count(), 2, "{:?}", error.caret());
            }
        }
    }

    #[test]
    fn any_text_and_any_json_is_read_or_refused(text in "\\PC{0,40}", meta in arbitrary::meta()) {
        let _ = Filter::parse(&text).map_err(|error| (error.to_string(), error.caret()));
        let _ = Filter::from_json(&Value::Object(meta));
    }
}

#[test]
fn conditions_of_every_kind_mean_what_sql_says() {
    let row = fields(json!({
        "lang": "en", "year": 2021, "tag": ["a", "c"], "draft": false, "author": {"name": "Ada"},
        "path": "docs/x_1.md", "score": 0.5, "odd name": 1, "at": "2024-05-01T12:00:00+02:00",
    }));
    for (text, expected) in [
        ("lang = 'en' AND year >= 2020 AND path LIKE 'docs/%' AND tag IN ('a','b')", true),
        ("lang='en'and not year<2021", true),
        ("lang = 'EN'", false),
        ("lang ILIKE 'EN'", true),
        ("year != 2021 OR year <> 2021", false),
        ("year BETWEEN 2021 AND 2022 AND year NOT BETWEEN 2022 AND 2023", true),
        ("2020 < year AND 2022 > year AND 2021 = year AND 2021 >= year AND 2021 <= year", true),
        ("year = 2021.0 AND year > 2020.5 AND score < .6 AND score = 5e-1 AND score > -1", true),
        ("year = '2021'", false),
        ("year < '3'", false),
        ("NOT year < '3'", true),
        ("tag = 'a' AND tag = 'c'", true),
        ("tag != 'b'", true),
        ("tag != 'a'", false),
        ("tag NOT IN ('x', 'y')", true),
        ("tag NOT IN ('x', 'a')", false),
        ("tag BETWEEN 'aa' AND 'bb'", false),
        ("draft = FALSE AND draft < true AND author.name = 'Ada' AND \"odd name\" = 1", true),
        ("path LIKE 'docs/x!_1%' ESCAPE '!' AND path NOT LIKE '%!%%' ESCAPE '!'", true),
        ("year LIKE '2%'", false),
        ("missing = 1", false),
        ("NOT missing = 1", false),
        ("missing != 1", false),
        ("missing = 1 OR NOT missing = 1", false),
        ("missing IS NULL AND lang IS NOT NULL AND NOT (lang IS NULL)", true),
        ("missing = 1 OR TRUE", true),
        ("missing = 1 AND FALSE", false),
        ("NOT (missing = 1 AND FALSE)", true),
        ("lang = 'x' OR lang = 'en' AND year = 2021", true),
        ("(lang = 'en' OR lang = 'x') AND year = 1", false),
        ("at = '2024-05-01T10:00:00Z' AND at >= '2024-05-01' AND at < '2024-05-02'", true),
        ("at > '2024-05-01T11:59:59.5+02:00' AND at < '2024-05-01T12:00:00.001+02:00'", true),
    ] {
        assert_eq!(parse(text).matches(&row), expected, "{text}");
    }
}

#[test]
fn errors_point_at_the_place_and_name_what_is_wrong() {
    for (text, offset, fragment, part) in [
        ("", 0, "", "the end"),
        ("lang = = 'en'", 7, "=", "found \"=\""),
        ("lang = 'en' AND", 15, "", "the end"),
        ("lang = en", 7, "en", "single quotes"),
        ("lang = 'en", 7, "'en", "unterminated"),
        ("lang == 'en'", 5, "==", "=="),
        ("lang", 4, "", "a comparison"),
        ("year + 1 = 3", 5, "+", "found \"+\""),
        ("lower(lang) = 'en'", 0, "lower", "functions such as lower"),
        ("id IN (SELECT id FROM t)", 7, "SELECT", "SELECT is not supported"),
        ("EXISTS (SELECT 1)", 0, "EXISTS", "EXISTS is not supported"),
        ("CASE WHEN a = 1 THEN 2 END", 0, "CASE", "CASE is not supported"),
        ("a = 1 -- so", 6, "-- so", "comments"),
        ("a /* so */ = 1", 2, "/* so */", "comments"),
        ("a = NULL", 4, "NULL", "IS NULL"),
        ("a IN (1, NULL)", 9, "NULL", "IS NULL"),
        ("a IN ()", 6, ")", "single quotes"),
        ("a = 1; DROP TABLE x", 5, ";", "found \";\""),
        ("a = 1 b = 2", 6, "b", "AND, OR"),
        ("(a = 1", 6, "", "\")\""),
        ("a = 1)", 5, ")", "AND, OR or the end"),
        ("a LIKE 'x' ESCAPE 'ab'", 18, "'ab'", "one character"),
        ("a LIKE 'x!' ESCAPE '!'", 7, "'x!'", "escape character"),
        ("a = 1e999", 4, "1e999", "1.8e308"),
        ("a = b.c", 4, "b", "single quotes"),
        ("1 = 1", 4, "1", "the name of a field"),
        ("a[0] = 1", 1, "[", "a comparison"),
        ("a::int = 1", 1, "::", "a comparison"),
        ("a = $1", 4, "$1", "single quotes"),
        ("a = N'x'", 4, "N'x'", "single quotes"),
        ("lang = 'en'\n  AND \u{e9}\u{e9} ! 3", 23, "!", "found \"!\""),
    ] {
        let error = error(text);
        let Place::Text { offset: found, fragment: shown, .. } = error.place() else { panic!() };
        assert_eq!((*found, shown.as_str()), (offset, fragment), "{text}: {error}");
        assert!(error.message().contains(part), "{text}: {error}");
    }
    let error = error("lang = 'en'\n  AND \u{e9}\u{e9} ! 3");
    assert!(error.to_string().contains("line 2, column 10"), "{error}");
    assert_eq!(error.caret().unwrap(), "  AND \u{e9}\u{e9} ! 3\n         ^");
}

#[test]
fn json_has_the_forms_that_are_documented_and_errors_with_pointers() {
    let filter = json!({"and": [{"=": ["lang", "en"]}, {"in": ["tag", ["a", "b"]]},
        {"not": {"like": ["path", "a!%", "!"]}}, {"null": "x"}, {"!=": ["y", 1]},
        {"between": ["z", 1, 2.5]}]});
    let read = Filter::from_json(&filter).unwrap();
    assert_eq!(read.to_json(), filter);
    let text = "lang = 'en' AND tag IN ('a', 'b') AND path NOT LIKE 'a!%' ESCAPE '!' AND x IS NULL \
                AND y != 1 AND z BETWEEN 1 AND 2.5e0";
    assert_eq!(read.to_string(), text);
    for (json, pointer, part) in [
        (json!(1), "", "an object with one member"),
        (json!({}), "", "an object with one member"),
        (json!({"=": ["a", 1], "<": ["a", 1]}), "", "an object with one member"),
        (json!({"and": [{"=": ["a", 1]}, {"==": ["a", 1]}]}), "/and/1/==", "no operator \"==\""),
        (json!({"not": {"=": ["a"]}}), "/not/=", "takes [field, value]"),
        (json!({"=": ["a", null]}), "/=", "null"),
        (json!({"=": ["a", [1]]}), "/=", "a number"),
        (json!({"in": ["a", []]}), "/in", "takes"),
        (json!({"in": ["a", 1]}), "/in", "takes"),
        (json!({"like": ["a", 1]}), "/like", "takes"),
        (json!({"like": ["a", "b", "cc"]}), "/like", "takes"),
        (json!({"between": ["a", 1]}), "/between", "takes"),
        (json!({"and": {}}), "/and", "a list"),
        (json!({"null": 1}), "/null", "the name"),
    ] {
        let error = Filter::from_json(&json).unwrap_err();
        assert_eq!(error.place(), &Place::Json(pointer.to_owned()), "{json}: {error}");
        assert!(error.message().contains(part), "{json}: {error}");
    }
}

#[test]
fn deep_and_long_filters_are_errors_and_never_overflow_the_stack() {
    const DEEP: usize = 10_000;
    for text in [
        format!("{}a = 1{}", "(".repeat(DEEP), ")".repeat(DEEP)),
        format!("{}a = 1", "NOT ".repeat(DEEP)),
        "(".repeat(DEEP),
        format!("{}a = 1{}", "NOT (".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH)),
        format!("{}a = 1{}", "(b = 1 OR c = 1 AND ".repeat(20), ")".repeat(20)),
    ] {
        assert!(error(&text).message().contains("deep"), "{}", error(&text));
    }
    assert!(error(&"x".repeat(2 << 20)).message().contains("bytes"));
    // A chain is long, not deep, and so is a list.
    let row = fields(json!({"a": 1}));
    assert!(parse(&vec!["a = 1"; DEEP].join(" AND ")).matches(&row));
    assert!(!parse(&vec!["a = 2"; DEEP].join(" OR ")).matches(&row));
    let list: Vec<String> = (0..DEEP).map(|n| n.to_string()).collect();
    assert!(parse(&format!("a IN ({})", list.join(", "))).matches(&row));
    let mut json = json!({"=": ["a", 1]});
    for _ in 0..MAX_DEPTH {
        assert!(Filter::from_json(&json).is_ok());
        json = json!({ "not": json });
    }
    let deepest = Filter::from_json(&json).unwrap();
    assert_eq!(Filter::parse(&deepest.to_string()).unwrap(), deepest);
    let text = deepest.to_json().to_string();
    assert_eq!(Filter::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), deepest);
    let deeper = json!({ "not": json });
    assert!(Filter::from_json(&deeper).unwrap_err().message().contains("deep"));
}

#[test]
fn random_bytes_are_no_filter_and_no_panic() {
    let mut seed = 7_u64;
    let pieces = [
        "a",
        " ",
        "'",
        "\"",
        "(",
        ")",
        "AND ",
        "NOT ",
        "=",
        "!",
        "1e",
        ".",
        "-",
        "/*",
        "*/",
        "--",
        "$$",
        "\\",
        "\0",
        "\u{feff}",
        "\u{e9}",
        "N'",
        "X'",
        "U&'",
        "E'",
        "IN",
        "LIKE",
        "\r\n",
        "`",
        "[",
        "{",
        "@",
        "#",
        "%",
        ";",
        "COPY a FROM STDIN;",
    ];
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..seed % 9 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        let _ = Filter::parse(&text).map_err(|error| (error.to_string(), error.caret()));
    }
}

#[test]
fn own_fields_hide_metadata_of_the_same_name_and_let_it_count_where_there_are_none() {
    let meta: Map<String, Value> =
        json!({"id": "other", "page": 7, "kind": "recipe", "heading": ["x"]})
            .as_object()
            .unwrap()
            .clone();
    let info = crate::document::DocumentInfo {
        id: "d".to_owned(),
        source: None,
        title: None,
        meta,
        n_chunks: 2,
        first_row: 0,
        content_stamps: Some(crate::document::ContentStamps {
            mtime_ns: 1_714_564_800_000_000_000,
            indexed_at_ns: 1_500_000_000,
        }),
    };
    let document = Fields::of_document(&info);
    let first = document.with_chunk(0, Some(3), &["A".to_owned(), "B".to_owned()], 9);
    let second = document.with_chunk(1, None, &[], 9);
    for (text, expected) in [
        ("id = 'd' AND path = 'd' AND kind = 'recipe'", (true, true)),
        (
            "time = 1714564800 AND time >= '2024-05-01' AND time < '2024-05-01T12:00:00.1Z'",
            (true, true),
        ),
        ("indexed = 1.5 AND indexed < '1970-01-01T00:00:02Z'", (true, true)),
        ("page = 7", (false, true)),
        ("page = 3 AND heading = 'A > B' AND chunk = 0 AND tokens = 9", (true, false)),
        ("heading = 'x'", (false, true)),
    ] {
        let filter = parse(text);
        assert_eq!((filter.matches(&first), filter.matches(&second)), expected, "{text}");
    }
    assert_eq!(parse("a = 1 AND NOT page = 3").chunk_field(), Some("page"));
    assert_eq!(parse("pages = 1").chunk_field(), None);
}

#[test]
fn below_passes_a_file_or_a_folder_and_nothing_beside_it() {
    let passes = |below: &str, path: &str| {
        Filter::below(Path::new(below)).matches(&fields(json!({ "path": ["x/y", path] })))
    };
    for (below, path) in [
        ("/docs", "/docs/a.md"),
        ("/docs/", "/docs/deep/a.md"),
        ("/docs/a.md", "/docs/a.md"),
        ("/", "/docs/a.md"),
        ("/100%_a!b", "/100%_a!b/c"),
        ("/it's", "/it's/c"),
    ] {
        assert!(passes(below, path), "{path} is below {below}");
        let printed = Filter::below(Path::new(below)).to_string();
        assert_eq!(parse(&printed), Filter::below(Path::new(below)));
    }
    for (below, path) in [
        ("/docs", "/docs2/a.md"),
        ("/docs", "/docs.md"),
        ("/docs", "/other/docs/a.md"),
        ("/100%_a", "/100 xa/c"),
        ("/Docs", "/docs/a.md"),
    ] {
        assert!(!passes(below, path), "{path} is not below {below}");
    }
}

#[test]
fn a_text_is_sql_or_json_that_begins_with_a_brace() {
    let filter = parse("lang = 'en'");
    for text in ["lang = 'en'", " {\"=\": [\"lang\", \"en\"]}\n"] {
        assert_eq!(text.parse::<Filter>().unwrap(), filter);
    }
    for (text, part) in
        [("lang = = 1", "column 8"), ("{\"=\": [", "no JSON"), ("{\"eq\": 3}", "/eq")]
    {
        let error = text.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let both = parse("a = 1 OR b = 2").and(parse("c = 3"));
    assert_eq!(both, parse("(a = 1 OR b = 2) AND c = 3"));
}
