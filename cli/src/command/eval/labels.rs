//! Texts with labels: are classes apart in the space, and do they lie together?

use gemmule::Embedder;
use gemmule::engine::eval::learn::{
    Classified, Clustered, classify as classified, cluster as clustered,
};
use gemmule::engine::eval::{Classification, Clustering, Labelled};

use super::codes;
use super::embed::{TEXT_TOKENS, embed, note_cut};
use super::row::{Measured, Row, Way};
use super::sample::Sample;
use crate::args::Eval;
use crate::output::Output;

/// What is drawn is drawn alike for all models, so that they can be compared.
const SEED: u64 = 10;

pub(super) fn classify(
    set: &Classification,
    embedder: &Embedder,
    widths: &[usize],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    let vectors = |side: &Labelled| vectors(side, "Classification", &set.name, embedder, output);
    let (train, test) = (vectors(&set.train)?, vectors(&set.test)?);
    let n_cut = train.1 + test.1;
    note_cut(&set.name, n_cut, TEXT_TOKENS, output);
    let mut rows = Vec::new();
    for &dims in widths {
        let mean = codes::mean(&train.0, dims);
        for &quant in &flags.quant {
            let [train, test] = [&train.0, &test.0]
                .map(|vectors| codes::unit(&codes::coded(vectors, dims, quant, &mean)));
            let Classified { accuracy, macro_f1, each } =
                classified((&train, &set.train.classes), (&test, &set.test.classes), SEED);
            rows.push(Row {
                set: set.name.clone(),
                n_sets: 1,
                way: Way::exact(dims, quant, embedder.precision().name()),
                measured: Measured::Classes { accuracy, macro_f1 },
                sample: Sample::Means(vec![each]),
                n_cut,
            });
        }
    }
    Ok(rows)
}

pub(super) fn cluster(
    set: &Clustering,
    embedder: &Embedder,
    widths: &[usize],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    let (vectors, n_cut) = vectors(&set.texts, "Clustering", &set.name, embedder, output)?;
    note_cut(&set.name, n_cut, TEXT_TOKENS, output);
    let mut rows = Vec::new();
    for &dims in widths {
        let mean = codes::mean(&vectors, dims);
        for &quant in &flags.quant {
            let coded = codes::unit(&codes::coded(&vectors, dims, quant, &mean));
            let Clustered { v_measure, each } = clustered(&coded, &set.texts.classes, SEED);
            rows.push(Row {
                set: set.name.clone(),
                n_sets: 1,
                way: Way::exact(dims, quant, embedder.precision().name()),
                measured: Measured::VMeasure(v_measure),
                sample: Sample::Means(vec![each]),
                n_cut,
            });
        }
    }
    Ok(rows)
}

fn vectors(
    side: &Labelled,
    task: &str,
    set: &str,
    embedder: &Embedder,
    output: &Output,
) -> anyhow::Result<(Vec<Vec<f32>>, usize)> {
    let prompt = embedder.prompt(task)?;
    let texts: Vec<(String, &str)> =
        side.texts.iter().map(|text| (prompt.to_owned(), text.as_str())).collect();
    Ok(embed(embedder, &texts, TEXT_TOKENS, set, output)?)
}
