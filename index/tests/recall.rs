//! Recall of a walk against the exact full-width answer, on clustered rows with a falling spectrum.
//!
//! `GEMMULE_RECALL_ROWS=200000 cargo test --release -p gemmule-index --test recall -- --nocapture`
//! prints the same for more rows, with the time of a query beside that of a scan;
//! `GEMMULE_RECALL_SEED` makes other rows.

use std::sync::Arc;
use std::time::Instant;

use half::f16;
use index::{EF_DEFAULT, Query, RECALL_TARGET, Search, Segment, SegmentBuilder, Shape};

const FULL: usize = 768;
const K: usize = 10;
const N_QUERIES: usize = 200;
const N_ROWS: usize = 6_000;
const SEED: u64 = 20_250_924;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// SplitMix64, and normal numbers by Box and Muller.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// A step away from `from` whose energy falls along the dimensions as in a Matryoshka embedding.
    fn near(&mut self, from: &[f32], size: f32) -> Vec<f32> {
        let spread = |i: usize| size / (1.0 + i as f32 / 64.0).sqrt();
        from.iter().enumerate().map(|(i, x)| x + spread(i) * self.normal()).collect()
    }
}

fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    x.iter_mut().for_each(|x| *x /= norm);
    x
}

/// Topics that rows are mixed from.
const N_TOPICS: usize = 300;
/// Topics in one row.
const N_MIXED: usize = 3;

/// Rows and queries. A row mixes a few topics, most of it the first, and has a part of its own; so
/// clusters overlap. A query mixes the topics of some row otherwise. Each row past `n_distinct`
/// repeats an earlier one.
fn clustered(seed: u64, n_rows: usize, n_distinct: usize) -> (Vec<Vec<f16>>, Vec<Vec<f32>>) {
    let mut random = Random(seed);
    let common = random.near(&[0.0; FULL], 0.5);
    let topics: Vec<_> = (0..N_TOPICS).map(|_| random.near(&[0.0; FULL], 1.0)).collect();
    let mix = |random: &mut Random, mixed: &[usize]| {
        let mut x = common.clone();
        for (nth, topic) in mixed.iter().enumerate() {
            let weight = random.unit() as f32 / (nth + 1) as f32;
            x.iter_mut().zip(&topics[*topic]).for_each(|(x, topic)| *x += weight * topic);
        }
        unit(random.near(&x, 0.5))
    };
    let mut mixtures: Vec<[usize; N_MIXED]> = Vec::new();
    let mut rows: Vec<Vec<f16>> = Vec::with_capacity(n_rows);
    for row in 0..n_rows {
        if row < n_distinct {
            let mixed = [(); N_MIXED].map(|()| random.below(N_TOPICS));
            rows.push(mix(&mut random, &mixed).into_iter().map(f16::from_f32).collect());
            mixtures.push(mixed);
        } else {
            rows.push(rows[random.below(n_distinct)].clone());
        }
    }
    let query = |_| {
        let mixed = mixtures[random.below(n_distinct)];
        mix(&mut random, &mixed)
    };
    let queries = (0..N_QUERIES).map(query).collect();
    (rows, queries)
}

fn build(rows: &[Vec<f16>], dims: usize) -> Segment {
    let mut builder = SegmentBuilder::new(Shape { full: FULL, dims }, SEED);
    for (id, row) in rows.iter().enumerate() {
        builder.push(id as u64, row);
    }
    Segment::open(Arc::new(builder.build(&|| false).unwrap())).unwrap()
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
