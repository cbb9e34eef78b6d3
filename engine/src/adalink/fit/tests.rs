//! Training on a few vectors, and what ends it.

use super::super::documents::Form;
use super::super::head::to_unit;
use super::super::place::Behind;
use super::super::query::{Positive, Query};
use super::*;

const WIDTH: usize = 24;

fn random_rows(n_rows: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let mut values: Vec<f32> = (0..n_rows * WIDTH).map(|_| random.normal() as f32).collect();
    values.chunks_exact_mut(WIDTH).for_each(to_unit);
    Matrix { values, n_rows, n_cols: WIDTH }
}

/// 20 queries, each with one of 40 documents, which it is not near.
fn toy() -> (Vec<Query>, Matrix, Documents) {
    let query = |i: usize| Query {
        positives: vec![Positive { document: format!("d{i:02}"), grade: 1, weight: 1.0 }],
        ..Query::default()
    };
    let ids = (0..40).map(|i| format!("d{i:02}")).collect();
    let form = Form { name: "24".to_owned(), rows: random_rows(40, 1) };
    let documents = Documents::new(ids, (0..40).collect(), vec![form]);
    ((0..20).map(query).collect(), random_rows(20, 2), documents)
}

/// Trains behind the model on all 20; `is_over` is asked before each step. Evaluations grow, so that
/// nothing ends early.
fn trained(settings: &Training, base: &Matrix, is_over: &(dyn Fn() -> bool + Sync)) -> Fitted {
    let (queries, _, documents) = toy();
    let train: Vec<usize> = (0..20).collect();
    let targets = Targets::new(&documents, &queries, base, &train);
    let n_measured = std::sync::atomic::AtomicUsize::new(0);
    let measure = |_: &Matrix| n_measured.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as f64;
    let task = Task {
        documents: &documents,
        targets: &targets,
        base,
        train: &train,
        dev: &train,
        measure: &measure,
        is_over,
    };
    fit(&Behind { base }, &task, settings).unwrap()
}

fn mean_loss(link: &Link, terms: &Terms) -> f64 {
    let (queries, base, documents) = toy();
    let train: Vec<usize> = (0..20).collect();
    let targets = Targets::new(&documents, &queries, &base, &train);
    let vectors = Behind { base: &base }.vectors(&train, link).unwrap();
    let targets = targets.of(&train, &vectors, &mut Random::new(1));
    let of = |(target, y): (_, &[f32])| loss(terms, &documents, target, y, &mut [0.0; WIDTH]);
    targets.iter().zip(vectors.values.chunks(WIDTH)).map(of).sum::<f64>() / 20.0
}

fn free(n_epochs: usize) -> Training {
    let terms = Terms { kl: 0.0, anchor: 0.0, ..Terms::default() };
    let free =
        Training { decay: 0.0, drop_out: 0.0, farthest: f64::INFINITY, ..Training::of_rank(16) };
    Training { n_epochs, rate: 0.02, terms, ..free }
}

#[test]
fn the_loss_of_a_toy_falls_to_nothing() {
    let settings = free(400);
    let before = mean_loss(&Link::new(WIDTH, 16, 0), &settings.terms);
    let fitted = trained(&settings, &toy().1, &|| false);
    let after = mean_loss(&fitted.link, &settings.terms);
    assert!(before > 3.0 && after < 0.02, "{before} {after}");
    assert!(!fitted.is_lost);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_others() {
    let base = toy().1;
    let settings = Training { n_epochs: 3, ..Training::of_rank(4) };
    let link = trained(&settings, &base, &|| false).link;
    assert_eq!(link, trained(&settings, &base, &|| false).link);
    assert_ne!(link, trained(&Training { seed: 1, ..settings }, &base, &|| false).link);
}

#[test]
fn a_loss_that_is_no_number_ends_it_with_the_last_good_link() {
    let mut settings = free(5);
    settings.terms.temperature = 0.0;
    let fitted = trained(&settings, &toy().1, &|| false);
    assert!(fitted.is_lost);
    assert!(fitted.link.u.values.iter().all(|u| *u == 0.0));
}

#[test]
fn when_the_time_is_up_the_best_so_far_is_kept() {
    let base = toy().1;
    let fitted = trained(&free(5), &base, &|| true);
    assert!(!fitted.is_lost && fitted.link.u.values.iter().all(|u| *u == 0.0));
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    let is_over = || n_asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 3;
    assert!(trained(&free(50), &base, &is_over).link.u.values.iter().any(|u| *u != 0.0));
}

#[test]
fn a_link_that_moves_too_far_is_drawn_back() {
    let base = toy().1;
    let place = Behind { base: &base };
    let mut link = Link::new(WIDTH, 4, 1);
    link.u = Link::new(WIDTH, 4, 2).v;
    link.u.values.iter_mut().for_each(|u| *u *= 100.0);
    let all: Vec<usize> = (0..20).collect();
    keep_near(&place, &all, &mut link, 0.3);
    assert!((place.shift(&all, &link) - 0.3).abs() < 1e-4);
}
