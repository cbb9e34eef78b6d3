//! A retrieval set: are the documents found that answer its queries?

use gemmule::engine::eval::measure::Retrieval;
use gemmule::engine::eval::{Beir, BeirDocument};
use gemmule::engine::ingest::{self, ChunkOptions, Extracted};
use gemmule::engine::{Error, Tokens};
use gemmule::{Embedder, Fusion};
use rayon::prelude::*;

use super::codes;
use super::embed::{TEXT_TOKENS, embed, embed_tokens, note_cut};
use super::rank::{self, Ranking, Rows};
use super::row::{Measured, Row, Way};
use super::sample::Sample;
use crate::args::{Eval, Quant, Through};
use crate::output::Output;
use crate::text;

pub(super) fn measure(
    set: &Beir,
    embedder: &Embedder,
    widths: &[usize],
    flags: &Eval,
    output: &Output,
) -> anyhow::Result<Vec<Row>> {
    if set.n_unknown > 0 {
        output.note(format_args!(
            "warning  {}: {} name a query or document that is not in the set",
            set.name,
            text::counted(set.n_unknown, "judgement")
        ));
    }
    let query_prompt = embedder.prompt("query")?;
    let queries: Vec<(String, &str)> =
        set.judged_queries().map(|(_, text)| (query_prompt.to_owned(), text.as_str())).collect();
    let query_texts: Vec<&str> = queries.iter().map(|(_, text)| *text).collect();
    let (queries, _) = embed(embedder, &queries, embedder.package().window, &set.name, output)?;
    let (ids, documents, n_cut) = match flags.chunk_tokens {
        None => embed_whole(set, embedder, output)?,
        Some(n_tokens) => embed_chunks(set, embedder, n_tokens, output)?,
    };
    let titled = set.documents.iter().map(|document| (&*document.title, &*document.text));
    // Of chunks no texts are at hand; asking for words among them is refused before.
    let texts = flags.chunk_tokens.is_none().then(|| titled.collect());
    let database = Rows { ids: &ids, vectors: &documents, texts };
    let asked: Vec<_> = queries.iter().cloned().zip(query_texts).collect();
    let precision = embedder.precision().name();
    let mut rows = Vec::new();
    for (through, &dims) in
        flags.through.iter().flat_map(|way| widths.iter().map(move |d| (*way, d)))
    {
        let fusion = match through {
            Through::Exact => {
                let mean = codes::mean(&documents, dims);
                for &quant in &flags.quant {
                    let [queries, documents] = [&queries, &documents]
                        .map(|vectors| codes::coded(vectors, dims, quant, &mean));
                    let rankings = rank::exact(&queries, &documents, &ids);
                    rows.push(row(set, Way::exact(dims, quant, precision), rankings, n_cut));
                }
                continue;
            }
            Through::Ann => Fusion::VectorOnly,
            Through::Text => Fusion::TextOnly,
            Through::Hybrid => Fusion::default(),
        };
        for quant in kinds(through, &flags.quant) {
            let kept = match quant {
                Quant::Binary => gemmule::Quant::Binary,
                Quant::F32 | Quant::Int8 => gemmule::Quant::Int8,
            };
            let rankings = rank::through_database(&asked, &database, (dims, kept), fusion)?;
            rows.push(row(set, Way::through(through, dims, quant, precision), rankings, n_cut));
        }
    }
    Ok(rows)
}

/// The kinds of codes to make databases of: those asked for that codes can be, else int8. Words need none.
fn kinds(through: Through, asked: &[Quant]) -> Vec<Quant> {
    let is_kind = |quant: &Quant| *quant != Quant::F32;
    let kinds: Vec<Quant> = asked.iter().copied().filter(is_kind).collect();
    if kinds.is_empty() || matches!(through, Through::Text) { vec![Quant::Int8] } else { kinds }
}

fn row(set: &Beir, way: Way, rankings: Vec<Ranking>, n_cut: usize) -> Row {
    let run: Vec<_> = set.judged_queries().map(|(id, _)| id.clone()).zip(rankings).collect();
    let each = Retrieval::each(&run, &set.qrels);
    Row {
        set: set.name.clone(),
        n_sets: 1,
        way,
        measured: Measured::Retrieval(Retrieval::mean(&each)),
        sample: Sample::Means(vec![each.iter().map(|query| query.ndcg10).collect()]),
        n_cut,
    }
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
    let (vectors, n_cut) = embed(embedder, &documents, TEXT_TOKENS, &set.name, output)?;
    note_cut(&set.name, n_cut, TEXT_TOKENS, output);
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
