//! `gemmule reindex`: another width of the codes that are searched, without embedding anything.

use std::time::Instant;

use super::{collection_of, compact, open_to_change};
use crate::args::{Global, Reindex};
use crate::output::Output;
use crate::{Done, interrupt};

pub(crate) fn run(flags: &Reindex, global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let db = open_to_change(global)?;
    let done = collection_of(&db, global)?.reindex(flags.dims, &interrupt::is_asked)?;
    compact::report(&done, began.elapsed().as_secs_f64(), output)
}
