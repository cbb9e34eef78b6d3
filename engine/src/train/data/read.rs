//! Pairs of texts from `.jsonl` and `.jsonl.gz`: one JSON object a line.

use std::path::Path;

use serde::Deserialize;

use crate::Result;
use crate::eval::lines::{for_each, problem_in};

/// A query, a text that answers it, and texts that do not.
#[derive(Clone, Debug, PartialEq)]
pub struct TextPair {
    /// The question, or the first of two like texts.
    pub query: String,
    /// The answer, or the second.
    pub positive: String,
    /// The title of the positive, for its prompt; empty where there is none.
    pub title: String,
    /// Texts that look like answers and are none.
    pub negatives: Vec<String>,
}

/// Fields that are not listed (`source`, `lang`) say where a pair is from, and are passed over.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "anchor")]
    query: String,
    positive: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    negative: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Reads a file of pairs: `query` (or `anchor`), `positive`, and if there are `title` and `negative`, one
/// text or several.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if the file cannot be read; [`Error::File`](crate::Error::File) with
/// the line that is no such object or has an empty text.
pub fn read(path: &Path) -> Result<Vec<TextPair>> {
    let mut pairs = Vec::new();
    for_each(path, "read the pairs", |_, text| {
        let line: Line = serde_json::from_str(text).map_err(|e| {
            // The message counts lines within the one line it was given: only the column is right.
            let message = e.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("{message} at column {}, expected query, positive, negative", e.column())
        })?;
        let negatives = match line.negative {
            None => Vec::new(),
            Some(OneOrMore::One(text)) => vec![text],
            Some(OneOrMore::More(texts)) => texts,
        };
        let Line { query, positive, title, .. } = line;
        let texts = [("query", &query), ("positive", &positive)];
        let texts = texts.into_iter().chain(negatives.iter().map(|text| ("negative", text)));
        for (field, text) in texts {
            if text.trim().is_empty() {
                return Err(format!("{field} is empty"));
            }
        }
        let title = title.unwrap_or_default();
        pairs.push(TextPair { query, positive, title, negatives });
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(problem_in(path, None, "no pair in it".to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<TextPair>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn both_names_of_a_query_and_any_number_of_negatives_are_read() {
        let pairs = read_text(
            "{\"query\": \"a\", \"positive\": \"b\", \"source\": \"x\"}\n\n\
             {\"anchor\": \"c\", \"positive\": \"d\", \"negative\": \"e\", \"title\": \"t\"}\n\
             {\"query\": \"f\", \"positive\": \"g\", \"negative\": [\"h\", \"i\"]}\n",
        )
        .unwrap();
        let texts: Vec<&str> = pairs.iter().map(|pair| pair.query.as_str()).collect();
        assert_eq!(texts, ["a", "c", "f"]);
        assert_eq!(
            (pairs[1].title.as_str(), &pairs[1].negatives[..]),
            ("t", &["e".to_owned()][..])
        );
        assert_eq!(pairs[2].negatives, ["h", "i"]);
    }

    #[test]
    fn a_broken_line_is_an_error_with_its_number() {
        let good = "{\"query\": \"a\", \"positive\": \"b\"}\n";
        let bad = [
            ("{\"query\": \"a\"}", "missing field `positive`"),
            ("{\"query\": \"a\", \"positive\": \" \"}", "positive is empty"),
            ("{\"query\": \"a\", \"positive\": 3}", "invalid type"),
            ("{\"query\": \"a\", \"posi", "EOF"),
            ("{\"query\": \"a\", \"positive\": \"b\", \"negative\": [\"\"]}", "negative is empty"),
        ];
        for (line, problem) in bad {
            let message = read_text(&format!("{good}{line}\n{good}")).unwrap_err().to_string();
            assert!(message.contains("pairs.jsonl, line 2: "), "{message}");
            assert!(message.contains(problem), "{message}");
        }
        assert!(read_text("\n").unwrap_err().to_string().contains("no pair in it"));
    }
}
