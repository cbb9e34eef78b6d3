//! Losses over raw vectors: a batch's vectors in, a number and the gradient of each vector out.
//!
//! Each term cuts vectors to a width and makes them unit length by itself, so a gradient is that of the
//! vector before. With `q`, `p` and `n` such unit prefixes of query, positive and hard negative, `B`
//! examples, `t` the teacher's unit vector of the same text:
//!
//! ```text
//! contrastive  1/B sum_i -log( e^(q_i.p_i / T) / (sum_k w_k e^(q_i.n_k / T) + sum_j m_ij e^(q_i.p_j / T)) )
//!              w_k = e^(hardness * q_i.n_k), a constant to the gradient; k: the hard negatives of i
//!              m_ij = 0 where j is another example with the same query or the same positive
//! spread_out   1/(B(B-1)) sum_(i != j) (q_i.q_j)^2, and the same of p
//! matching     mean(1 - q.t) + mean(1 - p.t) + mean(1 - n.t)
//! similarity   1/B sum_i KL( softmax_j(t_qi.t_pj / T) || softmax_j(q_i.p_j / T) )
//! ```
//!
//! Source: EmbeddingGemma (arXiv 2509.20354), section 2.2, which has the first three.
//!
//! Differs from the source:
//! - the own positive always stays in the denominator (read by the letter, `m_ii` would be 0);
//! - an example may have any number of hard negatives;
//! - the squared distance of unit vectors is twice `1 - cosine`, so one of the two is enough.

mod contrastive;
mod cosine;
mod similarity;
mod spread;
mod terms;

pub use terms::{Contrastive, Matching, Similarity, SpreadOut, Terms};

use crate::Result;
use cosine::{Cosines, Rows};

/// The vectors of one batch, before they are cut or scaled.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// The width of a vector.
    pub dims: usize,
    /// `[n, dims]`
    pub queries: &'a [f32],
    /// `[n, dims]`
    pub positives: &'a [f32],
    /// `[n_negatives, dims]`
    pub negatives: &'a [f32],
    /// For each hard negative, whose it is.
    pub owners: &'a [usize],
    /// Equal for equal query texts, `[n]`.
    pub query_texts: &'a [u64],
    /// Equal for equal positive texts, `[n]`.
    pub positive_texts: &'a [u64],
}

impl Examples<'_> {
    fn n(&self) -> usize {
        self.query_texts.len()
    }

    fn is_duplicate(&self, i: usize, j: usize) -> bool {
        self.query_texts[i] == self.query_texts[j]
            || self.positive_texts[i] == self.positive_texts[j]
    }
}

/// The teacher's vectors of the same texts.
#[derive(Clone, Copy, Debug)]
pub struct Teaching<'a> {
    /// The width of a vector of the teacher.
    pub dims: usize,
    /// `[n, dims]`
    pub queries: &'a [f32],
    /// `[n, dims]`
    pub positives: &'a [f32],
    /// `[n_negatives, dims]`
    pub negatives: &'a [f32],
}

/// What a batch lost, and the gradients of its vectors.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    /// The sum of the terms, each times its weight.
    pub value: f64,
    /// The terms before their weights, in the order of [`Terms`]; 0 where a term is absent.
    pub terms: [f64; 4],
    /// `[n, dims]`
    pub of_queries: Vec<f32>,
    /// `[n, dims]`
    pub of_positives: Vec<f32>,
    /// `[n_negatives, dims]`
    pub of_negatives: Vec<f32>,
}

/// The loss of a batch. `widths`: widest first, the first at most `dims`.
///
/// # Errors
/// [`Error::Tensor`](crate::Error::Tensor) if there is no memory.
///
/// # Panics
/// If the batch's parts do not fit together, or a term needs a teacher and there is none.
pub fn loss(
    terms: &Terms,
    widths: &[usize],
    examples: &Examples<'_>,
    teaching: Option<&Teaching<'_>>,
) -> Result<Loss> {
    let Examples { dims, .. } = *examples;
    let n = examples.n();
    assert!(examples.queries.len() == n * dims && examples.positives.len() == n * dims);
    assert!(examples.negatives.len() == examples.owners.len() * dims);
    assert!(examples.positive_texts.len() == n && examples.owners.iter().all(|&i| i < n));
    let student = Sides {
        queries: Rows::new(examples.queries, dims, widths)?,
        positives: Rows::new(examples.positives, dims, widths)?,
        negatives: Rows::new(examples.negatives, dims, widths)?,
    };
    let mut loss = Loss {
        of_queries: vec![0.0; examples.queries.len()],
        of_positives: vec![0.0; examples.positives.len()],
        of_negatives: vec![0.0; examples.negatives.len()],
        ..Loss::default()
    };
    add_batch_terms(terms, examples, &student, teaching, &mut loss)?;
    if let Some(term) = &terms.spread_out {
        for side in [Side::Queries, Side::Positives] {
            let rows = student.of(side);
            let cosines = Cosines::new(rows, rows)?;
            let at_width = |k: usize| {
                let (value, gradient) = spread::spread(&cosines.at[k], n);
                (value, Some(gradient))
            };
            let parts = over_widths(widths, term.every_width, at_width);
            loss.terms[1] += parts.value;
            let gradients = scaled(parts.gradients, term.weight);
            let (first, second) = cosines.back(&gradients)?;
            add(loss.of(side), &first);
            add(loss.of(side), &second);
        }
    }
    if let Some(term) = &terms.matching {
        let teaching = teaching.expect("matching has a teacher");
        add_matching(term, widths, &student, teaching, &mut loss)?;
    }
    let weights = [
        terms.contrastive.as_ref().map_or(0.0, |term| term.weight),
        terms.spread_out.as_ref().map_or(0.0, |term| term.weight),
        terms.matching.as_ref().map_or(0.0, |term| term.weight),
        terms.similarity.as_ref().map_or(0.0, |term| term.weight),
    ];
    loss.value = weights.iter().zip(loss.terms).map(|(&w, term)| f64::from(w) * term).sum();
    Ok(loss)
}

/// One of the three parts of a batch.
#[derive(Clone, Copy)]
enum Side {
    Queries,
    Positives,
    Negatives,
}

struct Sides<'a> {
    queries: Rows<'a>,
    positives: Rows<'a>,
    negatives: Rows<'a>,
}

impl<'a> Sides<'a> {
    fn of(&self, side: Side) -> &Rows<'a> {
        match side {
            Side::Queries => &self.queries,
            Side::Positives => &self.positives,
            Side::Negatives => &self.negatives,
        }
    }
}

impl Loss {
    fn of(&mut self, side: Side) -> &mut [f32] {
        match side {
            Side::Queries => &mut self.of_queries,
            Side::Positives => &mut self.of_positives,
            Side::Negatives => &mut self.of_negatives,
        }
    }
}

/// A term's value, added up over widths, and its gradient at each.
struct Parts {
    value: f64,
    gradients: Vec<Option<Vec<f32>>>,
}

fn over_widths(
    widths: &[usize],
    every_width: bool,
    mut at_width: impl FnMut(usize) -> (f64, Option<Vec<f32>>),
) -> Parts {
    let mut parts = Parts { value: 0.0, gradients: vec![None; widths.len()] };
    for k in 0..if every_width { widths.len() } else { 1 } {
        let (value, gradient) = at_width(k);
        parts.value += value;
        parts.gradients[k] = gradient;
    }
    parts
}

fn scaled(mut gradients: Vec<Option<Vec<f32>>>, weight: f32) -> Vec<Option<Vec<f32>>> {
    gradients.iter_mut().flatten().flatten().for_each(|x| *x *= weight);
    gradients
}

fn add(to: &mut [f32], what: &[f32]) {
    to.iter_mut().zip(what).for_each(|(to, x)| *to += x);
}

/// The two terms over the cosines of all queries with all positives.
fn add_batch_terms(
    terms: &Terms,
    examples: &Examples<'_>,
    student: &Sides<'_>,
    teaching: Option<&Teaching<'_>>,
    loss: &mut Loss,
) -> Result<()> {
    if terms.contrastive.is_none() && terms.similarity.is_none() {
        return Ok(());
    }
    let widths = student.queries.widths;
    let n = examples.n();
    let cosines = Cosines::new(&student.queries, &student.positives)?;
    let mut gradients: Vec<Option<Vec<f32>>> = vec![None; widths.len()];
    if let Some(term) = &terms.contrastive {
        let hard: Vec<Vec<f32>> = (examples.owners.iter().enumerate())
            .map(|(k, &owner)| student.queries.with(owner, &student.negatives, k))
            .collect();
        let mut of_hard = vec![vec![0.0; widths.len()]; hard.len()];
        let parts = over_widths(widths, term.every_width, |at| {
            let hard: Vec<f32> = hard.iter().map(|cosines| cosines[at]).collect();
            let contrast = contrastive::contrast(term, examples, &cosines.at[at], &hard);
            for (of_hard, x) in of_hard.iter_mut().zip(&contrast.of_hard) {
                of_hard[at] = x * term.weight;
            }
            (contrast.value, Some(contrast.of_cosines))
        });
        loss.terms[0] = parts.value;
        gradients = scaled(parts.gradients, term.weight);
        let dims = examples.dims;
        for (k, (cosines, of_hard)) in hard.iter().zip(&of_hard).enumerate() {
            let owner = examples.owners[k];
            let (queries, negatives) = (&student.queries, &student.negatives);
            let to_query = &mut loss.of_queries[owner * dims..][..dims];
            queries.back(owner, (negatives, k), (cosines, of_hard), to_query);
            let to_negative = &mut loss.of_negatives[k * dims..][..dims];
            negatives.back(k, (queries, owner), (cosines, of_hard), to_negative);
        }
    }
    if let Some(term) = &terms.similarity {
        let teaching = teaching.expect("similarity has a teacher");
        let full = [teaching.dims];
        let queries = Rows::new(teaching.queries, teaching.dims, &full)?;
        let positives = Rows::new(teaching.positives, teaching.dims, &full)?;
        let teacher = Cosines::new(&queries, &positives)?;
        let parts = over_widths(widths, term.every_width, |at| {
            let (value, gradient) =
                similarity::divergence(term, &cosines.at[at], &teacher.at[0], n);
            (value, Some(gradient))
        });
        loss.terms[3] = parts.value;
        for (sum, part) in gradients.iter_mut().zip(scaled(parts.gradients, term.weight)) {
            match (sum.as_mut(), part) {
                (Some(sum), Some(part)) => add(sum, &part),
                (None, part) => *sum = part,
                (Some(_), None) => {}
            }
        }
    }
    let (of_queries, of_positives) = cosines.back(&gradients)?;
    add(&mut loss.of_queries, &of_queries);
    add(&mut loss.of_positives, &of_positives);
    Ok(())
}

fn add_matching(
    term: &Matching,
    widths: &[usize],
    student: &Sides<'_>,
    teaching: &Teaching<'_>,
    loss: &mut Loss,
) -> Result<()> {
    let n_widths = if term.every_width { widths.len() } else { 1 };
    // Beyond the teacher's width there is nothing to match: there its vectors count as zeros.
    let padded = |rows: &[f32], dims: usize| -> Vec<f32> {
        let row =
            |row: &[f32]| (0..dims).map(|d| row.get(d).copied().unwrap_or(0.0)).collect::<Vec<_>>();
        rows.chunks_exact(teaching.dims).flat_map(row).collect()
    };
    let sides = [
        (Side::Queries, teaching.queries),
        (Side::Positives, teaching.positives),
        (Side::Negatives, teaching.negatives),
    ];
    for (side, teacher) in sides {
        let rows = student.of(side);
        let teacher = padded(teacher, rows.dims);
        assert!(teacher.len() == rows.values.len(), "a teacher's vector for each text");
        let teacher = Rows::new(&teacher, rows.dims, widths)?;
        let slope = -term.weight / rows.n as f32;
        for i in 0..rows.n {
            let cosines = rows.with(i, &teacher, i);
            let gaps = cosines[..n_widths].iter().map(|&cosine| 1.0 - f64::from(cosine));
            loss.terms[2] += gaps.sum::<f64>() / rows.n as f64;
            let of_cosines: Vec<f32> =
                (0..widths.len()).map(|k| if k < n_widths { slope } else { 0.0 }).collect();
            let gradient = &mut loss.of(side)[i * rows.dims..][..rows.dims];
            rows.back(i, (&teacher, i), (&cosines, &of_cosines), gradient);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
