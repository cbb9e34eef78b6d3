//! Classification as in MTEB: a linear classifier on few examples of each class.

use rayon::prelude::*;

use super::Logistic;
use crate::eval::measure::{accuracy, macro_f1};
use crate::random::Random;

/// Classifiers that are fitted, each to examples of its own.
const N_EXPERIMENTS: usize = 10;

/// Examples of each class that one is fitted to.
const SAMPLES_PER_LABEL: usize = 8;

/// How well classes can be told apart in a space.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// The share of test vectors whose class was found: the mean over all experiments.
    pub accuracy: f64,
    /// The unweighted mean of the classes' F1: the mean over all experiments.
    pub macro_f1: f64,
    /// For each test vector, the share of experiments that found its class; their mean is `accuracy`.
    pub each: Vec<f64>,
}

/// Fits ten classifiers, each to eight examples of every class drawn from `train` (or all there are),
/// and tries them on `test`.
///
/// So does MTEB for sets of this kind, and its leaderboard shows the mean accuracy; few examples
/// also ask more of the space than a fit to all would. Vectors of equal width, and their classes:
/// numbers from 0.
///
/// # Panics
/// If a side is empty or not as long as its classes, or `test` has a class that `train` lacks.
pub fn classify(
    train: (&[Vec<f32>], &[usize]),
    test: (&[Vec<f32>], &[usize]),
    seed: u64,
) -> Classified {
    let ((train, train_classes), (test, test_classes)) = (train, test);
    assert_eq!(train.len(), train_classes.len(), "each vector has a class");
    assert_eq!(test.len(), test_classes.len(), "each vector has a class");
    assert!(!test.is_empty(), "there is nothing to classify");
    let n_classes = 1 + train_classes.iter().max().expect("there are examples");
    let experiment = |experiment_idx: usize| {
        let mut random = Random::of_piece(seed, experiment_idx);
        let drawn = few_of_each(train_classes, n_classes, &mut random);
        let features: Vec<&[f32]> = drawn.iter().map(|idx| &*train[*idx]).collect();
        let classes: Vec<usize> = drawn.iter().map(|idx| train_classes[*idx]).collect();
        let classifier = Logistic::fit(&features, &classes, n_classes);
        test.iter().map(|vector| classifier.predict(vector)).collect()
    };
    let found: Vec<Vec<usize>> = (0..N_EXPERIMENTS).into_par_iter().map(experiment).collect();
    let mean_of = |measure: &dyn Fn(&[usize]) -> f64| {
        found.iter().map(|found| measure(found)).sum::<f64>() / N_EXPERIMENTS as f64
    };
    let share = |test_idx: usize| {
        let is_right = |found: &&Vec<usize>| found[test_idx] == test_classes[test_idx];
        found.iter().filter(is_right).count() as f64 / N_EXPERIMENTS as f64
    };
    Classified {
        accuracy: mean_of(&|found| accuracy(test_classes, found)),
        macro_f1: mean_of(&|found| macro_f1(test_classes, found)),
        each: (0..test.len()).map(share).collect(),
    }
}

/// The first few of each class in a random order.
fn few_of_each(classes: &[usize], n_classes: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    random.shuffle(&mut order);
    let mut n_drawn = vec![0; n_classes];
    order.retain(|idx| {
        n_drawn[classes[*idx]] += 1;
        n_drawn[classes[*idx]] <= SAMPLES_PER_LABEL
    });
    order
}
