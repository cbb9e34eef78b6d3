//! One step: batches, their loss, gradients, new weights.

use rayon::prelude::*;

use super::Pass;
use super::checkpoint::State;
use super::data::{Batches, Corpus, choose, mixed};
use super::loss::{Examples, Teaching, loss};
use super::optimise::{clip, follow, scale};
use super::recipe::{Blocks, Recipe, Stage};
use super::teacher::Teacher;
use crate::Result;
use crate::package::export::Dtype;
use crate::package::{Config, Matrix, Weights, gguf};

/// What one step was.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// From 1.
    pub step: usize,
    /// The data sets of its batches.
    pub sets: Vec<String>,
    /// The mean over its batches.
    pub loss: f64,
    /// The terms before their weights: contrastive, spread-out, matching, similarity.
    pub terms: [f64; 4],
    /// The learning rate.
    pub rate: f64,
    /// The gradient's norm before it was clipped.
    pub norm: f64,
    /// Tokens of its batches.
    pub n_tokens: u64,
}

impl Step {
    /// What is not finite, if something is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if !self.loss.is_finite() {
            return Some("the loss");
        }
        (!self.norm.is_finite()).then_some("the gradient")
    }
}

/// Makes steps of a stage with one mixture.
pub(super) struct Stepper<'a> {
    recipe: &'a Recipe,
    stage: &'a Stage,
    seed: u64,
    rates: Vec<f64>,
    corpus: &'a Corpus,
    mined: Option<&'a [Vec<Vec<u32>>]>,
    batches: Vec<Batches>,
    gradients: Option<Weights>,
}

/// The texts of a batch, by their places.
struct Batch {
    queries: Vec<u32>,
    positives: Vec<u32>,
    negatives: Vec<u32>,
    owners: Vec<usize>,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(
        recipe: &'a Recipe,
        stage: &'a Stage,
        mixture: usize,
        corpus: &'a Corpus,
        mined: Option<&'a [Vec<Vec<u32>>]>,
    ) -> Stepper<'a> {
        let own = || {
            let sets = stage.data.iter().zip(&corpus.sets);
            sets.map(|(set, pairs)| set.rate.unwrap_or(pairs.pairs.len() as f64)).collect()
        };
        let rates = stage.mixtures.get(mixture).cloned().unwrap_or_else(own);
        let name = u64::from_le_bytes(
            blake3::hash(stage.name.as_bytes()).as_bytes()[..8].try_into().unwrap_or_default(),
        );
        let seed = mixed(&[recipe.seed, name, mixture as u64]);
        let batches = corpus.sets.iter().enumerate().map(|(i, set)| {
            let length = |text: u32| corpus.texts.ids(text).len() as u32;
            let lengths = set.pairs.iter().map(|p| length(p.query) + length(p.positive)).collect();
            Batches::new(mixed(&[seed, i as u64]), stage.batch, lengths)
        });
        let batches = batches.collect();
        Stepper { recipe, stage, seed, rates, corpus, mined, batches, gradients: None }
    }

    /// Of all that decides the steps, but the weights.
    pub(super) fn fingerprint(&self) -> String {
        let recipe =
            serde_json::to_string(self.recipe).unwrap_or_else(|_| unreachable!("a recipe is JSON"));
        format!("{} {} {}", recipe, self.corpus.fingerprint(), self.seed)
    }

    /// A pass over these weights, rounded if the stage says so.
    pub(super) fn pass(&self, config: &Config, weights: &Weights) -> Pass {
        let mut rounded = weights.clone();
        self.round(&mut rounded);
        Pass::new(config, rounded, self.recipe.arithmetic.into())
    }

    /// Rounds matrices to the stage's blocks. The gradient is taken as if nothing were rounded
    /// (straight-through: Bengio et al. 2013), so it is that of the pass over rounded weights.
    fn round(&self, weights: &mut Weights) {
        let round = |matrix: &mut Matrix, blocks: Blocks| {
            let dtype = Dtype::from(blocks).that_fits(matrix.n_cols);
            let n_cols = matrix.n_cols;
            matrix.values.par_chunks_mut(n_cols).for_each(|row| gguf::round(dtype, row));
        };
        let Stage { quantise, quantise_table, .. } = self.stage;
        if let Some(blocks) = quantise_table.or(*quantise) {
            round(&mut weights.embedding, blocks);
        }
        let Some(blocks) = quantise else { return };
        // Norms stay as they are, and the table, the first of all, is done.
        let matrices = weights.all_mut().into_iter().skip(1).filter(|matrix| matrix.n_rows > 1);
        matrices.for_each(|matrix| round(matrix, *blocks));
    }

    /// The next step. If its loss or gradient is not finite, the state stays as it was.
    pub(super) fn step(
        &mut self,
        pass: &mut Pass,
        state: &mut State,
        teacher: Option<&Teacher>,
        widths: &[usize],
    ) -> Result<Step> {
        let position = &state.position;
        let mut gradients = match self.gradients.take() {
            Some(mut gradients) => {
                gradients.all_mut().into_iter().for_each(|m| m.values.fill(0.0));
                gradients
            }
            None => state.weights.zeros(),
        };
        let mut step = Step { step: position.step + 1, ..Step::default() };
        let mut draws = position.draws.clone();
        let n_batches = self.stage.accumulate;
        for i in 0..n_batches {
            let set = choose(&self.rates, mixed(&[self.seed, position.step as u64, i as u64]));
            let batch = self.batch(set, draws[set]);
            draws[set] += 1;
            step.sets.push(self.corpus.sets[set].name.clone());
            self.backward(pass, &batch, teacher, widths, &mut gradients, &mut step)?;
        }
        if n_batches > 1 {
            let share = 1.0 / n_batches as f64;
            scale(&mut gradients, share as f32);
            step.loss *= share;
            step.terms.iter_mut().for_each(|term| *term *= share);
        }
        let optimiser = &self.stage.optimiser;
        step.norm = clip(&mut gradients, optimiser.clip);
        step.rate = optimiser.rate_at(position.step, self.stage.steps);
        if step.fault().is_none() {
            state.adamw.step(optimiser, step.rate, &mut state.weights, &gradients);
            if optimiser.average > 0.0 {
                let n_before = state.position.step;
                follow(&mut state.average, &state.weights, optimiser.average, n_before);
            }
            pass.update(|weights| {
                for (to, from) in weights.all_mut().into_iter().zip(state.weights.all()) {
                    to.values.copy_from_slice(&from.values);
                }
                self.round(weights);
            });
            state.position.step += 1;
            state.position.draws = draws;
            state.position.n_tokens += step.n_tokens;
        }
        self.gradients = Some(gradients);
        Ok(step)
    }

    fn batch(&mut self, set: usize, draw: u64) -> Batch {
        let pairs = &self.corpus.sets[set].pairs;
        let mut batch = Batch {
            queries: Vec::new(),
            positives: Vec::new(),
            negatives: Vec::new(),
            owners: Vec::new(),
        };
        for &i in self.batches[set].get(draw) {
            let pair = &pairs[i];
            let mined = self.mined.map_or(&[][..], |mined| &mined[set][i]);
            let hard: Vec<u32> = pair.negatives.iter().chain(mined).copied().collect();
            // Each time others, if there are more than one batch has room for.
            for k in 0..self.stage.hard_negatives.min(hard.len()) {
                batch.owners.push(batch.queries.len());
                batch.negatives.push(hard[(draw as usize + k) % hard.len()]);
            }
            batch.queries.push(pair.query);
            batch.positives.push(pair.positive);
        }
        batch
    }

    /// Adds the gradients of one batch, and what it lost.
    fn backward(
        &self,
        pass: &Pass,
        batch: &Batch,
        teacher: Option<&Teacher>,
        widths: &[usize],
        gradients: &mut Weights,
        step: &mut Step,
    ) -> Result<()> {
        let texts = &self.corpus.texts;
        let parts = [&batch.queries, &batch.positives, &batch.negatives];
        let sequences: Vec<&[u32]> =
            parts.into_iter().flatten().map(|&text| texts.ids(text)).collect();
        step.n_tokens += sequences.iter().map(|ids| ids.len() as u64).sum::<u64>();
        let tape = pass.forward(&sequences, &[]);
        let dims = tape.vectors().len() / sequences.len();
        let (queries, rest) = tape.vectors().split_at(batch.queries.len() * dims);
        let (positives, negatives) = rest.split_at(batch.positives.len() * dims);
        let hashes = |of: &[u32]| of.iter().map(|&text| texts.hash(text)).collect::<Vec<u64>>();
        let examples = Examples {
            dims,
            queries,
            positives,
            negatives,
            owners: &batch.owners,
            query_texts: &hashes(&batch.queries),
            positive_texts: &hashes(&batch.positives),
        };
        let terms = &self.stage.loss;
        let taught = match teacher.filter(|_| terms.need_teacher()) {
            None => None,
            Some(teacher) => {
                let of = |texts: &[u32]| -> Result<Vec<f32>> {
                    let vectors = teacher.vectors(&hashes(texts))?;
                    Ok(vectors.expect("the corpus was checked against the teacher"))
                };
                Some((
                    teacher.dims(),
                    [of(&batch.queries)?, of(&batch.positives)?, of(&batch.negatives)?],
                ))
            }
        };
        let teaching = taught.as_ref().map(|(dims, [queries, positives, negatives])| Teaching {
            dims: *dims,
            queries,
            positives,
            negatives,
        });
        let loss = loss(terms, widths, &examples, teaching.as_ref())?;
        step.loss += loss.value;
        step.terms.iter_mut().zip(loss.terms).for_each(|(sum, term)| *sum += term);
        if loss.value.is_finite() {
            let gradient = [loss.of_queries, loss.of_positives, loss.of_negatives].concat();
            pass.backward(&tape, &gradient, gradients);
        }
        Ok(())
    }
}
