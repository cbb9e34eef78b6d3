//! What a search sees: an immutable set of segments and unsealed rows, all of one moment.
//!
//! A writer builds the next view beside the current one and swaps it in once the change is on disk. A search keeps the
//! view it started with, texts included, so it never waits for a writer and never sees half a change.

use std::ops::Range;
use std::sync::Arc;

use half::f16;
use index::{EF_DEFAULT, Found, Query, RowId, Search};
use rayon::prelude::*;

use crate::document::StoredChunk;
use crate::error::{Error, Result};
use crate::fuse::{Fusion, Ranked, fuse};
use crate::lexicon::Lexicon;
use crate::request::Request;
use crate::row::{self, Run};
use crate::sealed::Sealed;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first; equal scores in the order of their rows.
    pub hits: Vec<Hit>,
    /// True if every live row was compared: at full width, if vectors were asked for.
    pub exact: bool,
    /// Rows or nodes whose vectors were scored.
    pub compared: usize,
}

/// One row that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: u64,
    /// The id of its document.
    pub document: String,
    /// The chunk it stands for.
    pub chunk: StoredChunk,
    /// Dot product of query and row at full width if only vectors are compared, BM25 if only words are, else what
    /// the fusion makes of both; higher is closer.
    pub score: f32,
    /// Its place among the rows that the vector found, if it did.
    pub vector: Option<Ranked>,
    /// Its place among the rows that the text found, if it did.
    pub text: Option<Ranked>,
}

/// Segments and unsealed rows of a collection at one moment, both in the order of their rows, and their lexicon.
#[derive(Clone, Default)]
pub(crate) struct View {
    sealed: Vec<Sealed>,
    unsealed: Vec<Arc<Run>>,
    lexicon: Lexicon,
}

/// Where a row is.
enum Place<'a> {
    Sealed(&'a Sealed, RowId),
    Unsealed(&'a Run, usize),
}

impl View {
    pub(crate) fn new(mut sealed: Vec<Sealed>, unsealed: Vec<Arc<Run>>, lexicon: Lexicon) -> View {
        sealed.sort_by_key(|sealed| sealed.rows().start);
        assert!(unsealed.is_sorted_by_key(|run| run.rows().start));
        View { sealed, unsealed, lexicon }
    }

    /// The same with another lexicon.
    pub(crate) fn with_lexicon(&self, lexicon: Lexicon) -> View {
        View { lexicon, ..self.clone() }
    }

    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    pub(crate) fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    pub(crate) fn unsealed(&self) -> &[Arc<Run>] {
        &self.unsealed
    }

    pub(crate) fn n_unsealed(&self) -> usize {
        self.unsealed.iter().map(|run| run.len()).sum()
    }

    /// True if some of these rows are unsealed.
    pub(crate) fn has_unsealed(&self, rows: &Range<u64>) -> bool {
        let at = self.unsealed.partition_point(|run| run.rows().end <= rows.start);
        self.unsealed.get(at).is_some_and(|run| run.rows().start < rows.end)
    }

    /// The next view: without the unsealed rows of `dropped`, with the sealed rows of `dead` dead, with `added` rows.
    /// The lexicon is changed by the caller.
    pub(crate) fn changed(
        &self,
        dropped: &[Range<u64>],
        dead: &[Range<u64>],
        added: Vec<Arc<Run>>,
    ) -> View {
        let mut dropped = dropped.to_vec();
        dropped.sort_by_key(|rows| rows.start);
        let is_dropped = |run: &Run| {
            let at = dropped.partition_point(|rows| rows.end <= run.rows().start);
            dropped.get(at).is_some_and(|rows| rows.start < run.rows().end)
        };
        let kept = self.unsealed.iter().filter(|run| !is_dropped(run)).cloned();
        let sealed = self.sealed.iter().map(|sealed| {
            let rows = sealed.rows();
            let dead = dead.iter().filter(|dead| dead.start < rows.end && rows.start < dead.end);
            let mut dead = dead.cloned().peekable();
            if dead.peek().is_none() { sealed.clone() } else { sealed.with_dead(dead.flatten()) }
        });
        View::new(sealed.collect(), kept.chain(added).collect(), self.lexicon.clone())
    }

    /// True if the row is there and not dead.
    pub(crate) fn is_live(&self, row: u64) -> bool {
        match self.place(row) {
            Some(Place::Sealed(sealed, row)) => sealed.is_live(row),
            Some(Place::Unsealed(..)) => true,
            None => false,
        }
    }

    /// How many live rows come before `end`.
    pub(crate) fn n_live_before(&self, end: u64) -> usize {
        let sealed: usize = self.sealed.iter().map(|sealed| sealed.n_live_before(end)).sum();
        let before = |run: &Arc<Run>| run.rows().filter(|row| *row < end).count();
        sealed + self.unsealed.iter().map(before).sum::<usize>()
    }

    /// The live rows from `start` on.
    pub(crate) fn live_rows_from(&self, start: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        let sealed = self.sealed.iter().filter(move |sealed| start < sealed.rows().end);
        let sealed = sealed.flat_map(|sealed| sealed.live_rows());
        let unsealed = self.unsealed.iter().flat_map(|run| run.rows());
        Box::new(sealed.chain(unsealed).filter(move |row| start <= *row))
    }

    /// What is kept beside a row, dead or not.
    pub(crate) fn chunk(&self, row: u64) -> Result<StoredChunk> {
        match self.place(row) {
            Some(Place::Unsealed(run, idx)) => row::decode_info(row, run.info(idx)),
            Some(Place::Sealed(sealed, at)) => {
                let mut chunks = sealed.chunks(std::iter::once(at))?;
                Ok(chunks.pop().expect("one row has one chunk"))
            }
            None => Err(Error::corrupt(format!("row {row}"), "it is in no segment")),
        }
    }

    /// The vector of a row, dead or not.
    pub(crate) fn vector(&self, row: u64) -> Option<Vec<f16>> {
        Some(match self.place(row)? {
            Place::Sealed(sealed, row) => sealed.vector(row),
            Place::Unsealed(run, idx) => run.vector(idx).to_vec(),
        })
    }

    /// What is kept beside rows of one document, or the first row that is nowhere in this view.
    pub(crate) fn chunks(&self, rows: Range<u64>) -> Result<Result<Vec<StoredChunk>, u64>> {
        let mut chunks = Vec::new();
        for found in self.sealed.iter() {
            let both = rows.start.max(found.rows().start)..rows.end.min(found.rows().end);
            let positions: Vec<RowId> = both.filter_map(|row| found.find(row)).collect();
            if !positions.is_empty() {
                chunks.extend(found.chunks(positions.into_iter())?);
            }
        }
        if chunks.len() as u64 == rows.end.saturating_sub(rows.start) {
            return Ok(Ok(chunks));
        }
        chunks.clear();
        for row in rows {
            match self.place(row) {
                Some(Place::Unsealed(run, idx)) => {
                    chunks.push(row::decode_info(row, run.info(idx))?);
                }
                Some(Place::Sealed(sealed, at)) => {
                    chunks.extend(sealed.chunks(std::iter::once(at))?);
                }
                None => return Ok(Err(row)),
            }
        }
        Ok(Ok(chunks))
    }

    fn place(&self, row: u64) -> Option<Place<'_>> {
        let at = self.unsealed.partition_point(|run| run.rows().end <= row);
        if let Some(run) = self.unsealed.get(at).filter(|run| run.rows().contains(&row)) {
            return Some(Place::Unsealed(run, (row - run.rows().start) as usize));
        }
        self.sealed.iter().find_map(|sealed| Some(Place::Sealed(sealed, sealed.find(row)?)))
    }

    /// The best rows; the caller has checked the query's width. Codes are cut to `dims`.
    pub(crate) fn search(&self, request: &Request, dims: usize) -> Result<Answer> {
        let depth = request.depth();
        let mut answer = Answer { hits: Vec::new(), exact: true, compared: 0 };
        let mut by_vector = Vec::new();
        if request.asks_vector() {
            let query = Query::new(&request.vector, dims);
            by_vector = self.nearest(&query, depth, request.exact, &mut answer);
        }
        let live = |row| self.is_live(row);
        let (by_text, fusion) = match request.asked_text() {
            Some(text) => (self.lexicon.search(text, depth, &live)?, request.fusion),
            None => (Vec::new(), Fusion::VectorOnly),
        };
        for fused in fuse(&by_vector, &by_text, fusion).into_iter().take(request.k) {
            let chunk = self.chunk(fused.row)?;
            answer.hits.push(Hit {
                row: fused.row,
                document: chunk.document.clone(),
                chunk,
                score: fused.score,
                vector: fused.vector,
                text: fused.text,
            });
        }
        Ok(answer)
    }

    /// The `k` rows closest to a query, best first; notes in `answer` what was compared.
    fn nearest(
        &self,
        query: &Query,
        k: usize,
        exact: bool,
        answer: &mut Answer,
    ) -> Vec<(u64, f32)> {
        let how = if exact { Search::Exact } else { Search::Graph { ef: EF_DEFAULT.max(k) } };
        let found: Vec<Found> =
            self.sealed.par_iter().map(|sealed| sealed.search(query, k, how)).collect();
        answer.exact = found.iter().all(|found| found.exact);
        answer.compared =
            self.n_unsealed() + found.iter().map(|found| found.compared).sum::<usize>();
        let mut candidates: Vec<(u64, f32)> = Vec::new();
        for (sealed, found) in self.sealed.iter().zip(found) {
            let hits = found.hits.into_iter();
            candidates.extend(hits.map(|hit| (sealed.row_id(hit.row), hit.score)));
        }
        let unsealed = self.unsealed.iter().flat_map(|run| run.iter());
        candidates.extend(index::scan(unsealed, query, k));
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        candidates.truncate(k);
        candidates
    }
}
