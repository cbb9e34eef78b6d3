//! `gemmule list`: the documents of a collection, by id.

use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::{as_of, open_collection};
use crate::args::{Global, List};
use crate::output::Output;
use crate::{Done, text};

pub(crate) fn run(global: &Global, flags: &List, output: &mut Output) -> anyhow::Result<Done> {
    let (db, collection) = open_collection(global, None, output)?;
    let documents = match &flags.filter {
        Some(filter) => collection.list_where(filter)?,
        None => collection.list()?,
    };
    let as_of = as_of(&db);
    let ids = documents.iter().map(|info| text::relative(&info.id).width());
    let id_columns = ids.max().unwrap_or(0).min(text::columns() / 2);
    for info in &documents {
        if output.json {
            output.value(&json!({
                "id": info.id,
                "chunks": info.n_chunks,
                "title": info.title,
                "kind": info.source.as_ref().map(|source| &source.kind),
                "as_of": as_of,
            }))?;
        } else if output.is_terminal {
            let id = text::relative(&info.id);
            let gap = " ".repeat(id_columns.saturating_sub(id.width()));
            let title = text::printable(info.title.as_deref().unwrap_or_default());
            output.line(
                format!("{id}{gap}  {:>6}  {title}", text::grouped(info.n_chunks as usize))
                    .trim_end(),
            )?;
        } else {
            // For another program: the id as it is.
            output.line(&info.id)?;
        }
    }
    if documents.is_empty() {
        output.note("no documents");
    }
    Ok(Done::Whole)
}
