//! `gemmule compact`: one segment, nothing deleted kept, the space given back.

use std::time::Instant;

use gemmule::Compacted;
use serde_json::json;

use super::{collection_of, open_to_change};
use crate::args::Global;
use crate::output::Output;
use crate::{Done, interrupt, text};

pub(crate) fn run(global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let db = open_to_change(global)?;
    let done = collection_of(&db, global)?.compact(&interrupt::is_asked)?;
    report(&done, began.elapsed().as_secs_f64(), output)
}

/// Tells what a compaction did.
pub(super) fn report(done: &Compacted, seconds: f64, output: &mut Output) -> anyhow::Result<Done> {
    if output.json {
        output.value(&json!({
            "complete": done.complete,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
            "seconds": seconds,
        }))?;
    } else if done.complete {
        output.note(format_args!(
            "{} before, {} now, {}",
            text::bytes(done.bytes_before),
            text::bytes(done.bytes_after),
            text::duration(seconds)
        ));
    }
    if !done.complete {
        output.note("gemmule: stopped; nothing is lost, run the same command again to go on");
        return Ok(Done::Stopped);
    }
    Ok(Done::Whole)
}
