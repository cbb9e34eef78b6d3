//! `gemmule backup`: a copy of the database.

use std::time::Instant;

use serde_json::json;

use super::open_to_change;
use crate::args::{Backup, Global};
use crate::output::Output;
use crate::{Done, text};

pub(crate) fn run(global: &Global, flags: &Backup, output: &mut Output) -> anyhow::Result<Done> {
    let began = Instant::now();
    let db = open_to_change(global)?;
    db.backup(&flags.to)?;
    let seconds = began.elapsed().as_secs_f64();
    let to = text::absolute(&flags.to);
    if output.json {
        output.value(&json!({ "path": to.to_string_lossy(), "seconds": seconds }))?;
    } else {
        output.note(format_args!(
            "copied to {} in {}",
            text::printable(&flags.to.display().to_string()),
            text::duration(seconds)
        ));
    }
    Ok(Done::Whole)
}
