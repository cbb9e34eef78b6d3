//! What is trained on: files of pairs, cut into tokens, without what must not be there.
//!
//! ```text
//! files --read--> pairs --held_out, repeated--> pairs that count --tokens--> Corpus --batches--> batch
//! ```
//!
//! A text is kept once for each prompt. Whatever is left out is counted in the [`SetReport`].

mod batches;
mod held_out;
mod read;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(super) use batches::{Batches, choose, mixed};
pub use held_out::HeldOut;
pub use read::{TextPair, read};

use super::teacher::Teacher;
use crate::package::Package;
use crate::prompt::with_title;
use crate::random::Random;
use crate::{Error, Result};

/// Names of texts that a report gives as examples.
const MOST_EXAMPLES: usize = 3;

/// A file of pairs, as a recipe says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// `.jsonl` or `.jsonl.gz`, from the data folder.
    pub file: PathBuf,
    /// How often a batch is of this set, against the others; the number of its pairs if no set says.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The name of the prompt before queries.
    #[serde(default = "query")]
    pub query: String,
    /// The name of the prompt before positives and negatives.
    #[serde(default = "document")]
    pub positive: String,
    /// No more pairs than this, a sample that the seed decides.
    #[serde(default)]
    pub at_most: Option<usize>,
}

fn query() -> String {
    "query".to_owned()
}

fn document() -> String {
    "document".to_owned()
}

/// What became of the lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SetReport {
    /// The file's name.
    pub file: PathBuf,
    /// Pairs in it.
    pub n_read: usize,
    /// Pairs that are trained on.
    pub n_used: usize,
    /// Left out: the same query and positive came before, here or in another set.
    pub n_repeated: usize,
    /// Left out: a text of it is held out for evaluation.
    pub n_held_out: usize,
    /// Left out: the teacher has no vector of a text of it.
    pub n_untaught: usize,
    /// Left out: more than the recipe asks for.
    pub n_over: usize,
    /// Hard negatives left out: the same text as the positive, or none that the teacher knows.
    pub n_negatives_left_out: usize,
    /// Texts that lost their end, since they have more tokens than the recipe allows.
    pub n_cut: usize,
    /// The beginnings of some texts that are held out.
    pub examples: Vec<String>,
}

/// Texts as tokens.
#[derive(Default)]
pub(super) struct Texts {
    ids: Vec<u32>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    /// From prompt and text to its place.
    places: HashMap<u64, u32>,
}

impl Texts {
    /// The tokens of a text, prompt, `<bos>` and `<eos>` included.
    pub(super) fn ids(&self, i: u32) -> &[u32] {
        let i = i as usize;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start..self.ends[i]]
    }

    /// Equal for equal texts, whatever their prompts.
    pub(super) fn hash(&self, i: u32) -> u64 {
        self.hashes[i as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The key of a text: what a teacher's vector is found by.
pub(super) fn text_hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// A pair, by the places of its texts.
pub(super) struct Pair {
    pub(super) query: u32,
    pub(super) positive: u32,
    pub(super) negatives: Vec<u32>,
}

/// The pairs of one file.
pub(super) struct PairSet {
    pub(super) name: String,
    pub(super) pairs: Vec<Pair>,
}

/// Which pairs count.
#[derive(Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    /// Texts that must not be trained on.
    pub(super) held_out: Option<&'a HeldOut>,
    /// Only texts of which this teacher has vectors.
    pub(super) taught_by: Option<&'a Teacher>,
}

/// All that a stage is trained on.
pub(super) struct Corpus {
    pub(super) texts: Texts,
    pub(super) sets: Vec<PairSet>,
    pub(super) reports: Vec<SetReport>,
}

impl Corpus {
    /// Reads the files of a stage.
    ///
    /// # Errors
    /// Those of [`read`]; [`Error::UnknownTask`] for a prompt that the package does not have;
    /// [`Error::File`] if nothing of a file is left.
    pub(super) fn read(
        sets: &[DataSet],
        folder: &Path,
        package: &Package,
        max_tokens: usize,
        seed: u64,
        choice: Choice<'_>,
    ) -> Result<Corpus> {
        let mut corpus = Corpus { texts: Texts::default(), sets: Vec::new(), reports: Vec::new() };
        let mut known = HashSet::new();
        for (i, set) in sets.iter().enumerate() {
            let path = folder.join(&set.file);
            let mut report = SetReport { file: set.file.clone(), ..SetReport::default() };
            let mut pairs = read(&path)?;
            report.n_read = pairs.len();
            choose_pairs(&mut pairs, &mut known, choice, &mut report);
            if let Some(most) = set.at_most.filter(|&most| most < pairs.len()) {
                report.n_over = pairs.len() - most;
                Random::new(mixed(&[seed, i as u64])).shuffle(&mut pairs);
                pairs.truncate(most);
            }
            if pairs.is_empty() {
                let problem =
                    "no pair is left: all are held out, unknown to the teacher, or in other sets"
                        .to_owned();
                return Err(Error::File { path, line: None, problem });
            }
            report.n_used = pairs.len();
            let prompts = [prompt(package, &set.query)?, prompt(package, &set.positive)?];
            corpus.add(set, &pairs, prompts, package, max_tokens, &mut report)?;
            corpus.reports.push(report);
        }
        Ok(corpus)
    }

    fn add(
        &mut self,
        set: &DataSet,
        pairs: &[TextPair],
        [of_queries, of_positives]: [&str; 2],
        package: &Package,
        max_tokens: usize,
        report: &mut SetReport,
    ) -> Result<()> {
        let mut new = Vec::new();
        let mut place = |prompt: &str, text: &str| {
            let hash = text_hash(text);
            let key = xxh3_64_with_seed(prompt.as_bytes(), hash);
            let next = u32::try_from(self.texts.hashes.len()).expect("fewer than 2^32 texts");
            *self.texts.places.entry(key).or_insert_with(|| {
                self.texts.hashes.push(hash);
                new.push(format!("{prompt}{text}"));
                next
            })
        };
        let pairs = pairs.iter().map(|pair| Pair {
            query: place(of_queries, &pair.query),
            positive: place(&with_title(of_positives, &pair.title), &pair.positive),
            negatives: pair.negatives.iter().map(|text| place(of_positives, text)).collect(),
        });
        let pairs = pairs.collect();
        let window = max_tokens.min(package.window);
        let tokens: Vec<(Vec<u32>, bool)> =
            new.par_iter().map(|text| tokenize(package, text, window)).collect::<Result<_>>()?;
        for (ids, is_cut) in tokens {
            self.texts.ids.extend(ids);
            self.texts.ends.push(self.texts.ids.len());
            report.n_cut += usize::from(is_cut);
        }
        let name = set.file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split(".jsonl").next().unwrap_or_default().to_owned();
        self.sets.push(PairSet { name, pairs });
        Ok(())
    }

    /// A hash of all tokens and pairs: data that changed is other data.
    pub(super) fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for id in &self.texts.ids {
            hasher.update(&id.to_le_bytes());
        }
        for pair in self.sets.iter().flat_map(|set| &set.pairs) {
            for text in [pair.query, pair.positive].iter().chain(&pair.negatives) {
                hasher.update(&text.to_le_bytes());
            }
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// Leaves out pairs that are repeated, held out or not taught.
fn choose_pairs(
    pairs: &mut Vec<TextPair>,
    known: &mut HashSet<(u64, u64)>,
    choice: Choice<'_>,
    report: &mut SetReport,
) {
    let is_held_out = |pair: &TextPair| {
        let is_in = |texts: &HeldOut| texts.has(&pair.query) || texts.has(&pair.positive);
        choice.held_out.is_some_and(is_in)
    };
    let is_taught =
        |text: &str| choice.taught_by.is_none_or(|teacher| teacher.knows(text_hash(text)));
    let held_out: Vec<bool> = pairs.par_iter().map(is_held_out).collect();
    let mut held_out = held_out.into_iter();
    pairs.retain_mut(|pair| {
        if held_out.next() == Some(true) {
            report.n_held_out += 1;
            if report.examples.len() < MOST_EXAMPLES {
                report.examples.push(pair.query.chars().take(80).collect());
            }
            return false;
        }
        if !is_taught(&pair.query) || !is_taught(&pair.positive) {
            report.n_untaught += 1;
            return false;
        }
        let is_new = known.insert((text_hash(&pair.query), text_hash(&pair.positive)));
        report.n_repeated += usize::from(!is_new);
        let n_negatives = pair.negatives.len();
        pair.negatives.retain(|negative| *negative != pair.positive && is_taught(negative));
        report.n_negatives_left_out += n_negatives - pair.negatives.len();
        is_new
    });
}

fn prompt<'a>(package: &'a Package, task: &str) -> Result<&'a str> {
    package.prompts.get(task).map(String::as_str).ok_or_else(|| Error::UnknownTask {
        task: task.to_owned(),
        known: package.prompts.keys().cloned().collect(),
    })
}

/// The ids of a text in its prompt, at most `window`, and whether its end was cut off.
fn tokenize(package: &Package, text: &str, window: usize) -> Result<(Vec<u32>, bool)> {
    let mut ids = package.tokenizer.framed(text)?;
    let is_cut = ids.len() > window;
    if is_cut {
        ids.truncate(window - 1);
        ids.push(package.config.eos);
    }
    let vocab_size = package.config.vocab_size;
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(&id) => Err(Error::TokenOutsideTable { id, vocab_size }),
        None => Ok((ids, is_cut)),
    }
}

#[cfg(test)]
mod tests;
