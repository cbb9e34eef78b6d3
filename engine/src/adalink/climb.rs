//! The ladder on one split: what each rung gives when it is learnt from one side, and its strength
//! chosen by another.

use super::documents::Documents;
use super::fit::{Fitted, Task, Training, fit};
use super::gate::{Measured, mean};
use super::head::{dot, ridge};
use super::ladder::{Options, Problem, Rung, Watch};
use super::place::{Behind, Place};
use super::query::Query;
use super::split::Split;
use super::target::{Targets, gather};
use super::{Adapter, Head, Link};
use crate::Result;
use crate::eval::measure::ndcg;
use crate::package::Matrix;

/// Strengths that are tried; 0 is the base.
const STRENGTHS: [f32; 5] = [0.25, 0.5, 0.75, 1.0, 1.25];

/// What keeps a ridge head near the identity, in units of queries. The strongest first.
const LAMBDAS: [f64; 7] = [1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0];

/// Folds within the learning side that choose among these.
const N_INNER_FOLDS: usize = 4;

/// Passes over the queries, at most; those of a head cost nearly nothing.
const HEAD_EPOCHS: usize = 30;
const LINK_EPOCHS: usize = 20;

/// What one rung gave on one split.
pub(super) struct Candidate {
    pub(super) adapter: Adapter,
    pub(super) strength: f32,
    pub(super) measured: Measured,
    /// Of a query's vectors without and with, on both measured sides.
    pub(super) cosine: f64,
    pub(super) n_lost: usize,
}

/// The ladder on one split.
pub(super) struct Climb<'a> {
    problem: &'a Problem<'a>,
    split: &'a Split,
    options: &'a Options,
    watch: &'a Watch<'a>,
    targets: Targets<'a>,
    pub(super) base: Measured,
    /// Links that were learnt, by rank.
    links: Vec<(Link, usize)>,
}

impl<'a> Climb<'a> {
    pub(super) fn new(
        problem: &'a Problem<'a>,
        split: &'a Split,
        options: &'a Options,
        watch: &'a Watch<'a>,
    ) -> Climb<'a> {
        let Problem { queries, vectors, documents, .. } = *problem;
        let targets = Targets::new(documents, queries, vectors, &split.train);
        let (base, links) =
            (Measured { rung: Rung::Ridge, dev: Vec::new(), test: Vec::new() }, Vec::new());
        let mut climb = Climb { problem, split, options, watch, targets, base, links };
        climb.base =
            climb.measured(Rung::Ridge, &climb.base_of(&split.dev), &climb.base_of(&split.test));
        climb
    }

    fn base_of(&self, places: &[usize]) -> Matrix {
        gather(self.problem.vectors, places)
    }

    fn ndcg(&self, form_idx: usize, places: &[usize], vectors: &Matrix) -> Vec<f64> {
        ndcg_of(self.problem.documents, self.problem.queries, form_idx, places, vectors)
    }

    fn measured(&self, rung: Rung, dev: &Matrix, test: &Matrix) -> Measured {
        let forms = 0..self.problem.documents.forms().len();
        let side = |places: &[usize], vectors: &Matrix| {
            forms.clone().map(|form_idx| self.ndcg(form_idx, places, vectors)).collect()
        };
        Measured { rung, dev: side(&self.split.dev, dev), test: side(&self.split.test, test) }
    }

    pub(super) fn candidate(&mut self, rung: Rung) -> Result<Candidate> {
        match rung {
            Rung::Ridge => {
                let head = self.ridge(self.problem.vectors)?;
                self.finish(rung, None, Some(head), 0)
            }
            Rung::Head(rank) => {
                let (link, n_lost) =
                    self.learnt(&Behind { base: self.problem.vectors }, rank, HEAD_EPOCHS)?;
                self.finish(rung, None, Some(Head::LowRank(link)), n_lost)
            }
            Rung::Link(rank) => {
                let (link, n_lost) = self.link(rank)?;
                self.finish(rung, Some(link), None, n_lost)
            }
            Rung::LinkAndRidge(rank) => {
                let (link, n_lost) = self.link(rank)?;
                let (link, ..) = self.strongest(Some(&link), None)?;
                let all: Vec<usize> = (0..self.problem.queries.len()).collect();
                let vectors = self.vectors(&all, link.as_ref(), None)?;
                let head = self.ridge(&vectors)?;
                self.finish(rung, link, Some(head), n_lost)
            }
        }
    }

    /// The link of this rank, learnt when first asked for.
    fn link(&mut self, rank: usize) -> Result<(Link, usize)> {
        if let Some(known) = self.links.iter().find(|(link, _)| link.rank() == rank) {
            return Ok(known.clone());
        }
        let model = self.problem.model.expect("rungs with links are tried only with a model");
        let learnt = self.learnt(model.place, rank, LINK_EPOCHS)?;
        self.links.push(learnt.clone());
        Ok(learnt)
    }

    /// A low-rank map, the sum of several starts, and how many of these lost their way.
    fn learnt(&self, place: &dyn Place, rank: usize, n_epochs: usize) -> Result<(Link, usize)> {
        let measure = |vectors: &Matrix| mean(&self.ndcg(0, &self.split.dev, vectors));
        let task = Task {
            documents: self.problem.documents,
            targets: &self.targets,
            base: self.problem.vectors,
            train: &self.split.train,
            dev: &self.split.dev,
            measure: &measure,
            is_over: self.watch.is_over,
        };
        let mut fitted = Vec::new();
        for seed in 0..self.options.n_seeds {
            let seed = self.options.seed + seed;
            fitted.push(fit(
                place,
                &task,
                &Training { seed, n_epochs, ..Training::of_rank(rank) },
            )?);
        }
        let share = 1.0 / fitted.len() as f32;
        let parts: Vec<(&Link, f32)> =
            fitted.iter().map(|fitted: &Fitted| (&fitted.link, share)).collect();
        let n_lost = fitted.iter().filter(|fitted| fitted.is_lost).count();
        Ok((Link::soup(&parts, rank), n_lost))
    }

    /// A ridge head for queries whose vectors are `vectors`, `[n_queries, full_width]`.
    fn ridge(&self, vectors: &Matrix) -> Result<Head> {
        let train = &self.split.train;
        let gains = LAMBDAS.map(|lambda| {
            let fold = |fold: usize| -> Vec<f64> {
                let is_in = |i: &usize| i % N_INNER_FOLDS == fold;
                let inside: Vec<usize> = (0..train.len()).filter(is_in).map(|i| train[i]).collect();
                let outside = (0..train.len()).filter(|i| !is_in(i)).map(|i| train[i]);
                let Some(head) = self.ridge_from(vectors, &outside.collect::<Vec<_>>(), lambda)
                else {
                    return Vec::new();
                };
                let mut adapted = gather(vectors, &inside);
                head.apply(&mut adapted.values);
                self.ndcg(0, &inside, &adapted)
            };
            mean(&(0..N_INNER_FOLDS).flat_map(fold).collect::<Vec<_>>())
        });
        let best =
            (0..LAMBDAS.len()).fold(0, |best, i| if gains[i] > gains[best] { i } else { best });
        let head = self.ridge_from(vectors, train, LAMBDAS[best]);
        let width = vectors.n_cols;
        let identity = || {
            let values = (0..width * width).map(|k| f32::from(u8::from(k / width == k % width)));
            Matrix { values: values.collect(), n_rows: width, n_cols: width }
        };
        // Too few queries for any: the base.
        Ok(head.unwrap_or_else(|| Head::Full { matrix: identity(), strength: 1.0 }))
    }

    fn ridge_from(&self, vectors: &Matrix, places: &[usize], lambda: f64) -> Option<Head> {
        let (mut queries, mut answers, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for &place in places {
            for (row, share) in self.targets.answers(place) {
                queries
                    .extend_from_slice(&vectors.values[place * vectors.n_cols..][..vectors.n_cols]);
                answers.extend_from_slice(self.problem.documents.row(0, row));
                weights.push(share);
            }
        }
        let matrix =
            |values: Vec<f32>| Matrix { values, n_rows: weights.len(), n_cols: vectors.n_cols };
        let matrix = ridge(&matrix(queries), &matrix(answers), &weights, lambda)?;
        Some(Head::Full { matrix, strength: 1.0 })
    }

    /// Vectors of queries with an adapter.
    fn vectors(
        &self,
        places: &[usize],
        link: Option<&Link>,
        head: Option<&Head>,
    ) -> Result<Matrix> {
        let mut vectors = match (link, self.problem.model) {
            (Some(link), Some(model)) if !places.is_empty() => (model.embed)(places, link)?,
            _ => self.base_of(places),
        };
        if let Some(head) = head {
            head.apply(&mut vectors.values);
        }
        Ok(vectors)
    }

    /// The strength that is best where choices are made: of the head if there is one, else of the link.
    fn strongest(
        &self,
        link: Option<&Link>,
        head: Option<&Head>,
    ) -> Result<(Option<Link>, Option<Head>, f32)> {
        let dev = &self.split.dev;
        let linked = self.vectors(dev, link.filter(|_| head.is_some()), None)?;
        let mut best = (mean(&self.ndcg(0, dev, &linked)), 0.0);
        for strength in STRENGTHS {
            let vectors = match (link, head) {
                (_, Some(head)) => {
                    let mut vectors = linked.clone();
                    head.at_strength(strength).apply(&mut vectors.values);
                    vectors
                }
                (Some(link), None) => self.vectors(dev, Some(&link.at_strength(strength)), None)?,
                (None, None) => linked.clone(),
            };
            let value = mean(&self.ndcg(0, dev, &vectors));
            if value > best.0 {
                best = (value, strength);
            }
        }
        let strength = best.1;
        Ok(match head {
            Some(head) => (link.cloned(), Some(head.at_strength(strength)), strength),
            None => (link.map(|link| link.at_strength(strength)), None, strength),
        })
    }

    fn finish(
        &self,
        rung: Rung,
        link: Option<Link>,
        head: Option<Head>,
        n_lost: usize,
    ) -> Result<Candidate> {
        let (link, head, strength) = self.strongest(link.as_ref(), head.as_ref())?;
        let side = |places: &[usize]| self.vectors(places, link.as_ref(), head.as_ref());
        let (dev, test) = (side(&self.split.dev)?, side(&self.split.test)?);
        let cosines = |places: &[usize], vectors: &Matrix| -> Vec<f64> {
            let pairs = self.base_of(places);
            let pairs = pairs
                .values
                .chunks_exact(vectors.n_cols)
                .zip(vectors.values.chunks_exact(vectors.n_cols));
            pairs.map(|(base, with)| f64::from(dot(base, with))).collect()
        };
        let cosines = [cosines(&self.split.dev, &dev), cosines(&self.split.test, &test)].concat();
        let measured = self.measured(rung, &dev, &test);
        let adapter = Adapter { link, head };
        Ok(Candidate { adapter, strength, measured, cosine: mean(&cosines), n_lost })
    }
}

/// nDCG@10 of each of these queries, whose vectors are `vectors`.
pub(super) fn ndcg_of(
    documents: &Documents,
    queries: &[Query],
    form_idx: usize,
    places: &[usize],
    vectors: &Matrix,
) -> Vec<f64> {
    documents.compare(form_idx, vectors, |i, scores| {
        ndcg(&documents.best_documents(scores, 10), &queries[places[i]].grades(), 10)
    })
}
