//! How good the hits of words are, on public sets of questions and answers, beside a reference BM25.
//!
//! The sets (BEIR's layout: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`) are not part of the repository. They are
//! looked for in `../shared/data/eval/beir` beside it or in `GEMMULE_BEIR`; without them the test says so and ends.
//! `GEMMULE_BEIR_SETS` names the sets (`all` for all of them). With `GEMMULE_BEIR_RUNS=DIR` the first 200 hits of each
//! query are written to `DIR/<set>.text`, as lines of query, document and score.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use serde_json::Value;
use storage::{Chunk, Document, Request, Space, Store};
use tempfile::TempDir;

const COLLECTION: &str = "set";
/// Small ones, of several languages and kinds.
const DEFAULT_SETS: &str = "cacm covidfaq cranfield med time xquad_de xquad_en xquad_zh";
/// Hits that are judged.
const N_JUDGED: usize = 10;

fn sets_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("GEMMULE_BEIR") {
        return Some(dir.into());
    }
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders
        .find_map(|folder| Some(folder.join("shared/data/eval/beir")).filter(|sets| sets.is_dir()))
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn string(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Relevant documents of each query, with their grades.
fn judgements(path: &Path) -> BTreeMap<String, HashMap<String, f64>> {
    let mut judged: BTreeMap<String, HashMap<String, f64>> = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines().skip(1) {
        let [query, document, grade] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        let grade = grade.trim().parse().unwrap();
        judged.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
    }
    judged
}

fn ndcg(found: &[String], judged: &HashMap<String, f64>) -> f64 {
    let discount = |rank: usize| ((rank + 2) as f64).log2();
    let gain = |(rank, grade): (usize, f64)| grade / discount(rank);
    let grades = found.iter().take(N_JUDGED).map(|id| judged.get(id).copied().unwrap_or(0.0));
    let mut best: Vec<f64> = judged.values().copied().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let ideal: f64 = best.into_iter().take(N_JUDGED).enumerate().map(gain).sum();
    if ideal == 0.0 { 0.0 } else { grades.enumerate().map(gain).sum::<f64>() / ideal }
}

/// A document of one chunk; its vector says nothing.
fn document(line: &Value) -> Document {
    let (title, text) = (string(line, "title"), string(line, "text"));
    let chunk = Chunk {
        range: 0..text.len() as u64,
        text,
        hash: [0; 16],
        page: None,
        headings: Vec::new(),
        n_tokens: 0,
        precision: None,
        vector: vec![f16::ONE, f16::ZERO].into(),
    };
    let title = Some(title).filter(|title| !title.is_empty());
    Document {
        id: string(line, "_id"),
        source: None,
        title,
        meta: Default::default(),
        chunks: vec![chunk],
    }
}

/// Mean nDCG@10 of a set.
fn measure(set: &Path, runs: Option<&Path>) -> f64 {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let space = Space { full_width: 2, dims: 2, ..crate::content::space() };
    store.create(COLLECTION, &space).unwrap();
    let documents: Vec<Document> =
        read_lines(&set.join("corpus.jsonl")).iter().map(document).collect();
    store.put(COLLECTION, &documents).unwrap();
    let judged = judgements(&set.join("qrels/test.tsv"));
    let mut sum = 0.0;
    let mut run = String::new();
    for query in read_lines(&set.join("queries.jsonl")) {
        let id = string(&query, "_id");
        let Some(judged) = judged.get(&id) else { continue };
        let k = if runs.is_some() { 200 } else { N_JUDGED };
        let answer = store.search(COLLECTION, &Request::words(&string(&query, "text"), k)).unwrap();
        for hit in &answer.hits {
            writeln!(run, "{id}\t{}\t{}", hit.document, hit.score).unwrap();
        }
        let found: Vec<String> = answer.hits.into_iter().map(|hit| hit.document).collect();
        sum += ndcg(&found, judged);
    }
    if let Some(runs) = runs {
        let name = set.file_name().unwrap().to_str().unwrap();
        fs::write(runs.join(format!("{name}.text")), run).unwrap();
    }
    sum / judged.len() as f64
}

#[test]
fn words_find_on_average_what_a_reference_bm25_finds() {
    let Some(dir) = sets_dir() else {
        println!("skipped: there is no ../shared/data/eval/beir, and GEMMULE_BEIR is not set");
        return;
    };
    let reference = fs::read_to_string(dir.join("bm25_reference.json")).unwrap();
    let reference: BTreeMap<String, Value> = serde_json::from_str(&reference).unwrap();
    let asked = std::env::var("GEMMULE_BEIR_SETS").unwrap_or(DEFAULT_SETS.to_owned());
    let runs = std::env::var_os("GEMMULE_BEIR_RUNS").map(PathBuf::from);
    let is_asked = |name: &str| asked == "all" || asked.split_whitespace().any(|set| set == name);
    let (mut ours, mut theirs, mut n_sets) = (0.0, 0.0, 0.0);
    for (name, expected) in reference.iter().filter(|(name, _)| is_asked(name)) {
        let (found, expected) =
            (measure(&dir.join(name), runs.as_deref()), expected["ndcg10"].as_f64().unwrap());
        println!("{name:14} nDCG@10 {found:.3}, reference {expected:.3}");
        (ours, theirs, n_sets) = (ours + found, theirs + expected, n_sets + 1.0);
    }
    println!("{:14} nDCG@10 {:.3}, reference {:.3}", "average", ours / n_sets, theirs / n_sets);
    assert!(ours >= theirs, "{ours} is less than {theirs}, summed over the sets");
}
