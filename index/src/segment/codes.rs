//! The codes of a segment as they are kept, of either kind.

use crate::binary;
use crate::query::Query;
use crate::score::{BitRows, CodeRows, Scorer};

/// Codes of nodes, and what they are counted from.
#[derive(Clone, Copy)]
pub(super) enum Codes<'a> {
    Int8(CodeRows<'a>),
    /// The mean is `[dims]`.
    Binary(BitRows<'a>, &'a [f32]),
}

impl<'a> Codes<'a> {
    /// What scores nodes for a query.
    pub(super) fn scorer(&self, query: &'a Query) -> Scorer<'a> {
        match *self {
            Codes::Int8(rows) => Scorer::Int8(rows, query.codes()),
            Codes::Binary(rows, mean) => Scorer::Binary(rows, binary::query(query.cut(), mean)),
        }
    }
}
