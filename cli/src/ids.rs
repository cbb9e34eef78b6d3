//! Ids as people type them: a document's id, its path from here, and either with `#N` for a chunk.

use std::path::Path;

use gemmule::{Collection, DocumentInfo};

use crate::text;

/// The id of a chunk.
pub(crate) fn of_chunk(document: &str, chunk_idx: u32) -> String {
    format!("{document}#{chunk_idx}")
}

/// The document of this id or path.
pub(crate) fn document(
    collection: &Collection,
    typed: &str,
) -> Result<Option<DocumentInfo>, gemmule::Error> {
    if typed.is_empty() {
        return Ok(None);
    }
    if let Some(found) = collection.get(typed)? {
        return Ok(Some(found));
    }
    match text::absolute(Path::new(typed)).to_str() {
        Some(path) if path != typed => collection.get(path),
        _ => Ok(None),
    }
}

/// The document of this id or path, and the number of the chunk if one is named.
pub(crate) fn document_or_chunk(
    collection: &Collection,
    typed: &str,
) -> Result<Option<(DocumentInfo, Option<u32>)>, gemmule::Error> {
    // An id may have a '#' of its own.
    if let Some(found) = document(collection, typed)? {
        return Ok(Some((found, None)));
    }
    let Some((id, chunk)) = typed.rsplit_once('#') else { return Ok(None) };
    let Ok(chunk_idx) = chunk.parse::<u32>() else { return Ok(None) };
    let found = document(collection, id)?;
    Ok(found.filter(|info| chunk_idx < info.n_chunks).map(|info| (info, Some(chunk_idx))))
}
