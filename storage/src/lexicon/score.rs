//! BM25 over everything that is searched: the definition of a text score, and the one loop that computes it.
//!
//! Rows lie in several [`Rows`]: each segment of the index on disk, and the tail in memory. A score does not depend on
//! where a row lies, nor on the order of segments: counts are summed over all of them first, lengths are rounded the same
//! everywhere, and a row's score is summed in f32 in the order of the clauses.
//!
//! Every posting of every word is read. That is a few nanoseconds for each, and it is what makes the sums exact and
//! the counts those of rows that are really there.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use super::Result;
use super::query::{Clause, Occur, Pattern, Query};

/// How soon more of the same word counts no more. The usual value (Robertson and Zaragoza 2009, section 3.5).
const K1: f32 = 1.2;
/// How much of a row's length is held against it.
const B: f32 = 0.75;
/// Words of a query that are scored: the rarest ones.
const MAX_SCORED_WORDS: usize = 64;
/// Words that a prefix stands for, in the order of the alphabet.
const MAX_EXPANDED: usize = 10_000;

/// Rows that can be searched, numbered from 0.
pub(super) trait Rows {
    /// Rows that are there, and the sum of their rounded lengths in words.
    fn size(&self) -> (u64, u64);
    /// One more than the highest number, those of deleted rows included.
    fn end(&self) -> usize;
    /// The id of a row in its collection.
    fn row(&self, number: u32) -> u64;
    /// The rounded length of a row, as [`round`] gives it.
    fn length(&self, number: u32) -> u8;
    /// How many rows have this word.
    fn count(&self, term: &str) -> Result<u64>;
    /// Each row with this word, ascending, and how often it has it.
    fn visit(&self, term: &str, visit: &mut dyn FnMut(u32, u32)) -> Result<()>;
    /// Each row with these words at these distances, ascending, and how often it has them.
    fn phrase(&self, terms: &[(u32, String)]) -> Result<Vec<(u32, u32)>>;
    /// Adds words that start so, the first `n_most` in order.
    fn expand(&self, prefix: &str, n_most: usize, found: &mut BTreeSet<String>) -> Result<()>;
}

/// The length that is stored for a row of so many words: exact up to 40, then in steps of an eighth or less.
pub(super) fn round(n_words: u32) -> u8 {
    tantivy::fieldnorm::FieldNormReader::fieldnorm_to_id(n_words)
}

/// The words that a stored length stands for.
pub(super) fn unround(length: u8) -> u32 {
    tantivy::fieldnorm::FieldNormReader::id_to_fieldnorm(length)
}

/// How often phrases or prefixes stand in the rows of one [`Rows`], ascending by row.
type Counted = Vec<(u32, u32)>;

/// The best `k` rows that match a query and are `live`: best first, equal scores in the order of their ids.
pub(super) fn search(
    parts: &[&dyn Rows],
    query: &Query,
    k: usize,
    live: &dyn Fn(u64) -> bool,
) -> Result<Vec<(u64, f32)>> {
    let mut best = Best { k, heap: BinaryHeap::new() };
    let (n_rows, n_words) = parts.iter().map(|part| part.size()).fold((0, 0), add);
    if k == 0 || n_rows == 0 {
        return Ok(Vec::new());
    }
    let scorer = Scorer::new(n_rows, n_words);
    let clauses = count(parts, query)?;
    for (part_idx, part) in parts.iter().enumerate() {
        let mut scores = vec![0.0_f32; part.end()];
        let mut n_must = 0_u32;
        let mut musts_met = vec![0_u32; if query.has_must() { part.end() } else { 0 }];
        let mut excluded = Vec::new();
        for (clause, n_matching, counted) in &clauses {
            let idf = clause.weight * scorer.idf(*n_matching);
            let factors = scorer.factors();
            let is_must = clause.occur == Occur::Must;
            n_must += u32::from(is_must);
            let mut visit = |number: u32, times: u32| {
                if clause.occur == Occur::Not {
                    return excluded.push(number);
                }
                let times = times as f32;
                let factor = factors[usize::from(part.length(number))];
                scores[number as usize] += idf * (times * (K1 + 1.0) / (times + factor));
                if is_must {
                    musts_met[number as usize] += 1;
                }
            };
            match (&clause.pattern, counted) {
                (Pattern::Word(term), _) => part.visit(term, &mut visit)?,
                (_, counted) => {
                    let counted = counted.get(part_idx).into_iter().flatten();
                    counted.for_each(|(number, times)| visit(*number, *times));
                }
            }
        }
        excluded.into_iter().for_each(|number| scores[number as usize] = 0.0);
        for (number, score) in scores.into_iter().enumerate().filter(|(_, score)| *score > 0.0) {
            if n_must == 0 || musts_met[number] == n_must {
                best.offer(score, || part.row(number as u32), live);
            }
        }
    }
    Ok(best.into_sorted())
}

/// Counts the rows of each clause over all parts, and keeps the rarest words.
fn count<'q>(
    parts: &[&dyn Rows],
    query: &'q Query,
) -> Result<Vec<(&'q Clause, u64, Vec<Counted>)>> {
    let mut clauses = Vec::new();
    for clause in &query.clauses {
        let mut counted: Vec<Counted> = Vec::new();
        let mut n_matching = 0;
        match &clause.pattern {
            Pattern::Word(term) => {
                for part in parts {
                    n_matching += part.count(term)?;
                }
            }
            Pattern::Phrase(terms) => {
                for part in parts {
                    counted.push(part.phrase(terms)?);
                }
            }
            Pattern::Prefix(prefix) => {
                let mut terms = BTreeSet::new();
                for part in parts {
                    part.expand(prefix, MAX_EXPANDED, &mut terms)?;
                }
                for part in parts {
                    counted.push(union(*part, terms.iter().take(MAX_EXPANDED))?);
                }
            }
        }
        n_matching += counted.iter().map(|counted| counted.len() as u64).sum::<u64>();
        clauses.push((clause, n_matching, counted));
    }
    let mut rare: Vec<usize> =
        (0..clauses.len()).filter(|at| clauses[*at].0.is_plain_word()).collect();
    rare.retain(|at| clauses[*at].1 > 0);
    rare.sort_by_key(|at| clauses[*at].1);
    rare.truncate(MAX_SCORED_WORDS);
    let mut at = 0;
    clauses.retain(|(clause, ..)| {
        let is_kept = !clause.is_plain_word() || rare.contains(&at);
        at += 1;
        is_kept
    });
    Ok(clauses)
}

/// How often any of these words stands in each row.
fn union<'t>(part: &dyn Rows, terms: impl Iterator<Item = &'t String>) -> Result<Counted> {
    let mut times = vec![0_u32; part.end()];
    for term in terms {
        part.visit(term, &mut |number, n| times[number as usize] += n)?;
    }
    let found = times.into_iter().enumerate().filter(|(_, n)| *n > 0);
    Ok(found.map(|(number, n)| (number as u32, n)).collect())
}

fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

impl Query {
    fn has_must(&self) -> bool {
        self.clauses.iter().any(|clause| clause.occur == Occur::Must)
    }
}

/// BM25 with the counts of one moment.
struct Scorer {
    n_rows: u64,
    /// What is added to the number of times below the fraction, by rounded length.
    factors: [f32; 256],
}

impl Scorer {
    fn new(n_rows: u64, n_words: u64) -> Scorer {
        let average = (n_words as f32 / n_rows as f32).max(1.0);
        let factor = |length: usize| K1 * (1.0 - B + B * unround(length as u8) as f32 / average);
        Scorer { n_rows, factors: std::array::from_fn(factor) }
    }

    /// What a word in `n_matching` rows is worth; never negative.
    fn idf(&self, n_matching: u64) -> f32 {
        // In f64: a word that nearly every row has is worth almost nothing, not nothing.
        let (n_rows, n_matching) = (self.n_rows as f64, n_matching as f64);
        ((n_rows - n_matching + 0.5).max(0.0) / (n_matching + 0.5)).ln_1p() as f32
    }

    fn factors(&self) -> &[f32; 256] {
        &self.factors
    }
}

/// The best rows so far.
struct Best {
    k: usize,
    /// The worst on top.
    heap: BinaryHeap<Candidate>,
}

#[derive(PartialEq)]
struct Candidate {
    score: f32,
    row: u64,
}

impl Best {
    fn offer(&mut self, score: f32, row: impl Fn() -> u64, live: &dyn Fn(u64) -> bool) {
        let is_full = self.k <= self.heap.len();
        if is_full && self.heap.peek().is_some_and(|worst| score < worst.score) {
            return;
        }
        let candidate = Candidate { score, row: row() };
        if is_full && self.heap.peek().is_some_and(|worst| *worst <= candidate) {
            return;
        }
        if live(candidate.row) {
            self.heap.push(candidate);
            if self.k < self.heap.len() {
                self.heap.pop();
            }
        }
    }

    fn into_sorted(self) -> Vec<(u64, f32)> {
        self.heap.into_sorted_vec().into_iter().map(|found| (found.row, found.score)).collect()
    }
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How often words stand at these distances: `positions` has for each word where it stands, ascending.
pub(super) fn count_phrase(
    positions: &[Vec<u32>],
    distances: impl Iterator<Item = u32> + Clone,
) -> u32 {
    let Some((first, others)) = positions.split_first() else { return 0 };
    let stands = |start: &&u32| {
        let mut others = others.iter().zip(distances.clone().skip(1));
        others.all(|(places, distance)| places.binary_search(&(*start + distance)).is_ok())
    };
    first.iter().filter(stands).count() as u32
}
