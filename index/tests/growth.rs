//! A graph grown by merging segments against one built at once: as good at equal `ef`.
//!
//! `GEMMULE_GROWTH_ROWS=100000 cargo test --release -p gemmule-index --test index growth -- --nocapture` does
//! the same with more rows.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::clustered::{FULL, N_QUERIES, clustered, from_environment};
use half::f16;
use index::{Query, RowId, RowSet, Search, Segment, SegmentBuilder, Shape};
use rayon::{ThreadPool, ThreadPoolBuilder};

const DIMS: usize = FULL / 4;
const K: usize = 10;
const N_ROWS: usize = 6_000;
const SEED: u64 = 20_250_924;
/// Low enough that a worse graph finds less.
const EF: [usize; 3] = [48, 96, 160];
/// How much of recall a grown graph may lose.
const SLACK: f64 = 0.005;

/// What all tests here search.
struct World {
    rows: Vec<Vec<f16>>,
    queries: Vec<Query>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let n_rows = from_environment("GEMMULE_GROWTH_ROWS").map_or(N_ROWS, |n| n as usize);
    let (rows, queries) = clustered(SEED, n_rows, n_rows - n_rows / 50);
    let queries = queries.iter().map(|query| Query::new(query, DIMS)).collect();
    World { rows, queries }
});

fn builder<'a>() -> SegmentBuilder<'a> {
    SegmentBuilder::new(Shape { full: FULL, dims: DIMS }, SEED)
}

/// Builds in one thread, so that the graph is the same each time: of two that differ in nothing but the
/// order in which threads came, one may find half a percent more.
fn seal(builder: SegmentBuilder<'_>) -> Segment {
    static SERIAL: LazyLock<ThreadPool> =
        LazyLock::new(|| ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    let built = SERIAL.install(|| builder.build(&|| false)).unwrap();
    let segment = Segment::open(Arc::new(built.to_vec())).unwrap();
    segment.verify().unwrap();
    segment
}

/// A segment of fresh rows.
fn fresh(numbers: Range<usize>, is_in: impl Fn(usize) -> bool) -> Segment {
    let mut builder = builder();
    for number in numbers.filter(|number| is_in(*number)) {
        builder.push(number as u64, &WORLD.rows[number]);
    }
    seal(builder)
}

fn merge<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> Segment {
    let mut builder = builder();
    segments.into_iter().for_each(|segment| builder.extend(segment, None).unwrap());
    seal(builder)
}

/// Recall by score, so that of equal rows any will do, for each of [`EF`].
fn recall(segment: &Segment) -> [f64; 3] {
    let exact = |query: &Query| segment.search(query, K, Search::Exact, None).hits[K - 1].score;
    let truth: Vec<f32> = WORLD.queries.iter().map(exact).collect();
    EF.map(|ef| {
        let n_good = WORLD.queries.iter().zip(&truth).map(|(query, last)| {
            let found = segment.search(query, K, Search::Graph { ef }, None);
            found.hits.iter().filter(|hit| hit.score >= *last).count()
        });
        n_good.sum::<usize>() as f64 / (N_QUERIES * K) as f64
    })
}

fn assert_as_good(name: &str, grown: &Segment, at_once: &Segment) {
    assert_eq!(grown.len(), at_once.len());
    assert_eq!(grown.stats().nodes, at_once.stats().nodes);
    let (found, expected) = (recall(grown), recall(at_once));
    let links = |segment: &Segment| {
        let stats = segment.stats();
        format!(
            "{:.1} links a node, {} mended",
            stats.links as f64 / stats.nodes as f64,
            stats.mended
        )
    };
    println!("{name}: {} rows, ef {EF:?}", grown.len());
    println!(
        "  grown   {found:.4?}, {}\n  at once {expected:.4?}, {}",
        links(grown),
        links(at_once)
    );
    for ((ef, found), expected) in EF.iter().zip(found).zip(expected) {
        assert!(found >= expected - SLACK, "{name}, ef {ef}: {found} instead of {expected}");
    }
}

#[test]
fn two_segments_merge_into_a_graph_as_good_as_one_built_at_once() {
    let n = WORLD.rows.len();
    let parts = [0..n / 2, n / 2..n].map(|numbers| fresh(numbers, |_| true));
    assert_as_good("two", &merge(&parts), &fresh(0..n, |_| true));
}

#[test]
fn a_donor_with_a_fifth_of_its_rows_dead_is_as_good_too() {
    let n = WORLD.rows.len();
    let is_live = |number: usize| number >= 2 * n / 3 || number % 5 != 3;
    let (donor, other) = (fresh(0..2 * n / 3, |_| true), fresh(2 * n / 3..n, |_| true));
    let mut builder = builder();
    let live = RowSet::of(donor.len(), |RowId(row)| is_live(row as usize));
    builder.extend(&donor, Some(&live)).unwrap();
    builder.extend(&other, None).unwrap();
    assert_as_good("a fifth dead", &seal(builder), &fresh(0..n, is_live));
}

#[test]
fn thirty_small_segments_merged_in_tiers_are_as_good_too() {
    let n = WORLD.rows.len();
    let small = (0..30).map(|part| fresh(part * n / 30..(part + 1) * n / 30, |_| true));
    let mut tier: Vec<Segment> = small.collect();
    while tier.len() > 1 {
        tier = tier.chunks(4).map(merge).collect();
    }
    assert_as_good("tiers", &tier[0], &fresh(0..n, |_| true));
}

#[test]
fn fresh_rows_join_the_graph_of_a_segment() {
    let n = WORLD.rows.len();
    let sealed = fresh(0..n / 2, |_| true);
    let mut builder = builder();
    builder.extend(&sealed, None).unwrap();
    (n / 2..n).for_each(|number| builder.push(number as u64, &WORLD.rows[number]));
    assert_as_good("fresh", &seal(builder), &fresh(0..n, |_| true));
}
