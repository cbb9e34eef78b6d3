//! Sets of texts with the class that people gave them: to be told apart, or to be found together.
//!
//! ```text
//! NAME_train.jsonl        {"text": "...", "label": "card_arrival"}    one text a line
//! NAME_test.jsonl         the same: what is learnt from one is tried on the other
//! NAME_clustering.jsonl   the same: what is told apart without having seen a label
//! ```
//!
//! A label is a text or a whole number.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::lines::{for_each, json, problem_in};
use crate::Result;

/// Ends the names of the two files of a classification set, and of a clustering set.
const TRAIN: &str = "_train.jsonl";
const TEST: &str = "_test.jsonl";
const CLUSTERING: &str = "_clustering.jsonl";

/// Texts and their classes.
#[derive(Debug, Default)]
pub struct Labelled {
    /// In the order of the file.
    pub texts: Vec<String>,
    /// Of each text; numbers from 0, into the set's labels.
    pub classes: Vec<usize>,
}

/// A classification set.
#[derive(Debug)]
pub struct Classification {
    /// The files' names without their ending.
    pub name: String,
    /// The label of each class: those of `train`, sorted.
    pub labels: Vec<String>,
    /// What is learnt from: each class has an example.
    pub train: Labelled,
    /// What is tried.
    pub test: Labelled,
}

/// A clustering set.
#[derive(Debug)]
pub struct Clustering {
    /// The file's name without its ending.
    pub name: String,
    /// The label of each class, sorted.
    pub labels: Vec<String>,
    /// What is clustered.
    pub texts: Labelled,
}

impl Classification {
    /// Reads a set from its two files; either of them is named.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a file is missing or unreadable,
    /// [`Error::File`](crate::Error::File) with the line if it is not in the layout above, if there are
    /// fewer than two labels, or a label of the test that is not in the training file.
    pub fn read(path: &Path) -> Result<Classification> {
        let Some(stem) = stem_of(path, TRAIN).or_else(|| stem_of(path, TEST)) else {
            let problem = format!("a classification set has two files, NAME{TRAIN} and NAME{TEST}");
            return Err(problem_in(path, None, problem));
        };
        let (train_path, test_path) = (
            path.with_file_name(format!("{stem}{TRAIN}")),
            path.with_file_name(format!("{stem}{TEST}")),
        );
        let train = read_lines(&train_path)?;
        let numbers = numbers_of(&train, &train_path)?;
        let test = read_lines(&test_path)?;
        if let Some((line, _, label)) = test.iter().find(|line| !numbers.contains_key(&line.2)) {
            let problem = format!("the label '{label}' has no example in {stem}{TRAIN}");
            return Err(problem_in(&test_path, Some(*line), problem));
        }
        let [train, test] = [train, test].map(|lines| labelled(lines, &numbers));
        Ok(Classification { name: stem, labels: numbers.into_keys().collect(), train, test })
    }

    /// Whether a file has the name of one of the two.
    pub fn is_named(path: &Path) -> bool {
        stem_of(path, TRAIN).or_else(|| stem_of(path, TEST)).is_some()
    }
}

impl Clustering {
    /// Reads a set from its file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be read,
    /// [`Error::File`](crate::Error::File) with the line if it is not in the layout above, or there are
    /// fewer than two labels.
    pub fn read(path: &Path) -> Result<Clustering> {
        let lines = read_lines(path)?;
        let numbers = numbers_of(&lines, path)?;
        let file_stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = stem_of(path, CLUSTERING).unwrap_or(file_stem);
        let texts = labelled(lines, &numbers);
        Ok(Clustering { name, labels: numbers.into_keys().collect(), texts })
    }

    /// Whether a file has the name of one.
    pub fn is_named(path: &Path) -> bool {
        stem_of(path, CLUSTERING).is_some()
    }
}

/// What stands before the ending in a file's name.
fn stem_of(path: &Path, ending: &str) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    name.strip_suffix(ending).filter(|stem| !stem.is_empty()).map(str::to_owned)
}

#[derive(Deserialize)]
struct Line {
    text: String,
    label: Label,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "label is neither a text nor a whole number")]
enum Label {
    Name(String),
    Number(i64),
}

/// Number of the line, text and label.
fn read_lines(path: &Path) -> Result<Vec<(u64, String, String)>> {
    let mut lines = Vec::new();
    for_each(path, "read the labelled texts", |number, text| {
        let Line { text, label } = json(text)?;
        let label = match label {
            Label::Name(name) => name,
            Label::Number(number) => number.to_string(),
        };
        lines.push((number, text, label));
        Ok(())
    })?;
    Ok(lines)
}

/// The class of each label that occurs.
fn numbers_of(lines: &[(u64, String, String)], path: &Path) -> Result<BTreeMap<String, usize>> {
    let mut numbers: BTreeMap<String, usize> =
        lines.iter().map(|(_, _, label)| (label.clone(), 0)).collect();
    if numbers.len() < 2 {
        let problem = format!("{} different labels, expected at least 2", numbers.len());
        return Err(problem_in(path, None, problem));
    }
    numbers.values_mut().enumerate().for_each(|(class, number)| *number = class);
    Ok(numbers)
}

fn labelled(lines: Vec<(u64, String, String)>, numbers: &BTreeMap<String, usize>) -> Labelled {
    let known = |(_, text, label): (u64, String, String)| Some((text, *numbers.get(&label)?));
    let (texts, classes) = lines.into_iter().filter_map(known).unzip();
    Labelled { texts, classes }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const TRAIN_LINES: &str = "{\"text\": \"b one\", \"label\": \"b\"}\n\
                               {\"text\": \"a one\", \"label\": \"a\"}\n\
                               {\"text\": \"b two\", \"label\": \"b\", \"more\": 1}\n";

    #[test]
    fn either_file_names_the_set() {
        let test = "{\"text\": \"is it b?\", \"label\": \"b\"}\n";
        let folder = written(&[("x_train.jsonl", TRAIN_LINES), ("x_test.jsonl", test)]);
        for name in ["x_train.jsonl", "x_test.jsonl"] {
            let set = Classification::read(&folder.path().join(name)).unwrap();
            assert_eq!((set.name.as_str(), set.labels), ("x", vec!["a".into(), "b".into()]));
            assert_eq!(set.train.texts, ["b one", "a one", "b two"]);
            assert_eq!((set.train.classes, set.test.classes), (vec![1, 0, 1], vec![1]));
        }
    }

    #[test]
    fn labels_may_be_numbers() {
        let lines = "{\"text\": \"x\", \"label\": 10}\n{\"text\": \"y\", \"label\": 9}\n";
        let folder = written(&[("n_clustering.jsonl", lines)]);
        let set = Clustering::read(&folder.path().join("n_clustering.jsonl")).unwrap();
        assert_eq!((set.name.as_str(), set.texts.classes), ("n", vec![0, 1]));
        assert_eq!(set.labels, ["10", "9"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = "{\"text\": \"x\", \"label\": \"a\"}\n";
        let cases = [
            ("", "0 different labels, expected at least 2"),
            (one, "1 different labels"),
            ("{\"text\": \"x\", \"label\": 1.5}\n", "line 1: label is neither"),
            ("{\"text\": \"x\"}\n", "line 1: missing field `label`"),
            ("\n[]\n", "line 2: "),
        ];
        for (lines, expected) in cases {
            let folder = written(&[("x_clustering.jsonl", lines), ("x_train.jsonl", lines)]);
            for read in [
                Clustering::read(&folder.path().join("x_clustering.jsonl")).map(drop),
                Classification::read(&folder.path().join("x_train.jsonl")).map(drop),
            ] {
                let message = read.unwrap_err().to_string();
                assert!(message.contains(expected), "{message}, expected {expected}");
            }
        }
        let test = format!("{one}{{\"text\": \"x\", \"label\": \"c\"}}\n");
        let folder = written(&[("x_train.jsonl", TRAIN_LINES), ("x_test.jsonl", &test)]);
        let message = Classification::read(&folder.path().join("x_test.jsonl")).unwrap_err();
        assert!(
            message.to_string().ends_with("line 2: the label 'c' has no example in x_train.jsonl")
        );
        let message = Classification::read(&folder.path().join("x.jsonl")).unwrap_err().to_string();
        assert!(message.contains("NAME_train.jsonl and NAME_test.jsonl"), "{message}");
    }

    #[test]
    fn every_set_beside_the_workspace_is_read() {
        let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/eval/cls");
        if !sets.exists() {
            println!("skipped: no sets in ../shared/data/eval/cls");
            return;
        }
        let set = Classification::read(&sets.join("banking77_test.jsonl")).unwrap();
        assert_eq!(
            (set.labels.len(), set.train.texts.len(), set.test.texts.len()),
            (77, 10003, 3080)
        );
        let set = Clustering::read(&sets.join("stackoverflow20_clustering.jsonl")).unwrap();
        assert_eq!((set.labels.len(), set.texts.texts.len()), (20, 20000));
    }
}
