//! AdaLink: adapts a frozen model to one collection, from queries whose answers are known.
//!
//! Only queries change, so stored vectors stay as they are. In reading order:
//!
//! - [`Link`] is the low-rank map of the paper (arXiv 2310.12100), [`Head`] a map of a finished vector,
//!   [`Adapter`] what is used of both; `algebra` adds links up.
//! - [`Data`] reads [`Query`]s with their answers; `split` deals them out; [`Documents`] is what they are
//!   compared with.
//! - [`tune`] climbs the `ladder`: `climb` learns each rung on one split (`target` and `loss` say for
//!   what, `fit` how, `place` where: before a model or behind it), and the `gate` decides whether any of
//!   them is worth having. [`guards`] are queries that it must not harm.
//!
//! It knows no stores: documents and vectors come in as matrices.

mod adapter;
mod algebra;
mod clicks;
mod climb;
mod data;
mod documents;
mod file;
mod fit;
mod gate;
mod guard;
mod head;
mod ladder;
mod link;
mod loss;
mod place;
mod query;
mod split;
mod target;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use adapter::Adapter;
pub use data::Data;
pub use documents::{Documents, Form};
pub use file::About;
pub use gate::{Delta, FEWEST_QUERIES, Reason, Verdict};
pub use guard::{FEWEST_GUARDS, MOST_GUARDS, Source, guards};
pub use head::{Head, ridge};
pub use ladder::{Model, Options, Problem, Report, Rung, RungReport, Step, Watch, measure, tune};
pub use link::Link;
pub use place::{Before, LossOf, Place};
pub use query::{Part, Positive, Query, keep_known};
pub use split::{Deal, Split};
