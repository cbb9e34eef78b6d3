//! Texts that must not be trained on: evaluation sets, known by the hashes of their texts.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use unicode_normalization_alignments::UnicodeNormalization;
use xxhash_rust::xxh3::xxh3_64;

use crate::eval::lines::for_each;
use crate::{Error, Result};

/// A text of fewer words says too little to be known again: "Introduction" is in every book.
const FEWEST_WORDS: usize = 3;

/// The texts of evaluation sets.
#[derive(Debug, Default)]
pub struct HeldOut {
    hashes: HashSet<u64>,
}

impl HeldOut {
    /// Reads every `.jsonl`, `.tsv` (and those with `.gz`) below a folder: each JSON string, each field
    /// between tabs.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] as the files demand; [`Error::File`] if there is no such file.
    pub fn read(folder: &Path) -> Result<HeldOut> {
        let mut held_out = HeldOut::default();
        held_out.add_folder(folder)?;
        if held_out.hashes.is_empty() {
            let problem = "no .jsonl or .tsv file with texts is below it".to_owned();
            return Err(Error::File { path: folder.to_owned(), line: None, problem });
        }
        Ok(held_out)
    }

    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let doing = "read the held-out texts in";
        let failed = |source| Error::Io { doing, path: folder.to_owned(), source };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = name.trim_end_matches(".gz");
            if path.is_dir() {
                self.add_folder(&path)?;
            } else if name.ends_with(".jsonl") {
                for_each(&path, doing, |_, line| {
                    let value: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
                    self.add_strings(&value);
                    Ok(())
                })?;
            } else if name.ends_with(".tsv") {
                for_each(&path, doing, |_, line| {
                    line.split('\t').for_each(|field| self.add(field));
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn add_strings(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(values) => values.iter().for_each(|value| self.add_strings(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.add_strings(value)),
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        self.hashes.extend(fingerprint(text));
    }

    /// True if the text, but for case, punctuation and white space, is one of them.
    pub fn has(&self, text: &str) -> bool {
        fingerprint(text).is_some_and(|hash| self.hashes.contains(&hash))
    }
}

/// The hash of a text's words; none if they are too few.
fn fingerprint(text: &str) -> Option<u64> {
    let folded: String = text.nfkc().map(|(c, _)| c).flat_map(char::to_lowercase).collect();
    let words: Vec<&str> =
        folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (words.len() >= FEWEST_WORDS).then(|| xxh3_64(words.join(" ").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_again_by_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("set");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(
            inner.join("corpus.jsonl"),
            "{\"_id\": \"1\", \"text\": \"Who frees the memory?\"}\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("sts.tsv"), "5.0\tA man eats.\tone two\n").unwrap();
        let held_out = HeldOut::read(folder.path()).unwrap();
        assert!(held_out.has("who  frees THE memory") && held_out.has("a man eats"));
        assert!(!held_out.has("who frees memory") && !held_out.has("one two"));
    }

    #[test]
    fn a_folder_without_texts_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(HeldOut::read(folder.path()).unwrap_err().to_string().contains("no .jsonl"));
    }
}
