//! Which queries are learnt from, and which only measured.
//!
//! Queries that are nearly the same are one group and stay on one side: a model that has seen a query
//! would otherwise be asked it again. Groups, not queries, are dealt out.

use std::collections::HashMap;

use super::head::dot;
use super::query::{Part, Query};
use crate::package::Matrix;
use crate::random::Random;

/// Queries whose vectors of the base are closer than this are nearly the same.
const SAME: f32 = 0.95;

/// Places of queries on each side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// What is learnt from.
    pub train: Vec<usize>,
    /// What choices are made by.
    pub dev: Vec<usize>,
    /// What is looked at once, at the end.
    pub test: Vec<usize>,
}

/// How queries are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// 70 parts of 100 to learn from, 15 to choose by, 15 to test, by groups at random.
    HoldOut,
    /// As many folds of groups; each is tested once, chosen by once, and learnt from otherwise.
    Folds(usize),
    /// As hold-out, but the first queries are learnt from and the last tested.
    ByTime,
    /// As the data says; without a side to choose by, that is taken from what is learnt from.
    AsGiven,
}

/// The number of each query's group. `vectors`: `[n_queries, full_width]`, unit vectors of the base.
///
/// Queries are one group if they say so, have the same words, or nearly the same vector.
pub(crate) fn groups(queries: &[Query], vectors: &Matrix) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..queries.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    // The first of a group is its root, so that numbers follow the order of the queries.
    let join = |parent: &mut [usize], i: usize, j: usize| {
        let (i, j) = (root(parent, i), root(parent, j));
        parent[i.max(j)] = i.min(j);
    };
    let mut named: HashMap<String, usize> = HashMap::new();
    for (i, query) in queries.iter().enumerate() {
        let group = query.group.iter().map(|group| format!("group {group}"));
        let names: Vec<String> = group.chain([format!("words {}", words(&query.text))]).collect();
        for name in names {
            let first = *named.entry(name).or_insert(i);
            join(&mut parent, first, i);
        }
    }
    let row = |i: usize| &vectors.values[i * vectors.n_cols..][..vectors.n_cols];
    for i in 0..queries.len() {
        for j in 0..i {
            if dot(row(i), row(j)) > SAME {
                join(&mut parent, j, i);
            }
        }
    }
    (0..queries.len()).map(|i| root(&mut parent, i)).collect()
}

/// Letters and digits in lower case, one blank between words.
fn words(text: &str) -> String {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Deals queries out: one split, or one for each fold.
///
/// `groups`: as of [`groups`].
pub(crate) fn deal(deal: Deal, queries: &[Query], groups: &[usize], seed: u64) -> Vec<Split> {
    match deal {
        Deal::HoldOut => vec![cut(&shuffled(groups, seed), groups, [0.7, 0.85])],
        Deal::ByTime => vec![cut(&in_order(groups), groups, [0.7, 0.85])],
        Deal::Folds(n_folds) => folds(groups, n_folds, seed),
        Deal::AsGiven => vec![as_given(queries, groups, seed)],
    }
}

/// For each place: whether a document that answers it answers a query that is learnt from too.
pub(crate) fn is_seen(split: &Split, queries: &[Query], places: &[usize]) -> Vec<bool> {
    let train = split.train.iter().flat_map(|&i| &queries[i].positives);
    let known: std::collections::HashSet<&str> =
        train.map(|positive| &*positive.document).collect();
    let seen = |&i: &usize| queries[i].positives.iter().any(|p| known.contains(&*p.document));
    places.iter().map(seen).collect()
}

fn in_order(groups: &[usize]) -> Vec<usize> {
    let mut order = groups.to_vec();
    order.sort_unstable();
    order.dedup();
    order
}

fn shuffled(groups: &[usize], seed: u64) -> Vec<usize> {
    let mut order = in_order(groups);
    Random::new(seed).shuffle(&mut order);
    order
}

/// Cuts a list of groups where these shares of the queries are reached.
fn cut(order: &[usize], groups: &[usize], shares: [f64; 2]) -> Split {
    let members = members(groups);
    let mut split = Split::default();
    let mut n_dealt = 0;
    for group in order {
        let share = n_dealt as f64 / groups.len() as f64;
        let side = match share {
            share if share < shares[0] => &mut split.train,
            share if share < shares[1] => &mut split.dev,
            _ => &mut split.test,
        };
        side.extend(&members[group]);
        n_dealt += members[group].len();
    }
    sorted(split)
}

fn members(groups: &[usize]) -> HashMap<usize, Vec<usize>> {
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(i);
    }
    members
}

fn sorted(mut split: Split) -> Split {
    for side in [&mut split.train, &mut split.dev, &mut split.test] {
        side.sort_unstable();
    }
    split
}

fn folds(groups: &[usize], n_folds: usize, seed: u64) -> Vec<Split> {
    assert!(n_folds >= 3, "a fold to test, one to choose by, and one to learn from");
    let members = members(groups);
    // The largest groups first, each to the fold that has the fewest queries.
    let mut order = shuffled(groups, seed);
    order.sort_by_key(|group| std::cmp::Reverse(members[group].len()));
    let mut folds = vec![Vec::new(); n_folds];
    for group in order {
        let smallest = (0..n_folds).min_by_key(|&fold| folds[fold].len()).unwrap_or(0);
        folds[smallest].extend(&members[&group]);
    }
    let split = |fold: usize| {
        let dev = (fold + 1) % n_folds;
        let train = (0..n_folds).filter(|&other| other != fold && other != dev);
        let train = train.flat_map(|other| folds[other].clone()).collect();
        sorted(Split { train, dev: folds[dev].clone(), test: folds[fold].clone() })
    };
    (0..n_folds).map(split).collect()
}

/// A query to test whose group is also learnt from stays to be tested; its group is not learnt from.
fn as_given(queries: &[Query], groups: &[usize], seed: u64) -> Split {
    let side = |part: Part| -> Vec<usize> {
        (0..queries.len()).filter(|&i| queries[i].part.unwrap_or(Part::Train) == part).collect()
    };
    let [train, dev, test] = [Part::Train, Part::Dev, Part::Test].map(side);
    let without = |places: Vec<usize>, others: &[usize]| -> Vec<usize> {
        let taken: std::collections::HashSet<usize> = others.iter().map(|&i| groups[i]).collect();
        places.into_iter().filter(|&i| !taken.contains(&groups[i])).collect()
    };
    let dev = without(dev, &test);
    let train = without(without(train, &test), &dev);
    if !dev.is_empty() {
        return Split { train, dev, test };
    }
    let of_train: Vec<usize> = train.iter().map(|&i| groups[i]).collect();
    // 15 of 85 parts: what hold-out would have.
    let parts = cut(&shuffled(&of_train, seed), &of_train, [0.823, 2.0]);
    let places = |side: &[usize]| side.iter().map(|&i| train[i]).collect();
    Split { train: places(&parts.train), dev: places(&parts.dev), test }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str, group: Option<&str>) -> Query {
        Query { text: text.to_owned(), group: group.map(str::to_owned), ..Query::default() }
    }

    fn angles(degrees: &[f32]) -> Matrix {
        let values = degrees.iter().flat_map(|a| [a.to_radians().cos(), a.to_radians().sin()]);
        Matrix { values: values.collect(), n_rows: degrees.len(), n_cols: 2 }
    }

    #[test]
    fn words_names_and_vectors_make_groups() {
        let queries = [
            query("How to, brew?", None),
            query("how to brew", None),
            query("lagers", Some("a")),
            query("ales", Some("a")),
            query("hop kinds", None),
            query("else", None),
        ];
        let vectors = angles(&[0.0, 30.0, 60.0, 90.0, 95.0, 180.0]);
        assert_eq!(groups(&queries, &vectors), [0, 0, 2, 2, 2, 5]);
    }

    #[test]
    fn every_deal_keeps_groups_whole_and_sides_apart() {
        let groups: Vec<usize> = (0..400).map(|i| i / 3 * 3).collect();
        let queries = vec![Query::default(); 400];
        let cases = [(Deal::HoldOut, 1), (Deal::ByTime, 1), (Deal::Folds(5), 5)];
        for (how, n_splits) in cases {
            let splits = deal(how, &queries, &groups, 7);
            assert_eq!(splits.len(), n_splits);
            for Split { train, dev, test } in &splits {
                let mut all = [&train[..], dev, test].concat();
                all.sort_unstable();
                assert_eq!(all, (0..400).collect::<Vec<_>>());
                let of = |side: &[usize]| side.iter().map(|&i| groups[i]).collect::<Vec<_>>();
                let (train, dev, test) = (of(train), of(dev), of(test));
                assert!(!train.iter().any(|g| dev.contains(g) || test.contains(g)));
                assert!(!dev.iter().any(|group| test.contains(group)));
                let (n_test, n_dev) = (test.len() as f64 / 400.0, dev.len() as f64 / 400.0);
                let share = if n_splits == 1 { 0.15 } else { 0.2 };
                assert!((n_test - share).abs() < 0.02 && (n_dev - share).abs() < 0.02);
            }
            let tested: usize = splits.iter().map(|split| split.test.len()).sum();
            assert!(n_splits == 1 || tested == 400);
            assert_eq!(deal(how, &queries, &groups, 7), splits);
        }
        let by_time = &deal(Deal::ByTime, &queries, &groups, 1)[0];
        assert!(by_time.train.last() < by_time.dev.first());
        assert!(by_time.dev.last() < by_time.test.first());
    }

    #[test]
    fn what_is_tested_is_not_learnt_from_even_if_the_data_says_so() {
        let part = |i: usize| [Part::Train, Part::Train, Part::Test][i % 3];
        let queries: Vec<Query> =
            (0..90).map(|i| Query { part: Some(part(i)), ..Query::default() }).collect();
        // Query 0 is nearly the same as query 2.
        let mut groups: Vec<usize> = (0..90).collect();
        groups[2] = 0;
        let split = &deal(Deal::AsGiven, &queries, &groups, 1)[0];
        assert_eq!(split.test.len(), 30);
        assert_eq!(split.train.len() + split.dev.len(), 59);
        assert!(!split.train.contains(&0) && !split.dev.contains(&0));
        assert!((9..13).contains(&split.dev.len()));
    }
}
