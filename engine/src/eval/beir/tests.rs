//! Small sets written by the test, whole and damaged, and the real ones where they are at hand.

use std::fs;

use tempfile::TempDir;

use super::*;

const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"Heron\", \"text\": \"It waits.\"}\n\
                      {\"_id\": \"d2\", \"text\": \"A tab\\tin a text.\", \"metadata\": {}}\n";
const QUERIES: &str = "{\"_id\": \"q1\", \"text\": \"who waits?\"}\n\
                       {\"_id\": \"q2\", \"text\": \"never judged\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n";

fn write(corpus: &str, queries: &str, qrels: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("qrels")).unwrap();
    for (name, text) in
        [("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels/test.tsv", qrels)]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn refusal(corpus: &str, queries: &str, qrels: &str) -> String {
    Beir::read(write(corpus, queries, qrels).path()).unwrap_err().to_string()
}

#[test]
fn a_set_is_read_whole() {
    let folder = write(CORPUS, QUERIES, QRELS);
    let set = Beir::read(folder.path()).unwrap();
    assert_eq!(set.name, folder.path().file_name().unwrap().to_string_lossy());
    let document = |id: &str, title: &str, text: &str| BeirDocument {
        id: id.to_owned(),
        title: title.to_owned(),
        text: text.to_owned(),
    };
    let expected = [document("d1", "Heron", "It waits."), document("d2", "", "A tab\tin a text.")];
    assert_eq!(set.documents, expected);
    assert_eq!(set.queries.len(), 2);
    assert_eq!(set.qrels["q1"]["d1"], 2);
    assert_eq!(set.qrels["q1"]["d2"], 0);
    assert_eq!(set.n_unknown, 0);
    let judged: Vec<&str> = set.judged_queries().map(|(id, _)| id.as_str()).collect();
    assert_eq!(judged, ["q1"]);
}

#[test]
fn unknown_ids_in_judgements_are_kept_and_counted() {
    let qrels = format!("{QRELS}q1\td9\t1\nq9\td1\t1\n");
    let set = Beir::read(write(CORPUS, QUERIES, &qrels).path()).unwrap();
    assert_eq!(set.n_unknown, 2);
    assert_eq!(set.qrels["q1"]["d9"], 1);
    let message = refusal(CORPUS, QUERIES, "query-id\tcorpus-id\tscore\nq9\td1\t1\n");
    assert!(message.contains("none of its 1 judgements"), "{message}");
    let message = refusal(CORPUS, QUERIES, "query-id\tcorpus-id\tscore\n");
    assert!(message.contains("none of its 0 judgements"), "{message}");
}

#[test]
fn a_damaged_line_is_named() {
    let cases = [
        (refusal("{\"_id\": \"d1\", \"text\"", QUERIES, QRELS), "corpus.jsonl, line 1: EOF"),
        (refusal("{\"_id\": 1, \"text\": \"\"}", QUERIES, QRELS), "invalid type: integer"),
        (refusal(&format!("{CORPUS}{CORPUS}"), QUERIES, QRELS), "line 3: _id 'd1' is taken"),
        (refusal("\n", QUERIES, QRELS), "corpus.jsonl: empty"),
        (
            refusal(CORPUS, "{\"_id\": \"q1\"}", QRELS),
            "queries.jsonl, line 1: missing field `text`",
        ),
        (refusal(CORPUS, QUERIES, "q1\td1\t1\n"), "test.tsv, line 1: a judgement"),
        (refusal(CORPUS, QUERIES, &format!("{QRELS}q1 d2 1\n")), "line 4: 1 fields"),
        (refusal(CORPUS, QUERIES, &format!("{QRELS}q1\td2\t1.5\n")), "is not a whole number"),
        (refusal(CORPUS, QUERIES, &format!("{QRELS}q1\td1\t1\n")), "score 1 here and 2 above"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = write(CORPUS, QUERIES, QRELS);
    fs::remove_file(folder.path().join("qrels/test.tsv")).unwrap();
    let message = Beir::read(folder.path()).unwrap_err().to_string();
    assert!(message.starts_with("could not read the judgements "), "{message}");
    assert!(message.contains("test.tsv"), "{message}");
}

#[test]
fn every_set_beside_the_workspace_is_read() {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/eval/beir");
    let Ok(entries) = fs::read_dir(&sets) else {
        println!("skipped: no sets in ../shared/data/eval/beir");
        return;
    };
    for folder in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let set = Beir::read(&folder).unwrap();
        assert!(set.judged_queries().count() > 0, "{}", set.name);
        assert_eq!(set.n_unknown, 0, "{}", set.name);
    }
}
