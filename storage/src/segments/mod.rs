//! Immutable files of sealed rows: how they come to be, what storage keeps in them, which of their rows are dead.
//!
//! `seal` turns unsealed rows into a segment, `merge` several segments into one where `plan` finds it worth it,
//! `compact` all of them; `draft` is a segment in the making. `texts` and `listing` are the sections that are
//! storage's own; `sealed` is a live segment, mapped, with its `bitmap` of dead rows.

pub(crate) mod bitmap;
pub(crate) mod compact;
pub(crate) mod draft;
pub(crate) mod listing;
pub(crate) mod merge;
mod plan;
pub(crate) mod seal;
pub(crate) mod sealed;
pub(crate) mod texts;
