//! `gemmule bench search`: a segment over a file of vectors, with codes of each kind asked for; recall and
//! speed for each `ef`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gemmule::Quant;
use gemmule::engine::npy;
use gemmule::storage::index::{
    BINARY_DIMS_MIN, Form, Search, Segment, SegmentBuilder, SegmentStats, Shape,
};
use half::f16;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::peak_rss;
use crate::args::BenchSearch;
use crate::output::Output;
use crate::{Done, text};

/// Hits of which recall is counted.
const K: usize = 10;
/// Each `ef` is measured over all queries, again and again for at least so long.
const LEAST_TIME: Duration = Duration::from_secs(2);
/// The order in which rows enter the graph.
const SEED: u64 = 1;

pub(super) fn run(flags: &BenchSearch, output: &mut Output) -> anyhow::Result<Done> {
    let n_threads = flags.threads.unwrap_or_else(rayon::current_num_threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    let queries = read_queries(&flags.queries)?;
    for quant in &flags.quant {
        measure_one(flags, (*quant).into(), &queries, &pool, output)?;
    }
    Ok(Done::Whole)
}

/// Builds and measures one segment; with `--json` a line each.
fn measure_one(
    flags: &BenchSearch,
    quant: Quant,
    queries: &[Vec<f32>],
    pool: &rayon::ThreadPool,
    output: &mut Output,
) -> anyhow::Result<()> {
    let n_threads = pool.current_num_threads();
    let builder = read_base(flags, quant, queries[0].len())?;
    let began = Instant::now();
    let built = pool.install(|| builder.build(&|| false)).context("the build was stopped")?;
    let build_s = began.elapsed().as_secs_f64();
    let build_peak = peak_rss();
    let segment = Segment::open(std::sync::Arc::new(built.to_vec()))?;
    drop(built);
    let dims = segment.shape().dims;
    let stats = segment.stats();
    let per_row = per_row(&stats);
    let truth: Vec<Vec<u32>> = pool.install(|| {
        let exact = queries.par_iter().map(|query| rows(&segment, query, Search::Exact));
        exact.collect()
    });
    if !output.json {
        output.line(format_args!(
            "{} of width {} ({quant} codes of {dims}, {:.0} bytes each) built in {build_s:.1} s on {}",
            text::counted(stats.rows, "row"),
            segment.shape().full,
            per_row["codes"].as_f64().unwrap_or_default(),
            text::counted(n_threads, "thread"),
        ))?;
        output.line("   ef  recall@10  queries/s  p50 ms  p99 ms")?;
    }
    let mut points = Vec::new();
    for &ef in &flags.ef {
        let point = measure(&segment, queries, &truth, ef, n_threads);
        if !output.json {
            output.line(format_args!(
                "{ef:>5}  {:>9.4}  {:>9}  {:>6.3}  {:>6.3}",
                point.recall,
                text::grouped(point.qps as usize),
                point.p50_ms,
                point.p99_ms,
            ))?;
        }
        points.push(json!({
            "ef": ef,
            "recall10": point.recall,
            "qps": point.qps,
            "p50_ms": point.p50_ms,
            "p99_ms": point.p99_ms,
        }));
    }
    if output.json {
        output.value(&json!({
            "rows": stats.rows,
            "full": segment.shape().full,
            "dims": dims,
            "quant": quant.to_string(),
            "threads": n_threads,
            "build_s": build_s,
            "build_peak_rss_bytes": build_peak,
            "bytes_per_row": per_row,
            "points": points,
        }))?;
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<npy::Reader<BufReader<File>>> {
    let doing = || format!("could not read {}", path.display());
    let file = File::open(path).with_context(doing)?;
    npy::Reader::new(BufReader::with_capacity(1 << 20, file)).with_context(doing)
}

fn read_queries(path: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut reader = open(path)?;
    let mut queries = Vec::new();
    let mut row = Vec::new();
    while reader.next_row(&mut row).with_context(|| format!("could not read {}", path.display()))? {
        queries.push(row.clone());
    }
    ensure!(!queries.is_empty(), "{} has no rows: there is nothing to ask", path.display());
    Ok(queries)
}

/// Reads the rows straight into the builder, so that they are in memory once.
fn read_base(
    flags: &BenchSearch,
    quant: Quant,
    query_width: usize,
) -> anyhow::Result<SegmentBuilder<'static>> {
    let path = &flags.base;
    let mut reader = open(path)?;
    let full = reader.width();
    let dims = flags.dims.unwrap_or(full);
    ensure!(reader.n_rows() > 0, "{} has no rows: there is nothing to search", path.display());
    ensure!(dims <= full, "rows of {full} numbers cannot be cut to {dims}");
    ensure!(query_width == full, "queries have {query_width} numbers and rows {full}");
    ensure!(
        quant.takes(dims),
        "{dims} numbers are too few for binary codes: take at least {BINARY_DIMS_MIN}, or --quant int8"
    );
    let form = flags.metric.map_or(Form::Unit, |metric| Form::Given(metric.into()));
    ensure!(
        quant.takes_form(form),
        "binary codes know nothing of lengths, which dot and l2 need: take --quant int8"
    );
    let mut builder = SegmentBuilder::new(Shape { full, dims }, SEED).quant(quant).form(form);
    let n_rows = flags.rows.unwrap_or(usize::MAX);
    let (mut row, mut narrow) = (Vec::new(), Vec::new());
    for id in 0..n_rows as u64 {
        let doing = || format!("could not read {}", path.display());
        if !reader.next_row(&mut row).with_context(doing)? {
            break;
        }
        if form != Form::Unit {
            builder.push(id, &row);
            continue;
        }
        narrow.clear();
        narrow.extend(row.iter().map(|x| f16::from_f32(*x)));
        builder.push(id, &narrow);
    }
    Ok(builder)
}

/// The rows of the best hits.
fn rows(segment: &Segment, query: &[f32], how: Search) -> Vec<u32> {
    segment.search(&segment.query(query), K, how, None).hits.iter().map(|hit| hit.row.0).collect()
}

/// One point of the curve.
struct Point {
    recall: f64,
    qps: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn measure(
    segment: &Segment,
    queries: &[Vec<f32>],
    truth: &[Vec<u32>],
    ef: usize,
    n_threads: usize,
) -> Point {
    let how = Search::Graph { ef };
    let found: Vec<Vec<u32>> = queries.iter().map(|query| rows(segment, query, how)).collect();
    let n_right: usize = found
        .iter()
        .zip(truth)
        .map(|(found, truth)| truth.iter().filter(|row| found.contains(row)).count())
        .sum();
    let n_true: usize = truth.iter().map(Vec::len).sum();
    // Each thread takes the next query, answers it alone and notes the time: as a server would.
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let ask = || {
        let mut times = Vec::new();
        while began.elapsed() < LEAST_TIME || next.load(Ordering::Relaxed) < queries.len() {
            let query = &queries[next.fetch_add(1, Ordering::Relaxed) % queries.len()];
            let asked = Instant::now();
            std::hint::black_box(rows(segment, query, how));
            times.push(asked.elapsed());
        }
        times
    };
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a search")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Point {
        recall: n_right as f64 / n_true as f64,
        qps: times.len() as f64 / seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    }
}

/// Bytes a row of each part, in groups.
fn per_row(stats: &SegmentStats) -> Value {
    let of = |tags: &[&[u8; 4]]| {
        let parts = stats.parts.iter().filter(|part| tags.contains(&&part.part.0));
        parts.map(|part| part.bytes).sum::<u64>() as f64 / stats.rows as f64
    };
    json!({
        "codes": of(&[b".cod", b".scl", b".mea"]),
        "graph": of(&[b".lof", b".lnk"]),
        "ids": of(&[b".ids", b".nof", b".nro"]),
        "full": of(&[b".row"]),
        "disk": stats.bytes as f64 / stats.rows as f64,
    })
}
