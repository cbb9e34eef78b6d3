//! `gemmule get`: a document as it is kept, or one chunk of it.

use anyhow::bail;
use gemmule::{DocumentInfo, StoredChunk};
use serde_json::{Value, json};

use super::search::heading;
use super::{as_of, open_collection};
use crate::args::{Get, Global};
use crate::output::Output;
use crate::{Done, ids, text};

pub(crate) fn run(global: &Global, flags: &Get, output: &mut Output) -> anyhow::Result<Done> {
    let (db, collection) = open_collection(global, None, output)?;
    let Some((info, chunk_idx)) = ids::document_or_chunk(&collection, &flags.id)? else {
        bail!(
            "there is no document or chunk '{}' in collection '{}'; `gemmule list` shows the ids",
            text::printable(&flags.id),
            global.collection
        );
    };
    let range = chunk_idx.map_or(0..info.n_chunks, |idx| idx..idx + 1);
    let chunks = collection.chunks(&info.id, range)?;
    if output.json {
        let mut value = to_json(&info, &chunks);
        value["as_of"] = json!(as_of(&db));
        output.value(&value)?;
    } else {
        print(&info, &chunks, output)?;
    }
    Ok(Done::Whole)
}

fn to_json(info: &DocumentInfo, chunks: &[StoredChunk]) -> Value {
    let chunk = |chunk: &StoredChunk| {
        json!({
            "id": ids::of_chunk(&info.id, chunk.chunk_idx),
            "range": [chunk.range.start, chunk.range.end],
            "page": chunk.page,
            "heading": heading(chunk),
            "tokens": chunk.n_tokens,
            "precision": chunk.precision,
            "text": chunk.text,
        })
    };
    json!({
        "id": info.id,
        "path": info.source.as_ref().map(|_| &info.id),
        "kind": info.source.as_ref().map(|source| &source.kind),
        "title": info.title,
        "meta": info.meta,
        "n_chunks": info.n_chunks,
        "chunks": chunks.iter().map(chunk).collect::<Vec<_>>(),
    })
}

fn print(info: &DocumentInfo, chunks: &[StoredChunk], output: &mut Output) -> anyhow::Result<()> {
    output.line(output.bold(&text::relative(&info.id)))?;
    if let Some(title) = &info.title {
        output.line(format_args!("title: {}", text::printable(title)))?;
    }
    for (key, value) in &info.meta {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(format_args!("{}: {}", text::printable(key), text::printable(&value)))?;
    }
    for chunk in chunks {
        let page = chunk.page.map(|page| format!(", page {page}")).unwrap_or_default();
        let heading = heading(chunk).map(|path| format!("  {path}")).unwrap_or_default();
        output.line("")?;
        let head = text::printable(&format!("#{}{page}{heading}", chunk.chunk_idx));
        output.line(output.dim(&head))?;
        output.line(text::printable_lines(chunk.text.trim_end_matches('\n')))?;
    }
    Ok(())
}
