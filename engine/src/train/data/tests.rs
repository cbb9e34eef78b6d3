//! What is left of files of pairs, on the built-in model's tokenizer.

use super::*;

fn set(file: &str) -> DataSet {
    serde_json::from_value(serde_json::json!({ "file": file })).unwrap()
}

fn write(folder: &Path, name: &str, pairs: &[(&str, &str)]) {
    let line = |(query, positive): &(&str, &str)| {
        serde_json::json!({ "query": query, "positive": positive, "negative": positive })
            .to_string()
    };
    std::fs::write(folder.join(name), pairs.iter().map(line).collect::<Vec<_>>().join("\n"))
        .unwrap();
}

fn corpus(folder: &Path, sets: &[DataSet], held_out: Option<&HeldOut>) -> Result<Corpus> {
    let (package, _) = Package::nano().unwrap();
    let choice = Choice { held_out, ..Choice::default() };
    Corpus::read(sets, folder, &package, 12, 5, choice)
}

#[test]
fn repeated_and_held_out_pairs_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "a.jsonl",
        &[("one fish", "two fish"), ("one fish", "two fish"), ("red", "blue")],
    );
    write(folder, "b.jsonl", &[("red", "blue"), ("what is held out", "x"), ("old", "new")]);
    std::fs::create_dir(folder.join("eval")).unwrap();
    let text = "{\"text\": \"What is held out?\"}\n";
    std::fs::write(folder.join("eval").join("queries.jsonl"), text).unwrap();
    let held_out = HeldOut::read(&folder.join("eval")).unwrap();
    let corpus = corpus(folder, &[set("a.jsonl"), set("b.jsonl")], Some(&held_out)).unwrap();
    let counts =
        |report: &SetReport| [report.n_read, report.n_used, report.n_repeated, report.n_held_out];
    assert_eq!(counts(&corpus.reports[0]), [3, 2, 1, 0]);
    assert_eq!(counts(&corpus.reports[1]), [3, 1, 1, 1]);
    assert_eq!(corpus.reports[1].examples, ["what is held out"]);
    assert_eq!(corpus.reports[0].n_negatives_left_out, 3);
    assert_eq!(corpus.sets[1].name, "b");
}

#[test]
fn a_text_is_kept_once_for_each_prompt_and_cut_to_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let long = "many words ".repeat(20);
    write(folder.path(), "a.jsonl", &[("fish", "fish"), ("fish", &long)]);
    let corpus = corpus(folder.path(), &[set("a.jsonl")], None).unwrap();
    assert_eq!(corpus.texts.len(), 3);
    let [first, second] = [0, 1].map(|i| &corpus.sets[0].pairs[i]);
    assert_eq!(first.query, second.query);
    assert_ne!(first.query, first.positive);
    assert_eq!(corpus.texts.hash(first.query), corpus.texts.hash(first.positive));
    let (package, _) = Package::nano().unwrap();
    let ids = package.tokenizer.framed("task: search result | query: fish").unwrap();
    assert_eq!(corpus.texts.ids(first.query), ids);
    let cut = corpus.texts.ids(second.positive);
    assert_eq!((cut.len(), cut[11]), (12, package.config.eos));
    assert_eq!(corpus.reports[0].n_cut, 1);
}

#[test]
fn a_sample_is_the_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..50).map(|i| format!("text {i}")).collect();
    let pairs: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "same")).collect();
    write(folder.path(), "a.jsonl", &pairs);
    let sample = DataSet { at_most: Some(10), ..set("a.jsonl") };
    let read = || corpus(folder.path(), std::slice::from_ref(&sample), None).unwrap();
    assert_eq!((read().reports[0].n_used, read().reports[0].n_over), (10, 40));
    assert_eq!(read().fingerprint(), read().fingerprint());
}

#[test]
fn an_unknown_prompt_and_a_set_of_nothing_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.jsonl", &[("one", "two")]);
    let unknown = DataSet { query: "quest".to_owned(), ..set("a.jsonl") };
    let error = corpus(folder.path(), &[unknown], None).err().unwrap();
    assert!(matches!(error, Error::UnknownTask { .. }), "{error}");
    let twice = [set("a.jsonl"), set("a.jsonl")];
    let message = corpus(folder.path(), &twice, None).err().unwrap().to_string();
    assert!(message.contains("no pair is left"), "{message}");
}
