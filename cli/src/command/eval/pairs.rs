//! Sentence pairs: do scores rank them as people do?

use gemmule::Embedder;
use gemmule::engine::eval::Sts;
use gemmule::engine::eval::measure::spearman;

use super::codes;
use super::embed::{TEXT_TOKENS, embed, note_cut};
use super::row::{Measured, Row, Way};
use super::sample::Sample;
use crate::args::Eval;
use crate::output::Output;
use crate::vector;

pub(super) fn measure(
    set: &Sts,
    embedder: &Embedder,
    widths: &[usize],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    let prompt = embedder.prompt("STS")?;
    let sentences: Vec<(String, &str)> = set
        .pairs
        .iter()
        .flat_map(|(_, first, second)| [first, second])
        .map(|sentence| (prompt.to_owned(), sentence.as_str()))
        .collect();
    let (vectors, n_cut) = embed(embedder, &sentences, TEXT_TOKENS, &set.name, output)?;
    note_cut(&set.name, n_cut, TEXT_TOKENS, output);
    let judged: Vec<f64> = set.pairs.iter().map(|(similarity, ..)| *similarity).collect();
    let mut rows = Vec::new();
    for &dims in widths {
        let mean = codes::mean(&vectors, dims);
        for &quant in &flags.quant {
            let coded = codes::coded(&vectors, dims, quant, &mean);
            let score = |pair: &[Vec<f32>]| f64::from(vector::dot(&pair[0], &pair[1]));
            let scores: Vec<f64> = coded.chunks_exact(2).map(score).collect();
            rows.push(Row {
                set: set.name.clone(),
                n_sets: 1,
                way: Way::exact(dims, quant, embedder.precision().name()),
                measured: Measured::Spearman(spearman(&scores, &judged)),
                sample: Sample::Correlation { scores, judged: judged.clone() },
                n_cut,
            });
        }
    }
    Ok(rows)
}
