//! `gemmule import`: vectors of one's own, from a file.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use gemmule::{Database, Document, Space, storage};
use serde_json::json;

use crate::args::{Global, Import};
use crate::output::Output;
use crate::rows::Reader;
use crate::{Done, interrupt, text};

/// Rows that are on disk together.
const BATCH_ROWS: usize = 4096;

pub(crate) fn run(global: &Global, flags: &Import, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    // The file is read twice: nothing is added of one that is damaged, however large it is.
    let (n_rows, width) = check(flags)?;
    let db = Database::open(&global.db)?;
    let collection = db.collection_of_vectors(&global.collection, width, flags.metric.into())?;
    let mut reader = Reader::open(&flags.file)?;
    let mut n_added = 0;
    while n_added < n_rows {
        let mut batch = Vec::new();
        while batch.len() < BATCH_ROWS
            && let Some(row) = reader.next_row()?
        {
            batch.push(row);
        }
        ensure!(!batch.is_empty(), "{} was changed while it was read", flags.file.display());
        n_added += batch.len();
        let (documents, rows): (Vec<Document>, Vec<Vec<f32>>) = batch.into_iter().unzip();
        collection.add_vectors(documents, rows)?;
        if interrupt::is_asked() {
            let of = text::grouped(n_rows);
            output.note(format_args!(
                "gemmule: stopped; {} of {of} rows are kept, run the same command again for all",
                text::grouped(n_added)
            ));
            return Ok(Done::Stopped);
        }
    }
    collection.seal()?;
    let seconds = began.elapsed().as_secs_f64();
    if output.json {
        output.value(&json!({ "rows": n_rows, "width": width, "seconds": seconds }))?;
    } else {
        output.note(format_args!(
            "{} of width {width} imported in {}",
            text::counted(n_rows, "row"),
            text::duration(seconds)
        ));
    }
    Ok(Done::Whole)
}

/// Reads the whole file; returns its rows and their width.
fn check(flags: &Import) -> anyhow::Result<(usize, usize)> {
    let file = flags.file.display();
    let mut reader = Reader::open(&flags.file)?;
    let mut ids = HashSet::new();
    let mut space: Option<Space> = None;
    while let Some((document, vector)) = reader.next_row()? {
        let doing = || format!("could not import {file}, {}", reader.place());
        let space =
            space.get_or_insert_with(|| Space::of_vectors(vector.len(), flags.metric.into()));
        let Document { id, title, meta, .. } = document;
        let document = storage::Document { id, source: None, title, meta, chunks: Vec::new() };
        document.check(space).map_err(gemmule::Error::from).with_context(doing)?;
        space
            .asked(&vector)
            .map_err(|problem| {
                let of = format!("document {:?}", document.id);
                gemmule::Error::from(storage::Error::Row { of, problem })
            })
            .with_context(doing)?;
        if !ids.insert(document.id.clone()) {
            bail!("{}: the id {:?} is taken by an earlier row", doing(), document.id);
        }
    }
    match space {
        Some(space) => Ok((ids.len(), space.full_width)),
        None => bail!("{file} has no rows: there is nothing to import"),
    }
}
