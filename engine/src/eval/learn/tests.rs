//! Against scikit-learn (`tests/reference/learners.json`), and what a draw may not change.

use std::path::Path;

use serde::Deserialize;

use super::kmeans::lloyd;
use super::*;
use crate::random::Random;

#[derive(Deserialize)]
struct Reference {
    logistic: Vec<Classifier>,
    kmeans: Vec<Clusters>,
}

#[derive(Deserialize)]
struct Classifier {
    train: Vec<Vec<f32>>,
    classes: Vec<usize>,
    weights: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    test: Vec<Vec<f32>>,
    found: Vec<usize>,
}

#[derive(Deserialize)]
struct Clusters {
    vectors: Vec<Vec<f32>>,
    centres: Vec<Vec<f64>>,
    clusters: Vec<usize>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/learners.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
    rows.iter().map(Vec::as_slice).collect()
}

#[test]
fn a_classifier_is_that_of_scikit_learn() {
    let classifiers = reference().logistic;
    assert_eq!(classifiers.len(), 3);
    for (i, expected) in classifiers.iter().enumerate() {
        let n_classes = expected.weights.len();
        let found = Logistic::fit(&slices(&expected.train), &expected.classes, n_classes);
        let rows = expected.weights.iter().zip(&expected.intercepts);
        for (found, (weights, intercept)) in found.weights().zip(rows) {
            for (found, expected) in found.iter().zip(weights.iter().chain([intercept])) {
                assert!((found - expected).abs() < 1e-4, "classifier {i}: {found}, {expected}");
            }
        }
        let classes: Vec<usize> = expected.test.iter().map(|row| found.predict(row)).collect();
        assert_eq!(classes, expected.found, "classifier {i}");
    }
}

#[test]
fn clusters_are_those_of_scikit_learn_from_the_same_centres() {
    let clusterings = reference().kmeans;
    assert_eq!(clusterings.len(), 4);
    for (i, expected) in clusterings.into_iter().enumerate() {
        let found = lloyd(&slices(&expected.vectors), expected.centres);
        assert_eq!(found, expected.clusters, "clustering {i}");
    }
}

/// Vectors around one direction for each class, and their classes.
fn around(n_classes: usize, n_each: usize, noise: f64, seed: u64) -> (Vec<Vec<f32>>, Vec<usize>) {
    let mut random = Random::new(seed);
    let mut number = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let mut normal = || (0..16).map(|_| number()).collect::<Vec<f64>>();
    let centres: Vec<Vec<f64>> = (0..n_classes).map(|_| normal()).collect();
    let classes: Vec<usize> = (0..n_classes * n_each).map(|idx| idx % n_classes).collect();
    let near = |class: &usize| -> Vec<f32> {
        let off = normal();
        centres[*class].iter().zip(off).map(|(centre, off)| (centre + noise * off) as f32).collect()
    };
    (classes.iter().map(near).collect(), classes)
}

#[test]
fn classes_that_lie_apart_are_found_and_noise_is_not() {
    let (vectors, classes) = around(5, 40, 0.2, 1);
    let (train, test) = vectors.split_at(100);
    let (train_classes, test_classes) = classes.split_at(100);
    let found = classify((train, train_classes), (test, test_classes), 1);
    assert_eq!((found.accuracy, found.macro_f1), (1.0, 1.0));
    let shuffled: Vec<usize> = (0..100).map(|i| (i / 7) % 5).collect();
    let chance = classify((train, &shuffled), (test, test_classes), 1);
    assert!((0.05..0.4).contains(&chance.accuracy), "{}", chance.accuracy);
    let mean = chance.each.iter().sum::<f64>() / chance.each.len() as f64;
    assert!((mean - chance.accuracy).abs() < 1e-12);
    assert_eq!(chance, classify((train, &shuffled), (test, test_classes), 1));
    assert_ne!(chance, classify((train, &shuffled), (test, test_classes), 2));
}

#[test]
fn a_class_with_few_examples_is_learnt_from_those() {
    let (vectors, mut classes) = around(2, 30, 0.1, 3);
    classes[0] = 0;
    let keep: Vec<usize> = (0..60).filter(|idx| classes[*idx] == 1 || *idx == 0).collect();
    let few: Vec<Vec<f32>> = keep.iter().map(|idx| vectors[*idx].clone()).collect();
    let few_classes: Vec<usize> = keep.iter().map(|idx| classes[*idx]).collect();
    let found = classify((&few, &few_classes), (&vectors, &classes), 1);
    assert!(found.accuracy > 0.9, "{}", found.accuracy);
}

#[test]
fn clusters_that_lie_apart_are_found_and_noise_is_not() {
    let (vectors, classes) = around(8, 60, 0.15, 4);
    let found = cluster(&vectors, &classes, 1);
    assert!(found.v_measure > 0.95, "{found:?}");
    assert_eq!(found.each.len(), 10);
    let shuffled: Vec<usize> = (0..vectors.len()).map(|i| (i / 8) % 8).collect();
    let chance = cluster(&vectors, &shuffled, 1);
    assert!(chance.v_measure < 0.2, "{chance:?}");
    assert_eq!(chance, cluster(&vectors, &shuffled, 1));
}

#[test]
fn equal_vectors_and_more_clusters_than_vectors_do_no_harm() {
    let equal = vec![vec![0.5f32; 4]; 6];
    assert!(kmeans(&slices(&equal), 3, 1).iter().all(|cluster| *cluster < 3));
    let found = kmeans(&slices(&equal[..2]), 5, 1);
    assert!(found.len() == 2 && found.iter().all(|cluster| *cluster < 5));
}
