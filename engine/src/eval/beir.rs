//! A retrieval set in the layout of BEIR.
//!
//! ```text
//! SET/corpus.jsonl      {"_id": "d1", "title": "...", "text": "..."}      one document a line
//! SET/queries.jsonl     {"_id": "q1", "text": "..."}                      one query a line
//! SET/qrels/test.tsv    query-id <tab> corpus-id <tab> score              a header, then judgements
//! ```
//!
//! A damaged line is an error with its file and number. A judgement that names an unknown query or
//! document is no error, since published sets have some, but it is counted: it stays in `qrels`,
//! where it makes the ideal ranking longer, as in trec_eval. A set in which every judgement is of
//! that kind is refused: its files do not belong together.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::lines::{for_each, json, problem_in, three_fields};
use crate::Result;

/// A retrieval set: documents, queries, and which answer which.
#[derive(Debug)]
pub struct Beir {
    /// The folder's name.
    pub name: String,
    /// In the order of the file; ids are distinct.
    pub documents: Vec<BeirDocument>,
    /// Id and text, in the order of the file; ids are distinct.
    pub queries: Vec<(String, String)>,
    /// By query id, then by document id: the grade; relevant if above 0.
    pub qrels: HashMap<String, HashMap<String, i32>>,
    /// Judgements in `qrels` that name a query or a document which the set does not have.
    pub n_unknown: usize,
}

/// A document of a retrieval set.
#[derive(Clone, Debug, PartialEq)]
pub struct BeirDocument {
    /// The id that judgements use.
    pub id: String,
    /// Empty where there is none.
    pub title: String,
    /// May be empty, if there is a title.
    pub text: String,
}

#[derive(Deserialize)]
struct DocumentLine {
    #[serde(rename = "_id")]
    id: String,
    title: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

impl Beir {
    /// Reads a set from its folder; of the judgements only `qrels/test.tsv`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a file is missing or unreadable,
    /// [`Error::File`](crate::Error::File) with the line if it is not in the layout above.
    pub fn read(folder: &Path) -> Result<Beir> {
        let documents = Beir::read_documents(folder)?;
        let document_ids: HashSet<&String> =
            documents.iter().map(|document| &document.id).collect();
        let queries = read_queries(&folder.join("queries.jsonl"))?;
        let query_ids: HashSet<&String> = queries.iter().map(|(id, _)| id).collect();
        let path = folder.join("qrels").join("test.tsv");
        let qrels = read_qrels(&path)?;
        let (mut n_judgements, mut n_unknown) = (0, 0);
        for (query, grades) in &qrels {
            let is_known = query_ids.contains(query);
            n_judgements += grades.len();
            n_unknown +=
                grades.keys().filter(|id| !(is_known && document_ids.contains(*id))).count();
        }
        if n_unknown == n_judgements {
            let problem = format!(
                "none of its {n_judgements} judgements names a query of queries.jsonl and a \
                 document of corpus.jsonl; the files are not of one set"
            );
            return Err(problem_in(&path, None, problem));
        }
        Ok(Beir { name: name_of(folder), documents, queries, qrels, n_unknown })
    }

    /// Reads the documents alone.
    ///
    /// # Errors
    /// As [`read`](Beir::read).
    pub fn read_documents(folder: &Path) -> Result<Vec<BeirDocument>> {
        let mut documents = Vec::new();
        let path = folder.join("corpus.jsonl");
        read_objects(&path, "read the documents", |line: DocumentLine| {
            let DocumentLine { id, title, text } = line;
            documents.push(BeirDocument { id: id.clone(), title: title.unwrap_or_default(), text });
            id
        })?;
        Ok(documents)
    }

    /// The queries that have judgements: the only ones worth asking.
    pub fn judged_queries(&self) -> impl Iterator<Item = &(String, String)> {
        self.queries.iter().filter(|(id, _)| self.qrels.contains_key(id))
    }
}

/// Id and text of each query, in the order of the file; ids are distinct.
pub(crate) fn read_queries(path: &Path) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    read_objects(path, "read the queries", |line: QueryLine| {
        queries.push((line.id.clone(), line.text));
        line.id
    })?;
    Ok(queries)
}

/// Reads one JSON object a line; `keep` takes it and returns its id, which must be new.
fn read_objects<T: DeserializeOwned>(
    path: &Path,
    doing: &'static str,
    mut keep: impl FnMut(T) -> String,
) -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    for_each(path, doing, |_, text| {
        let id = keep(json(text)?);
        match ids.replace(id) {
            None => Ok(()),
            Some(id) => Err(format!("_id '{id}' is taken by an earlier line")),
        }
    })?;
    match ids.is_empty() {
        true => Err(problem_in(path, None, "empty, expected one JSON object a line".to_owned())),
        false => Ok(ids),
    }
}

/// By query id, then by document id: the grade.
pub(crate) fn read_qrels(path: &Path) -> Result<HashMap<String, HashMap<String, i32>>> {
    let mut qrels: HashMap<String, HashMap<String, i32>> = HashMap::new();
    let mut is_header = true;
    for_each(path, "read the judgements", |_, text| {
        let [query, document, grade] = three_fields(text)?;
        let grade: Result<i32, _> = grade.trim().parse();
        if std::mem::take(&mut is_header) {
            return match grade {
                Ok(_) => Err("a judgement, expected the header query-id, corpus-id, score".into()),
                Err(_) => Ok(()),
            };
        }
        let grade = grade.map_err(|_| format!("score in '{text}' is not a whole number"))?;
        match qrels.entry(query.to_owned()).or_default().entry(document.to_owned()) {
            Entry::Occupied(old) if *old.get() != grade => Err(format!(
                "query '{query}' and document '{document}' have score {grade} here and {} above",
                old.get()
            )),
            entry => {
                entry.insert_entry(grade);
                Ok(())
            }
        }
    })?;
    Ok(qrels)
}

/// The last part of a path, also of one like `.`.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().ok();
    let name = folder.file_name().or_else(|| whole.as_ref()?.file_name());
    name.map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
