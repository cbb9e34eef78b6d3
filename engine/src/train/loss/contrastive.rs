//! Which of the batch's positives is the query's own? Noise-contrastive estimation with in-batch
//! negatives, and hard negatives that count the more the nearer they are.

use rayon::prelude::*;

use super::Examples;
use super::terms::Contrastive;

/// What the contrastive term is at one width.
pub(super) struct Contrast {
    pub(super) value: f64,
    /// `[n, n]`
    pub(super) of_cosines: Vec<f32>,
    /// One for each hard negative.
    pub(super) of_hard: Vec<f32>,
}

/// `cosines`: `[n, n]`, queries against positives; `hard`: each hard negative with its own query.
pub(super) fn contrast(
    term: &Contrastive,
    examples: &Examples<'_>,
    cosines: &[f32],
    hard: &[f32],
) -> Contrast {
    let n = examples.n();
    let of_queries = one_direction(term, examples, cosines, hard);
    if !term.both_directions {
        return of_queries;
    }
    // A positive's own query among all queries; hard negatives answer no query.
    let of_positives = one_direction(term, examples, &transposed(cosines, n), &[]);
    let back = transposed(&of_positives.of_cosines, n);
    let half = |x: f32| x / 2.0;
    let both = of_queries.of_cosines.par_iter().zip(&back).map(|(a, b)| (a + b) / 2.0).collect();
    Contrast {
        value: (of_queries.value + of_positives.value) / 2.0,
        of_cosines: both,
        of_hard: of_queries.of_hard.into_iter().map(half).collect(),
    }
}

fn one_direction(
    term: &Contrastive,
    examples: &Examples<'_>,
    cosines: &[f32],
    hard: &[f32],
) -> Contrast {
    let n = examples.n();
    let share = 1.0 / n as f32;
    let rows = cosines.par_chunks(n).enumerate().map(|(i, row)| {
        let own: Vec<usize> = (0..hard.len()).filter(|&k| examples.owners[k] == i).collect();
        let logit = |j: usize| match j == i || !examples.is_duplicate(i, j) {
            true => row[j] / term.temperature,
            false => f32::NEG_INFINITY,
        };
        // The logarithm of the hardness weight; it gets no gradient.
        let hard_logit = |k: usize| hard[k] / term.temperature + term.hardness * hard[k];
        let mut logits: Vec<f32> = (0..n).map(logit).collect();
        logits.extend(own.iter().map(|&k| hard_logit(k)));
        let positive = logits[i];
        let log_sum = softmax(&mut logits);
        let scale = share / term.temperature;
        logits[i] -= 1.0;
        logits.iter_mut().for_each(|x| *x *= scale);
        let of_hard: Vec<(usize, f32)> = own.into_iter().zip(logits.drain(n..)).collect();
        (log_sum - f64::from(positive), logits, of_hard)
    });
    let rows: Vec<_> = rows.collect();
    let mut of_hard = vec![0.0; hard.len()];
    let mut of_cosines = Vec::with_capacity(n * n);
    let mut value = 0.0;
    for (row_value, row, row_hard) in rows {
        value += row_value;
        of_cosines.extend(row);
        row_hard.into_iter().for_each(|(k, x)| of_hard[k] = x);
    }
    Contrast { value: value / n as f64, of_cosines, of_hard }
}

/// Turns logits into probabilities; returns the logarithm of the sum of their exponentials.
pub(super) fn softmax(logits: &mut [f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f64;
    for x in logits.iter_mut() {
        *x = (*x - largest).exp();
        sum += f64::from(*x);
    }
    let inverse = (1.0 / sum) as f32;
    logits.iter_mut().for_each(|x| *x *= inverse);
    f64::from(largest) + sum.ln()
}

/// `values`: `[n, n]`.
pub(super) fn transposed(values: &[f32], n: usize) -> Vec<f32> {
    (0..n * n).into_par_iter().map(|at| values[at % n * n + at / n]).collect()
}
