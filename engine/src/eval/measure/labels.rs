//! Measures of classes that were found, as scikit-learn defines them.

use std::collections::BTreeMap;

/// The share of classes that were found; 0 of none.
///
/// # Panics
/// If the sides differ in length.
pub fn accuracy(true_classes: &[usize], found: &[usize]) -> f64 {
    assert_eq!(true_classes.len(), found.len(), "each item has both classes");
    let n_right = true_classes.iter().zip(found).filter(|(a, b)| a == b).count();
    n_right as f64 / true_classes.len().max(1) as f64
}

/// The unweighted mean of the classes' F1, the harmonic mean of precision and recall; 0 of none.
///
/// The classes are those that occur on either side; one that is never found has 0.
///
/// # Panics
/// If the sides differ in length.
pub fn macro_f1(true_classes: &[usize], found: &[usize]) -> f64 {
    assert_eq!(true_classes.len(), found.len(), "each item has both classes");
    // Of each class: how often it is right, and how often it occurs on both sides together.
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (&expected, &found) in true_classes.iter().zip(found) {
        counts.entry(expected).or_default().1 += 1;
        let count = counts.entry(found).or_default();
        count.1 += 1;
        count.0 += usize::from(expected == found);
    }
    let f1 = |(n_right, n_both): &(usize, usize)| 2.0 * *n_right as f64 / *n_both as f64;
    counts.values().map(f1).sum::<f64>() / counts.len().max(1) as f64
}

/// V-measure (Rosenberg and Hirschberg, 2007): the harmonic mean of homogeneity (a cluster has one
/// class) and completeness (a class is in one cluster). 1 is the best, whatever the clusters' numbers.
///
/// # Panics
/// If the sides differ in length.
pub fn v_measure(classes: &[usize], clusters: &[usize]) -> f64 {
    assert_eq!(classes.len(), clusters.len(), "each item has a class and a cluster");
    let pairs: Vec<(usize, usize)> =
        classes.iter().copied().zip(clusters.iter().copied()).collect();
    let [of_classes, of_clusters] = [entropy(classes), entropy(clusters)];
    let mutual = of_classes + of_clusters - entropy(&pairs);
    // Where there is but one class (or cluster), nothing is left to tell apart.
    let share = |entropy: f64| if entropy > 0.0 { (mutual / entropy).clamp(0.0, 1.0) } else { 1.0 };
    let (homogeneity, completeness) = (share(of_classes), share(of_clusters));
    let sum = homogeneity + completeness;
    if sum > 0.0 { 2.0 * homogeneity * completeness / sum } else { 0.0 }
}

/// In nats; 0 of nothing.
fn entropy<T: Ord>(items: &[T]) -> f64 {
    let mut counts: BTreeMap<&T, usize> = BTreeMap::new();
    items.iter().for_each(|item| *counts.entry(item).or_default() += 1);
    if counts.len() < 2 {
        return 0.0;
    }
    let n = items.len() as f64;
    -counts.values().map(|count| *count as f64 / n).map(|share| share * share.ln()).sum::<f64>()
}
