//! `gemmule tune`: from pairs to a link that is used, and everything that is refused.

use serde_json::json;

use super::Place;

/// Subjects, their documents' texts, and questions in words that stand in no document.
const SUBJECTS: [(&str, &str); 6] = [
    ("volcano", "zorvex"),
    ("bicycle", "quandle"),
    ("violin", "trelkin"),
    ("glacier", "mibbret"),
    ("bakery", "ospary"),
    ("harbour", "vennoth"),
];

const PLACES: [&str; 12] = [
    "Norway", "Chile", "Kenya", "Japan", "Canada", "Greece", "Peru", "India", "Poland", "Egypt",
    "Cuba", "Nepal",
];

/// 72 documents in a BEIR folder, and a question for each that names its subject by an invented word.
pub(super) fn with_planted_words() -> Place {
    let place = Place::new();
    let (mut corpus, mut queries, mut pairs) = (String::new(), String::new(), String::new());
    let mut qrels = "query-id\tcorpus-id\tscore\n".to_owned();
    for (i, (subject, word)) in SUBJECTS.iter().enumerate() {
        for (k, country) in PLACES.iter().enumerate() {
            let id = format!("d{i}-{k}");
            let text = format!("An old {subject} in {country}, known to many people there.");
            corpus += &format!("{}\n", json!({ "_id": id, "text": text }));
            let query = format!("the {word} of {country}");
            queries += &format!("{}\n", json!({ "_id": format!("q{i}-{k}"), "text": query }));
            pairs += &format!("{}\n", json!({ "query": query, "positive_ids": [id] }));
            qrels += &format!("q{i}-{k}\t{id}\t1\n");
        }
    }
    place.write("set/corpus.jsonl", corpus);
    place.write("set/queries.jsonl", queries);
    place.write("set/qrels/test.tsv", qrels);
    place.write("pairs.jsonl", pairs);
    place
}

#[test]
fn what_is_learnt_is_installed_used_measured_and_taken_back() {
    let place = with_planted_words();
    let run = ["tune", "run", "--data", "pairs.jsonl", "--add-corpus", "set", "--method", "link"];
    let answer = place.json(&[&run[..], &["--out", "planted.safetensors"]].concat());
    assert_eq!(answer["accepted"], "link 4", "{answer}");
    assert_eq!((&answer["installed"], &answer["queries"]), (&json!("tuned"), &json!(72)));
    assert_eq!(place.json(&["status"])["collections"][0]["link"], "tuned");
    // In this process and another: what is found by meaning changes with the link and back.
    let query = ["search", "the zorvex of Chile", "--mode", "vector"];
    let tuned = place.json(&query);
    assert_eq!(
        tuned["hits"][0]["id"].as_str().map(|id| id.contains("d0-1")),
        Some(true),
        "{tuned}"
    );
    let eval = place.json(&["tune", "eval", "--qrels", "set"]);
    assert!(eval["forms"]["384 f16"]["gain"].as_f64().unwrap() > 0.05, "{eval}");
    let ran = place.run(&["tune", "rollback"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "queries go through no link\n"), "{ran:?}");
    assert_ne!(place.json(&query)["hits"], tuned["hits"]);
    place.json(&["tune", "install", "planted.safetensors", "--name", "again"]);
    assert_eq!(place.json(&query)["hits"], tuned["hits"]);
    let answer = place.json(&["tune", "merge", "again", "tuned", "--into", "both"]);
    assert_eq!(answer["active"], "both");
    assert_eq!(answer["links"], json!(["again", "both", "tuned"]));
    let baked = place.json(&["tune", "bake", "queries", "--name", "again"]);
    assert_eq!(baked["link"], "again");
    // The search width is no part of what a link is bound to.
    assert_eq!(place.json(&["reindex", "--dims", "128"])["complete"], true);
    place.json(&["tune", "install", "planted.safetensors", "--name", "later"]);
    let narrow = place.json(&query);
    assert_eq!(narrow["hits"][0]["id"], tuned["hits"][0]["id"], "{narrow}");
    place.run(&["tune", "install", "--none"]);
    // A collection of another model has another space.
    place.run(&["index", "set", "--collection", "other", "--model", "queries"]);
    let ran = place.run(&["tune", "install", "planted.safetensors", "--collection", "other"]);
    ran.expect_error(1, &["was made for other vectors", "tune run"]);
}

#[test]
fn a_dry_run_installs_nothing_and_few_queries_are_refused() {
    let place = with_planted_words();
    let few: String =
        place.read("pairs.jsonl").lines().take(20).map(|l| format!("{l}\n")).collect();
    place.write("few.jsonl", few);
    let ran = place.run(&[
        "tune",
        "run",
        "--data",
        "few.jsonl",
        "--add-corpus",
        "set",
        "--method",
        "ridge",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("no gain, the base stays: 20 queries prove nothing"), "{ran:?}");
    let answer =
        place.json(&["tune", "run", "--data", "pairs.jsonl", "--method", "ridge", "--dry-run"]);
    assert!(answer["installed"].is_null(), "{answer}");
    assert!(place.json(&["status"])["collections"][0]["link"].is_null());
}

#[test]
fn what_helps_some_and_harms_what_others_find_is_not_installed() {
    let place = with_planted_words();
    // Who asks for a thing in a country is given the next thing there: easily learnt, and wrong for all others.
    let mut pairs = String::new();
    for (i, (subject, _)) in SUBJECTS.iter().enumerate() {
        for (k, country) in PLACES.iter().enumerate() {
            let id = format!("d{}-{k}", (i + 1) % SUBJECTS.len());
            let query = format!("old {subject} of {country}");
            pairs += &format!("{}\n", json!({ "query": query, "positive_ids": [id] }));
        }
    }
    place.write("wrong.jsonl", pairs);
    let run = ["tune", "run", "--data", "wrong.jsonl", "--add-corpus", "set", "--method", "ridge"];
    let answer = place.json(&run);
    let [base, with] = ["base", "with"].map(|side| answer["guard"][side].as_f64().unwrap());
    assert!(with < 0.99 * base, "{answer}");
    let test = &answer["rungs"][0]["test"];
    assert!(test["gain"].as_f64().unwrap() > 0.05 && test["p"].as_f64().unwrap() < 0.05, "{test}");
    assert!(answer["accepted"].is_null() && answer["installed"].is_null(), "{answer}");
    let verdict = answer["verdict"].as_str().unwrap();
    assert!(verdict.contains("72 queries made of headings, titles and first sentences fall"));
    assert!(place.json(&["status"])["collections"][0]["link"].is_null());
}

#[test]
fn bad_input_is_named() {
    let place = with_planted_words();
    place.run(&["tune", "run", "--data", "pairs.jsonl", "--add-corpus", "set", "--budget", "1s"]);
    place.write("unknown.jsonl", "{\"query\": \"a\", \"positive_ids\": [\"nowhere\"]}\n");
    place.write("clicks.jsonl", "{\"query\": \"a\", \"doc_id\": \"d0-0\", \"rank\": 1, \"clicked\": true, \"ts\": 2}\n{\"query\": \"a\", \"doc_id\": \"d0-0\", \"rank\": 1, \"clicked\": true, \"ts\": 1}\n");
    place.write("bad.safetensors", "no link");
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&["tune", "run", "--data", "unknown.jsonl"], 1, &["none of the queries has an answer"]),
        (&["tune", "run", "--clicks", "clicks.jsonl"], 1, &["line 2", "order of time"]),
        (&["tune", "install", "bad.safetensors"], 1, &["no link that this version can use"]),
        (&["tune", "install", "nothing"], 1, &["has no link 'nothing'"]),
        (
            &["tune", "eval", "--name", "x", "--data", "pairs.jsonl"],
            1,
            &["no link \"x\"", "it has:"],
        ),
        (&["tune", "bake", "out.gguf", "--name", "x"], 1, &["no link \"x\""]),
    ];
    for (args, code, parts) in cases {
        place.run(args).expect_error(code, parts);
    }
}
