//! Searches among sets of rows, each way of answering them against an exact scan.

use super::*;
use crate::segment::curve::Effort;
use crate::segment::search::Asked;

const WIDE: Shape = Shape { full: 24, dims: 24 };
const N: usize = 2_000;

/// Every `1 / share`th row, and the rows nearest to and farthest from a query.
fn sets(segment: &Segment, query: &Query, n: usize) -> Vec<(&'static str, RowSet)> {
    let all = segment.search(query, N, Search::Exact, ALL).hits;
    let mut near = RowSet::empty(N);
    all[..n].iter().for_each(|hit| near.insert(hit.row));
    let mut far = RowSet::empty(N);
    all[N - n..].iter().for_each(|hit| far.insert(hit.row));
    let spread = RowSet::of(N, |row| row.0 as usize * n / N != (row.0 as usize + 1) * n / N);
    vec![("near", near), ("far", far), ("spread", spread)]
}

#[test]
fn every_plan_finds_the_rows_of_any_set() {
    let segment = distinct(WIDE);
    let (mut n_good, mut n_all) = ([0; 3], 0);
    for number in 0..20 {
        let query = query(WIDE, number);
        for n in [1, 20, 100, 400, 1_000, 1_999] {
            for (name, set) in sets(&segment, &query, n) {
                assert_eq!(set.len(), n);
                let asked = Asked { query: &query, k: 10, among: Some(&set) };
                let exact = segment.scan_rows(asked);
                assert_eq!(exact, segment.search(&query, 10, Search::Exact, Some(&set)));
                assert_eq!(exact.hits.len(), n.min(10));
                let effort = Effort { ef: 100, depth: 100 };
                let walked = segment.walk(asked, effort, usize::MAX).unwrap();
                let coded = segment.scan_codes(asked, effort.depth);
                let planned = segment.search(&query, 10, Search::Graph { ef: 100 }, Some(&set));
                n_all += exact.hits.len();
                for (n_good, found) in n_good.iter_mut().zip([walked, coded, planned]) {
                    assert_eq!(found.hits.len(), n.min(10), "{name}, {n} rows: {found:?}");
                    assert!(found.hits.iter().all(|hit| set.contains(hit.row)));
                    *n_good += found.hits.iter().filter(|hit| exact.hits.contains(hit)).count();
                }
            }
        }
    }
    for n_good in n_good {
        assert!(n_good * 100 >= n_all * 99, "{n_good} of {n_all}");
    }
}

#[test]
fn a_walk_that_gives_up_is_followed_by_a_scan() {
    let segment = distinct(WIDE);
    let query = query(WIDE, 3);
    for (name, set) in sets(&segment, &query, 1_000) {
        let asked = Asked { query: &query, k: 10, among: Some(&set) };
        let effort = Effort { ef: 100, depth: 100 };
        let compared = segment.walk(asked, effort, 50).unwrap_err();
        assert!((51..200).contains(&compared), "{name}: {compared}");
    }
}

#[test]
fn many_queries_are_answered_as_one_by_one() {
    let segment = distinct(WIDE);
    let queries: Vec<Query> = (0..50).map(|number| query(WIDE, number)).collect();
    let third = RowSet::of(N, |row| row.0 % 3 == 0);
    for how in [Search::Exact, Search::Graph { ef: 40 }, Search::default()] {
        for among in [None, Some(&third)] {
            let one_by_one: Vec<Found> =
                queries.iter().map(|query| segment.search(query, 5, how, among)).collect();
            assert_eq!(segment.search_many(&queries, 5, how, among), one_by_one);
        }
    }
}

#[test]
fn a_scan_in_tasks_answers_as_a_scan_at_once() {
    // Equal rows on both sides of every border between tasks.
    let n_rows = 20_000;
    let shape = Shape { full: 4, dims: 4 };
    let segment = open(bytes(shape, n_rows)).unwrap();
    let query = query(shape, 5);
    let exact = segment.search(&query, 700, Search::Exact, ALL);
    assert_eq!(ids_and_scores(&segment, &exact), expected(shape, n_rows, &query, 700));
    let most = RowSet::of(n_rows, |row| row.0 != 77);
    let asked = Asked { query: &query, k: 700, among: Some(&most) };
    let coded = segment.scan_codes(asked, n_rows);
    assert_eq!(coded.hits, segment.search(&query, 700, Search::Exact, Some(&most)).hits);
}
