//! What a search sees: an immutable set of segments and unsealed rows, all of one moment.
//!
//! A writer builds the next view beside the current one and swaps it in once the change is on disk. A search keeps the
//! view it started with, texts included, so it never waits for a writer and never sees half a change.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use index::{EF_DEFAULT, Form, Found, RowId, RowSet, Search, Values, Vector};
use rayon::prelude::*;

use crate::document::StoredChunk;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::filter::fields::Fields;
use crate::lexicon::Lexicon;
use crate::row::{self, Run};
use crate::search::fuse::{Fused, Fusion, Ranked, fuse};
use crate::search::passages;
use crate::search::request::Request;
use crate::segments::sealed::Sealed;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best first; equal scores in the order of their rows.
    pub hits: Vec<Hit>,
    /// True if every live row that passes the filter was compared: at full width, if vectors were asked for.
    pub exact: bool,
    /// Rows or nodes whose vectors were scored.
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
    /// If only vectors are compared, the dot product of query and row at full width, or what the metric of given
    /// vectors says; BM25 if only words are; else what the fusion makes of both. Higher is closer.
    pub score: f32,
    /// Its place among the rows that the vector found, if it did.
    pub vector: Option<Ranked>,
    /// Its place among the rows that the text found, if it did.
    pub text: Option<Ranked>,
    /// The chunks before it, in order, if they were asked for.
    pub before: Vec<StoredChunk>,
    /// The chunks after it, in order, if they were asked for.
    pub after: Vec<StoredChunk>,
}

/// Rows that a walk through a graph is asked to keep at most where no recall is promised: it keeps them sorted, so that
/// far more of them cost more than a scan.
const DEEPEST_WALK: usize = 4096;

/// Segments and unsealed rows of a collection at one moment, both in the order of their rows, and their lexicon.
#[derive(Clone, Default)]
pub(crate) struct View {
    sealed: Vec<Sealed>,
    unsealed: Vec<Arc<Run>>,
    lexicon: Lexicon,
}

/// Where a row is.
enum Place<'a> {
    /// The segment's place in the view, and the row's in the segment.
    Sealed(usize, RowId),
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
            Some(Place::Sealed(idx, row)) => self.sealed[idx].is_live(row),
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
        let sealed = sealed.flat_map(|sealed| sealed.live_rows().map(|row| sealed.row_id(row)));
        let unsealed = self.unsealed.iter().flat_map(|run| run.rows());
        Box::new(sealed.chain(unsealed).filter(move |row| start <= *row))
    }

    /// What is kept beside a row, dead or not, if the view has it.
    pub(crate) fn chunk(&self, row: u64) -> Result<Option<StoredChunk>> {
        match self.place(row) {
            Some(Place::Unsealed(run, idx)) => row::decode_info(row, run.info(idx)).map(Some),
            Some(Place::Sealed(idx, at)) => Ok(self.sealed[idx].chunks(std::iter::once(at))?.pop()),
            None => Ok(None),
        }
    }

    /// The row of each chunk hash, dead or not.
    pub(crate) fn chunk_rows(&self) -> Result<HashMap<[u8; 16], u64>> {
        let mut rows = HashMap::new();
        for sealed in &self.sealed {
            rows.extend(sealed.hashes()?);
        }
        for run in &self.unsealed {
            let infos = (0..run.len()).map(|idx| run.info(idx));
            rows.extend(infos.zip(run.rows()).map(|(info, row)| (*row::hash_of(info), row)));
        }
        Ok(rows)
    }

    /// The vector of a row, dead or not.
    pub(crate) fn vector(&self, row: u64) -> Option<Vector> {
        Some(match self.place(row)? {
            Place::Sealed(idx, row) => self.sealed[idx].vector(row).into(),
            Place::Unsealed(run, idx) => run.vector(idx).into(),
        })
    }

    /// What the vector of a row, dead or not, was made in; none if the vector was given, or there is no such row.
    pub(crate) fn precision(&self, row: u64) -> Result<Option<String>> {
        Ok(self.chunk(row)?.and_then(|chunk| chunk.precision))
    }

    /// How its vectors are kept and compared.
    fn form(&self) -> Form {
        let sealed = self.sealed.first().map(|sealed| sealed.segment().form());
        let unsealed = self.unsealed.first().map(|run| run.form());
        sealed.or(unsealed).unwrap_or_default()
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
                Some(Place::Sealed(idx, at)) => {
                    chunks.extend(self.sealed[idx].chunks(std::iter::once(at))?);
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
        let mut sealed = self.sealed.iter().enumerate();
        sealed.find_map(|(idx, sealed)| Some(Place::Sealed(idx, sealed.find(row)?)))
    }

    /// The unsealed rows that pass a filter, or all, each with its vector.
    fn passing(&self, filter: Option<&Filter>) -> impl Iterator<Item = (u64, Values<'_>)> {
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

    /// The answer to a request; the caller has checked the query's width.
    pub(crate) fn search(&self, request: &Request) -> Result<Answer> {
        let passing = Passing::new(self, request.filter.as_ref())?;
        let is_diverse = request.diversity > 0.0;
        let mut n_asked = if is_diverse { request.k.saturating_mul(4) } else { request.k };
        loop {
            let ranking = self.rank(request, &passing, n_asked)?;
            let is_all = ranking.rows.len() < n_asked;
            let mut hits =
                ranking.rows.iter().map(|row| self.hit(row)).collect::<Result<Vec<Hit>>>()?;
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
                let empty = || Vector::empty(self.form());
                let vectors = hits.iter().map(|hit| self.vector(hit.row).unwrap_or_else(empty));
                let vectors: Vec<_> = vectors.collect();
                let (k, d) = (request.k, request.diversity);
                hits = passages::diversify(hits, k, d, &vectors, self.form());
            }
            hits.truncate(request.k);
            if request.n_context > 0 {
                passages::add_context(self, &mut hits, request.n_context)?;
            }
            let n_left_out = request.max_tokens.map_or(0, |max| passages::fit(&mut hits, max));
            let Ranking { exact, compared, .. } = ranking;
            return Ok(Answer { hits, exact, compared, n_left_out });
        }
    }

    /// The `k` best rows, by vectors, by words, or by both.
    fn rank(&self, request: &Request, passing: &Passing<'_>, k: usize) -> Result<Ranking> {
        let depth = request.depth(k);
        let mut ranking = Ranking { rows: Vec::new(), exact: true, compared: 0 };
        let by_vector = if request.asks_vector() {
            let how = match request.exact {
                true => Search::Exact,
                // The rows beyond `k` only fill up what words find too: no recall is promised of them.
                false if depth > k && depth <= DEEPEST_WALK => {
                    Search::Graph { ef: EF_DEFAULT.max(depth) }
                }
                false => Search::default(),
            };
            self.nearest(&request.vector, depth, how, passing, &mut ranking)
        } else {
            Vec::new()
        };
        let (by_text, fusion) = match request.asked_text() {
            Some(text) => {
                let live = |row| passing.has(self, row);
                (self.lexicon.search(text, depth, &live)?, request.fusion)
            }
            None => (Vec::new(), Fusion::VectorOnly),
        };
        ranking.rows = fuse(&by_vector, &by_text, fusion);
        ranking.rows.truncate(k);
        Ok(ranking)
    }

    /// The `k` rows closest to a query, best first; notes in `ranking` what was compared.
    fn nearest(
        &self,
        vector: &[f32],
        k: usize,
        how: Search,
        passing: &Passing<'_>,
        ranking: &mut Ranking,
    ) -> Vec<(u64, f32)> {
        let sealed = self.sealed.par_iter().enumerate();
        let found: Vec<Found> = sealed
            .map(|(idx, sealed)| sealed.search(vector, k, how, passing.among(self, idx)))
            .collect();
        ranking.exact = found.iter().all(|found| found.exact);
        ranking.compared = found.iter().map(|found| found.compared).sum();
        let mut rows: Vec<(u64, f32)> = Vec::new();
        for (sealed, found) in self.sealed.iter().zip(found) {
            rows.extend(found.hits.into_iter().map(|hit| (sealed.row_id(hit.row), hit.score)));
        }
        let unsealed = self.passing(passing.filter).inspect(|_| ranking.compared += 1);
        rows.extend(index::scan(unsealed, self.form(), vector, k));
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        rows.truncate(k);
        rows
    }

    fn hit(&self, fused: &Fused) -> Result<Hit> {
        let Fused { row, score, vector, text } = *fused;
        let chunk = self.chunk(row)?;
        let chunk = chunk.ok_or_else(|| Error::corrupt(format!("row {row}"), "it is nowhere"))?;
        let (before, after) = (Vec::new(), Vec::new());
        let document = chunk.document.clone();
        Ok(Hit { row, document, chunk, score, vector, text, before, after })
    }
}

/// The rows that may be hits: those that live and pass the filter, if there is one.
struct Passing<'a> {
    filter: Option<&'a Filter>,
    /// Of each segment; only if there is a filter.
    sealed: Vec<RowSet>,
}

impl<'a> Passing<'a> {
    fn new(view: &View, filter: Option<&'a Filter>) -> Result<Passing<'a>> {
        let select = |filter| view.sealed.par_iter().map(|sealed| sealed.select(filter)).collect();
        let sealed = filter.map_or_else(|| Ok(Vec::new()), select)?;
        Ok(Passing { filter, sealed })
    }

    /// The rows of a segment that may be hits, or all.
    fn among<'s>(&'s self, view: &'s View, idx: usize) -> Option<&'s RowSet> {
        self.sealed.get(idx).or_else(|| view.sealed[idx].live())
    }

    fn has(&self, view: &View, row: u64) -> bool {
        match view.place(row) {
            Some(Place::Unsealed(run, idx)) => {
                self.filter.is_none_or(|filter| filter.matches(&run.fields()[idx]))
            }
            Some(Place::Sealed(idx, row)) => {
                self.among(view, idx).is_none_or(|among| among.contains(row))
            }
            None => false,
        }
    }
}

/// The best rows of a view, and what was compared to find them.
struct Ranking {
    rows: Vec<Fused>,
    exact: bool,
    compared: usize,
}
