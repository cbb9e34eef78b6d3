//! Against PyTorch's autograd, and against finite differences of a twin in f64 that says each formula
//! by the letter.

use super::*;
use crate::random::Random;
use crate::train::reference::{numbers, value, wholes};

/// A batch as the tests make it.
struct Batch {
    dims: usize,
    widths: Vec<usize>,
    vectors: [Vec<f32>; 3],
    teachers: [Vec<f32>; 3],
    teacher_dims: usize,
    owners: Vec<usize>,
    texts: [Vec<u64>; 2],
}

impl Batch {
    fn loss(&self, terms: &Terms) -> Loss {
        let [queries, positives, negatives] = &self.vectors;
        let [query_texts, positive_texts] = &self.texts;
        let dims = self.dims;
        let owners = &self.owners;
        let examples =
            Examples { dims, queries, positives, negatives, owners, query_texts, positive_texts };
        let [queries, positives, negatives] = &self.teachers;
        let teaching = Teaching { dims: self.teacher_dims, queries, positives, negatives };
        loss(terms, &self.widths, &examples, Some(&teaching)).unwrap()
    }

    fn random(n: usize, dims: usize, widths: &[usize], seed: u64) -> Batch {
        let mut random = Random::new(seed);
        let owners = vec![1, 1, n - 1];
        let teacher_dims = dims - 1;
        let mut rows = |n: usize, dims: usize| -> Vec<f32> {
            (0..n * dims).map(|_| random.normal() as f32 + 0.2).collect()
        };
        let vectors = [rows(n, dims), rows(n, dims), rows(3, dims)];
        let teachers = [rows(n, teacher_dims), rows(n, teacher_dims), rows(3, teacher_dims)];
        let mut texts: [Vec<u64>; 2] = [(0..n as u64).collect(), (0..n as u64).collect()];
        texts[0][2] = texts[0][0];
        texts[1][3] = texts[1][4];
        Batch { dims, widths: widths.to_vec(), vectors, teachers, teacher_dims, owners, texts }
    }
}

fn near(found: &[f32], expected: &[f32], bound: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= bound * largest, "{what} at {i}: {a}, expected {b}");
    }
}

fn gradients(loss: &Loss) -> [&[f32]; 3] {
    [&loss.of_queries, &loss.of_positives, &loss.of_negatives]
}

#[test]
fn each_term_and_its_gradient_are_those_of_pytorch() {
    let reference = value("losses");
    let three = |name: &str| -> [Vec<f32>; 3] {
        std::array::from_fn(|side| numbers(&reference[name][side]))
    };
    let texts = |name: &str| wholes(&reference[name]).into_iter().map(|x| x as u64).collect();
    let batch = Batch {
        dims: reference["dims"].as_u64().unwrap() as usize,
        widths: wholes(&reference["widths"]),
        vectors: three("vectors"),
        teachers: three("teachers"),
        teacher_dims: reference["teacher_dims"].as_u64().unwrap() as usize,
        owners: wholes(&reference["owners"]),
        texts: [texts("query_texts"), texts("positive_texts")],
    };
    let temperature = reference["temperature"].as_f64().unwrap() as f32;
    let hardness = reference["hardness"].as_f64().unwrap() as f32;
    let contrastive = Contrastive { temperature, hardness, ..Contrastive::default() };
    let similarity = Similarity { temperature, ..Similarity::default() };
    let cases = [
        ("contrastive", Terms { contrastive: Some(contrastive.clone()), ..Terms::default() }),
        (
            "contrastive_both",
            Terms {
                contrastive: Some(Contrastive { both_directions: true, ..contrastive.clone() }),
                ..Terms::default()
            },
        ),
        (
            "contrastive_full",
            Terms {
                contrastive: Some(Contrastive { every_width: false, ..contrastive }),
                ..Terms::default()
            },
        ),
        ("spread_out", Terms { spread_out: Some(SpreadOut::default()), ..Terms::default() }),
        (
            "matching",
            Terms {
                matching: Some(Matching { every_width: true, ..Matching::default() }),
                ..Terms::default()
            },
        ),
        ("matching_full", Terms { matching: Some(Matching::default()), ..Terms::default() }),
        ("similarity", Terms { similarity: Some(similarity), ..Terms::default() }),
    ];
    for (name, terms) in cases {
        let expected = &reference["cases"][name];
        let loss = batch.loss(&terms);
        let expected_value = expected["value"].as_f64().unwrap();
        assert!((loss.value - expected_value).abs() < 1e-5, "{name}: {}", loss.value);
        for (side, found) in gradients(&loss).into_iter().enumerate() {
            near(found, &numbers(&expected["gradients"][side]), 2e-5, name);
        }
    }
}

/// The whole loss in f64 by the letter of the formulas, with the hardness weights of `fixed` vectors.
fn twin(terms: &Terms, batch: &Batch, vectors: &[Vec<f64>; 3], fixed: &[Vec<f64>; 3]) -> f64 {
    let Batch { dims, widths, owners, texts, .. } = batch;
    let n = texts[0].len();
    let row = |of: &[Vec<f64>; 3], side: usize, i: usize| of[side][i * dims..][..*dims].to_vec();
    let cosine = |a: &[f64], b: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let at = |of: &[Vec<f64>; 3], (a, i): (usize, usize), (b, j): (usize, usize), width: usize| {
        cosine(&row(of, a, i)[..width], &row(of, b, j)[..width])
    };
    let teacher = |side: usize, i: usize| -> Vec<f64> {
        let values = batch.teachers[side][i * batch.teacher_dims..][..batch.teacher_dims].iter();
        values.map(|&x| f64::from(x)).collect()
    };
    let widths_of = |every: bool| if every { &widths[..] } else { &widths[..1] };
    let mut total = 0.0;
    if let Some(term) = &terms.contrastive {
        let (t, alpha) = (f64::from(term.temperature), f64::from(term.hardness));
        for &w in widths_of(term.every_width) {
            for i in 0..n {
                let masked =
                    |j: usize| i != j && (texts[0][i] == texts[0][j] || texts[1][i] == texts[1][j]);
                let mut sum: f64 = (0..n)
                    .filter(|&j| !masked(j))
                    .map(|j| (at(vectors, (0, i), (1, j), w) / t).exp())
                    .sum();
                for k in (0..owners.len()).filter(|&k| owners[k] == i) {
                    let hardness = (alpha * at(fixed, (0, i), (2, k), w)).exp();
                    sum += hardness * (at(vectors, (0, i), (2, k), w) / t).exp();
                }
                let own = (at(vectors, (0, i), (1, i), w) / t).exp();
                let mut value = -(own / sum).ln();
                if term.both_directions {
                    let column: f64 = (0..n)
                        .filter(|&j| !masked(j))
                        .map(|j| (at(vectors, (0, j), (1, i), w) / t).exp())
                        .sum();
                    value = (value - (own / column).ln()) / 2.0;
                }
                total += f64::from(term.weight) * value / n as f64;
            }
        }
    }
    if let Some(term) = &terms.spread_out {
        for &w in widths_of(term.every_width) {
            for side in [0, 1] {
                for (i, j) in
                    (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j)
                {
                    let square = at(vectors, (side, i), (side, j), w).powi(2);
                    total += f64::from(term.weight) * square / (n * (n - 1)) as f64;
                }
            }
        }
    }
    if let Some(term) = &terms.matching {
        for &w in widths_of(term.every_width) {
            for side in 0..3 {
                let count = vectors[side].len() / dims;
                for i in 0..count {
                    let mut target = teacher(side, i);
                    target.resize(*dims, 0.0);
                    let gap = 1.0 - cosine(&row(vectors, side, i)[..w], &target[..w]);
                    total += f64::from(term.weight) * gap / count as f64;
                }
            }
        }
    }
    if let Some(term) = &terms.similarity {
        let t = f64::from(term.temperature);
        let share = |row: Vec<f64>| -> Vec<f64> {
            let sum: f64 = row.iter().map(|x| (x / t).exp()).sum();
            row.iter().map(|x| (x / t).exp() / sum).collect()
        };
        for &w in widths_of(term.every_width) {
            let student = |i: usize, j: usize| at(vectors, (0, i), (1, j), w);
            let target = |i: usize, j: usize| cosine(&teacher(0, i), &teacher(1, j));
            for i in 0..n {
                let directions = if term.both_directions { 2 } else { 1 };
                for direction in 0..directions {
                    let place = |j: usize| if direction == 0 { (i, j) } else { (j, i) };
                    let p = share((0..n).map(|j| target(place(j).0, place(j).1)).collect());
                    let q = share((0..n).map(|j| student(place(j).0, place(j).1)).collect());
                    let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
                    let scale = f64::from(term.weight) / (n * directions) as f64;
                    total += scale * divergence;
                }
            }
        }
    }
    total
}

#[test]
fn all_terms_together_have_the_gradient_of_finite_differences() {
    let batch = Batch::random(7, 9, &[9, 5, 2], 11);
    let terms = Terms {
        contrastive: Some(Contrastive {
            weight: 0.7,
            temperature: 0.2,
            both_directions: true,
            ..Contrastive::default()
        }),
        spread_out: Some(SpreadOut { weight: 1.3, every_width: true }),
        matching: Some(Matching { weight: 2.0, every_width: true }),
        similarity: Some(Similarity { weight: 0.4, temperature: 0.3, ..Similarity::default() }),
    };
    let exact: [Vec<f64>; 3] =
        batch.vectors.each_ref().map(|rows| rows.iter().map(|&x| f64::from(x)).collect());
    let loss = batch.loss(&terms);
    let expected = twin(&terms, &batch, &exact, &exact);
    assert!((loss.value - expected).abs() < 1e-4, "{} {expected}", loss.value);
    const STEP: f64 = 1e-5;
    for (side, found) in gradients(&loss).into_iter().enumerate() {
        let slope = |at: usize| {
            let moved = |by: f64| {
                let mut vectors = exact.clone();
                vectors[side][at] += by;
                twin(&terms, &batch, &vectors, &exact)
            };
            ((moved(STEP) - moved(-STEP)) / (2.0 * STEP)) as f32
        };
        let expected: Vec<f32> = (0..found.len()).map(slope).collect();
        near(found, &expected, 1e-4, "the whole loss");
    }
}

#[test]
fn duplicates_are_no_negatives() {
    let mut batch = Batch::random(6, 8, &[8], 3);
    let terms = Terms { contrastive: Some(Contrastive::default()), ..Terms::default() };
    let masked = batch.loss(&terms).value;
    batch.texts = [(0..6).collect(), (0..6).collect()];
    assert!(batch.loss(&terms).value > masked);
    // All queries equal: nothing is left to tell the positive from.
    batch.texts[0] = vec![1; 6];
    batch.owners.clear();
    batch.vectors[2].clear();
    batch.teachers[2].clear();
    assert!(batch.loss(&terms).value.abs() < 1e-6);
}

#[test]
fn a_weight_scales_a_term_and_two_terms_add_up() {
    let batch = Batch::random(6, 8, &[8, 4], 5);
    let spread = |weight: f32| Some(SpreadOut { weight, every_width: true });
    let match_to = |weight: f32| Some(Matching { weight, every_width: false });
    let one = batch.loss(&Terms { spread_out: spread(1.0), ..Terms::default() });
    let other = batch.loss(&Terms { matching: match_to(1.0), ..Terms::default() });
    let both =
        batch.loss(&Terms { spread_out: spread(2.0), matching: match_to(3.0), ..Terms::default() });
    assert!((both.value - 2.0 * one.value - 3.0 * other.value).abs() < 1e-6);
    let sum: Vec<f32> =
        one.of_queries.iter().zip(&other.of_queries).map(|(a, b)| 2.0 * a + 3.0 * b).collect();
    near(&both.of_queries, &sum, 1e-5, "queries");
}
