//! Files of pairs, judgements and clicks, good and bad.

use std::fs;

use super::*;
use crate::Error;

fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn positive(document: &str, grade: i32, weight: f32) -> Positive {
    Positive { document: document.to_owned(), grade, weight }
}

fn message(result: Result<Data, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn lines_of_one_query_are_one_query() {
    let (_folder, path) = written(
        r#"{"query": "a", "positive_ids": ["1", "2"], "negative_ids": ["3"], "weight": 2}
{"query": "b", "positive": "a text", "group": "g"}
{"query": "a", "positive_ids": ["2", "4"]}
"#,
    );
    let data = Data::read_pairs(&path).unwrap();
    let a = Query {
        text: "a".to_owned(),
        positives: vec![positive("1", 1, 2.0), positive("2", 1, 2.0), positive("4", 1, 1.0)],
        negatives: vec!["3".to_owned()],
        ..Query::default()
    };
    let b = Query {
        text: "b".to_owned(),
        positive_texts: vec!["a text".to_owned()],
        group: Some("g".to_owned()),
        ..Query::default()
    };
    assert_eq!(data, Data { queries: vec![a, b], is_by_time: false });
}

#[test]
fn a_bad_pair_is_named() {
    let cases = [
        (r#"{"query": "a"}"#, "line 1: no answer"),
        (r#"{"query": " ", "positive_ids": ["1"]}"#, "line 1: the query is empty"),
        (r#"{"query": "a", "positive_ids": ["1"], "weight": 0}"#, "weight 0 is not above 0"),
        (r#"{"query": "a", "positive": 3}"#, "line 1: invalid type"),
        (r#"{"query": "a", "positve_ids": ["1"]}"#, "unknown field `positve_ids`"),
        ("", "no query with an answer"),
    ];
    for (text, expected) in cases {
        let (_folder, path) = written(text);
        let message = message(Data::read_pairs(&path));
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}

#[test]
fn a_folder_of_judgements_says_which_side_a_query_is_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("qrels")).unwrap();
    let queries = "{\"_id\": \"1\", \"text\": \"a\"}\n{\"_id\": \"2\", \"text\": \"b\"}\n";
    fs::write(folder.path().join("queries.jsonl"), queries).unwrap();
    let header = "query-id\tcorpus-id\tscore\n";
    let train = format!("{header}1\tx\t2\n1\ty\t0\n9\tx\t1\n");
    fs::write(folder.path().join("qrels/train.tsv"), train).unwrap();
    fs::write(folder.path().join("qrels/test.tsv"), format!("{header}2\ty\t1\n")).unwrap();
    let data = Data::read_beir(folder.path()).unwrap();
    let [a, b] = &data.queries[..] else { panic!("{data:?}") };
    assert_eq!((a.part, &a.positives[..]), (Some(Part::Train), &[positive("x", 2, 1.0)][..]));
    assert_eq!((b.part, &b.positives[..]), (Some(Part::Test), &[positive("y", 1, 1.0)][..]));
}

#[test]
fn clicks_count_by_rank_and_twice_or_long() {
    let (_folder, path) = written(
        r#"{"query": "a", "doc_id": "1", "rank": 1, "clicked": false, "ts": 1}
{"query": "a", "doc_id": "2", "rank": 2, "clicked": false, "ts": 1}
{"query": "a", "doc_id": "3", "rank": 3, "clicked": true, "dwell_ms": 16000, "ts": 1}
{"query": "a", "doc_id": "4", "rank": 4, "clicked": false, "ts": 1}
{"query": "b", "doc_id": "5", "rank": 1, "clicked": true, "ts": 2}
{"query": "b", "doc_id": "6", "rank": 20, "clicked": true, "ts": 2}
{"query": "b", "doc_id": "6", "rank": 30, "clicked": true, "ts": 3}
{"query": "a", "doc_id": "2", "rank": 1, "clicked": true, "ts": 4}
{"query": "a", "doc_id": "2", "rank": 1, "clicked": true, "ts": 5}
"#,
    );
    let data = Data::read_clicks(&path).unwrap();
    assert!(data.is_by_time);
    let [a, b] = &data.queries[..] else { panic!("{data:?}") };
    // Document 2 was passed over once and chosen twice: it answers. One short click is none.
    assert_eq!(a.negatives, ["1"]);
    let weights: Vec<(&str, f32)> = a.positives.iter().map(|p| (&*p.document, p.weight)).collect();
    assert_eq!(weights, [("3", 3f32.powf(0.7)), ("2", 2.0)]);
    // 20^0.7 + 30^0.7 is more than 10.
    assert_eq!(b.positives, [positive("6", 1, 10.0)]);
    assert!(b.negatives.is_empty());
}

#[test]
fn a_bad_log_is_named() {
    let line = |rank: u32, rest: &str| {
        format!(r#"{{"query": "a", "doc_id": "1", "rank": {rank}, "clicked": true{rest}}}"#)
    };
    let two = |a: &str, b: &str| format!("{}\n{}\n", line(1, a), line(1, b));
    let cases = [
        (two(r#", "ts": 5"#, r#", "ts": 4"#), "line 2: ts 4 comes after 5"),
        (two(r#", "ts": 5"#, ""), "line 2: some lines have ts"),
        (line(0, ""), "line 1: rank 0"),
        (line(1, ""), "no query with an answer"),
        ("{}".to_owned(), "line 1: missing field `query`"),
    ];
    for (text, expected) in cases {
        let (_folder, path) = written(&text);
        let message = message(Data::read_clicks(&path));
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}
