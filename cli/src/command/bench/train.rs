//! `gemmule bench train`: tokens a second, forward and back, and how true the gradients are.

use std::time::Duration;

use anyhow::bail;
use gemmule::engine::Precision;
use gemmule::engine::package::{Matrix, Package};
use gemmule::engine::train::Pass;
use serde_json::json;

use super::{median, peak_rss, random};
use crate::Done;
use crate::args::BenchTrain;
use crate::output::Output;
use crate::text;

/// The measurement is repeated at least so long.
const LEAST_TIME: Duration = Duration::from_secs(5);

pub(super) fn run(flags: &BenchTrain, output: &mut Output) -> anyhow::Result<Done> {
    let precision = Precision::from(flags.precision);
    if !matches!(precision, Precision::F32 | Precision::Bf16) {
        bail!(
            "training runs in f32 or bf16, not in {}: choose one by --precision",
            precision.name()
        );
    }
    let n_threads = flags.threads.unwrap_or_else(rayon::current_num_threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    let (package, source) = Package::open(&flags.model)?;
    if flags.tokens > package.window {
        bail!("sequences of {} tokens in a model whose window is {}", flags.tokens, package.window);
    }
    let mut next = random();
    let mut id = || (next() % package.config.vocab_size as u64) as u32;
    let ids: Vec<Vec<u32>> =
        (0..flags.batch).map(|_| (0..flags.tokens).map(|_| id()).collect()).collect();
    let ids: Vec<&[u32]> = ids.iter().map(|ids| &ids[..]).collect();
    let mut next = random();
    let of_vectors: Vec<f32> =
        (0..flags.batch * source.width()).map(|_| next() as i64 as f32 / 2f32.powi(63)).collect();

    let mut pass = Pass::new(&package.config, source.weights()?, precision);
    let mut gradients = pass.weights().zeros();
    let median = pool.install(|| {
        median(LEAST_TIME, || {
            gradients.all_mut().into_iter().for_each(|matrix| matrix.values.fill(0.0));
            // An optimiser's change is no part of this, but what follows from any is.
            pass.update(|_| ());
            let tape = pass.forward(&ids, &[]);
            pass.backward(&tape, &of_vectors, &mut gradients);
            Ok(())
        })
    })?;
    let peak = peak_rss();
    let cosine = match precision {
        Precision::F32 => 1.0,
        _ => {
            let exact = Pass::new(&package.config, source.weights()?, Precision::F32);
            let mut expected = exact.weights().zeros();
            let tape = pool.install(|| exact.forward(&ids, &[]));
            pool.install(|| exact.backward(&tape, &of_vectors, &mut expected));
            gradients
                .all()
                .into_iter()
                .zip(expected.all())
                .map(|(a, b)| cosine(a, b))
                .fold(1.0, f64::min)
        }
    };
    let n_tokens = flags.batch * flags.tokens;
    let tokens_per_s = n_tokens as f64 / median.as_secs_f64();
    let millis = median.as_secs_f64() * 1e3;
    if output.json {
        output.value(&json!({
            "tokens_per_s": tokens_per_s,
            "millis_median": millis,
            "precision": precision.name(),
            "threads": n_threads,
            "peak_rss_bytes": peak,
            "gradient_cosine_to_f32": cosine,
        }))?;
        return Ok(Done::Whole);
    }
    output.line(format_args!(
        "{} of {} tokens forward and back in {millis:.1} ms (median): {} tokens/s in {}, {}; least \
         cosine of a weight's gradient to f32 {cosine:.6}",
        text::counted(ids.len(), "sequence"),
        flags.tokens,
        text::grouped(tokens_per_s as usize),
        precision.name(),
        text::counted(n_threads, "thread"),
    ))?;
    Ok(Done::Whole)
}

fn cosine(a: &Matrix, b: &Matrix) -> f64 {
    let dot = |a: &Matrix, b: &Matrix| -> f64 {
        a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
