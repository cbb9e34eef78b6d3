//! `gemmule delete`: take documents out of a collection.

use serde_json::json;

use super::{collection_of, open_to_change};
use crate::args::{Delete, Global};
use crate::output::Output;
use crate::{Done, ids, text};

pub(crate) fn run(global: &Global, flags: &Delete, output: &mut Output) -> anyhow::Result<Done> {
    let db = open_to_change(global)?;
    let collection = collection_of(&db, global)?;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for typed in &flags.ids {
        match ids::document(&collection, typed)? {
            Some(info) => known.push(info.id),
            None => unknown.push(typed),
        }
    }
    let n_deleted = match &flags.filter {
        Some(filter) => collection.delete_where(filter)?,
        None => collection.delete(&known)?,
    };
    if output.json {
        output.value(&json!({ "deleted": n_deleted, "unknown": unknown }))?;
    } else {
        output.note(format_args!("{} deleted", text::counted(n_deleted, "document")));
    }
    for typed in &unknown {
        crate::output::say(format_args!(
            "gemmule: there is no document '{}' in collection '{}'; `gemmule list` shows the ids",
            text::printable(typed),
            global.collection
        ));
    }
    Ok(if unknown.is_empty() { Done::Whole } else { Done::Part })
}
