//! Immutable files of sealed rows: how they come to be, what storage keeps in them, which of their rows are dead.
//!
//! `seal` turns unsealed rows into a segment, `merge` several segments into one where `plan` finds it worth it,
//! `compact` all of them; `draft` is a segment in the making, `taken` what became of its rows meanwhile, `retired` the files
//! that were replaced. `texts` and `listing` are the sections that are
//! storage's own; `sealed` is a live segment, mapped, with its `bitmap` of dead rows.

pub(crate) mod bitmap;
pub(crate) mod compact;
pub(crate) mod draft;
pub(crate) mod listing;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod retired;
pub(crate) mod seal;
pub(crate) mod sealed;
pub(crate) mod taken;
pub(crate) mod texts;
