//! Rows of numbers: cut, quantised, scored, linked into a graph, kept as segment bytes.
//!
//! Memory in, memory out: this crate opens no file, reads no clock and knows no text. A vector goes
//! this way:
//!
//! ```text
//! row f16[full] -> mrl: cut to d, renormalise -> int8 codes[d] + scale -> graph over equal-code nodes
//!                                                              (or bits of them, once the graph is built)
//! query f32[full] -> the same cut -> walk over the graph -> best nodes -> full-width score -> hits
//! ```
//!
//! - [`mrl`] cuts and quantises, `binary` makes bits of that, [`score`] holds the dot products and the only
//!   unsafe code.
//! - [`SegmentBuilder`] turns rows and older segments into one immutable segment, [`Built`] writes it,
//!   [`Segment`] reads it where it lies; the layout is in `SEGMENT.md`.
//! - [`scan`] scores rows that are not in a segment yet, with the same score.
//!
//! Higher is closer, everywhere. A score is that of the full-width row as it is kept: the dot product of a
//! row of unit length in f16 and a query in f32, or, of rows that were given and are kept in f32, what
//! their [`Metric`] says. Codes only choose which rows are scored.

mod binary;
mod error;
mod exact;
mod form;
mod graph;
pub mod mrl;
mod query;
mod row_set;
pub mod score;
mod segment;

pub use binary::BINARY_DIMS_MIN;
pub use error::{Part, SegmentError};
pub use exact::scan;
pub use form::{Form, Metric, Values, Vector};
pub use graph::{EF_CONSTRUCTION, EF_DEFAULT, M};
pub use query::{Found, Plan, Query, RECALL_TARGET, RowId, Scored, Search, Shape};
pub use row_set::RowSet;
pub use segment::{Built, MAX_ROWS, PartBytes, RecallPoint, Segment, SegmentBuilder, SegmentStats};
