//! Flags, ids and files that nobody expects: exit code 2 or 1 and one line that says what is wrong, or the right answer.

use serde_json::{Value, json};

use super::Place;

#[test]
fn numbers_that_are_none_are_wrong_usage_and_large_ones_are_answered() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    for k in ["0", "-1", "1e3", "", "ten", "18446744073709551616"] {
        let ran = place.run(&["search", "memory", "-k", k]);
        assert!(ran.code == Some(2) && ran.stdout.is_empty(), "{k}: {ran:?}");
    }
    let all = place.json(&["search", "memory", "-k", "18446744073709551615"]);
    let n_hits = all["hits"].as_array().unwrap().len();
    assert!(n_hits >= 5, "{all}");
    for more in [
        &["--mode", "vector"][..],
        &["--exact"],
        &["--context", "4294967295"],
        &["--diversity", "1"],
    ] {
        let args = [&["search", "memory", "-k", "18446744073709551615"], more].concat();
        assert_eq!(place.json(&args)["hits"].as_array().unwrap().len(), n_hits, "{more:?}");
    }
    let none = place.json(&["search", "memory", "--filter", "kind = 'nothing'"]);
    assert_eq!(none["hits"], json!([]));
    assert_eq!(place.run(&["search", "memory", "--filter", "kind = 'nothing'"]).code, Some(0));
}

#[test]
fn a_width_that_the_model_does_not_have_is_refused_with_those_it_has() {
    let place = Place::with_documents();
    for dims in ["0", "1", "100", "385", "18446744073709551615"] {
        for args in [&["index", "docs"][..], &["embed"]] {
            let ran = place.run_with_input(&[args, &["--dims", dims]].concat(), b"text\n");
            assert!(
                [Some(1), Some(2)].contains(&ran.code) && ran.stdout.is_empty(),
                "{dims}: {ran:?}"
            );
            assert!(ran.stderr.contains(dims), "{dims}: {ran:?}");
        }
    }
    place.json(&["index", "docs"]);
    for dims in ["0", "100"] {
        let ran = place.run(&["reindex", "--dims", dims]);
        assert!([Some(1), Some(2)].contains(&ran.code) && ran.stderr.contains(dims), "{ran:?}");
    }
    assert_eq!(
        place.json(&["search", "memory"])["hits"][0]["id"],
        place.id("docs/ownership.md") + "#0"
    );
}

#[test]
fn odd_ids_are_imported_shown_got_and_deleted() {
    let place = Place::new();
    let ids = [
        "a\u{0}b",
        "two\nlines",
        "../up",
        "\u{202e}abc",
        "\u{e9}",
        "e\u{301}",
        "a#1",
        " ",
        "-k",
        "\u{1b}[31mred",
    ];
    let line =
        |id: &&str| format!("{}\n", json!({ "id": id, "vector": [1, 2], "text": "about it" }));
    place.write("rows.jsonl", ids.iter().map(line).collect::<String>());
    place.json(&["import", "rows.jsonl"]);
    // One JSON object a line, whatever is in an id.
    let n_listed = || place.run(&["list", "--json"]).stdout.lines().count();
    assert_eq!(n_listed(), ids.len());
    place.json(&["export", "again.jsonl"]);
    let again = place.read("again.jsonl");
    let exported: Vec<Value> =
        again.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(exported.iter().map(|row| row["id"].as_str().unwrap()).eq(ids));
    // No argument of a command can hold a NUL.
    for id in &ids[1..] {
        let got = place.run(&["get", "--json", "--", id]);
        let got: Value = serde_json::from_str(&got.stdout).unwrap();
        assert_eq!(got["id"], **id, "{got}");
        assert_eq!(place.run(&["delete", "--", id]).code, Some(0), "{id:?}");
    }
    assert_eq!(n_listed(), 1);
    place.run(&["get", ""]).expect_error(1, &["''"]);
}

#[test]
fn rows_beyond_what_a_database_keeps_add_nothing() {
    let place = Place::new();
    let deep = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let row = |id: &str, meta: &str| {
        format!("{{\"id\": \"{id}\", \"vector\": [1, 2], \"meta\": {meta}}}\n")
    };
    for (second, expected) in [
        (row("deep", &deep(65)), "64 deep"),
        (row("deep", &deep(1000)), "line 2"),
        (row(&"x".repeat(65_536), "{}"), "4096 is the most"),
        (row("", "{}"), "line 2"),
    ] {
        place.write("rows.jsonl", format!("{}{second}", row("good", "{}")));
        let ran = place.run(&["import", "rows.jsonl"]);
        ran.expect_error(1, &[expected]);
        let listed = place.run(&["list"]);
        assert!(!listed.stdout.contains("good"), "{expected}: {listed:?}");
    }
    place.write("rows.jsonl", row("deep", &deep(64)));
    place.json(&["import", "rows.jsonl"]);
}
