//! Recall of a walk against the exact full-width answer, on clustered rows with a falling spectrum.
//!
//! `GEMMULE_RECALL_ROWS=200000 cargo test --release -p gemmule-index --test index recall -- --nocapture`
//! prints the same for more rows, with the time of a query beside that of a scan;
//! `GEMMULE_RECALL_SEED` makes other rows.

use std::sync::Arc;
use std::time::Instant;

use crate::clustered::{FULL, N_QUERIES, clustered, from_environment};
use half::f16;
use index::{EF_DEFAULT, Query, RECALL_TARGET, Search, Segment, SegmentBuilder, Shape};

const K: usize = 10;
const N_ROWS: usize = 6_000;
const SEED: u64 = 20_250_924;

fn build(rows: &[Vec<f16>], dims: usize) -> Segment {
    let mut builder = SegmentBuilder::new(Shape { full: FULL, dims }, SEED);
    for (id, row) in rows.iter().enumerate() {
        builder.push(id as u64, row);
    }
    Segment::open(Arc::new(builder.build(&|| false).unwrap().to_vec())).unwrap()
}

/// Recall at [`K`] by score: a hit counts if it scores at least as high as the true last one, so that
/// of equal rows any will do.
fn recall(segment: &Segment, queries: &[Query], truth: &[f32], how: Search) -> (f64, f64) {
    let (mut n_good, mut n_compared) = (0, 0);
    for (query, last) in queries.iter().zip(truth) {
        let found = segment.search(query, K, how, None);
        assert!(!found.exact && found.hits.len() == K);
        n_good += found.hits.iter().filter(|hit| hit.score >= *last).count();
        n_compared += found.compared;
    }
    let n = queries.len() as f64;
    (n_good as f64 / (n * K as f64), n_compared as f64 / n)
}

fn check(name: &str, n_distinct_of: fn(usize) -> usize, dims: usize) {
    let n_rows = from_environment("GEMMULE_RECALL_ROWS").map_or(N_ROWS, |n| n as usize);
    let seed = from_environment("GEMMULE_RECALL_SEED").unwrap_or(SEED);
    let (rows, queries) = clustered(seed, n_rows, n_distinct_of(n_rows));
    let start = Instant::now();
    let segment = build(&rows, dims);
    let built = start.elapsed();
    let queries: Vec<Query> = queries.iter().map(|query| Query::new(query, dims)).collect();
    let start = Instant::now();
    let exact: Vec<_> =
        queries.iter().map(|query| segment.search(query, K, Search::Exact, None)).collect();
    let scan = start.elapsed() / N_QUERIES as u32;
    let truth: Vec<f32> = exact.iter().map(|found| found.hits[K - 1].score).collect();
    let stats = segment.stats();
    println!(
        "{name}: {n_rows} rows, {} nodes, {dims} of {FULL}: built in {built:.1?}, {} links, \
         {} mended; a scan takes {scan:.1?}",
        stats.nodes, stats.links, stats.mended
    );
    for point in &stats.recall {
        println!("  measured by the segment: {point:?}");
    }
    let (asked_for, _) = recall(&segment, &queries, &truth, Search::default());
    println!("  asked for {RECALL_TARGET}: {asked_for:.4}");
    assert!(asked_for >= 0.97, "{name}, seed {seed}: recall@{K} {asked_for}");
    let mut at_default = 0.0;
    for ef in [32, 64, 96, 128, 160, 192, 256, EF_DEFAULT] {
        let how = Search::Graph { ef };
        recall(&segment, &queries, &truth, how);
        let start = Instant::now();
        let (recall, compared) = recall(&segment, &queries, &truth, how);
        let walk = start.elapsed() / N_QUERIES as u32;
        let ratio = scan.as_secs_f64() / walk.as_secs_f64();
        println!(
            "  ef {ef}: recall@{K} {recall:.4}, {compared:.0} compared, {walk:.1?}, {ratio:.1} x"
        );
        at_default = recall;
    }
    assert!(at_default >= 0.98, "{name}, seed {seed}: recall@{K} {at_default} at ef {EF_DEFAULT}");
}

#[test]
fn the_default_ef_finds_98_of_100_at_half_width() {
    check("half width", |n| n, FULL / 2);
}

#[test]
fn the_default_ef_finds_98_of_100_at_quarter_width() {
    check("quarter width", |n| n, FULL / 4);
}

#[test]
fn the_default_ef_finds_98_of_100_when_a_tenth_are_duplicates() {
    check("a tenth duplicates", |n| n - n / 10, FULL / 4);
}
