//! How long searches take: alone, beside a writer, beside seals and merges in the background.
//!
//! Rows of width 384 around 1,000 random centres, in one segment; one thread searches for the ten closest, as an application
//! would. A short run only shows that all of it works together. The measurement:
//!
//! ```text
//! GEMMULE_LATENCY_ROWS=100000 cargo test --release -p gemmule-storage --test storage latency -- --nocapture
//! ```
//!
//! `GEMMULE_LATENCY_THREADS` is how many threads maintenance may use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use half::f16;
use serde_json::Map;
use storage::{Chunk, Document, Maintenance, Request, Space, Store};
use tempfile::TempDir;

use crate::content::{NOTES, Numbers};

const WIDTH: usize = 384;
const N_CENTRES: u64 = 1_000;
/// Documents of a put, each of one row.
const PUT: u64 = 20;

fn gaussian(numbers: &mut Numbers) -> f32 {
    // A sum of four even draws is near enough.
    let even = |numbers: &mut Numbers| numbers.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0;
    (0..4).map(|_| even(numbers)).sum()
}

fn row(number: u64) -> Vec<f32> {
    let centre = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % N_CENTRES;
    let (mut around, mut noise) = (Numbers(centre + 1), Numbers(number + 1_000_003));
    let mut row: Vec<f32> =
        (0..WIDTH).map(|_| gaussian(&mut around) + 0.7 * gaussian(&mut noise)).collect();
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    row.iter_mut().for_each(|value| *value /= length);
    row
}

fn document(number: u64) -> Document {
    let chunk = Chunk {
        text: format!("row {number}"),
        hash: [0; 16],
        range: 0..8,
        page: None,
        headings: Vec::new(),
        n_tokens: 2,
        precision: None,
        vector: row(number).into_iter().map(f16::from_f32).collect(),
    };
    let id = format!("document {number}");
    Document { id, source: None, title: None, meta: Map::new(), chunks: vec![chunk] }
}

fn put(store: &Store, numbers: std::ops::Range<u64>) {
    let documents: Vec<_> = numbers.map(document).collect();
    store.put(NOTES, &documents).unwrap();
}

/// Searches until `is_done`; the times of all searches.
fn search_until(store: &Store, queries: &[Vec<f32>], is_done: &dyn Fn() -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !is_done() || times.is_empty() {
        let query = queries[times.len() % queries.len()].clone();
        let began = Instant::now();
        let answer = store.search(NOTES, &Request::new(query, 10)).unwrap();
        times.push(began.elapsed());
        assert_eq!(answer.hits.len(), 10);
    }
    times
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "| {what} | {} | {:.2} | {:.2} | {:.2} |",
        times.len(),
        at(0.5),
        at(0.99),
        times[times.len() - 1].as_secs_f64() * 1e3
    );
}

fn setting(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

#[test]
fn latency_of_searches_beside_writers_and_merges() {
    let n_rows = setting("GEMMULE_LATENCY_ROWS").unwrap_or(1_000);
    let threads = setting("GEMMULE_LATENCY_THREADS").unwrap_or(1) as usize;
    let measured = Duration::from_millis(if n_rows > 10_000 { 15_000 } else { 50 });
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store
        .create(NOTES, &Space { full_width: WIDTH, dims: WIDTH, ..crate::content::space() })
        .unwrap();
    for first in (0..n_rows).step_by(1_000) {
        put(&store, first..(first + 1_000).min(n_rows));
    }
    store.compact(NOTES, &|| false).unwrap();
    let queries: Vec<Vec<f32>> = (0..200).map(|number| row((1 << 40) + number)).collect();
    let for_a_while = || {
        let began = Instant::now();
        move || began.elapsed() > measured
    };
    println!("| beside | searches | p50 ms | p99 ms | longest ms |\n|---|---:|---:|---:|---:|");
    drop(search_until(&store, &queries, &for_a_while()));
    print("nothing", search_until(&store, &queries, &for_a_while()));

    // A writer alone: its rows stay unsealed.
    let next = AtomicU64::new(n_rows);
    let while_writing = |is_done: &dyn Fn() -> bool| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(PUT, Ordering::Relaxed);
                    put(&store, first..first + PUT);
                }
            });
            let times = search_until(&store, &queries, is_done);
            is_over.store(true, Ordering::Relaxed);
            times
        })
    };
    let before = store.unsealed(NOTES);
    let times = while_writing(&for_a_while());
    let n_put = store.unsealed(NOTES) - before;
    print(&format!("a writer of {n_put} rows"), times);

    // Sealing and merging alone, from the rows that are unsealed now.
    let n_few = (n_rows / 10).max(300);
    let first = next.fetch_add(n_few, Ordering::Relaxed);
    put(&store, first..first + n_few);
    store.maintain(Maintenance::default().threads(threads).seal_at(256).delay(Duration::ZERO));
    put(&store, next.fetch_add(1, Ordering::Relaxed)..next.load(Ordering::Relaxed));
    let is_settled = || {
        store.unsealed(NOTES) < 256 && store.status().unwrap().collections[0].segments.len() == 1
    };
    let look = AtomicU64::new(0);
    let is_done = || look.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) && is_settled();
    print("a seal and a merge", search_until(&store, &queries, &is_done));

    // All together, as a program that writes for ever has it.
    let seal_at = (n_rows / 20).max(100) as usize;
    store.maintain(Maintenance::default().threads(threads).seal_at(seal_at).delay(Duration::ZERO));
    let before = next.load(Ordering::Relaxed);
    let times = while_writing(&for_a_while());
    let n_put = next.load(Ordering::Relaxed) - before;
    print(&format!("a writer of {n_put} rows, sealed at {seal_at}, and merges"), times);
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
}
