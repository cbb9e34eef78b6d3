//! Queries whose answers are known: what tuning learns from.

use std::collections::HashMap;

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
