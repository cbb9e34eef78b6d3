//! Queries whose answers are known: what tuning learns from.

use std::collections::{HashMap, HashSet};

use super::Documents;

/// A query and its judgements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// As it was asked.
    pub text: String,
    /// Documents that answer it.
    pub positives: Vec<Positive>,
    /// Texts that answer it, where no id is known.
    pub positive_texts: Vec<String>,
    /// Ids of documents that do not answer it.
    pub negatives: Vec<String>,
    /// Queries of one group are never on both sides of a split.
    pub group: Option<String>,
    /// The side that the data puts it on.
    pub part: Option<Part>,
}

/// A document that answers a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Positive {
    /// Its id.
    pub document: String,
    /// How well it answers, from 1.
    pub grade: i32,
    /// How much it counts in training; 1 if nothing is said.
    pub weight: f32,
}

/// A side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is learnt from.
    Train,
    /// What choices are made by.
    Dev,
    /// What is looked at once, at the end.
    Test,
}

impl Query {
    /// The grade of each document that answers it, as measures take them.
    pub(crate) fn grades(&self) -> HashMap<String, i32> {
        let positives = self.positives.iter();
        positives.map(|positive| (positive.document.clone(), positive.grade)).collect()
    }
}

/// Takes out answers that are not among the documents, then queries without any.
///
/// Returns how many answers and how many queries that were.
pub fn keep_known(queries: &mut Vec<Query>, documents: &Documents) -> (usize, usize) {
    let known: HashSet<&str> = documents.rows_by_id().into_keys().collect();
    let (mut n_answers, n_queries) = (0, queries.len());
    for query in queries.iter_mut() {
        let n_before = query.positives.len();
        query.positives.retain(|positive| known.contains(&*positive.document));
        n_answers += n_before - query.positives.len();
    }
    queries.retain(|query| !query.positives.is_empty());
    (n_answers, n_queries - queries.len())
}
