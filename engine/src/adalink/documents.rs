//! The documents of a collection as they are stored, to be compared with queries.
//!
//! A collection keeps each vector in several forms: full width in f16, cut and quantised for the walk.
//! Tuning sees exactly these numbers, so what it gains it gains on what is searched. A document may
//! have several rows (its chunks); its score is that of its best.

use std::collections::HashMap;

use rayon::prelude::*;

use super::head::to_unit;
use crate::kernel::{self, Epilogue, Lines, PANEL, Panels, Precision, Rows};
use crate::package::Matrix;

/// Queries that are compared at once: enough to use each row often, few enough for memory.
const QUERIES_AT_ONCE: usize = 128;

/// Rows of a block that a thread compares.
const ROWS_AT_ONCE: usize = 1024;

/// Rows of documents in every form in which they are stored.
pub struct Documents {
    /// Id of each document.
    ids: Vec<String>,
    /// The document of each row.
    document_idx: Vec<u32>,
    forms: Vec<Form>,
}

/// One form of all rows.
pub struct Form {
    /// What it is called in reports, such as `384 f16`.
    pub name: String,
    /// `[n_rows, width]`, unit vectors, as numbers again if they were quantised.
    pub rows: Matrix,
}

impl Documents {
    /// `document_idx`: for each row its document's place in `ids`. `forms`: the one whose ranking is
    /// what a search answers first, then the others; each as many rows.
    ///
    /// # Panics
    /// If the numbers of rows differ, or a row's document does not exist.
    pub fn new(ids: Vec<String>, document_idx: Vec<u32>, mut forms: Vec<Form>) -> Documents {
        assert!(!forms.is_empty() && forms.iter().all(|f| f.rows.n_rows == document_idx.len()));
        assert!(document_idx.iter().all(|&idx| (idx as usize) < ids.len()), "a row's document");
        for form in &mut forms {
            let width = form.rows.n_cols;
            form.rows.values.par_chunks_exact_mut(width).for_each(to_unit);
        }
        Documents { ids, document_idx, forms }
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.document_idx.len()
    }

    /// The document with the row closest to a vector of full width, and the score.
    pub fn nearest(&self, vector: &[f32]) -> Option<(String, f32)> {
        let query = Matrix { values: vector.to_vec(), n_rows: 1, n_cols: vector.len() };
        let best = self.compare(0, &query, |_, scores| self.best_documents(scores, 1).pop());
        best.into_iter().next().flatten()
    }

    /// The forms, the one that decides first.
    pub fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// The id of a row's document.
    pub(crate) fn id_of(&self, row: usize) -> &str {
        &self.ids[self.document_idx[row] as usize]
    }

    /// Rows of each document, by its id.
    pub(crate) fn rows_by_id(&self) -> HashMap<&str, Vec<u32>> {
        let mut rows: HashMap<&str, Vec<u32>> = HashMap::new();
        for row in 0..self.n_rows() {
            rows.entry(self.id_of(row)).or_default().push(row as u32);
        }
        rows
    }

    /// A row in a form.
    pub(crate) fn row(&self, form_idx: usize, row: u32) -> &[f32] {
        let rows = &self.forms[form_idx].rows;
        &rows.values[row as usize * rows.n_cols..][..rows.n_cols]
    }

    /// Compares each query with all rows of a form, and gives what `take` makes of a query's place and
    /// its scores, `[n_rows]`.
    ///
    /// `queries`: `[n, at least the form's width]`; they are cut and made unit vectors.
    pub(crate) fn compare<T: Send>(
        &self,
        form_idx: usize,
        queries: &Matrix,
        take: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Vec<T> {
        let Matrix { values: rows, n_cols: width, n_rows } = &self.forms[form_idx].rows;
        let (width, n_rows) = (*width, *n_rows);
        let mut taken = Vec::with_capacity(queries.n_rows);
        let batches = queries.values.chunks(QUERIES_AT_ONCE * queries.n_cols);
        for (batch_idx, batch) in batches.enumerate() {
            let n_queries = batch.len() / queries.n_cols;
            let mut cut = Rows::new(Precision::F32);
            cut.reset(n_queries, width);
            for (i, query) in batch.chunks_exact(queries.n_cols).enumerate() {
                let mut query = query[..width].to_vec();
                to_unit(&mut query);
                cut.set(i, &query);
            }
            // By blocks: `[n_queries, rows of the block]` each.
            let blocks: Vec<Vec<f32>> = rows
                .par_chunks(ROWS_AT_ONCE * width)
                .map(|block| scores_of_block(&cut, n_queries, block, width))
                .collect();
            let first = batch_idx * QUERIES_AT_ONCE;
            taken.par_extend((0..n_queries).into_par_iter().map(|i| {
                let mut scores = Vec::with_capacity(n_rows);
                for block in &blocks {
                    let len = block.len() / n_queries;
                    scores.extend_from_slice(&block[i * len..][..len]);
                }
                take(first + i, &scores)
            }));
        }
        taken
    }

    /// The documents closest to a query whose scores these are, best first: `[n_rows]` to at most `k`.
    ///
    /// Of equal scores the larger id comes first, as trec_eval has it.
    pub(crate) fn best_documents(&self, scores: &[f32], k: usize) -> Vec<(String, f32)> {
        let mut best = vec![f32::NEG_INFINITY; self.ids.len()];
        for (score, &idx) in scores.iter().zip(&self.document_idx) {
            let best = &mut best[idx as usize];
            *best = best.max(*score);
        }
        let better = |&a: &u32, &b: &u32| {
            let (a, b) = (a as usize, b as usize);
            best[b].total_cmp(&best[a]).then_with(|| self.ids[b].cmp(&self.ids[a]))
        };
        let order = first_of(self.ids.len(), k, better).into_iter();
        order.map(|i| (self.ids[i as usize].clone(), best[i as usize])).collect()
    }
}

/// The first `k` of the places `0..n` in this order, sorted.
pub(crate) fn first_of(
    n: usize,
    k: usize,
    order: impl Fn(&u32, &u32) -> std::cmp::Ordering,
) -> Vec<u32> {
    let mut places: Vec<u32> = (0..n as u32).collect();
    if k < n {
        places.select_nth_unstable_by(k, &order);
        places.truncate(k);
    }
    places.sort_unstable_by(order);
    places
}

fn scores_of_block(queries: &Rows, n_queries: usize, rows: &[f32], width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = rows.chunks_exact(width).collect();
    let n_bytes = Precision::F32.panel_bytes(width);
    let mut lines = Lines::default();
    lines.resize(rows.len().div_ceil(PANEL) * n_bytes);
    for (rows, panel) in rows.chunks(PANEL).zip(lines.bytes_mut().chunks_exact_mut(n_bytes)) {
        kernel::pack(Precision::F32, rows, panel);
    }
    let panels = Panels::new(Precision::F32, rows.len(), width, lines.bytes());
    let mut scores = vec![0.0; n_queries * rows.len()];
    kernel::product(queries, panels, Epilogue::Plain, &mut scores, rows.len());
    scores
}

#[cfg(test)]
mod tests {
    use super::super::head::dot;
    use super::*;
    use crate::random::Random;

    fn random_rows(n_rows: usize, n_cols: usize, seed: u64) -> Matrix {
        let mut random = Random::new(seed);
        let values = (0..n_rows * n_cols).map(|_| random.normal() as f32).collect();
        Matrix { values, n_rows, n_cols }
    }

    #[test]
    fn scores_are_cosines_of_cut_vectors() {
        // More queries and rows than go at once, and numbers of both that fill no panel.
        let (rows, queries) = (random_rows(1_500, 24, 1), random_rows(150, 70, 2));
        let ids = (0..1_500).map(|i| i.to_string()).collect();
        let form = Form { name: "24".to_owned(), rows: rows.clone() };
        let documents = Documents::new(ids, (0..1_500).collect(), vec![form]);
        let scores = documents.compare(0, &queries, |i, scores| (i, scores.to_vec()));
        for (i, (place, scores)) in scores.iter().enumerate() {
            assert_eq!(*place, i);
            assert_eq!(scores.len(), 1_500);
            for j in (0..1_500).step_by(97) {
                let unit = |values: &[f32]| {
                    let mut values = values.to_vec();
                    to_unit(&mut values);
                    values
                };
                let query = unit(&queries.values[i * 70..][..24]);
                let expected = dot(&query, &unit(&rows.values[j * 24..][..24]));
                assert!((scores[j] - expected).abs() < 1e-5, "{} {expected}", scores[j]);
            }
        }
    }

    #[test]
    fn a_document_scores_as_its_best_row_and_equal_scores_go_by_id() {
        let form = Form { name: "2".to_owned(), rows: random_rows(5, 2, 3) };
        let ids = ["a", "b", "c"].map(str::to_owned).to_vec();
        let documents = Documents::new(ids, vec![0, 0, 1, 2, 2], vec![form]);
        let best = documents.best_documents(&[0.1, 0.5, 0.5, -0.3, 0.9], 2);
        assert_eq!(best, [("c".to_owned(), 0.9), ("b".to_owned(), 0.5)]);
        assert_eq!(documents.best_documents(&[0.0; 5], 9).len(), 3);
        assert_eq!(documents.rows_by_id()["c"], [3, 4]);
    }
}
