//! Trains a link, before the model or behind it, until held-out queries gain no more.
//!
//! The loss is a sum over queries, so a step's gradient is exact whatever it is accumulated from.
//! Twice an epoch the queries of `dev` are ranked; the link that ranked them best is kept, and
//! training ends when it has not been beaten for a while. A loss that is not a number ends it too, with
//! the best link so far.

use super::Link;
use super::documents::Documents;
use super::loss::{Terms, loss};
use super::place::{LossOf, Place};
use super::target::{Targets, gather};
use crate::Result;
use crate::adamw::{Step, schedule};
use crate::package::Matrix;
use crate::random::Random;

/// How a link is trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Training {
    /// Columns of `U` and `V`.
    pub(crate) rank: usize,
    /// Passes over the queries, at most.
    pub(crate) n_epochs: usize,
    /// Queries of a step.
    pub(crate) batch: usize,
    /// The rate of `U`; that of `V` is [`RATE_OF_V`] of it.
    pub(crate) rate: f32,
    /// Of weights, times the rate.
    pub(crate) decay: f32,
    /// The share of the link's inner numbers that a query goes without in a step.
    pub(crate) drop_out: f32,
    /// A link may move what it is applied to by this share of its length, in the mean.
    pub(crate) farthest: f64,
    /// Weights of the loss.
    pub(crate) terms: Terms,
    /// Of the start, the order and all that is drawn.
    pub(crate) seed: u64,
}

/// `V` starts at random and `U` at 0: `V` moves more slowly.
pub(crate) const RATE_OF_V: f32 = 0.3;

impl Training {
    /// A hundred queries give only a hundred steps: batches are small and the rate is high, and the
    /// queries that choices are made by say when to end.
    pub(crate) fn of_rank(rank: usize) -> Training {
        let terms = Terms::default();
        let (n_epochs, batch, rate, decay, drop_out) = (20, 16, 3e-3, 0.01, 0.1);
        let (farthest, seed) = (0.3, 0);
        Training { rank, n_epochs, batch, rate, decay, drop_out, farthest, terms, seed }
    }
}

/// Training ends after so many epochs, and so many steps, without a better evaluation. On few queries the
/// measure stands still for many small steps before it moves.
const PATIENCE_EPOCHS: usize = 3;
const PATIENCE_STEPS: usize = 60;

/// A step's gradient is scaled down to this length.
const LONGEST_GRADIENT: f64 = 1.0;

/// AdamW's.
const BETAS: [f64; 2] = [0.9, 0.98];
const EPSILON: f64 = 1e-8;

/// What is learnt from and what it is judged by.
pub(crate) struct Task<'a> {
    pub(crate) documents: &'a Documents,
    pub(crate) targets: &'a Targets<'a>,
    /// `[n_queries, full_width]`, unit vectors.
    pub(crate) base: &'a Matrix,
    /// Places of queries.
    pub(crate) train: &'a [usize],
    pub(crate) dev: &'a [usize],
    /// The mean measure of the queries of `dev`, from their vectors.
    pub(crate) measure: &'a (dyn Fn(&Matrix) -> f64 + Sync),
    /// True if the time is up.
    pub(crate) is_over: &'a (dyn Fn() -> bool + Sync),
}

/// What training gave.
pub(crate) struct Fitted {
    /// The best link; a new one if none was better than none.
    pub(crate) link: Link,
    /// Whether training ended because the loss was no number.
    pub(crate) is_lost: bool,
}

/// Trains a link.
pub(crate) fn fit(place: &dyn Place, task: &Task, settings: &Training) -> Result<Fitted> {
    let mut random = Random::new(settings.seed);
    let mut link = Link::new(place.width(), settings.rank, random.next());
    // Of the gradients: means and mean squares.
    let zeros = || Link::zeros(link.width(), link.rank());
    let mut moments = [zeros(), zeros()];
    let mut current = gather(task.base, task.train);
    let mut best = Best::new(&link, (task.measure)(&gather(task.base, task.dev)));
    let steps_per_epoch = task.train.len().div_ceil(settings.batch);
    let n_steps = steps_per_epoch * settings.n_epochs;
    let mut step = 0;
    'training: for _ in 0..settings.n_epochs {
        let targets = task.targets.of(task.train, &current, &mut random);
        let mut order: Vec<usize> = (0..task.train.len()).collect();
        random.shuffle(&mut order);
        for (batch_idx, batch) in order.chunks(settings.batch).enumerate() {
            if (task.is_over)() {
                break 'training;
            }
            let queries: Vec<usize> = batch.iter().map(|&i| task.train[i]).collect();
            let losses: Vec<_> = batch.iter().map(|_| std::sync::Mutex::new(0.0)).collect();
            let of = |i: usize, y: &[f32], gradient: &mut [f32]| {
                let value = loss(&settings.terms, task.documents, &targets[batch[i]], y, gradient);
                *losses[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
            };
            let (vectors, gradient) = learn(place, &link, &queries, settings, &of, &mut random)?;
            for (&i, vector) in batch.iter().zip(vectors.values.chunks_exact(vectors.n_cols)) {
                current.values[i * vectors.n_cols..][..vectors.n_cols].copy_from_slice(vector);
            }
            let of_losses = losses.into_iter().map(|loss| loss.into_inner().unwrap_or(f64::NAN));
            let sum: f64 = of_losses.sum();
            let norm = norm(&gradient) / batch.len() as f64;
            if !(sum.is_finite() && norm.is_finite()) {
                return Ok(best.fitted(true));
            }
            let scale = (LONGEST_GRADIENT / norm.max(LONGEST_GRADIENT)) / batch.len() as f64;
            let share = schedule(step, n_steps, n_steps.div_ceil(20), 0.0);
            step += 1;
            let rate = f64::from(settings.rate) * share;
            let of_step = Step { number: step as u64, rate, betas: BETAS, epsilon: EPSILON };
            change(&mut link, &mut moments, gradient, scale as f32, of_step, settings.decay);
            let is_half = batch_idx + 1 == steps_per_epoch.div_ceil(2);
            if is_half || batch_idx + 1 == steps_per_epoch {
                keep_near(place, &queries, &mut link, settings.farthest);
                let dev = (task.measure)(&place.vectors(task.dev, &link)?);
                best.take(&link, dev, step);
                if step - best.step >= PATIENCE_STEPS.max(PATIENCE_EPOCHS * steps_per_epoch) {
                    break 'training;
                }
            }
        }
    }
    Ok(best.fitted(false))
}

/// One step's vectors and the sum of its gradients.
fn learn(
    place: &dyn Place,
    link: &Link,
    queries: &[usize],
    settings: &Training,
    loss: &LossOf,
    random: &mut Random,
) -> Result<(Matrix, Link)> {
    let (width, rank) = (link.width(), link.rank());
    // Dropping an inner number is dropping a column of U for this query.
    let kept = 1.0 / (1.0 - settings.drop_out);
    let mut mask = || if random.unit() < f64::from(settings.drop_out) { 0.0 } else { kept };
    let masks: Vec<Vec<f32>> =
        queries.iter().map(|_| (0..rank).map(|_| mask()).collect()).collect();
    let masked = |mask: &Vec<f32>| {
        let mut link = link.clone();
        scale_columns(&mut link.u, mask);
        link
    };
    let links: Vec<Link> = masks.iter().map(masked).collect();
    let mut gradients = vec![Link::zeros(width, rank); queries.len()];
    let vectors = place.learn(queries, &links, loss, &mut gradients)?;
    let mut sum = Link::zeros(width, rank);
    for (mut gradient, mask) in gradients.into_iter().zip(&masks) {
        scale_columns(&mut gradient.u, mask);
        add(&gradient.u, &mut sum.u);
        add(&gradient.v, &mut sum.v);
    }
    Ok((vectors, sum))
}

fn scale_columns(matrix: &mut Matrix, factors: &[f32]) {
    for row in matrix.values.chunks_exact_mut(factors.len()) {
        row.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
    }
}

fn add(from: &Matrix, to: &mut Matrix) {
    to.values.iter_mut().zip(&from.values).for_each(|(to, x)| *to += x);
}

fn norm(link: &Link) -> f64 {
    let numbers = link.u.values.iter().chain(&link.v.values);
    numbers.map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn change(
    link: &mut Link,
    [means, squares]: &mut [Link; 2],
    mut gradient: Link,
    scale: f32,
    step: Step,
    decay: f32,
) {
    let numbers = gradient.u.values.iter_mut().chain(&mut gradient.v.values);
    numbers.for_each(|x| *x *= scale);
    let of_v = Step { rate: step.rate * f64::from(RATE_OF_V), ..step };
    let sides = [
        (step, &mut link.u, gradient.u, &mut means.u, &mut squares.u),
        (of_v, &mut link.v, gradient.v, &mut means.v, &mut squares.v),
    ];
    for (step, to, gradient, mean, square) in sides {
        let (mean, square) = (&mut mean.values, &mut square.values);
        step.apply(f64::from(decay), &mut to.values, &gradient.values, mean, square);
    }
}

/// Shrinks a link that moves these queries too far.
fn keep_near(place: &dyn Place, queries: &[usize], link: &mut Link, farthest: f64) {
    let shift = place.shift(queries, link);
    if shift > farthest {
        let factor = (farthest / shift) as f32;
        link.u.values.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The best link so far.
struct Best {
    link: Link,
    dev: f64,
    step: usize,
}

impl Best {
    fn new(link: &Link, dev: f64) -> Best {
        Best { link: link.clone(), dev, step: 0 }
    }

    fn take(&mut self, link: &Link, dev: f64, step: usize) {
        if dev > self.dev {
            *self = Best { link: link.clone(), dev, step };
        }
    }

    fn fitted(self, is_lost: bool) -> Fitted {
        Fitted { link: self.link, is_lost }
    }
}

#[cfg(test)]
mod tests;
