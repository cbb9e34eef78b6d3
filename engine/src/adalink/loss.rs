//! What a query's vector is trained for.
//!
//! Only the query moves, so the loss is a sum over queries and the documents are constants. For each
//! form `m` in which documents are stored, with `s = cos(q, d) / temperature` on the form's width:
//!
//! ```text
//! L_nce    = - sum over positives of share * log softmax(s over positives and negatives)
//! L_kl     = KL( softmax(s of the base) || softmax(s) )   over the base's best without positives
//! L_anchor = 1 - cos(q, q of the base)                    at full width
//! L        = sum over m of weight * (L_nce + kl * L_kl) + anchor * L_anchor
//! ```
//!
//! The second and third keep the order and the place that the base gave: training of strong
//! retrievers on few labels does harm without (arXiv 2502.19712).

use super::documents::Documents;
use super::head::dot;

/// The weights of the terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Terms {
    /// Scores are divided by it.
    pub(crate) temperature: f32,
    /// Weight of the order that the base gave.
    pub(crate) kl: f32,
    /// Weight of staying near the base's vector.
    pub(crate) anchor: f32,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { temperature: 0.05, kl: 0.3, anchor: 0.1 }
    }
}

/// What one query is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Target {
    /// Rows that answer the query, and their shares, which sum to 1.
    pub(crate) positives: Vec<(u32, f32)>,
    /// Rows that do not.
    pub(crate) negatives: Vec<u32>,
    /// The base's best rows without the positives.
    pub(crate) anchors: Vec<u32>,
    /// The base's vector: `[full_width]`, of unit length.
    pub(crate) base: Vec<f32>,
}

/// The weight of a form by its place: full width first.
fn weight_of_form(form_idx: usize) -> f32 {
    [1.0, 0.5, 0.5].get(form_idx).copied().unwrap_or(0.25)
}

/// The loss of a query with vector `y`, `[full_width]`, before it is scaled to unit length; adds its
/// gradient to `gradient`, `[full_width]`.
pub(crate) fn loss(
    terms: &Terms,
    documents: &Documents,
    target: &Target,
    y: &[f32],
    gradient: &mut [f32],
) -> f64 {
    let mut sum = 0.0;
    for (form_idx, form) in documents.forms().iter().enumerate() {
        let width = form.rows.n_cols;
        let weight = weight_of_form(form_idx);
        let (unit, norm) = unit_and_norm(&y[..width]);
        let mut of_unit = vec![0.0; width];
        let positives = target.positives.iter().map(|&(row, share)| (row, f64::from(share)));
        let rows: Vec<(u32, f64)> =
            positives.chain(target.negatives.iter().map(|&row| (row, 0.0))).collect();
        let scores = |rows: &[(u32, f64)], query: &[f32]| -> Vec<f64> {
            let score = |(row, _): &(u32, f64)| dot(query, documents.row(form_idx, *row));
            rows.iter().map(|row| f64::from(score(row) / terms.temperature)).collect()
        };
        let mut add = |rows: &[(u32, f64)], weight: f32| {
            let log_shares = log_softmax(&scores(rows, &unit));
            for ((row, share), log_share) in rows.iter().zip(log_shares) {
                let factor = (log_share.exp() - share) as f32 * weight / terms.temperature;
                let row = documents.row(form_idx, *row);
                of_unit.iter_mut().zip(row).for_each(|(to, x)| *to += factor * x);
                if *share > 0.0 {
                    // Of the KL divergence also what does not depend on the query, so that it ends at 0.
                    sum -= f64::from(weight) * share * log_share;
                }
            }
        };
        add(&rows, weight);
        if terms.kl > 0.0 && !target.anchors.is_empty() {
            let (base, _) = unit_and_norm(&target.base[..width]);
            let rows: Vec<(u32, f64)> = target.anchors.iter().map(|&row| (row, 0.0)).collect();
            let log_shares = log_softmax(&scores(&rows, &base));
            let entropy: f64 = log_shares.iter().map(|log| -log.exp() * log).sum();
            let rows = rows.iter().zip(log_shares).map(|((row, _), log)| (*row, log.exp()));
            add(&rows.collect::<Vec<_>>(), weight * terms.kl);
            sum -= f64::from(weight * terms.kl) * entropy;
        }
        add_through_norm(&of_unit, &unit, norm, gradient);
    }
    let (unit, norm) = unit_and_norm(y);
    sum += f64::from(terms.anchor) * f64::from(1.0 - dot(&unit, &target.base));
    let of_unit: Vec<f32> = target.base.iter().map(|x| -terms.anchor * x).collect();
    add_through_norm(&of_unit, &unit, norm, gradient);
    sum
}

fn unit_and_norm(y: &[f32]) -> (Vec<f32>, f32) {
    let square: f64 = y.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let norm = square.sqrt().max(1e-12) as f32;
    (y.iter().map(|x| x / norm).collect(), norm)
}

/// From the gradient of a unit vector to that of the vector: `(g - u <u, g>) / norm`.
fn add_through_norm(of_unit: &[f32], unit: &[f32], norm: f32, gradient: &mut [f32]) {
    let along = dot(of_unit, unit);
    for ((to, g), u) in gradient.iter_mut().zip(of_unit).zip(unit) {
        *to += (g - u * along) / norm;
    }
}

fn log_softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    scores.iter().map(|score| score - largest - sum.ln()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::documents::Form;
    use super::*;
    use crate::package::Matrix;
    use crate::random::Random;

    /// 40 documents of two forms: 12 wide, and cut to 8.
    pub(crate) fn documents(seed: u64) -> Documents {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..40 * 12).map(|_| random.normal() as f32).collect();
        let cut: Vec<f32> = values.chunks(12).flat_map(|row| row[..8].to_vec()).collect();
        let form = |name: &str, values: Vec<f32>, n_cols| Form {
            name: name.to_owned(),
            rows: Matrix { values, n_rows: 40, n_cols },
        };
        let ids = (0..40).map(|i| format!("d{i}")).collect();
        Documents::new(ids, (0..40).collect(), vec![form("12", values, 12), form("8", cut, 8)])
    }

    /// The formulas at the top of this file, in f64, one after the other.
    fn by_formula(terms: &Terms, documents: &Documents, target: &Target, y: &[f64]) -> f64 {
        let cosine = |a: &[f64], b: &[f64]| {
            let norm = |a: &[f64]| a.iter().map(|x| x * x).sum::<f64>().sqrt();
            a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / norm(a) / norm(b)
        };
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let base = wide(&target.base);
        let mut sum = f64::from(terms.anchor) * (1.0 - cosine(y, &base));
        for (form_idx, weight) in [(0, 1.0), (1, 0.5)] {
            let width = documents.forms()[form_idx].rows.n_cols;
            let s = |query: &[f64], row: u32| {
                let row = wide(documents.row(form_idx, row));
                cosine(&query[..width], &row) / f64::from(terms.temperature)
            };
            let softmax = |query: &[f64], rows: &[u32]| -> Vec<f64> {
                let powers: Vec<f64> = rows.iter().map(|&row| s(query, row).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.iter().map(|power| power / sum).collect()
            };
            let rows: Vec<u32> =
                target.positives.iter().map(|p| p.0).chain(target.negatives.clone()).collect();
            let shares = softmax(y, &rows);
            for (positive, share) in target.positives.iter().zip(shares) {
                sum -= weight * f64::from(positive.1) * share.ln();
            }
            let (p, q) = (softmax(&base, &target.anchors), softmax(y, &target.anchors));
            let divergence: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
            sum += weight * f64::from(terms.kl) * divergence;
        }
        sum
    }

    #[test]
    fn value_and_gradient_are_those_of_the_formulas() {
        let documents = documents(1);
        let mut random = Random::new(2);
        let mut base: Vec<f32> = (0..12).map(|_| random.normal() as f32).collect();
        super::super::head::to_unit(&mut base);
        let target = Target {
            positives: vec![(3, 0.75), (7, 0.25)],
            negatives: (10..25).collect(),
            anchors: (18..33).collect(),
            base,
        };
        let terms = Terms { temperature: 0.2, kl: 0.3, anchor: 0.1 };
        let y: Vec<f32> = (0..12).map(|_| random.normal() as f32 * 3.0).collect();
        let mut gradient = vec![0.0; 12];
        let value = loss(&terms, &documents, &target, &y, &mut gradient);
        let wide: Vec<f64> = y.iter().map(|&x| f64::from(x)).collect();
        let expected = by_formula(&terms, &documents, &target, &wide);
        assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        const STEP: f64 = 1e-5;
        for (i, found) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut moved = wide.clone();
                moved[i] += by;
                by_formula(&terms, &documents, &target, &moved)
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{i}: {found} {expected}");
        }
    }

    #[test]
    fn a_query_that_is_where_the_base_had_it_loses_nothing_by_the_anchors() {
        let documents = documents(3);
        let base = documents.row(0, 5).to_vec();
        let target = Target {
            positives: vec![(5, 1.0)],
            anchors: (0..4).collect(),
            base,
            ..Target::default()
        };
        let mut gradient = vec![0.0; 12];
        let value = loss(&Terms::default(), &documents, &target, &target.base, &mut gradient);
        assert!(value.abs() < 1e-6, "{value}");
    }
}
