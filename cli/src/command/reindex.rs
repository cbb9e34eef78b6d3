//! `gemmule reindex`: another width or kind of the codes that are searched, without embedding anything.

use std::time::Instant;

use super::{collection_of, compact, open_to_change};
use crate::args::{Global, Reindex};
use crate::output::Output;
use crate::{Done, interrupt};

pub(crate) fn run(flags: &Reindex, global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let db = open_to_change(global)?;
    let mut collection = collection_of(&db, global)?;
    let dims = flags.dims.unwrap_or(collection.space().dims);
    let quant = flags.quant.map_or(collection.space().quant, Into::into);
    let done = collection.reindex(dims, quant, &interrupt::is_asked)?;
    compact::report(&done, began.elapsed().as_secs_f64(), output)
}
