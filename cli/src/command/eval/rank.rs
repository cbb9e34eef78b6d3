//! Rankings of documents for queries: by comparing all of them, or through a database.

use std::cmp::Ordering;
use std::collections::HashSet;

use anyhow::Context;
use gemmule::storage::{Chunk, Document, Fusion, Request, Space, Store};
use half::f16;
use rayon::prelude::*;
use serde_json::Map;

use crate::vector;

/// The deepest place that a measure looks at.
const DEPTH: usize = 100;

/// Documents that are put into the database at once.
const BATCH: usize = 1024;

/// Ids and scores of a query's best documents.
pub(super) type Ranking = Vec<(String, f32)>;

/// Compares every query with every document; both as [`codes`](super::codes) makes them.
pub(super) fn exact(queries: &[Vec<f32>], documents: &[Vec<f32>], ids: &[&str]) -> Vec<Ranking> {
    let rank = |query: &Vec<f32>| {
        let mut scored: Vec<(&str, f32)> = Vec::with_capacity(ids.len());
        for (id, chunk) in ids.iter().zip(documents) {
            let score = vector::dot(query, chunk);
            match scored.last_mut() {
                // Chunks of one document follow each other; its best counts.
                Some((last, best)) if last == id => *best = best.max(score),
                _ => scored.push((*id, score)),
            }
        }
        // Equal scores as trec_eval has them, so that the cut at the depth is its cut too.
        let best_first = |a: &(&str, f32), b: &(&str, f32)| -> Ordering {
            b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0))
        };
        if scored.len() > DEPTH {
            scored.select_nth_unstable_by(DEPTH, best_first);
            scored.truncate(DEPTH);
        }
        scored.sort_unstable_by(best_first);
        scored.into_iter().map(|(id, score)| (id.to_owned(), score)).collect()
    };
    queries.par_iter().map(rank).collect()
}

/// What a database is made of: vectors and, if words are to be found, the title and text of each.
pub(super) struct Rows<'a> {
    pub(super) ids: &'a [&'a str],
    pub(super) vectors: &'a [Vec<f32>],
    pub(super) texts: Option<Vec<(&'a str, &'a str)>>,
}

/// Puts the documents into a database with codes of this width and kind, in a temporary folder, and asks it.
pub(super) fn through_database(
    queries: &[(Vec<f32>, &str)],
    rows: &Rows<'_>,
    (dims, quant): (usize, gemmule::Quant),
    fusion: Fusion,
) -> anyhow::Result<Vec<Ranking>> {
    let Rows { ids, vectors: documents, texts } = rows;
    const NAME: &str = "eval";
    let folder = tempfile::tempdir().context("could not make a temporary folder")?;
    let store = Store::open(&folder.path().join("eval.gemmule"))?;
    let space = Space {
        model: "eval".to_owned(),
        fingerprint: String::new(),
        document_prompt: String::new(),
        link: None,
        full_width: documents.first().map_or(dims, Vec::len),
        dims,
        quant,
    };
    store.create(NAME, &space)?;
    let mut rows: Vec<Document> = Vec::new();
    for (row_idx, (id, full)) in ids.iter().zip(*documents).enumerate() {
        let (title, text) = texts.as_ref().map_or(("", ""), |texts| texts[row_idx]);
        let chunk = chunk(row_idx as u128, full, text);
        match rows.last_mut() {
            Some(document) if document.id == *id => document.chunks.push(chunk),
            _ => rows.push(document(id, title, chunk)),
        }
    }
    let most_chunks = rows.iter().map(|document| document.chunks.len()).max().unwrap_or(1);
    for batch in rows.chunks(BATCH) {
        store.put(NAME, batch)?;
    }
    store.seal(NAME, &|| false)?;
    let ask = |(vector, text): &(Vec<f32>, &str)| -> anyhow::Result<Ranking> {
        // Enough chunks for as many documents, whichever they are.
        let request = Request::new(vector.clone(), DEPTH * most_chunks).text(text).fusion(fusion);
        let answer = store.search(NAME, &request)?;
        let mut seen = HashSet::new();
        let best = answer.hits.into_iter().filter(|hit| seen.insert(hit.document.clone()));
        Ok(best.take(DEPTH).map(|hit| (hit.document, hit.score)).collect())
    };
    queries.par_iter().map(ask).collect()
}

fn document(id: &str, title: &str, first: Chunk) -> Document {
    let title = Some(title.to_owned()).filter(|title| !title.is_empty());
    Document { id: id.to_owned(), source: None, title, meta: Map::new(), chunks: vec![first] }
}

fn chunk(row_idx: u128, full: &[f32], text: &str) -> Chunk {
    Chunk {
        text: text.to_owned(),
        hash: row_idx.to_le_bytes(),
        range: 0..0,
        page: None,
        headings: Vec::new(),
        n_tokens: 0,
        precision: None,
        vector: full.iter().map(|x| f16::from_f32(*x)).collect(),
    }
}
