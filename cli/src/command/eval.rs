//! `gemmule eval`: how well a model finds, by sets that know the answers.
//!
//! A document is one vector: its whole text under the document prompt with its title, cut after
//! [`DOCUMENT_TOKENS`]; how many were cut is reported. With `--chunk-tokens` it is as many as `index`
//! would make, none of it is left out, and its best chunk counts. Through `exact`, vectors are cut to each width,
//! scaled to unit length and compared in f32. Through `ann`, a database is made of them, sealed, and
//! searched as any other: what is measured then is its graph over int8 codes of the width, its
//! re-scoring at full width included. Sentence pairs have no graph; they are always exact.

mod retrieve;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gemmule::engine::eval::measure::{Retrieval, spearman};
use gemmule::engine::eval::{Beir, BeirDocument, Sts};
use gemmule::engine::ingest::{self, ChunkOptions, Extracted};
use gemmule::engine::{Error, Tokens};
use gemmule::{Embedder, Fusion};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::args::{Eval, Through};
use crate::output::{Output, Usage};
use crate::progress::Bar;
use crate::{Done, interrupt, text, vector};

/// Tokens of a document that count, prompt and special tokens included.
const DOCUMENT_TOKENS: usize = 512;

/// One measured width of one set.
struct Row {
    set: String,
    dims: usize,
    quant: &'static str,
    through: &'static str,
    measured: Measured,
    /// Texts that were cut.
    n_cut: usize,
}

enum Measured {
    Retrieval(Retrieval),
    /// None where all similarities are the same.
    Spearman(Option<f64>),
}

/// A set on disk.
enum Set {
    Beir(Beir),
    Sts(Sts),
}

pub(crate) fn run(flags: &Eval, output: &mut Output) -> anyhow::Result<Done> {
    let asks_words = |way: &Through| matches!(way, Through::Text | Through::Hybrid);
    if flags.chunk_tokens.is_some() && flags.through.iter().any(asks_words) {
        bail!(Usage("--chunk-tokens goes with --through exact and ann".to_owned()));
    }
    interrupt::listen()?;
    // What cannot be read is said before an hour of work, not after it.
    let paths: Vec<(PathBuf, bool)> =
        flags.sets.iter().map(|path| sets_at(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let embedder = Embedder::open(&flags.model)?;
    let widths = match flags.dims.is_empty() {
        true => embedder.package().widths.clone(),
        false => flags
            .dims
            .iter()
            .map(|dims| embedder.width(Some(*dims)))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let mut rows = Vec::new();
    for (path, is_folder) in paths {
        let set = match is_folder {
            true => Set::Beir(Beir::read(&path)?),
            false => Set::Sts(Sts::read(&path)?),
        };
        let measured = match &set {
            Set::Beir(set) => measure_beir(set, &embedder, &widths, flags, output),
            Set::Sts(set) => measure_sts(set, &embedder, &widths, output),
        };
        match measured {
            Ok(measured) => rows.extend(measured),
            Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
                output.note("gemmule: stopped; the sets that were measured:");
                print(&rows, output)?;
                return Ok(Done::Stopped);
            }
            Err(error) => {
                return Err(error.context(format!("could not measure {}", path.display())));
            }
        }
    }
    print(&rows, output)?;
    Ok(Done::Whole)
}

/// The sets that a path stands for; true for a folder of BEIR, false for a file of sentence pairs.
fn sets_at(path: &Path) -> anyhow::Result<Vec<(PathBuf, bool)>> {
    let reading = || format!("could not read {}", path.display());
    if !path.metadata().with_context(reading)?.is_dir() {
        return Ok(vec![(path.to_owned(), false)]);
    }
    if path.join("corpus.jsonl").exists() {
        return Ok(vec![(path.to_owned(), true)]);
    }
    let mut pairs = Vec::new();
    for entry in path.read_dir().with_context(reading)? {
        let file = entry.with_context(reading)?.path();
        if file.extension().is_some_and(|ending| ending == "tsv") {
            pairs.push((file, false));
        }
    }
    pairs.sort();
    if pairs.is_empty() {
        let path = path.display();
        bail!(Usage(format!(
            "{path} is no set: a BEIR folder has corpus.jsonl, an STS set is a .tsv file"
        )));
    }
    Ok(pairs)
}

fn measure_beir(
    set: &Beir,
    embedder: &Embedder,
    widths: &[usize],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    let query_prompt = embedder.prompt("query")?;
    let queries: Vec<(String, &str)> =
        set.judged_queries().map(|(_, text)| (query_prompt.to_owned(), text.as_str())).collect();
    if set.n_unknown > 0 {
        output.note(format_args!(
            "warning  {}: {} name a query or document that is not in the set",
            set.name,
            text::counted(set.n_unknown, "judgement")
        ));
    }
    let texts: Vec<&str> = queries.iter().map(|(_, text)| *text).collect();
    let (queries, _) = embed(embedder, &queries, embedder.package().window, &set.name, output)?;
    let both: Vec<_> = queries.iter().cloned().zip(texts).collect();
    let (ids, documents, n_cut) = match flags.chunk_tokens {
        None => embed_whole(set, embedder, output)?,
        Some(n_tokens) => embed_chunks(set, embedder, n_tokens, output)?,
    };
    let judged: Vec<&str> = set.judged_queries().map(|(id, _)| &**id).collect();
    let titled = set.documents.iter().map(|document| (&*document.title, &*document.text));
    // Of chunks no texts are at hand; asking for words among them is refused before.
    let texts = flags.chunk_tokens.is_none().then(|| titled.collect());
    let rows = retrieve::Rows { ids: &ids, vectors: &documents, texts };
    let measure = |(through, dims): (Through, usize)| {
        let ask = |fusion| retrieve::through_database(&both, &rows, dims, fusion);
        let rankings = match through {
            Through::Exact => retrieve::exact(&queries, &documents, &ids, dims),
            Through::Ann => ask(Fusion::VectorOnly)?,
            Through::Text => ask(Fusion::TextOnly)?,
            Through::Hybrid => ask(Fusion::default())?,
        };
        let run: Vec<_> = judged.iter().map(|id| (*id).to_owned()).zip(rankings).collect();
        let measured = Measured::Retrieval(Retrieval::of(&run, &set.qrels));
        let (through, quant) = match through {
            Through::Exact => ("exact", "f32"),
            Through::Ann => ("ann", "int8"),
            Through::Text => ("text", "none"),
            Through::Hybrid => ("hybrid", "int8"),
        };
        Ok(Row { set: set.name.clone(), dims, quant, through, measured, n_cut })
    };
    let ways = flags.through.iter();
    ways.flat_map(|way| widths.iter().map(|dims| (*way, *dims))).map(measure).collect()
}

/// The id of each vector's document, the vectors, and how many texts were cut.
type Vectors<'a> = (Vec<&'a str>, Vec<Vec<f32>>, usize);

fn title_of(document: &BeirDocument) -> Option<&str> {
    Some(&*document.title).filter(|title| !title.is_empty())
}

fn embed_whole<'a>(
    set: &'a Beir,
    embedder: &Embedder,
    output: &Output,
) -> Result<Vectors<'a>, Error> {
    let documents = set.documents.iter().map(|document| {
        Ok((embedder.document_prompt(title_of(document))?, document.text.as_str()))
    });
    let documents = documents.collect::<Result<Vec<_>, Error>>()?;
    let (vectors, n_cut) = embed(embedder, &documents, DOCUMENT_TOKENS, &set.name, output)?;
    note_cut(&set.name, n_cut, DOCUMENT_TOKENS, output);
    Ok((set.documents.iter().map(|document| &*document.id).collect(), vectors, n_cut))
}

/// A document's chunks follow each other.
fn embed_chunks<'a>(
    set: &'a Beir,
    embedder: &Embedder,
    n_tokens: usize,
    output: &Output,
) -> Result<Vectors<'a>, Error> {
    let options = ChunkOptions { tokens: n_tokens };
    let cut = |document: &'a BeirDocument| {
        let title = title_of(document).map(str::to_owned);
        let extracted = Extracted::plain(&*document.text, title);
        let chunks = ingest::prepare(&extracted, embedder, &options)?;
        Ok(chunks.into_iter().map(|chunk| (&*document.id, chunk.tokens)).collect::<Vec<_>>())
    };
    let chunks: Vec<_> = set.documents.par_iter().map(cut).collect::<Result<Vec<_>, Error>>()?;
    let (ids, tokens): (Vec<&str>, Vec<Tokens>) = chunks.into_iter().flatten().unzip();
    let vectors = embed_tokens(embedder, &tokens, &set.name, output)?;
    Ok((ids, vectors, 0))
}

fn measure_sts(
    set: &Sts,
    embedder: &Embedder,
    widths: &[usize],
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    let prompt = embedder.prompt("STS")?;
    let sentences: Vec<(String, &str)> = set
        .pairs
        .iter()
        .flat_map(|(_, first, second)| [first, second])
        .map(|sentence| (prompt.to_owned(), sentence.as_str()))
        .collect();
    let (vectors, n_cut) = embed(embedder, &sentences, DOCUMENT_TOKENS, &set.name, output)?;
    note_cut(&set.name, n_cut, DOCUMENT_TOKENS, output);
    let judged: Vec<f64> = set.pairs.iter().map(|(similarity, ..)| *similarity).collect();
    let rows = widths.iter().map(|&dims| {
        let score = |pair: &[Vec<f32>]| {
            let [first, second] = [0, 1].map(|side| vector::cut(&pair[side], dims));
            f64::from(vector::dot(&first, &second))
        };
        let scores: Vec<f64> = vectors.chunks_exact(2).map(score).collect();
        let measured = Measured::Spearman(spearman(&scores, &judged));
        Row { set: set.name.clone(), dims, quant: "f32", through: "exact", measured, n_cut }
    });
    Ok(rows.collect())
}

fn note_cut(set: &str, n_cut: usize, n_tokens_max: usize, output: &Output) {
    if n_cut > 0 {
        output.note(format_args!(
            "{set}: {} cut to {n_tokens_max} tokens",
            text::counted(n_cut, "text")
        ));
    }
}

/// Vectors of full width of prompts and texts, and how many texts were cut.
fn embed(
    embedder: &Embedder,
    texts: &[(String, &str)],
    n_tokens_max: usize,
    set: &str,
    output: &Output,
) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let tokenize = |(prompt, text): &(String, &str)| {
        let mut tokens = embedder.tokenize_truncated(prompt, text)?;
        let n_over = tokens.ids.len().saturating_sub(n_tokens_max);
        if n_over > 0 {
            // The last token closes the text.
            let end = tokens.ids[tokens.ids.len() - 1];
            tokens.ids.truncate(n_tokens_max - 1);
            tokens.ids.push(end);
            tokens.n_dropped += n_over;
        }
        Ok(tokens)
    };
    let tokens: Vec<Tokens> = texts.par_iter().map(tokenize).collect::<Result<_, Error>>()?;
    let vectors = embed_tokens(embedder, &tokens, set, output)?;
    Ok((vectors, tokens.iter().filter(|tokens| tokens.n_dropped > 0).count()))
}

fn embed_tokens(
    embedder: &Embedder,
    tokens: &[Tokens],
    set: &str,
    output: &Output,
) -> Result<Vec<Vec<f32>>, Error> {
    let bar = Bar::of_texts(output, set, tokens.len());
    embedder.embed(tokens, |n_texts, n_tokens| {
        bar.show_texts(n_texts, n_tokens);
        !interrupt::is_asked()
    })
}

fn print(rows: &[Row], output: &mut Output) -> anyhow::Result<()> {
    if output.json {
        let results: Vec<Value> = rows.iter().map(to_json).collect();
        return output.value(&json!({ "results": results }));
    }
    const HEADS: [&str; 9] = [
        "set",
        "dims",
        "quant",
        "through",
        "ndcg@10",
        "recall@10",
        "recall@100",
        "mrr@10",
        "spearman",
    ];
    let cells: Vec<[String; 9]> =
        [HEADS.map(str::to_owned)].into_iter().chain(rows.iter().map(to_cells)).collect();
    let widths: [usize; 9] = std::array::from_fn(|column_idx| {
        cells.iter().map(|row| row[column_idx].len()).max().unwrap_or(0)
    });
    for row in &cells {
        let [set, rest @ ..] = row;
        let mut line = format!("{set:<width$}", width = widths[0]);
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            line += &format!("  {cell:>width$}");
        }
        output.line(line)?;
    }
    Ok(())
}

fn to_cells(row: &Row) -> [String; 9] {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let [ndcg10, recall10, recall100, mrr10, spearman] = row.measured.numbers().map(number);
    [
        text::printable(&row.set),
        row.dims.to_string(),
        row.quant.to_owned(),
        row.through.to_owned(),
        ndcg10,
        recall10,
        recall100,
        mrr10,
        spearman,
    ]
}

fn to_json(row: &Row) -> Value {
    let [ndcg10, recall10, recall100, mrr10, spearman] = row.measured.numbers();
    json!({
        "set": row.set,
        "dims": row.dims,
        "quant": row.quant,
        "through": row.through,
        "ndcg10": ndcg10,
        "recall10": recall10,
        "recall100": recall100,
        "mrr10": mrr10,
        "spearman": spearman,
        "truncated": row.n_cut,
    })
}

impl Measured {
    /// In the order of the table's columns.
    fn numbers(&self) -> [Option<f64>; 5] {
        match self {
            Measured::Retrieval(r) => {
                [Some(r.ndcg10), Some(r.recall10), Some(r.recall100), Some(r.mrr10), None]
            }
            Measured::Spearman(value) => [None, None, None, None, *value],
        }
    }
}
