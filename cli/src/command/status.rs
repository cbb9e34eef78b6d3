//! `gemmule status`: what the database holds and what it weighs.

use gemmule::storage::index::EF_DEFAULT;
use gemmule::storage::{CollectionStatus, SegmentStatus};
use gemmule::{Embedder, Precision, Status};
use serde_json::{Value, json};

use super::{as_of, collection_flag, db_flag, open_database};
use crate::args::Global;
use crate::output::Output;
use crate::{Done, text};

/// Digits of a fingerprint that tell models apart.
const SHORT_FINGERPRINT: usize = 12;

pub(crate) fn run(global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    let db = open_database(global, output)?;
    let status = db.status()?;
    if output.json {
        let mut value = to_json(&status);
        value["as_of"] = json!(as_of(&db));
        output.value(&value)?;
    } else {
        print(&status, &db_flag(&global.db), output)?;
    }
    Ok(Done::Whole)
}

/// What a query would run in now; none if the model is not there any more, or there never was one.
fn precision(collection: &CollectionStatus) -> Option<Precision> {
    if !collection.space.has_model() {
        return None;
    }
    Embedder::open(&collection.space.model).ok().map(|embedder| embedder.precision())
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..SHORT_FINGERPRINT).unwrap_or(fingerprint)
}

/// What a collection has in segments, and what is built of it in another space.
fn segment_bytes(collection: &CollectionStatus) -> u64 {
    let built = collection.successor.as_ref().map_or(0, |built| built.bytes);
    collection.segments.iter().map(|segment| segment.bytes).sum::<u64>() + built
}

/// The share of the best ten that the graph finds as searches walk it, measured when the segment was
/// built; none if it is small, since it is scanned then.
fn segment_recall(segment: &SegmentStatus) -> Option<f64> {
    let points = segment.stats.recall.iter();
    // Between two points that were measured, the lower is what is sure.
    points.take_while(|point| point.ef <= EF_DEFAULT).last().map(|point| exact(point.recall))
}

/// A share as it was kept, in ten-thousandths: as f32 it would print with digits that mean nothing.
fn exact(share: f32) -> f64 {
    (f64::from(share) * 10_000.0).round() / 10_000.0
}

/// The lowest of the segments' recalls.
pub(super) fn recall(segments: &[SegmentStatus]) -> Option<f64> {
    segments.iter().filter_map(segment_recall).min_by(f64::total_cmp)
}

/// The share of rows that are dead.
fn dead_share(dead: usize, rows: usize) -> f64 {
    if rows == 0 { 0.0 } else { dead as f64 / rows as f64 }
}

fn total_bytes(status: &Status) -> u64 {
    status.engine_bytes + status.collections.iter().map(segment_bytes).sum::<u64>()
}

fn to_json(status: &Status) -> Value {
    let collection = |collection: &CollectionStatus| {
        json!({
            "name": collection.name,
            "model": collection.space.model,
            "metric": collection.space.metric().map(|metric| metric.to_string()),
            "fingerprint": collection.space.has_model().then(|| short(&collection.space.fingerprint)),
            "precision": precision(collection).map(Precision::name),
            "full_width": collection.space.full_width,
            "dims": collection.space.dims,
            "quant": collection.space.quant.to_string(),
            "link": collection.link,
            "documents": collection.documents,
            "chunks": collection.chunks,
            "unsealed": collection.unsealed,
            "dead": collection.dead,
            "segments": collection.segments.iter().map(segment_to_json).collect::<Vec<_>>(),
            "bytes": segment_bytes(collection),
            "reembed": collection.successor.as_ref().map(|built| json!({
                "model": built.space.model,
                "fingerprint": short(&built.space.fingerprint),
                "dims": built.space.dims,
                "documents": built.documents,
                "chunks": built.chunks,
                "bytes": built.bytes,
            })),
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

fn segment_to_json(segment: &SegmentStatus) -> Value {
    let points = segment.stats.recall.iter();
    json!({
        "name": segment.name,
        "rows": segment.rows,
        "dead": segment.dead,
        "dead_share": dead_share(segment.dead, segment.rows),
        "bytes": segment.bytes,
        "dims": segment.dims,
        "quant": segment.quant.to_string(),
        "precisions": segment.precisions,
        "mended": segment.stats.mended,
        "recall": segment_recall(segment),
        "recall_by_ef": points.map(|point| json!([point.ef, exact(point.recall)])).collect::<Vec<_>>(),
    })
}

/// `db_flag`: what a command needs to mean this database.
fn print(status: &Status, db_flag: &str, output: &mut Output) -> anyhow::Result<()> {
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
        if space.has_model() {
            output.line(format_args!(
                "  model      {} ({})",
                text::printable(&space.model),
                short(&space.fingerprint)
            ))?;
            output.line(format_args!(
                "  precision  {}",
                precision(collection).map_or("none: the model cannot be opened", Precision::name)
            ))?;
        } else if let Some(metric) = space.metric() {
            output.line(format_args!(
                "  model      none: its vectors were given, and are compared by {metric}"
            ))?;
        }
        output.line(format_args!(
            "  width      {}, searched by {} codes of {}",
            space.full_width, space.quant, space.dims
        ))?;
        if let Some(link) = &collection.link {
            output.line(format_args!("  link       {}", text::printable(link)))?;
        }
        if let Some(built) = &collection.successor {
            let model = text::printable(&built.space.model);
            let collection_flag = collection_flag(&collection.name);
            output.line(format_args!(
                "  reembed    {} of {} documents in the space of {model}; \
                 `gemmule reembed{db_flag}{collection_flag} --model {model}` goes on",
                text::grouped(built.documents),
                text::grouped(collection.documents),
            ))?;
        }
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
        for segment in &collection.segments {
            output.line(format_args!("    {}", segment_line(segment)))?;
        }
    }
    for warning in &status.warnings {
        output.note(format_args!("warning  {}", text::printable(warning)));
    }
    Ok(())
}

fn segment_line(segment: &SegmentStatus) -> String {
    let share = 100.0 * dead_share(segment.dead, segment.rows);
    let mut line = format!(
        "{}  {}, {}, {share:.0} % dead",
        short(&segment.name),
        text::counted(segment.rows, "row"),
        text::bytes(segment.bytes)
    );
    let made = segment.precisions.iter().filter(|(name, _)| !name.is_empty());
    let made: Vec<(&String, &u64)> = made.collect();
    match made[..] {
        [] => {}
        [(name, _)] => line += &format!(", made in {}", text::printable(name)),
        _ => {
            let each = made.iter().map(|(name, n)| {
                format!("{} in {}", text::grouped(**n as usize), text::printable(name))
            });
            line += &format!(", made {}", each.collect::<Vec<_>>().join(" and "));
        }
    }
    if let Some(recall) = segment_recall(segment) {
        line += &format!(", finds {:.2} % of the best ten", 100.0 * recall);
    }
    if segment.stats.mended > 0 {
        line += &format!(", {} mended", text::counted(segment.stats.mended as usize, "link"));
    }
    line
}
