//! One query over 20,000 rows in 200 clusters: the graph beside the exact scan, with its recall.

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use half::f16;
use index::{EF_DEFAULT, Query, RowId, Search, Segment, SegmentBuilder, Shape};

const N_ROWS: usize = 20_000;
const N_CLUSTERS: usize = 200;
const N_QUERIES: usize = 100;
const SHAPE: Shape = Shape { full: 384, dims: 128 };
const K: usize = 10;

fn main() {
    println!("recall@{K} of the graph at ef {EF_DEFAULT}: {:.4}", recall());
    divan::main();
}

/// Uniform in -1 to 1, the same for the same number.
fn noise(mut x: u64) -> f32 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A unit vector near the centre of its cluster, most of its length in its first numbers.
fn vector(i: usize) -> Vec<f32> {
    let (cluster, own) = (i % N_CLUSTERS, i + N_CLUSTERS);
    let at = |j: usize| {
        let of = |who: usize| noise((who * SHAPE.full + j) as u64 + 1);
        (of(cluster) + 0.8 * of(own)) / (1.0 + j as f32 / 64.0).sqrt()
    };
    let vector: Vec<f32> = (0..SHAPE.full).map(at).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / length).collect()
}

static SEGMENT: LazyLock<Segment> = LazyLock::new(|| {
    let mut builder = SegmentBuilder::new(SHAPE, 1);
    for i in 0..N_ROWS {
        let row: Vec<f16> = vector(i).into_iter().map(f16::from_f32).collect();
        builder.push(i as u64, &row);
    }
    let built = builder.build(&|| false).expect("nobody cancels");
    Segment::open(Arc::new(built.to_vec())).expect("bytes just built")
});

static QUERIES: LazyLock<Vec<Query>> = LazyLock::new(|| {
    (0..N_QUERIES).map(|i| Query::new(&vector(N_ROWS + i * 7), SHAPE.dims)).collect()
});

fn rows(query: &Query, how: Search) -> Vec<RowId> {
    let found = SEGMENT.search(query, K, how, None);
    found.hits.into_iter().map(|hit| hit.row).collect()
}

fn recall() -> f64 {
    let shares = QUERIES.iter().map(|query| {
        let truth = rows(query, Search::Exact);
        let found = rows(query, Search::Graph { ef: EF_DEFAULT });
        found.iter().filter(|row| truth.contains(row)).count() as f64 / truth.len() as f64
    });
    shares.sum::<f64>() / N_QUERIES as f64
}

#[divan::bench]
fn graph(bencher: Bencher) {
    let mut queries = QUERIES.iter().cycle();
    bencher
        .bench_local(|| rows(queries.next().expect("a cycle"), Search::Graph { ef: EF_DEFAULT }));
}

#[divan::bench]
fn exact(bencher: Bencher) {
    let mut queries = QUERIES.iter().cycle();
    bencher.bench_local(|| rows(queries.next().expect("a cycle"), Search::Exact));
}
