//! `gemmule status`: what the database holds and what it weighs.

use gemmule::storage::CollectionStatus;
use gemmule::{Embedder, Precision, Status};
use serde_json::{Value, json};

use super::open_database;
use crate::args::Global;
use crate::output::Output;
use crate::{Done, text};

/// Digits of a fingerprint that tell models apart.
const SHORT_FINGERPRINT: usize = 12;

pub(crate) fn run(global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    let status = open_database(&global.db)?.status()?;
    if output.json {
        output.value(&to_json(&status))?;
    } else {
        print(&status, output)?;
    }
    Ok(Done::Whole)
}

/// What a query would run in now; none if the model is not there any more.
fn precision(collection: &CollectionStatus) -> Option<Precision> {
    Embedder::open(&collection.space.model).ok().map(|embedder| embedder.precision())
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..SHORT_FINGERPRINT).unwrap_or(fingerprint)
}

fn segment_bytes(collection: &CollectionStatus) -> u64 {
    collection.segments.iter().map(|segment| segment.bytes).sum()
}

fn total_bytes(status: &Status) -> u64 {
    status.engine_bytes + status.collections.iter().map(segment_bytes).sum::<u64>()
}

fn to_json(status: &Status) -> Value {
    let collection = |collection: &CollectionStatus| {
        let segments: Vec<Value> = collection
            .segments
            .iter()
            .map(|segment| {
                json!({
                    "name": segment.name,
                    "rows": segment.rows,
                    "dead": segment.dead,
                    "bytes": segment.bytes,
                })
            })
            .collect();
        json!({
            "name": collection.name,
            "model": collection.space.model,
            "fingerprint": short(&collection.space.fingerprint),
            "precision": precision(collection).map(Precision::name),
            "full_width": collection.space.full_width,
            "dims": collection.space.dims,
            "documents": collection.documents,
            "chunks": collection.chunks,
            "unsealed": collection.unsealed,
            "dead": collection.dead,
            "segments": segments,
            "bytes": segment_bytes(collection),
        })
    };
    json!({
        "path": status.path.to_string_lossy(),
        "format": status.format,
        "collections": status.collections.iter().map(collection).collect::<Vec<_>>(),
        "bytes": total_bytes(status),
        "warnings": status.warnings,
    })
}

fn print(status: &Status, output: &mut Output) -> anyhow::Result<()> {
    output.line(format_args!(
        "{}  format {}, {}",
        output.bold(&text::printable(&status.path.display().to_string())),
        status.format,
        text::bytes(total_bytes(status))
    ))?;
    if status.collections.is_empty() {
        output.line("no collections yet")?;
    }
    for collection in &status.collections {
        let space = &collection.space;
        output.line("")?;
        output
            .line(format_args!("collection {}", output.bold(&text::printable(&collection.name))))?;
        output.line(format_args!(
            "  model      {} ({})",
            text::printable(&space.model),
            short(&space.fingerprint)
        ))?;
        output.line(format_args!(
            "  precision  {}",
            precision(collection).map_or("none: the model cannot be opened", Precision::name)
        ))?;
        output
            .line(format_args!("  width      {}, searched at {}", space.full_width, space.dims))?;
        output.line(format_args!("  documents  {}", text::grouped(collection.documents)))?;
        output.line(format_args!(
            "  chunks     {}, {} of them not in a segment yet",
            text::grouped(collection.chunks),
            text::grouped(collection.unsealed)
        ))?;
        output.line(format_args!(
            "  segments   {}, {}, {} dead",
            text::grouped(collection.segments.len()),
            text::bytes(segment_bytes(collection)),
            text::counted(collection.dead, "row"),
        ))?;
    }
    for warning in &status.warnings {
        output.note(format_args!("warning  {}", text::printable(warning)));
    }
    Ok(())
}
