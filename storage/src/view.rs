//! What a search sees: an immutable set of segments and unsealed rows, all of one moment.
//!
//! A writer builds the next view beside the current one and swaps it in once the change is on disk. A search keeps the
//! view it started with, texts included, so it never waits for a writer and never sees half a change.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use half::f16;
use index::{EF_DEFAULT, Query, RowId, Search};
use rayon::prelude::*;

use crate::document::StoredChunk;
use crate::error::Result;
use crate::filter::Filter;
use crate::filter::fields::Fields;
use crate::passages;
use crate::request::Request;
use crate::row::{self, Run};
use crate::sealed::Sealed;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first; equal scores in the order of their rows.
    pub hits: Vec<Hit>,
    /// True if every live row that passes the filter was scored at full width.
    pub exact: bool,
    /// Rows or nodes that were scored.
    pub compared: usize,
    /// Hits left out because they did not fit into [`Request::max_tokens`].
    pub n_left_out: usize,
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
    /// Dot product of query and row at full width; higher is closer.
    pub score: f32,
    /// The chunks before it, in order, if they were asked for.
    pub before: Vec<StoredChunk>,
    /// The chunks after it, in order, if they were asked for.
    pub after: Vec<StoredChunk>,
}

/// Segments and unsealed rows of a collection at one moment, both in the order of their rows.
#[derive(Clone, Default)]
pub(crate) struct View {
    sealed: Vec<Sealed>,
    unsealed: Vec<Arc<Run>>,
}

/// Where a row is.
enum Place<'a> {
    Sealed(&'a Sealed, RowId),
    Unsealed(&'a Run, usize),
}

/// A row that a part of the view found.
type Candidate<'a> = (f32, u64, Place<'a>);

impl View {
    pub(crate) fn new(mut sealed: Vec<Sealed>, unsealed: Vec<Arc<Run>>) -> View {
        sealed.sort_by_key(|sealed| sealed.rows().start);
        assert!(unsealed.is_sorted_by_key(|run| run.rows().start));
        View { sealed, unsealed }
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
        View::new(sealed.collect(), kept.chain(added).collect())
    }

    /// The vector of a row, dead or not.
    pub(crate) fn vector(&self, row: u64) -> Option<Vec<f16>> {
        Some(match self.place(row)? {
            Place::Sealed(sealed, row) => sealed.vector(row).to_vec(),
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

    /// The unsealed rows that pass a filter, or all, each with its vector.
    fn passing(&self, filter: Option<&Filter>) -> impl Iterator<Item = (u64, &[f16])> {
        let rows = self.unsealed.iter().flat_map(|run| run.iter().zip(run.fields()));
        let passes = move |fields: &Fields| filter.is_none_or(|filter| filter.matches(fields));
        rows.filter(move |(_, fields)| passes(fields)).map(|(row, _)| row)
    }

    /// How many live rows pass a filter.
    pub(crate) fn count(&self, filter: &Filter) -> Result<usize> {
        let sealed = self.sealed.par_iter().map(|sealed| Ok(sealed.select(filter)?.len()));
        let sealed: usize = sealed.sum::<Result<usize>>()?;
        Ok(sealed + self.passing(Some(filter)).count())
    }

    /// What is kept beside a row, if the view has it.
    pub(crate) fn chunk(&self, row: u64) -> Result<Option<StoredChunk>> {
        self.place(row).map(|place| chunk_at(row, &place)).transpose()
    }

    /// The answer to a request; the caller has checked the query's width. Codes are cut to `dims`.
    pub(crate) fn search(&self, request: &Request, dims: usize) -> Result<Answer> {
        let query = Query::new(&request.vector, dims);
        let is_diverse = request.diversity > 0.0;
        let mut n_asked = if is_diverse { request.k.saturating_mul(4) } else { request.k };
        loop {
            let ranked = self.rank(&query, n_asked, request)?;
            let is_all = ranked.rows.len() < n_asked;
            let mut hits = ranked.rows.iter().map(hit).collect::<Result<Vec<Hit>>>()?;
            if request.one_per_document {
                let mut documents = HashSet::new();
                hits.retain(|hit| documents.insert(hit.document.clone()));
            }
            // A document's lesser chunks gave way: more are asked for, until there are enough or no more.
            if hits.len() < request.k && !is_all {
                n_asked = n_asked.saturating_mul(4);
                continue;
            }
            if is_diverse {
                let vectors = hits.iter().map(|hit| self.vector(hit.row).unwrap_or_default());
                let vectors: Vec<_> = vectors.collect();
                hits = passages::diversify(hits, request.k, request.diversity, &vectors);
            }
            hits.truncate(request.k);
            if request.n_context > 0 {
                passages::add_context(self, &mut hits, request.n_context)?;
            }
            let n_left_out = request.max_tokens.map_or(0, |max| passages::fit(&mut hits, max));
            let Ranked { exact, compared, .. } = ranked;
            return Ok(Answer { hits, exact, compared, n_left_out });
        }
    }

    /// The `k` best rows of all parts, best first; equal scores in the order of their rows.
    fn rank(&self, query: &Query, k: usize, request: &Request) -> Result<Ranked<'_>> {
        let how =
            if request.exact { Search::Exact } else { Search::Graph { ef: EF_DEFAULT.max(k) } };
        let filter = request.filter.as_ref();
        let search = |sealed: &Sealed| sealed.search(query, k, how, filter);
        let found: Vec<_> = self.sealed.par_iter().map(search).collect::<Result<_>>()?;
        let exact = found.iter().all(|found| found.exact);
        let mut compared = found.iter().map(|found| found.compared).sum::<usize>();
        let mut rows: Vec<Candidate<'_>> = Vec::new();
        for (sealed, found) in self.sealed.iter().zip(found) {
            rows.extend(
                found
                    .hits
                    .into_iter()
                    .map(|hit| (hit.score, sealed.row_id(hit.row), Place::Sealed(sealed, hit.row))),
            );
        }
        let unsealed = self.passing(filter).inspect(|_| compared += 1);
        for (row, score) in index::scan(unsealed, query, k) {
            let place = self.place(row).expect("a scanned row is in the view it was scanned in");
            rows.push((score, row, place));
        }
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        rows.truncate(k);
        Ok(Ranked { rows, exact, compared })
    }
}

/// The best rows of a view.
struct Ranked<'a> {
    rows: Vec<Candidate<'a>>,
    exact: bool,
    compared: usize,
}

fn hit((score, row, place): &Candidate<'_>) -> Result<Hit> {
    let chunk = chunk_at(*row, place)?;
    let (before, after) = (Vec::new(), Vec::new());
    Ok(Hit { row: *row, document: chunk.document.clone(), chunk, score: *score, before, after })
}

fn chunk_at(row: u64, place: &Place<'_>) -> Result<StoredChunk> {
    match place {
        Place::Unsealed(run, idx) => row::decode_info(row, run.info(*idx)),
        Place::Sealed(sealed, at) => {
            let mut chunks = sealed.chunks(std::iter::once(*at))?;
            Ok(chunks.pop().expect("one row has one chunk"))
        }
    }
}
