//! `gemmule export`: the vectors of a collection, to a file.

use std::time::Instant;

use anyhow::bail;
use gemmule::Document;
use gemmule::storage::index::Form;
use serde_json::json;

use super::open_collection;
use crate::args::{Export, Global};
use crate::output::Output;
use crate::rows::Writer;
use crate::{Done, ids, interrupt, text};

pub(crate) fn run(global: &Global, flags: &Export, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let (_db, collection) = open_collection(global, None, output)?;
    let mut documents = collection.list()?;
    documents.sort_by_key(|document| document.first_row);
    let n_rows = documents.iter().map(|document| document.n_chunks as usize).sum();
    let width = collection.space().full_width;
    // What a repair leaves in the place of a vector: in f16 zeros, in f32, where these are a vector too, NaN.
    let is_lost = |vector: &[f32]| match collection.space().form() {
        Form::Unit => vector.iter().all(|x| *x == 0.0),
        Form::Given(_) => vector.iter().any(|x| x.is_nan()),
    };
    let mut writer = Writer::create(&flags.file, n_rows, width)?;
    for info in documents {
        for (chunk, vector) in collection.vectors(&info.id)? {
            let id = match info.n_chunks {
                1 => info.id.clone(),
                _ => ids::of_chunk(&info.id, chunk.chunk_idx),
            };
            if is_lost(&vector) {
                bail!(
                    "{id} has lost its vector, which a repair found damaged: run `index` or `import` to bring \
                     it back, or delete it"
                );
            }
            let (title, meta) = (info.title.clone(), info.meta.clone());
            writer.row(&Document { id, text: chunk.text, title, meta }, &vector)?;
        }
        if interrupt::is_asked() {
            output.note("gemmule: stopped; the file was not written");
            return Ok(Done::Stopped);
        }
    }
    writer.finish()?;
    let seconds = began.elapsed().as_secs_f64();
    if output.json {
        output.value(&json!({ "rows": n_rows, "width": width, "seconds": seconds }))?;
    } else {
        output.note(format_args!(
            "{} of width {width} exported in {}",
            text::counted(n_rows, "row"),
            text::duration(seconds)
        ));
    }
    Ok(Done::Whole)
}
