//! `gemmule reembed`: another model for a collection, built beside the old vectors and then in their place.

use std::time::Instant;

use gemmule::Reembedded;
use serde_json::{Value, json};

use super::{collection_of, open_to_change};
use crate::args::{Global, Reembed};
use crate::output::Output;
use crate::progress::Bar;
use crate::{Done, interrupt, text};

/// More documents that were cut than these are counted only.
const CUT_LINES_MAX: usize = 10;

pub(crate) fn run(global: &Global, flags: &Reembed, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let db = open_to_change(global)?.with_precision(flags.precision.map(Into::into));
    let mut collection = collection_of(&db, global)?;
    let Some(model) = &flags.model else {
        let abandoned = collection.abandon_reembed()?;
        if output.json {
            output.value(&json!({ "abandoned": abandoned }))?;
        } else {
            output.note(match abandoned {
                true => "what was built is given up",
                false => "there is nothing to give up",
            });
        }
        return Ok(Done::Whole);
    };
    let built = db.status()?.collections.into_iter().find(|each| each.name == global.collection);
    let unfinished = built.and_then(|each| each.successor);
    let bar = Bar::of_texts(output, &global.collection, 0);
    let done = collection.reembed(
        model,
        flags.dims,
        &mut |progress| bar.show_part(progress.chunks, progress.chunks_total, progress.tokens),
        &interrupt::is_asked,
    )?;
    drop(bar);
    if done.changed
        && let Some(other) = unfinished.filter(|other| !other.space.agrees_with(collection.space()))
    {
        let model = text::printable(&other.space.model);
        output.note(format_args!("what was built for model {model} was given up"));
    }
    let seconds = began.elapsed().as_secs_f64();
    if output.json {
        output.value(&to_json(&done, model, seconds))?;
    } else {
        report(&done, model, seconds, output);
    }
    if !done.complete {
        output
            .note("gemmule: stopped; searches are as before, run the same command again to go on");
        return Ok(Done::Stopped);
    }
    Ok(Done::Whole)
}

fn report(done: &Reembedded, model: &str, seconds: f64, output: &Output) {
    let model = text::printable(model);
    if done.complete && !done.changed {
        return output.note(format_args!("the collection is in the space of {model} already"));
    }
    if done.cut.len() <= CUT_LINES_MAX {
        for id in &done.cut {
            let id = text::relative(id);
            output.note(format_args!("cut      {id}: some chunks are too long for the model"));
        }
    } else {
        let n_cut = text::counted(done.cut.len(), "document");
        output.note(format_args!("cut      {n_cut}: some chunks are too long for the model"));
    }
    if done.links_dropped > 0 {
        output.note(format_args!(
            "{} of the old space dropped: `gemmule tune run` makes new ones",
            text::counted(done.links_dropped, "link")
        ));
    }
    if done.chunks_resumed > 0 {
        let chunks = text::counted(done.chunks_resumed, "chunk");
        output.note(format_args!("{chunks} were there from a run before"));
    }
    output.note(format_args!(
        "{} embedded, {} in {} ({} tokens/s)",
        text::counted(done.chunks_embedded, "chunk"),
        text::counted(done.tokens_embedded, "token"),
        text::duration(seconds),
        text::grouped((done.tokens_embedded as f64 / seconds) as usize),
    ));
    if done.complete {
        output.note(format_args!(
            "{} of {} now in the space of {model}",
            text::counted(done.chunks, "chunk"),
            text::counted(done.documents, "document"),
        ));
    }
}

fn to_json(done: &Reembedded, model: &str, seconds: f64) -> Value {
    json!({
        "complete": done.complete,
        "changed": done.changed,
        "model": model,
        "totals": {
            "documents": done.documents,
            "chunks": done.chunks,
        },
        "embedded": {
            "chunks": done.chunks_embedded,
            "tokens": done.tokens_embedded,
            "seconds": done.seconds_embedding,
        },
        "resumed": done.chunks_resumed,
        "cut": done.cut,
        "links_dropped": done.links_dropped,
        "seconds": seconds,
        "tokens_per_s": done.tokens_embedded as f64 / seconds,
    })
}
