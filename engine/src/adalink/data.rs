//! Reads queries and their answers from files: pairs, and BEIR folders. Click logs are in [`clicks`].
//!
//! ```text
//! PAIRS.jsonl   {"query": "…", "positive_ids": ["…"], "negative_ids": ["…"], "weight": 1.0, "group": "…"}
//!               or with "positive": "a text" instead of ids; all but query and answer may be absent
//! FOLDER/       queries.jsonl, qrels/{train,dev,test}.tsv      as BEIR has them; grades count
//! ```
//!
//! Lines of one query are one query. A damaged line is an error with its file and number.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::clicks;
use super::query::{Part, Positive, Query};
use crate::Result;
use crate::eval::lines::{for_each, json, problem_in};
use crate::eval::{read_qrels, read_queries};

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub struct Data {
    /// In the order of the file; texts are distinct.
    pub queries: Vec<Query>,
    /// Whether that order is that of time.
    pub is_by_time: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PairLine {
    query: String,
    #[serde(default)]
    positive_ids: Vec<String>,
    positive: Option<String>,
    #[serde(default)]
    negative_ids: Vec<String>,
    weight: Option<f32>,
    group: Option<String>,
}

impl Data {
    /// Reads pairs.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be read, [`Error::File`](crate::Error::File)
    /// with the line if it is not in the layout above.
    pub fn read_pairs(path: &Path) -> Result<Data> {
        let mut queries = Queries::default();
        for_each(path, "read the pairs", |_, text| {
            let line: PairLine = json(text)?;
            if line.query.trim().is_empty() {
                return Err("the query is empty".to_owned());
            }
            let weight = line.weight.unwrap_or(1.0);
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(format!("weight {weight} is not above 0"));
            }
            if line.positive_ids.is_empty() && line.positive.is_none() {
                return Err("no answer: give positive_ids, or positive".to_owned());
            }
            let query = queries.of(&line.query);
            for document in line.positive_ids {
                add_positive(query, Positive { document, grade: 1, weight });
            }
            query.positive_texts.extend(line.positive);
            query.negatives.extend(line.negative_ids);
            query.group = query.group.take().or(line.group);
            Ok(())
        })?;
        queries.into_data(path, false)
    }

    /// Reads a BEIR folder; its corpus is not needed. Queries are on the sides that the files of
    /// judgements say.
    ///
    /// # Errors
    /// As [`read_pairs`](Data::read_pairs).
    pub fn read_beir(folder: &Path) -> Result<Data> {
        let texts: HashMap<String, String> =
            read_queries(&folder.join("queries.jsonl"))?.into_iter().collect();
        let mut queries = Queries::default();
        let sides = [("train", Part::Train), ("dev", Part::Dev), ("test", Part::Test)];
        for (name, part) in sides {
            let path = folder.join("qrels").join(format!("{name}.tsv"));
            if !path.exists() {
                continue;
            }
            // Sorted, so that the same folder is always read in the same order.
            let mut judged: Vec<_> = read_qrels(&path)?.into_iter().collect();
            judged.sort_by(|a, b| a.0.cmp(&b.0));
            for (id, grades) in judged {
                let Some(text) = texts.get(&id) else { continue };
                let query = queries.of(text);
                query.part = Some(part);
                let mut grades: Vec<_> =
                    grades.into_iter().filter(|(_, grade)| *grade > 0).collect();
                grades.sort();
                for (document, grade) in grades {
                    add_positive(query, Positive { document, grade, weight: 1.0 });
                }
            }
        }
        queries.into_data(folder, false)
    }

    /// Reads a click log.
    ///
    /// # Errors
    /// As [`read_pairs`](Data::read_pairs); also if the log is not in the order of time.
    pub fn read_clicks(path: &Path) -> Result<Data> {
        let mut queries = Queries::default();
        clicks::read(path, &mut queries)?;
        queries.into_data(path, true)
    }
}

/// Queries by text, in the order of their first line.
#[derive(Default)]
pub(super) struct Queries {
    places: HashMap<String, usize>,
    queries: Vec<Query>,
}

impl Queries {
    pub(super) fn of(&mut self, text: &str) -> &mut Query {
        let place = *self.places.entry(text.to_owned()).or_insert(self.queries.len());
        if place == self.queries.len() {
            self.queries.push(Query { text: text.to_owned(), ..Query::default() });
        }
        &mut self.queries[place]
    }

    fn into_data(self, path: &Path, is_by_time: bool) -> Result<Data> {
        let has_answer = |q: &Query| !(q.positives.is_empty() && q.positive_texts.is_empty());
        let queries: Vec<Query> = self.queries.into_iter().filter(has_answer).collect();
        if queries.is_empty() {
            let problem = "no query with an answer: there is nothing to learn from".to_owned();
            return Err(problem_in(path, None, problem));
        }
        Ok(Data { queries, is_by_time })
    }
}

/// The same answer again counts as the better one.
pub(super) fn add_positive(query: &mut Query, new: Positive) {
    match query.positives.iter_mut().find(|old| old.document == new.document) {
        None => query.positives.push(new),
        Some(old) => {
            old.grade = old.grade.max(new.grade);
            old.weight = old.weight.max(new.weight);
        }
    }
}

#[cfg(test)]
mod tests;
