//! `gemmule restore`: a database from a copy.

use std::time::Instant;

use serde_json::json;

use crate::args::{Global, Restore};
use crate::output::Output;
use crate::{Done, text};

pub(crate) fn run(global: &Global, flags: &Restore, output: &mut Output) -> anyhow::Result<Done> {
    let began = Instant::now();
    gemmule::restore(&flags.from, &global.db).map_err(gemmule::Error::from)?;
    let seconds = began.elapsed().as_secs_f64();
    let to = text::absolute(&global.db);
    if output.json {
        output.value(&json!({ "path": to.to_string_lossy(), "seconds": seconds }))?;
    } else {
        output.note(format_args!(
            "{} restored in {}",
            text::printable(&global.db.display().to_string()),
            text::duration(seconds)
        ));
    }
    Ok(Done::Whole)
}
