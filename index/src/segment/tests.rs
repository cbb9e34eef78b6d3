//! Segments written, opened and searched. Damaged ones are in `tests/damage.rs`.

mod binary;
mod curve;
mod damage;
mod merge;
mod metric;
mod plan;
mod property;

use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;

use super::*;
use crate::RowSet;
use crate::exact::scan;
use crate::query::{Found, Plan, Query, Search};

const ALL: Option<&RowSet> = None;

/// A numbered row of small numbers; numbers repeat after 97 rows, so duplicates are real ones.
fn row(number: usize, full: usize) -> Vec<f16> {
    let number = number % 97 + 1;
    let x = (0..full).map(|i| ((number * (i * i + 3 * i + 7)) % 101) as f32 - 50.0);
    x.map(|x| f16::from_f32(x / 64.0)).collect()
}

fn builder(shape: Shape, n_rows: usize) -> SegmentBuilder<'static> {
    let mut builder = SegmentBuilder::new(shape, 11);
    (0..n_rows).for_each(|number| builder.push(id_of(number), &row(number, shape.full)));
    builder
}

/// Ids with gaps.
fn id_of(number: usize) -> u64 {
    number as u64 * 3 + 1_000
}

fn bytes(shape: Shape, n_rows: usize) -> Vec<u8> {
    builder(shape, n_rows).build(&|| false).unwrap().to_vec()
}

fn open(bytes: Vec<u8>) -> Result<Segment, SegmentError> {
    Segment::open(Arc::new(bytes))
}

fn query(shape: Shape, number: usize) -> Query {
    let full: Vec<f32> = row(number, shape.full).iter().map(|x| x.to_f32() + 0.01).collect();
    Query::new(&full, shape.dims)
}

/// What a search must answer: every row scored by itself.
fn expected(shape: Shape, n_rows: usize, query: &Query, k: usize) -> Vec<(u64, f32)> {
    let rows: Vec<Vec<f16>> = (0..n_rows).map(|number| row(number, shape.full)).collect();
    scan(rows.iter().enumerate().map(|(n, row)| (id_of(n), &row[..])), Form::Unit, query.full(), k)
}

fn ids_and_scores(segment: &Segment, found: &Found) -> Vec<(u64, f32)> {
    found.hits.iter().map(|hit| (segment.id(hit.row), hit.score)).collect()
}

const SHAPE: Shape = Shape { full: 24, dims: 12 };

#[test]
fn what_is_written_is_what_is_read() {
    let mut builder = builder(SHAPE, 200);
    builder.section(*b"text", b"opaque".to_vec());
    builder.section(*b"none", Vec::new());
    let bytes = builder.build(&|| false).unwrap().to_vec();
    let n_bytes = bytes.len() as u64;
    let segment = open(bytes).unwrap();
    segment.verify().unwrap();
    assert_eq!((segment.len(), segment.shape()), (200, SHAPE));
    for number in [0, 1, 96, 97, 199] {
        let id = RowId(number as u32);
        assert_eq!(segment.id(id), id_of(number));
        assert_eq!(segment.find(id_of(number)), Some(id));
        assert_eq!(segment.row(id), Values::from(&row(number, SHAPE.full)));
    }
    assert_eq!((segment.find(0), segment.find(1_001), segment.find(u64::MAX)), (None, None, None));
    assert_eq!(segment.section(*b"text").unwrap(), Some(&b"opaque"[..]));
    assert_eq!(segment.section(*b"none").unwrap(), Some(&b""[..]));
    assert_eq!(segment.section(*b"what").unwrap(), None);
    assert_eq!(segment.section(*b".ids").unwrap(), None, "the index's own parts are no sections");
    let stats = segment.stats();
    assert_eq!((stats.rows, stats.nodes, stats.duplicate_rows), (200, 97, 103));
    assert_eq!((stats.m, stats.ef_construction, stats.bytes), (16, 200, n_bytes));
    assert!(stats.links >= 97 && stats.layers >= 1);
    assert_eq!(stats.parts.len(), 10);
    assert_eq!(stats.parts[8], PartBytes { part: Part(*b"text"), bytes: 6 });
}

#[test]
fn a_walk_and_a_scan_agree_on_a_small_segment() {
    let segment = open(bytes(SHAPE, 300)).unwrap();
    for number in 0..97 {
        let query = query(SHAPE, number);
        let expected = expected(SHAPE, 300, &query, 9);
        let exact = segment.search(&query, 9, Search::Exact, ALL);
        assert!(exact.exact && exact.compared == 300);
        assert_eq!(ids_and_scores(&segment, &exact), expected);
        let walked = segment.search(&query, 9, Search::Graph { ef: 97 }, ALL);
        assert_eq!(ids_and_scores(&segment, &walked), expected, "query {number}");
    }
}

#[test]
fn an_empty_segment_opens_and_answers_nothing() {
    let segment = open(bytes(SHAPE, 0)).unwrap();
    segment.verify().unwrap();
    let stats = segment.stats();
    assert_eq!((segment.len(), stats.nodes, stats.layers, stats.links), (0, 0, 0, 0));
    assert_eq!(segment.find(1), None);
    for how in [Search::Exact, Search::Graph { ef: 5 }] {
        let found = segment.search(&query(SHAPE, 1), 3, how, ALL);
        let nothing = Found { hits: vec![], compared: 0, exact: true, plan: Plan::ExactScan };
        assert_eq!(found, nothing);
    }
}

#[test]
fn a_segment_of_one_row_finds_it() {
    let segment = open(bytes(SHAPE, 1)).unwrap();
    segment.verify().unwrap();
    for how in [Search::Exact, Search::Graph { ef: 0 }] {
        let found = segment.search(&query(SHAPE, 0), 3, how, ALL);
        assert_eq!(found.hits.len(), 1);
        assert!(segment.search(&query(SHAPE, 0), 3, how, Some(&RowSet::empty(1))).hits.is_empty());
    }
}

#[test]
fn no_hits_are_asked_for_and_none_are_given() {
    let segment = open(bytes(SHAPE, 50)).unwrap();
    for how in [Search::Exact, Search::Graph { ef: 5 }] {
        assert!(segment.search(&query(SHAPE, 1), 0, how, ALL).hits.is_empty());
    }
}

#[test]
fn asking_for_more_than_there_are_gives_every_live_row() {
    let segment = open(bytes(SHAPE, 250)).unwrap();
    let odd = RowSet::of(250, |row| row.0 % 2 == 1);
    for k in [250, 251, usize::MAX] {
        for how in [Search::Exact, Search::Graph { ef: 1 }] {
            let found = segment.search(&query(SHAPE, 1), k, how, Some(&odd));
            assert_eq!(found.hits.len(), 125, "{how:?}");
            assert!(found.exact && found.hits.iter().all(|hit| hit.row.0 % 2 == 1));
        }
    }
}

#[test]
fn zero_rows_and_a_zero_query_are_as_good_as_any() {
    let mut builder = SegmentBuilder::new(SHAPE, 11);
    for number in 0..40 {
        let row =
            if number % 2 == 0 { vec![f16::ZERO; SHAPE.full] } else { row(number, SHAPE.full) };
        builder.push(id_of(number), &row);
    }
    let segment = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
    segment.verify().unwrap();
    assert_eq!(segment.stats().nodes, 21);
    for how in [Search::Exact, Search::Graph { ef: 40 }] {
        let found = segment.search(&query(SHAPE, 3), 40, how, ALL);
        assert_eq!(found.hits.len(), 40);
        let zero = Query::new(&[0.0; SHAPE.full], SHAPE.dims);
        let found = segment.search(&zero, 5, how, ALL);
        let rows: Vec<u32> = found.hits.iter().map(|hit| hit.row.0).collect();
        assert_eq!(rows, [0, 1, 2, 3, 4], "all score 0, so the order is that of the rows");
    }
}

/// 2,000 distinct rows of unit length, enough for a recall to be measured.
fn distinct(shape: Shape) -> Segment {
    let mut builder = SegmentBuilder::new(shape, 5);
    for number in 0..2_000u64 {
        let x = |i: u64| ((number * (2 * i + 3) * 7_919) % 10_007) as f32 / 5_003.5 - 1.0;
        let x: Vec<f32> = (0..shape.full as u64).map(x).collect();
        let unit = crate::mrl::cut(&x, shape.full).into_iter().map(f16::from_f32);
        builder.push(number, &unit.collect::<Vec<_>>());
    }
    open(builder.build(&|| false).unwrap().to_vec()).unwrap()
}

#[test]
fn the_few_that_live_are_found_however_many_are_dead() {
    let shape = Shape { full: 16, dims: 16 };
    let segment = distinct(shape);
    let query = query(shape, 4);
    let live = RowSet::of(2_000, |row| [17, 400, 1_999].contains(&row.0));
    for k in [1, 3, 10] {
        let found = segment.search(&query, k, Search::Graph { ef: 10 }, Some(&live));
        let exact = segment.search(&query, k, Search::Exact, Some(&live));
        assert_eq!(found.hits, exact.hits);
        assert_eq!(found.hits.len(), k.min(3));
        assert!(found.exact);
    }
}

#[test]
fn one_thread_searches_segments_of_different_sizes_in_turn() {
    let (small, large) = (open(bytes(SHAPE, 20)).unwrap(), open(bytes(SHAPE, 97)).unwrap());
    let query = query(SHAPE, 8);
    let ask = |segment: &Segment| segment.search(&query, 5, Search::Graph { ef: 97 }, ALL);
    let (first_small, first_large) = (ask(&small), ask(&large));
    for _ in 0..3 {
        assert_eq!(ask(&large), first_large);
        assert_eq!(ask(&small), first_small);
    }
}

#[test]
fn a_cancelled_build_gives_nothing_whenever_it_is_cancelled() {
    let n_looks = AtomicUsize::new(0);
    let count = || n_looks.fetch_add(1, Ordering::Relaxed) == usize::MAX;
    assert!(builder(SHAPE, 97).build(&count).is_some());
    let n_looks = n_looks.into_inner();
    assert!(n_looks >= 3);
    for last in 0..n_looks {
        let n_left = AtomicUsize::new(last);
        let cancelled = || {
            let left = n_left.load(Ordering::Relaxed);
            n_left.store(left.saturating_sub(1), Ordering::Relaxed);
            left == 0
        };
        assert!(builder(SHAPE, 97).build(&cancelled).is_none(), "at look {last}");
    }
}

#[test]
fn one_thread_builds_the_same_bytes_again_and_another_seed_builds_others() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let build = |seed| {
        let mut builder = SegmentBuilder::new(SHAPE, seed);
        (0..97).for_each(|number| builder.push(id_of(number), &row(number, SHAPE.full)));
        pool.install(|| builder.build(&|| false)).unwrap().to_vec()
    };
    assert!(build(1) == build(1));
    let (one, two) = (open(build(1)).unwrap(), open(build(2)).unwrap());
    assert!(one.part::<u32>(LINKS) != two.part::<u32>(LINKS));
}

#[test]
fn a_segment_is_shared_between_threads() {
    let segment = open(bytes(SHAPE, 97)).unwrap();
    let ask = || segment.search(&query(SHAPE, 5), 5, Search::Graph { ef: 97 }, ALL);
    let alone = ask();
    std::thread::scope(|scope| {
        let others = [(); 4].map(|()| scope.spawn(ask));
        others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), alone));
    });
}

#[test]
fn bytes_that_are_not_aligned_are_read_all_the_same() {
    struct Shifted(Vec<u8>);
    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0[1..]
        }
    }
    let bytes = bytes(SHAPE, 60);
    let shifted = Shifted([&[9], &bytes[..]].concat());
    let (aligned, shifted) = (open(bytes).unwrap(), Segment::open(Arc::new(shifted)).unwrap());
    shifted.verify().unwrap();
    let query = query(SHAPE, 2);
    for how in [Search::Exact, Search::Graph { ef: 20 }] {
        assert_eq!(aligned.search(&query, 7, how, ALL), shifted.search(&query, 7, how, ALL));
    }
}
