//! `--filter` of `search`, `list` and `delete`, and `fields`.

use serde_json::{Value, json};

use super::{Place, hit_ids};

fn listed(place: &Place, filter: &str) -> Vec<String> {
    let ran = place.run(&["list", "--filter", filter]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn only_passages_that_pass_are_found_however_few() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    for filter in ["kind = 'html'", "{\"=\": [\"kind\", \"html\"]}", "path LIKE 'docs/v%'"] {
        let answer = place.json(&["search", "baking with apples", "--filter", filter]);
        assert_eq!(hit_ids(&answer), [format!("{}#0", place.id("docs/volcano.html"))], "{filter}");
    }
    let none = place.json(&["search", "apples", "--filter", "kind = 'pdf'"]);
    assert_eq!(none["hits"], json!([]));
    // What is true of a chunk, not of its document.
    let by_chunk = place.json(&["search", "apples", "--filter", "heading LIKE '%Ownership'"]);
    assert_eq!(hit_ids(&by_chunk), [format!("{}#0", place.id("docs/ownership.md"))]);
}

#[test]
fn in_and_filter_must_both_be_true() {
    let place = Place::with_documents();
    place.write("docs2/tart.txt", "An apple tart is baked with thinly sliced apples.\n");
    place.write("100%_a'b/pie.txt", "An apple pie.\n");
    place.json(&["index", "docs", "docs2", "100%_a'b"]);
    let asked = |within: &str, filter: &str| {
        let answer = place.json(&["search", "apples", "--in", within, "--filter", filter]);
        let mut ids: Vec<String> = hit_ids(&answer).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let of = |name: &str| format!("{}#0", place.id(name));
    assert_eq!(asked("docs", "kind = 'plain' OR kind = 'html'").len(), 2);
    assert_eq!(asked("docs2", "kind = 'plain'"), [of("docs2/tart.txt")]);
    assert_eq!(asked("docs2/tart.txt", "TRUE"), [of("docs2/tart.txt")]);
    assert_eq!(asked("100%_a'b", "TRUE"), [of("100%_a'b/pie.txt")]);
    assert_eq!(asked("docs2", "kind = 'html'"), Vec::<String>::new());
}

#[test]
fn a_filter_that_cannot_be_read_is_wrong_usage_and_shows_the_place() {
    let place = Place::with_documents();
    for command in [&["search", "apples"][..], &["list"], &["delete"]] {
        let ran = place.run(&[command, &["--filter", "lang = = 'en'"]].concat());
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains("\nlang = = 'en'\n       ^\n"), "{ran:?}");
        assert!(ran.stderr.contains("column 8"), "{ran:?}");
    }
    for (filter, part) in [("{\"eq\": 3}", "/eq"), ("{\"=\": [", "no JSON")] {
        let ran = place.run(&["list", "--filter", filter]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
    // Nothing was indexed before the filter was looked at.
    let ran = place.run(&["search", "apples", "--in", "docs", "--filter", "kind ="]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!place.path().join(".gemmule").exists());
}

#[test]
fn list_and_delete_take_the_same_documents() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let filter = "kind IN ('plain', 'html') OR path LIKE '%.json'";
    let expected = ["docs/apple-pie.txt", "docs/settings.json", "docs/volcano.html"];
    assert_eq!(listed(&place, filter), expected.map(|name| place.id(name)));
    assert_eq!(place.json(&["delete", "--filter", filter])["deleted"], 3);
    assert_eq!(listed(&place, "TRUE").len(), 2);
    assert_eq!(place.json(&["delete", "--filter", filter])["deleted"], 0);

    let both = place.run(&["delete", "docs/ownership.md", "--filter", filter]);
    assert_eq!((both.code, &*both.stdout), (Some(2), ""), "{both:?}");
    let neither = place.run(&["delete"]);
    assert_eq!((neither.code, &*neither.stdout), (Some(2), ""), "{neither:?}");
    for command in ["list", "delete"] {
        place.run(&[command, "--filter", "page = 1"]).expect_error(1, &["page", "documents"]);
    }
    assert_eq!(listed(&place, "TRUE").len(), 2);
}

#[test]
fn fields_are_what_filters_can_name() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let answer = place.json(&["fields"]);
    let fields = answer["fields"].as_array().expect("fields is an array");
    let kind = fields.iter().find(|field| field["name"] == "kind").expect("all files have a kind");
    assert_eq!((&kind["types"], &kind["values"]), (&json!(["text"]), &json!(5)), "{kind}");
    assert_eq!(kind["chunks"], place.json(&["status"])["collections"][0]["chunks"]);
    for field in fields {
        // An example of each field finds something.
        let name = field["name"].as_str().expect("a name is a string");
        let filter = json!({ "=": [name, field["examples"][0]] }).to_string();
        let found = place.json(&["search", "apples", "--filter", &filter]);
        assert!(!hit_ids(&found).is_empty(), "{field}");
    }
    let people = place.run(&["fields"]);
    assert!(people.stdout.starts_with("field "), "{people:?}");
    assert!(people.stdout.contains("'html'"), "{people:?}");
}

#[test]
fn explain_says_how_the_answer_was_found() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let plain = place.json(&["search", "apples"]);
    assert!(plain.get("explain").is_none() && plain["hits"][0].get("explain").is_none());
    let answer = place.json(&["search", "apples", "--explain", "--filter", "kind != 'html'"]);
    let explain = &answer["explain"];
    assert_eq!((&explain["chunks"], &explain["passing"]), (&json!(5), &json!(4)), "{answer}");
    assert_eq!((&explain["unsealed"], &explain["recall"]), (&json!(5), &Value::Null), "{answer}");
    for hit in answer["hits"].as_array().expect("hits is an array") {
        assert!(hit["explain"]["tokens"].as_u64() > Some(0), "{hit}");
        assert_eq!(hit["explain"]["chunk"], 0, "{hit}");
        assert!(hit["explain"]["vector"]["rank"].as_u64() > Some(0), "{hit}");
    }
    let people = place.run(&["search", "apples", "--explain", "--filter", "kind != 'html'"]);
    for part in [
        "exact",
        "meaning no. 1 with 0.",
        "words no. 1 with",
        "5 chunks, of which 4 pass the filter",
        "tokens; row ",
    ] {
        assert!(people.stdout.contains(part), "no '{part}' in {people:?}");
    }
}
