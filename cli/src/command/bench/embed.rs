//! `gemmule bench embed`: tokens a second, and how true the precision is.

use std::time::{Duration, Instant};

use gemmule::Embedder;
use gemmule::engine::{Precision, Tokens};
use serde_json::json;

use super::{median, peak_rss, random};
use crate::Done;
use crate::args::BenchEmbed;
use crate::output::Output;
use crate::text;

/// The measurement is repeated at least so long.
const LEAST_TIME: Duration = Duration::from_secs(3);

pub(super) fn run(flags: &BenchEmbed, output: &mut Output) -> anyhow::Result<Done> {
    let n_threads = flags.threads.unwrap_or_else(rayon::current_num_threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    let started = Instant::now();
    let embedder = Embedder::open_in(&flags.model, flags.precision.map(Into::into))?;
    let load = started.elapsed();
    let texts = texts(flags, embedder.package().config.vocab_size);
    let n_tokens: usize = texts.iter().map(|text| text.ids.len()).sum();
    let (vectors, median) = pool.install(|| -> anyhow::Result<_> {
        let vectors = embedder.embed(&texts, |_, _| true)?;
        let median = median(LEAST_TIME, || Ok(embedder.embed(&texts, |_, _| true).map(drop)?))?;
        Ok((vectors, median))
    })?;
    let peak = peak_rss();
    let precision = embedder.precision();
    drop(embedder);
    let cosine = match precision {
        Precision::F32 => 1.0,
        _ => {
            let exact = Embedder::open_in(&flags.model, Some(Precision::F32))?;
            let exact = pool.install(|| exact.embed(&texts, |_, _| true))?;
            let cosines = exact.iter().zip(&vectors).map(|(a, b)| dot(a, b));
            cosines.fold(1.0, f64::min)
        }
    };
    let tokens_per_s = n_tokens as f64 / median.as_secs_f64();
    let millis = median.as_secs_f64() * 1e3;
    if output.json {
        output.value(&json!({
            "tokens_per_s": tokens_per_s,
            "millis_median": millis,
            "precision": precision.name(),
            "threads": n_threads,
            "peak_rss_bytes": peak,
            "cosine_to_f32": cosine,
            "load_millis": load.as_secs_f64() * 1e3,
        }))?;
        return Ok(Done::Whole);
    }
    output.line(format_args!(
        "{} of {} tokens in {millis:.1} ms (median): {} tokens/s in {}, {}; cosine to f32 {cosine:.6}",
        text::counted(texts.len(), "text"),
        flags.tokens,
        text::grouped(tokens_per_s as usize),
        precision.name(),
        text::counted(n_threads, "thread"),
    ))?;
    Ok(Done::Whole)
}

/// Texts of known ids, so that the tokenizer takes no part; the same in each run.
fn texts(flags: &BenchEmbed, vocab_size: usize) -> Vec<Tokens> {
    let mut next = random();
    let text = |n_tokens: usize, next: &mut dyn FnMut() -> u64| {
        let ids = (0..n_tokens).map(|_| (next() % vocab_size as u64) as u32).collect();
        Tokens { ids, n_dropped: 0 }
    };
    (0..flags.batch)
        .map(|_| {
            let least = if flags.mixed { 16.min(flags.tokens) } else { flags.tokens };
            let n_tokens = least + (next() as usize) % (flags.tokens - least + 1);
            text(n_tokens, &mut next)
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
