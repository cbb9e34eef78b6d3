//! The ladder: ways to adapt a model to a collection, cheapest first.
//!
//! | rung | what is learnt | needs |
//! |---|---|---|
//! | ridge | a matrix behind the model, in closed form | vectors |
//! | head | a low-rank map behind the model | vectors |
//! | link | a low-rank map before the model | the model's backward pass |
//! | link and ridge | both: the matrix is fitted to what the link gives | the same |
//!
//! Each rung is learnt from one side of a [`Split`] and its strength chosen by another; rungs that begin
//! at random are learnt from several seeds, whose sum is taken, as is that of several splits. The
//! [gate](super::gate) decides which rung is taken, if any.

use std::fmt;

use super::climb::{Candidate, Climb, ndcg_of};
use super::documents::Documents;
use super::gate::{self, Delta, FEWEST_QUERIES, Measured, Reason, Verdict, mean};
use super::place::Place;
use super::query::Query;
use super::split::{Deal, Split, deal, groups, is_seen};
use super::{Adapter, Link};
use crate::Result;
use crate::package::Matrix;

/// Below so many queries only the smallest rungs are tried.
const FEW_QUERIES: usize = 200;

/// A way to adapt a model; the number is the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// A full matrix behind the model.
    Ridge,
    /// A low-rank map behind the model.
    Head(usize),
    /// A low-rank map before the model.
    Link(usize),
    /// A link, and a full matrix behind.
    LinkAndRidge(usize),
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rung::Ridge => write!(f, "ridge"),
            Rung::Head(rank) => write!(f, "head {rank}"),
            Rung::Link(rank) => write!(f, "link {rank}"),
            Rung::LinkAndRidge(rank) => write!(f, "link {rank} + ridge"),
        }
    }
}

/// A model that a link can stand before.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// How the link is learnt.
    pub place: &'a dyn Place,
    /// How queries are embedded when it is used: places of queries to unit vectors, `[n, full_width]`.
    pub embed: &'a (dyn Fn(&[usize], &Link) -> Result<Matrix> + Sync),
}

/// A collection and queries whose answers are known.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Each with at least one answer among the documents: see [`keep_known`](super::keep_known).
    pub queries: &'a [Query],
    /// Their vectors without an adapter: `[n_queries, full_width]`, unit length.
    pub vectors: &'a Matrix,
    /// What is searched.
    pub documents: &'a Documents,
    /// Without it only rungs behind the model are tried.
    pub model: Option<Model<'a>>,
}

/// What is tried, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Lowest first.
    pub rungs: Vec<Rung>,
    /// How queries are dealt out.
    pub deal: Deal,
    /// How many starts are summed.
    pub n_seeds: u64,
    /// The first of them, also that of the split.
    pub seed: u64,
}

impl Options {
    /// All rungs, as many as this number of queries allows; folds if they are few.
    pub fn for_queries(n_queries: usize) -> Options {
        use Rung::{Head, Link, LinkAndRidge, Ridge};
        let is_few = n_queries < FEW_QUERIES;
        let rungs = match is_few {
            true => vec![Ridge, Head(8), Link(4)],
            false => vec![Ridge, Head(8), Head(32), Link(4), Link(16), LinkAndRidge(16)],
        };
        let deal = if is_few { Deal::Folds(5) } else { Deal::HoldOut };
        Options { rungs, deal, n_seeds: 3, seed: 0 }
    }
}

/// What has been done: told after each rung of each split.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The rung.
    pub rung: Rung,
    /// Splits that it has been learnt on, of how many.
    pub n_done: usize,
    /// See `n_done`.
    pub n_splits: usize,
    /// The mean gain where choices are made.
    pub gain: f64,
}

/// Follows the work, and may end it.
pub struct Watch<'a> {
    /// Told of each step.
    pub tell: &'a (dyn Fn(&Step) + Sync),
    /// True if the time is up: what is at hand then is judged.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Queries that took part.
    pub n_queries: usize,
    /// Of how many groups they are.
    pub n_groups: usize,
    /// Queries that are on no side, because they are nearly the same as one to be tested.
    pub n_left_out: usize,
    /// Of all rungs that were tried, lowest first.
    pub rungs: Vec<RungReport>,
    /// Whether one is taken.
    pub verdict: Verdict,
    /// The one that is taken.
    pub adapter: Option<Adapter>,
    /// What it does to [`guards`](super::guards), if it was looked at.
    pub guard: Option<Delta>,
    /// Whether the time was up before all rungs had been tried to their end.
    pub is_cut: bool,
}

impl Report {
    /// Notes what the rung that is taken does to queries that it was not asked to help. If they lose, it is not taken.
    pub fn guard(&mut self, guard: Delta) {
        if let Verdict::Accepted(rung) = self.verdict
            && !gate::holds(&guard)
        {
            self.verdict = Verdict::Kept(Reason::GuardLoses(rung, guard.clone()));
            self.adapter = None;
        }
        self.guard = Some(guard);
    }
}

/// What was found of one rung, in the form that decides unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct RungReport {
    /// The rung.
    pub rung: Rung,
    /// On the queries that choices are made by.
    pub dev: Delta,
    /// On those that nothing was chosen by.
    pub test: Delta,
    /// Of these, those with an answer that was also learnt from.
    pub seen: Delta,
    /// And those without: the honest part.
    pub unseen: Delta,
    /// On all of these, in each form of the documents.
    pub forms: Vec<(String, Delta)>,
    /// The strengths that were chosen, one for each split.
    pub strengths: Vec<f32>,
    /// The mean cosine of a query's vectors without and with.
    pub cosine: f64,
    /// Trainings that ended because their loss was no number.
    pub n_lost: usize,
}

/// Tries the rungs, and lets the gate decide.
///
/// # Errors
/// Those of [`Problem::model`].
///
/// # Panics
/// If the shapes of the problem do not fit together, or a query has no known answer.
pub fn tune(problem: &Problem, options: &Options, watch: &Watch) -> Result<Report> {
    assert_eq!(problem.queries.len(), problem.vectors.n_rows, "a vector a query");
    let groups = groups(problem.queries, problem.vectors);
    let splits = deal(options.deal, problem.queries, &groups, options.seed);
    let mut climbs: Vec<Climb> =
        splits.iter().map(|split| Climb::new(problem, split, options, watch)).collect();
    let base = pooled(Rung::Ridge, climbs.iter().map(|climb| &climb.base));
    let (mut tried, mut reports, mut is_cut) = (Vec::new(), Vec::new(), false);
    for &rung in &options.rungs {
        let needs_model = matches!(rung, Rung::Link(_) | Rung::LinkAndRidge(_));
        if needs_model && problem.model.is_none() {
            continue;
        }
        is_cut |= (watch.is_over)();
        if is_cut {
            break;
        }
        let mut candidates = Vec::new();
        for (split_idx, climb) in climbs.iter_mut().enumerate() {
            let candidate = climb.candidate(rung)?;
            let (with, base) = (&candidate.measured.dev[0], &climb.base.dev[0]);
            let gain = mean(with) - mean(base);
            (watch.tell)(&Step { rung, n_done: split_idx + 1, n_splits: splits.len(), gain });
            candidates.push(candidate);
        }
        let measured = pooled(rung, candidates.iter().map(|candidate| &candidate.measured));
        reports.push(report_of(problem, &splits, &base, &measured, &candidates));
        tried.push((measured, candidates));
    }
    let n_dealt = if splits.len() == 1 { size(&splits[0]) } else { problem.queries.len() };
    let mut names = groups;
    names.sort_unstable();
    names.dedup();
    let mut report = Report {
        n_queries: problem.queries.len(),
        n_groups: names.len(),
        n_left_out: problem.queries.len() - n_dealt,
        rungs: reports,
        verdict: Verdict::Kept(Reason::TooFewQueries(problem.queries.len())),
        adapter: None,
        guard: None,
        is_cut: is_cut || (watch.is_over)(),
    };
    if problem.queries.len() < FEWEST_QUERIES {
        return Ok(report);
    }
    let forms: Vec<String> = problem.documents.forms().iter().map(|f| f.name.clone()).collect();
    let (measured, mut candidates): (Vec<_>, Vec<_>) = tried.into_iter().unzip();
    report.verdict = gate::decide(&forms, &base, &measured);
    if let Verdict::Accepted(chosen) = report.verdict {
        let of_chosen = measured.iter().position(|measured| measured.rung == chosen);
        let of_chosen = candidates.swap_remove(of_chosen.unwrap_or(0));
        // What each fold has learnt is one part of it.
        let share = 1.0 / of_chosen.len() as f32;
        let parts: Vec<(&Adapter, f32)> = of_chosen.iter().map(|c| (&c.adapter, share)).collect();
        report.adapter = Some(match &parts[..] {
            [(only, _)] => Adapter::clone(only),
            parts => Adapter::merge(parts)?,
        });
    }
    Ok(report)
}

/// Measures queries without and with an adapter, in each form of the documents, by name.
///
/// `base`, `with`: their vectors, `[n_queries, full_width]`.
pub fn measure(
    queries: &[Query],
    documents: &Documents,
    base: &Matrix,
    with: &Matrix,
) -> Vec<(String, Delta)> {
    let all: Vec<usize> = (0..queries.len()).collect();
    let forms = documents.forms().iter().enumerate();
    let delta = |form_idx| {
        let [base, with] = [base, with].map(|v| ndcg_of(documents, queries, form_idx, &all, v));
        Delta::of(&base, &with)
    };
    forms.map(|(form_idx, form)| (form.name.clone(), delta(form_idx))).collect()
}

fn size(split: &Split) -> usize {
    split.train.len() + split.dev.len() + split.test.len()
}

/// Measures of the same rung on several splits, end to end.
fn pooled<'a>(rung: Rung, parts: impl Iterator<Item = &'a Measured> + Clone) -> Measured {
    let join = |side: fn(&Measured) -> &Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        let n_forms = parts.clone().next().map_or(0, |part| side(part).len());
        let form = |i: usize| parts.clone().flat_map(|part| side(part)[i].clone()).collect();
        (0..n_forms).map(form).collect()
    };
    Measured { rung, dev: join(|m| &m.dev), test: join(|m| &m.test) }
}

fn report_of(
    problem: &Problem,
    splits: &[Split],
    base: &Measured,
    measured: &Measured,
    candidates: &[Candidate],
) -> RungReport {
    let seen: Vec<bool> =
        splits.iter().flat_map(|split| is_seen(split, problem.queries, &split.test)).collect();
    let of_test = |form_idx: usize, side: Option<bool>| {
        let pick = |values: &[f64]| -> Vec<f64> {
            let values = values.iter().zip(&seen);
            values
                .filter(|(_, seen)| side.is_none_or(|side| side == **seen))
                .map(|(x, _)| *x)
                .collect()
        };
        Delta::of(&pick(&base.test[form_idx]), &pick(&measured.test[form_idx]))
    };
    let forms = problem.documents.forms().iter().enumerate();
    let cosines: Vec<f64> = candidates.iter().map(|candidate| candidate.cosine).collect();
    RungReport {
        rung: measured.rung,
        dev: Delta::of(&base.dev[0], &measured.dev[0]),
        test: of_test(0, None),
        seen: of_test(0, Some(true)),
        unseen: of_test(0, Some(false)),
        forms: forms.map(|(i, form)| (form.name.clone(), of_test(i, None))).collect(),
        strengths: candidates.iter().map(|candidate| candidate.strength).collect(),
        cosine: mean(&cosines),
        n_lost: candidates.iter().map(|candidate| candidate.n_lost).sum(),
    }
}

#[cfg(test)]
mod tests;
