//! What `ef` buys: the recall of walks over a segment, measured by the segment about itself.
//!
//! How far a walk must look for a given recall depends on the rows: their number, how many dimensions
//! they really fill, how much of them the cut keeps. So each segment, when built, answers a sample of
//! queries twice, by walks at each `ef` of a [`LADDER`] and by an exact scan, and its header keeps what
//! share of the true best ten each `ef` found, and how many of the best codes had to be scored at full
//! width for it. A search that names a recall takes the smallest `ef` that reached it.
//!
//! The queries are mixtures of two rows that lie far apart in the segment, [`WEIGHT`] of the second,
//! so that they lie between the rows as questions do and not on them; and no row that shares the first
//! one's node counts, neither as truth nor as found.

use rayon::prelude::*;

use super::NodeRows;
use super::codes::Codes;
use super::coding::Coding;
use crate::exact::Best;
use crate::form::{Form, Metric, Values};
use crate::graph::{EF_DEFAULT, Graph, Limits, walk};
use crate::mrl;
use crate::query::{Query, RowId};

/// The `ef` of each entry of a curve.
pub(crate) const LADDER: [usize; 10] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384];
/// Hits of each sample query that are counted.
const K: usize = 10;
/// Sample queries; the standard error of a recall of 0.98 is then 0.3 of 100.
const N_QUERIES: usize = 200;
/// Segments with fewer nodes are not measured: they are scanned sooner than walked.
const N_NODES_MIN: usize = 1_000;
/// The share of the second row in a sample query. See [`MISSED`] for why.
const WEIGHT: f32 = 0.3;
/// Real queries miss about this many times what mixtures miss: 0.9 to 1.7 times, by codes and `ef`.
///
/// Measured on 100,000 real sentences of width 384 and real questions, another distribution. What walks
/// find for questions, and for mixtures: codes of 128, at `ef` 96, 128, 192, 256: 96.5, 97.1, 98.1, 98.6,
/// and 97.6, 98.2, 98.6, 98.7; codes of 256, at `ef` 64, 96, 128: 95.5, 97.6, 98.3, and 96.6, 97.7, 98.2.
/// Bits of 384, another 50,400 rows and 1,000 questions, at `ef` 48, 64, 96, 128: 95.3, 97.2, 98.5, 99.1, and
/// 96.4, 98.4, 99.3, 99.4.
/// Rows alone would promise 99.3 at 64, and with a share of 0.36 mixtures are harder than questions.
const MISSED: f32 = 1.5;
/// A recall of 1, as kept.
const ONE: u16 = 10_000;
/// Of the hits that a walk finds, the share that its depth may lose.
const LOST_MAX: f64 = 0.001;
/// Rows of the exact scan that are scored against all queries while they are in the cache.
const BLOCK: usize = 32;
/// Rows scanned between two looks at the flag that cancels a build; a multiple of [`BLOCK`].
const ROWS_A_TASK: usize = 2048;

/// Recall by `ef`, as the header keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Curve {
    /// Of ten thousand true hits, those found at each `ef` of [`LADDER`]; all 0 if not measured.
    pub(crate) recall: [u16; LADDER.len()],
    /// How many of the best nodes had to be scored at full width for it.
    pub(crate) depth: [u16; LADDER.len()],
}

/// One measured point of a segment's recall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecallPoint {
    /// Nodes kept while walking.
    pub ef: usize,
    /// Of these, the nodes that are scored at full width.
    pub depth: usize,
    /// The share of the true best ten that was found, `0..=1`.
    pub recall: f32,
}

/// How far to look: nodes kept while walking, and the best of them that are scored at full width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    pub(crate) ef: usize,
    pub(crate) depth: usize,
}

impl Curve {
    /// The first entry that no measurement can have written, if there is one.
    pub(crate) fn fault(&self) -> Option<u64> {
        let recall = self.recall.iter().find(|recall| **recall > ONE);
        let depth = self.depth.iter().zip(LADDER).find(|(depth, ef)| usize::from(**depth) > *ef);
        recall.or(depth.map(|(depth, _)| depth)).map(|found| u64::from(*found))
    }

    /// The points measured; none if none were, or if they cannot be right.
    pub(crate) fn points(&self) -> Vec<RecallPoint> {
        if self.fault().is_some() || self.recall.iter().all(|recall| *recall == 0) {
            return Vec::new();
        }
        let point = |idx: usize| RecallPoint {
            ef: LADDER[idx],
            depth: usize::from(self.depth[idx]),
            recall: f32::from(self.recall[idx]) / f32::from(ONE),
        };
        (0..LADDER.len()).map(point).collect()
    }

    /// How far to look for the best `k` so that `target` of them are found: the first point that missed
    /// so few that real queries reach it, else the last; in proportion for more than ten.
    pub(crate) fn effort(&self, target: f32, k: usize) -> Effort {
        let points = self.points();
        let reached = points.iter().find(|point| MISSED * (1.0 - point.recall) <= 1.0 - target);
        let (ef, depth) = match reached.or(points.last()) {
            Some(point) => (point.ef, point.depth),
            None => (EF_DEFAULT, EF_DEFAULT),
        };
        let scaled = |n: usize| n.saturating_mul(k.max(K)).div_ceil(K).max(k);
        Effort { ef: scaled(ef), depth: scaled(depth) }
    }
}

/// A sample query, the row it is near to, and the score of its tenth true hit.
struct Sample {
    query: Query,
    row: RowId,
    last: f32,
}

/// Hits found, by the place in the walk's answer of the node that they share: `[ef][place]`.
type Found = [Vec<u32>; LADDER.len()];

/// What is measured: a sealed segment, or one that is built and not yet written.
pub(super) struct Subject<'a> {
    pub(super) graph: Graph<'a>,
    pub(super) codes: Codes<'a>,
    pub(super) coding: &'a Coding<'a>,
    pub(super) node_rows: NodeRows<'a>,
    /// `[n_rows]`
    pub(super) node_of_row: &'a [u32],
    pub(super) rows: Rows<'a>,
    pub(super) dims: usize,
    pub(super) seed: u64,
}

/// Rows at full width, in slices of whole rows that follow each other.
pub(super) struct Rows<'a> {
    full: usize,
    slices: Vec<Values<'a>>,
    first_rows: Vec<usize>, // [n_slices]
}

impl<'a> Rows<'a> {
    pub(super) fn new(full: usize, slices: impl Iterator<Item = Values<'a>>) -> Self {
        let slices: Vec<_> = slices.filter(|slice| !slice.is_empty()).collect();
        let mut n_rows = 0;
        let first_rows = slices.iter().map(|slice| {
            let first = n_rows;
            n_rows += slice.len() / full;
            first
        });
        Rows { full, first_rows: first_rows.collect(), slices }
    }

    pub(super) fn len(&self) -> usize {
        let last = self.slices.last().map_or(0, |slice| slice.len() / self.full);
        self.first_rows.last().map_or(0, |first| first + last)
    }

    pub(super) fn get(&self, row: usize) -> Values<'a> {
        let slice = self.first_rows.partition_point(|first| *first <= row) - 1;
        self.slices[slice].row(row - self.first_rows[slice], self.full)
    }
}

impl Subject<'_> {
    /// Measures recall at each `ef`, in rayon's current pool; `None` if cancelled.
    ///
    /// Not measured are segments of fewer than 1,000 nodes.
    pub(super) fn measure(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Curve> {
        if self.graph.n_nodes() < N_NODES_MIN {
            return (!cancelled()).then(Curve::default);
        }
        let samples = self.samples(cancelled)?;
        let zero = || LADDER.map(|ef| vec![0u32; ef]);
        let found = samples
            .par_iter()
            .try_fold(zero, |mut found, sample| {
                self.count(sample, &mut found);
                (!cancelled()).then_some(found)
            })
            .try_reduce(zero, |mut a, b| {
                a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a += b);
                Some(a)
            })?;
        let mut curve = Curve::default();
        for (idx, by_place) in found.iter().enumerate() {
            let n_found: u32 = by_place.iter().sum();
            let n_true = (samples.len() * K) as f64;
            curve.recall[idx] = (f64::from(n_found) / n_true * f64::from(ONE)).round() as u16;
            let enough = f64::from(n_found) * (1.0 - LOST_MAX);
            let mut so_far = 0;
            let reaches = |n: &u32| {
                so_far += n;
                f64::from(so_far) >= enough
            };
            let depth = by_place.iter().position(reaches).map_or(LADDER[idx], |at| at + 1);
            curve.depth[idx] = depth as u16;
        }
        Some(curve)
    }

    /// Walks at each `ef` and adds what was found.
    fn count(&self, sample: &Sample, found: &mut Found) {
        let own = self.node_of_row[sample.row.0 as usize];
        let scorer = self.codes.scorer(&sample.query);
        for (found, ef) in found.iter_mut().zip(LADDER) {
            let limits = Limits { ef, compared: usize::MAX };
            let walked = walk(self.graph, &scorer, limits, |node| node != own);
            let mut n_left = K as u32;
            for (found, node) in found.iter_mut().zip(walked.best) {
                let scores = self.node_rows.of(node).iter().map(|row| {
                    let score = sample.query.target().score(self.rows.get(*row as usize));
                    // As `Best` counts it, so that equal rows tie.
                    if score.is_nan() { f32::NEG_INFINITY } else { score }
                });
                let n_hits = scores.filter(|score| *score >= sample.last).count() as u32;
                *found += n_hits.min(n_left);
                n_left -= n_hits.min(n_left);
            }
        }
    }

    /// Sample queries and their truth, by one pass over the rows for all of them.
    fn samples(&self, cancelled: &(dyn Fn() -> bool + Sync)) -> Option<Vec<Sample>> {
        let chosen = self.sample_rows();
        let queries: Vec<Query> = (0..chosen.len())
            .map(|nth| self.mixture(chosen[nth], chosen[(nth + chosen.len() / 2) % chosen.len()]))
            .collect();
        let node_of_row = self.node_of_row;
        let own: Vec<u32> = chosen.iter().map(|row| node_of_row[row.0 as usize]).collect();
        let none = || queries.iter().map(|_| Best::new(K)).collect::<Vec<Best<RowId>>>();
        let n_rows = node_of_row.len();
        let tasks = (0..n_rows).into_par_iter().step_by(ROWS_A_TASK);
        let best = tasks
            .try_fold(none, |mut best, first| {
                for block in (first..n_rows.min(first + ROWS_A_TASK)).step_by(BLOCK) {
                    let rows: Vec<_> = (block..n_rows.min(block + BLOCK))
                        .map(|row| (row, self.rows.get(row)))
                        .collect();
                    for ((query, best), own) in queries.iter().zip(&mut best).zip(&own) {
                        for (row, x) in &rows {
                            if node_of_row[*row] != *own {
                                best.offer(RowId(*row as u32), query.target().score(*x));
                            }
                        }
                    }
                }
                (!cancelled()).then_some(best)
            })
            .try_reduce(none, |a, b| {
                Some(a.into_iter().zip(b).map(|(a, b)| a.join(b)).collect())
            })?;
        let last = |best: Best<RowId>| best.into_sorted().last().map_or(0.0, |(_, score)| *score);
        let samples = queries.into_iter().zip(chosen).zip(best);
        Some(samples.map(|((query, row), best)| Sample { query, row, last: last(best) }).collect())
    }

    /// Rows spread evenly over the segment from a start that follows from its seed.
    fn sample_rows(&self) -> Vec<RowId> {
        let n_rows = self.node_of_row.len() as u64;
        let n = n_rows.min(N_QUERIES as u64);
        let start = self.seed % n_rows.max(1);
        (0..n).map(|nth| RowId(((start + nth * n_rows / n) % n_rows) as u32)).collect()
    }

    fn mixture(&self, row: RowId, other: RowId) -> Query {
        let numbers = |row: RowId| {
            let mut row: Vec<f32> = self.rows.get(row.0 as usize).iter().collect();
            if matches!(self.coding.form, Form::Given(Metric::Cosine | Metric::Dot)) {
                // Else the longer one would be the query.
                mrl::normalise(&mut row);
            }
            row
        };
        let (row, other) = (numbers(row), numbers(other));
        let mixed = row.iter().zip(&other);
        let mixed: Vec<f32> = mixed.map(|(a, b)| (1.0 - WEIGHT) * a + WEIGHT * b).collect();
        self.coding.query(&mixed, self.dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let recall = [5_000, 6_000, 8_000, 9_000, 9_500, 9_700, 9_800, 9_900, 9_910, 9_920];
        Curve { recall, depth: [16, 20, 20, 20, 20, 25, 30, 30, 30, 30] }
    }

    #[test]
    fn the_first_ef_that_reached_the_target_is_taken_else_the_last() {
        assert_eq!(curve().effort(0.92, 10), Effort { ef: 64, depth: 20 });
        assert_eq!(curve().effort(0.94, 1), Effort { ef: 96, depth: 25 });
        assert_eq!(curve().effort(0.0, 10), Effort { ef: 16, depth: 16 });
        assert_eq!(curve().effort(1.0, 10), Effort { ef: 384, depth: 30 });
        assert_eq!(curve().effort(f32::NAN, 10), Effort { ef: 384, depth: 30 });
    }

    #[test]
    fn for_more_than_ten_it_grows_in_proportion() {
        assert_eq!(curve().effort(0.92, 25), Effort { ef: 160, depth: 50 });
        assert_eq!(curve().effort(0.95, usize::MAX).depth, usize::MAX);
    }

    #[test]
    fn without_a_sound_measurement_the_default_is_taken() {
        let default = Effort { ef: EF_DEFAULT, depth: EF_DEFAULT };
        let mut too_deep = curve();
        too_deep.depth[0] = 17;
        for unsound in [Curve::default(), too_deep] {
            assert_eq!(unsound.effort(0.98, 10), default);
            assert!(unsound.points().is_empty());
        }
    }
}
