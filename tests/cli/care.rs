//! `status`, `get`, `list`, `delete`, `model`, `completions`, `man`.

use std::path::Path;

use super::{Place, hit_ids};

#[test]
fn status_counts_what_is_there() {
    let place = Place::with_documents();
    let indexed = place.json(&["index", "docs"]);
    let status = place.json(&["status"]);
    let collection = &status["collections"][0];
    assert_eq!(collection["name"], "default");
    assert_eq!(collection["model"], "nano");
    assert_eq!(collection["documents"], 5);
    assert_eq!(collection["chunks"], indexed["totals"]["chunks"]);
    assert!(status["format"].is_u64() && status["bytes"].as_u64() > Some(0), "{status}");
    let people = place.run(&["status"]);
    assert_eq!(people.code, Some(0), "{people:?}");
    for part in ["collection default", "documents  5", "nano"] {
        assert!(people.stdout.contains(part), "{people:?}");
    }
}

#[test]
fn list_prints_one_id_a_line_and_json_lines() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let names = ["apple-pie.txt", "code/sort.py", "ownership.md", "settings.json", "volcano.html"];
    let expected: Vec<String> =
        names.iter().map(|name| place.id(&format!("docs/{name}"))).collect();
    let ran = place.run(&["list"]);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
    let ran = place.run(&["list", "--json"]);
    for (line, id) in ran.stdout.lines().zip(&expected) {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(&document["id"], id);
        assert!(document["chunks"].as_u64() > Some(0), "{document}");
    }
    assert_eq!(ran.stdout.lines().count(), 5);
}

#[test]
fn get_takes_an_id_a_path_from_here_or_a_chunk() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let id = place.id("docs/ownership.md");
    let by_id = place.json(&["get", &id]);
    assert_eq!(by_id["id"], id);
    assert!(by_id["chunks"][0]["text"].as_str().unwrap().contains("one owner"), "{by_id}");
    assert_eq!(place.json(&["get", "docs/../docs/ownership.md"]), by_id);

    let chunk = place.json(&["get", "docs/ownership.md#0"]);
    assert_eq!(chunk["chunks"], serde_json::json!([by_id["chunks"][0]]));
    let found = place.json(&["search", "who frees memory?"]);
    assert_eq!(place.json(&["get", hit_ids(&found)[0]]), chunk);

    let people = place.run(&["get", "docs/ownership.md"]);
    assert!(people.stdout.starts_with("docs/ownership.md\n"), "{people:?}");
    assert!(people.stdout.contains("Each value has one owner."), "{people:?}");
    place.run(&["get", "docs/ownership.md#99"]).expect_error(1, &["#99", "gemmule list"]);
    place.run(&["get", "nothing.md"]).expect_error(1, &["nothing.md", "gemmule list"]);
}

#[test]
fn deleted_documents_are_not_found_and_their_files_stay() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let answer = place.json(&["delete", "docs/ownership.md", &place.id("docs/volcano.html")]);
    assert_eq!(answer["deleted"], 2, "{answer}");
    let found = place.json(&["search", "who frees memory?"]);
    assert_eq!(hit_ids(&found).len(), 3, "{found}");
    assert!(place.path().join("docs/ownership.md").exists());

    let ran = place.run(&["delete", "docs/ownership.md", "docs/apple-pie.txt"]);
    assert_eq!(ran.code, Some(1), "one of them is unknown: {ran:?}");
    assert!(ran.stderr.contains("docs/ownership.md"), "{ran:?}");
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 2);
}

#[test]
fn a_document_whose_file_is_gone_is_deleted_by_its_path() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    std::fs::remove_file(place.path().join("docs/ownership.md")).unwrap();
    let ran = place.run(&["delete", "docs/ownership.md"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), "1 document deleted\n"), "{ran:?}");
}

#[test]
fn collections_are_apart() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    place.json(&["index", "docs/code", "--collection", "code"]);
    assert_eq!(place.run(&["list", "--collection", "code"]).stdout.lines().count(), 1);
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 5);
}

#[test]
fn the_built_in_model_is_listed() {
    let place = Place::new();
    let answer = place.json(&["model", "list"]);
    assert_eq!(answer["models"][0]["name"], "nano");
    assert!(place.run(&["model", "list"]).stdout.contains("nano"));
}

#[test]
fn completions_and_manual_pages_are_there() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("gemmule") && ran.stdout.contains("search"), "{shell}");
    }
    let page = place.run(&["man"]);
    assert!(page.stdout.contains(".TH gemmule") && page.stdout.contains("search"), "{page:?}");
    let page = place.run(&["man", "search"]);
    assert!(page.stdout.contains("context"), "{page:?}");
    place.run(&["man", "nothing"]).expect_error(2, &["nothing"]);
}

#[test]
fn another_model_is_refused_for_a_collection_that_has_one() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny/gqa");
    let ran = place.run(&["index", "docs", "--model", tiny.to_str().unwrap()]);
    ran.expect_error(1, &["nano", "gqa"]);
}
