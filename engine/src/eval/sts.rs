//! A set of sentence pairs with the similarity that people gave them.
//!
//! Tab-separated values: the header `score`, `s1`, `s2`, then a pair a line. Quotes are part of a
//! sentence; there is no escape for a tab.

use std::path::Path;

use super::lines::{for_each, problem_in, three_fields};
use crate::Result;

/// Sentence pairs with their similarity.
#[derive(Debug)]
pub struct Sts {
    /// The file's name without its ending.
    pub name: String,
    /// Similarity (higher is closer, on whatever scale) and the two sentences.
    pub pairs: Vec<(f64, String, String)>,
}

impl Sts {
    /// Reads a set from its file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be read,
    /// [`Error::File`](crate::Error::File) with the line if it is not in the layout above.
    pub fn read(path: &Path) -> Result<Sts> {
        let mut pairs = Vec::new();
        let mut is_header = true;
        for_each(path, "read the sentence pairs", |_, text| {
            let [score, first, second] = three_fields(text)?;
            if std::mem::take(&mut is_header) {
                return match [score, first, second] {
                    ["score", "s1", "s2"] => Ok(()),
                    _ => Err(format!("'{text}', expected the header score, s1, s2")),
                };
            }
            match score.trim().parse() {
                Ok(score) if f64::is_finite(score) => {
                    pairs.push((score, first.to_owned(), second.to_owned()));
                    Ok(())
                }
                _ => Err(format!("score '{score}' is not a number")),
            }
        })?;
        if pairs.is_empty() {
            let problem = "no pairs, expected the header score, s1, s2 and a pair a line";
            return Err(problem_in(path, None, problem.to_owned()));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Sts { name, pairs })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Sts> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs_test.tsv");
        fs::write(&path, text).unwrap();
        Sts::read(&path)
    }

    #[test]
    fn pairs_are_read_as_they_are_written() {
        let set = read("score\ts1\ts2\n4.75\tHe said \"no\".\tNo, he said.\r\n0\ta\t\n").unwrap();
        assert_eq!(set.name, "pairs_test");
        let pair = |score, first: &str, second: &str| (score, first.to_owned(), second.to_owned());
        assert_eq!(set.pairs, [pair(4.75, "He said \"no\".", "No, he said."), pair(0.0, "a", "")]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let cases = [
            ("1.0\ta\tb\n", "line 1: '1.0\ta\tb', expected the header"),
            ("score\ts1\ts2\n1.0\ta\n", "line 2: 2 fields"),
            ("score\ts1\ts2\n\nhigh\ta\tb\n", "line 3: score 'high' is not a number"),
            ("score\ts1\ts2\nNaN\ta\tb\n", "line 2: score 'NaN' is not a number"),
            ("score\ts1\ts2\n", "pairs_test.tsv: no pairs"),
            ("", "pairs_test.tsv: no pairs"),
        ];
        for (text, expected) in cases {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}, expected {expected}");
        }
    }

    #[test]
    fn every_set_beside_the_workspace_is_read() {
        let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/eval/sts");
        let Ok(entries) = fs::read_dir(&sets) else {
            println!("skipped: no sets in ../shared/data/eval/sts");
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            assert!(Sts::read(&path).unwrap().pairs.len() > 100, "{}", path.display());
        }
    }
}
