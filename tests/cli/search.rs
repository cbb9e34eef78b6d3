//! `gemmule search`: the right passage first, and honest answers where there is none.

use serde_json::Value;

use super::{Place, hit_ids, totals};

#[test]
fn each_question_finds_its_file() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let questions = [
        ("who frees the memory of a value?", "docs/ownership.md"),
        ("how do I bake an apple pie?", "docs/apple-pie.txt"),
        ("molten rock from an eruption", "docs/volcano.html"),
        ("which printer is in the office?", "docs/settings.json"),
        ("a function that sorts a list of numbers", "docs/code/sort.py"),
    ];
    for (question, name) in questions {
        let answer = place.json(&["search", question]);
        let expected = format!("{}#0", place.id(name));
        assert_eq!(hit_ids(&answer)[0], expected, "{question}: {answer}");
    }
}

#[test]
fn hits_have_the_promised_fields() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let answer = place.json(&["search", "who frees the memory of a value?", "--exact"]);
    assert_eq!(answer["exact"], true);
    assert!(answer["compared"].as_u64() >= Some(5) && answer["millis"].as_f64() > Some(0.0));
    let hit = &answer["hits"][0];
    assert_eq!(hit["path"], place.id("docs/ownership.md"));
    assert!(hit["text"].as_str().is_some_and(|text| text.contains("one owner")), "{hit}");
    assert!(hit["heading"].as_str().is_some_and(|path| path.contains("Ownership")), "{hit}");
    assert!(hit["page"].is_null() && hit["score"].as_f64() <= Some(1.001), "{hit}");
    let (start, end) = (hit["range"][0].as_u64().unwrap(), hit["range"][1].as_u64().unwrap());
    assert!(start < end, "{hit}");
    assert!(hit.get("before").is_none(), "{hit}");
    let scores: Vec<f64> = answer["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[test]
fn people_get_rank_score_path_and_text() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let ran = place.run(&["search", "who frees the memory of a value?", "-k", "2"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let first = ran.stdout.lines().next().unwrap();
    // Best by meaning and by words: both count whole.
    assert!(first.starts_with("1  1.000  ") && first.ends_with("docs/ownership.md"), "{first}");
    assert!(ran.stdout.contains("Each value has one owner."), "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}'), "no colours in a pipe: {ran:?}");
}

#[test]
fn k_bounds_the_hits() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    assert_eq!(hit_ids(&place.json(&["search", "apples", "-k", "2"])).len(), 2);
    assert_eq!(hit_ids(&place.json(&["search", "apples", "-k", "1000000"])).len(), 5);
    let zero = place.run(&["search", "apples", "-k", "0"]);
    assert_eq!((zero.code, &*zero.stdout), (Some(2), ""), "{zero:?}");
}

#[test]
fn in_indexes_first_and_restricts_hits_to_the_folder() {
    let place = Place::with_documents();
    place.write("other/tart.txt", "An apple tart is baked with thinly sliced apples.\n");
    let answer = place.json(&["search", "baking with apples", "--in", "docs"]);
    assert_eq!(hit_ids(&answer).len(), 5);
    assert_eq!(hit_ids(&answer)[0], format!("{}#0", place.id("docs/apple-pie.txt")));

    place.write("docs/apple-pie.txt", "The train leaves at noon.\n");
    let answer = place.json(&["search", "when does the train leave?", "--in", "docs"]);
    assert_eq!(
        answer["hits"][0]["text"].as_str().map(str::trim),
        Some("The train leaves at noon.")
    );

    let answer = place.json(&["search", "when does the train leave?", "--in", "other", "-k", "1"]);
    assert_eq!(hit_ids(&answer), [format!("{}#0", place.id("other/tart.txt"))]);
    // What was indexed before is still there.
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 6);
}

#[test]
fn context_brings_the_neighbours_and_group_one_hit_a_document() {
    let place = Place::new();
    let paragraphs = ["Apples grow on trees.", "Pears grow on trees.", "Plums grow on trees."];
    let long = |text: &str| format!("{} ", text).repeat(12);
    let text: Vec<String> = paragraphs.iter().map(|text| long(text)).collect();
    place.write("docs/fruit.txt", text.join("\n\n"));
    place.json(&["index", "docs", "--chunk-tokens", "64"]);
    let plain = place.json(&["search", "pears"]);
    assert!(hit_ids(&plain).len() >= 3, "{plain}");

    let grouped = place.json(&["search", "pears", "--group", "document", "--context", "1"]);
    let hits = grouped["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 1, "{grouped}");
    assert_eq!(hits[0]["id"], hit_ids(&plain)[0]);
    let neighbours = |side: &str| hits[0][side].as_array().map_or(0, Vec::len);
    assert!((1..=2).contains(&(neighbours("before") + neighbours("after"))), "{grouped}");
}

#[test]
fn a_budget_of_tokens_holds_with_context_and_says_what_was_left_out() {
    let place = Place::with_documents();
    let indexed = place.json(&["index", "docs"]);
    let all = place.json(&["search", "apples", "--context", "1"]);
    assert_eq!((hit_ids(&all).len(), &all["left_out"]), (5, &0.into()), "{all}");
    assert_eq!(hit_ids(&all)[0], format!("{}#0", place.id("docs/apple-pie.txt")));
    let files = indexed["files"].as_array().expect("files is an array");
    let pie = files.iter().find(|file| file["path"].as_str().is_some_and(|p| p.contains("pie")));
    let budget = pie.expect("it was indexed")["tokens"].to_string();
    let some = place.json(&["search", "apples", "--context", "1", "--max-tokens", &budget]);
    assert_eq!(hit_ids(&some), hit_ids(&all)[..1], "{some}");
    assert_eq!(some["left_out"], 4, "{some}");
    let ran = place.run(&["search", "apples", "--max-tokens", "0"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("5 hits left out"), "{ran:?}");
}

#[test]
fn what_was_indexed_in_one_precision_is_found_in_another() {
    let place = Place::with_documents();
    let indexed = place.json(&["index", "docs", "--precision", "int8"]);
    assert_eq!(totals(&indexed, ["indexed"]), [5]);
    let args = ["search", "baking with apples", "--mode", "vector", "--precision"];
    let ask = |precision| place.json(&[&args[..], &[precision]].concat());
    let (exact, fast) = (ask("f32"), ask("int8"));
    assert_eq!(hit_ids(&exact), hit_ids(&fast));
    let score = |answer: &Value, idx: usize| answer["hits"][idx]["score"].as_f64().unwrap();
    for idx in 0..5 {
        // The cosine of two precisions is above 0.995, so scores differ by at most 0.1.
        assert!((score(&exact, idx) - score(&fast, idx)).abs() < 0.1, "{exact} {fast}");
    }
    assert_ne!(score(&exact, 0), score(&fast, 0), "the two precisions did the same arithmetic");
    // Refreshed in a third precision, nothing is embedded again.
    let again = place.json(&["index", "docs", "--precision", "bf16"]);
    assert_eq!(totals(&again, ["indexed", "unchanged"]), [0, 5]);
}

#[test]
fn diversity_puts_another_subject_before_a_repetition() {
    let place = Place::new();
    for copy in ["a", "b", "c"] {
        place.write(&format!("docs/{copy}.txt"), "Peel the apples and bake the pie.\n");
    }
    place.write("docs/d.txt", "Lava flows from a volcano.\n");
    place.json(&["index", "docs"]);
    let second = |args: &[&str]| {
        let answer = place.json(&[&["search", "apple pie", "-k", "2"], args].concat());
        hit_ids(&answer)[1].to_owned()
    };
    assert_eq!(second(&[]), format!("{}#0", place.id("docs/b.txt")));
    assert_eq!(second(&["--diversity", "0.6"]), format!("{}#0", place.id("docs/d.txt")));
    let ran = place.run(&["search", "apple pie", "--diversity", "1.5"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
}

#[test]
fn a_search_without_a_database_says_how_to_make_one_and_makes_none() {
    let place = Place::new();
    place.run(&["search", "anything"]).expect_error(1, &[".gemmule", "gemmule index PATH"]);
    assert!(!place.path().join(".gemmule").exists());
    std::fs::create_dir(place.path().join("empty")).unwrap();
    place.run(&["search", "anything", "--db", "empty"]).expect_error(1, &["gemmule index PATH"]);
    assert_eq!(place.path().join("empty").read_dir().unwrap().count(), 0);
}

#[test]
fn an_unknown_collection_says_which_there_are() {
    let place = Place::with_documents();
    place.json(&["index", "docs", "--collection", "notes"]);
    place.run(&["search", "anything"]).expect_error(1, &["'default'", "notes", "gemmule index"]);
    assert_eq!(place.json(&["status"])["collections"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_empty_collection_has_no_hits() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("docs")).unwrap();
    place.json(&["index", "docs"]);
    assert_eq!(place.json(&["search", "anything"])["hits"], Value::Array(Vec::new()));
    let ran = place.run(&["search", "anything"]);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", "no hits\n"), "{ran:?}");
}

#[test]
fn an_empty_query_is_refused() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    place.run(&["search", "  "]).expect_error(1, &["empty"]);
}

#[test]
fn a_file_cannot_send_commands_to_the_terminal() {
    let place = Place::new();
    place.write("docs/evil.txt", "red alert \u{1b}[31mred\u{1b}[0m \u{202e}gnorw\n");
    place.json(&["index", "docs"]);
    let ran = place.run(&["search", "red alert"]);
    assert!(ran.stdout.contains("red alert"), "{ran:?}");
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{ran:?}");
}
