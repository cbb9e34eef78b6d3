//! `gemmule eval`: how good a model's vectors are, by sets that know the answers.
//!
//! A document is one vector: its whole text under the document prompt with its title, cut after
//! [`TEXT_TOKENS`](embed::TEXT_TOKENS); how many were cut is reported. With `--chunk-tokens` it is as
//! many as `index` would make, none of it is left out, and its best chunk counts. Through `exact`, vectors
//! are cut to each width, scaled to unit length, turned into codes of each `--quant` and compared. Through
//! `ann`, a database is made of them, sealed, and searched as any other: what is measured then is its
//! graph over int8 or binary codes of the width, its re-scoring at full width included. Sentence pairs, classes and
//! clusters have no graph; they are always exact.
//!
//! Each row's first measure has its interval of 95 %, and `--against` compares it with that of another
//! model over the same queries: the intervals of two rows may overlap though the difference is certain.

mod codes;
mod embed;
mod labels;
mod pairs;
mod rank;
mod retrieval;
mod row;
mod sample;
mod set;
mod table;

use anyhow::bail;
use gemmule::engine::Error;
use gemmule::{Embedder, Precision};

use self::row::Row;
use self::set::{Set, SetPath};
use crate::args::{Eval, Quant, Through};
use crate::output::{Output, Usage};
use crate::{Done, interrupt};

pub(crate) fn run(flags: &Eval, output: &mut Output) -> anyhow::Result<Done> {
    check(flags)?;
    interrupt::listen()?;
    // What cannot be read is said before an hour of work, not after it.
    let paths: Vec<SetPath> =
        flags.sets.iter().map(|path| set::at(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let widths = widths(flags)?;
    let other_widths = match &flags.against {
        Some(other) => other_widths(&widths, flags, other)?,
        None => Vec::new(),
    };
    let (mut rows, mut done) = measure_all(&flags.model, &widths, &paths, flags, output)?;
    rows.extend(row::means(&rows));
    let mut others = Vec::new();
    if let (Some(other), Done::Whole) = (&flags.against, &done) {
        (others, done) = measure_all(other, &other_widths, &paths, flags, output)?;
        others.extend(row::means(&others));
    }
    table::print(flags, &rows, &others, output)?;
    Ok(done)
}

fn check(flags: &Eval) -> anyhow::Result<()> {
    let asks_words = |way: &Through| matches!(way, Through::Text | Through::Hybrid);
    if flags.chunk_tokens.is_some() && flags.through.iter().any(asks_words) {
        bail!(Usage("--chunk-tokens goes with --through exact and ann".to_owned()));
    }
    if flags.quant != [Quant::F32] && flags.through.iter().all(|way| *way == Through::Text) {
        bail!(Usage("--quant goes with --through exact, ann and hybrid".to_owned()));
    }
    Ok(())
}

/// The widths to measure.
fn widths(flags: &Eval) -> anyhow::Result<Vec<usize>> {
    let embedder = Embedder::open_in(&flags.model, precisions(flags)[0])?;
    if flags.dims.is_empty() {
        return Ok(embedder.package().widths.clone());
    }
    let widths = flags.dims.iter().map(|dims| embedder.width(Some(*dims)));
    Ok(widths.collect::<Result<_, _>>()?)
}

/// The other model's widths, each to stand beside one of `widths`: the same, if it has it.
fn other_widths(widths: &[usize], flags: &Eval, other: &str) -> anyhow::Result<Vec<usize>> {
    let known = Embedder::open_in(other, precisions(flags)[0])?.package().widths.clone();
    match widths.iter().find(|dims| !known.contains(dims)) {
        None => Ok(widths.to_vec()),
        Some(dims) => bail!(Usage(format!(
            "the model '{other}' has no vectors of {dims} numbers to compare with, only of {known:?}: \
             name widths that both have with --dims"
        ))),
    }
}

/// The precisions to measure in; none for the one that the model would run in.
fn precisions(flags: &Eval) -> Vec<Option<Precision>> {
    match flags.precision.is_empty() {
        true => vec![None],
        false => flags.precision.iter().map(|name| Some((*name).into())).collect(),
    }
}

/// Measures a model in every precision on every set.
fn measure_all(
    model: &str,
    widths: &[usize],
    paths: &[SetPath],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<(Vec<Row>, Done)> {
    let mut rows = Vec::new();
    for precision in precisions(flags) {
        let embedder = Embedder::open_in(model, precision)?;
        for path in paths {
            let measured = match path.read()? {
                Set::Beir(set) => retrieval::measure(&set, &embedder, widths, flags, output),
                Set::Sts(set) => pairs::measure(&set, &embedder, widths, flags, output),
                Set::Classification(set) => {
                    labels::classify(&set, &embedder, widths, flags, output)
                }
                Set::Clustering(set) => labels::cluster(&set, &embedder, widths, flags, output),
            };
            match measured {
                Ok(measured) => rows.extend(measured),
                Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
                    output.note("gemmule: stopped; the sets that were measured:");
                    return Ok((rows, Done::Stopped));
                }
                Err(error) => return Err(error.context(format!("could not measure {path}"))),
            }
        }
    }
    Ok((rows, Done::Whole))
}
