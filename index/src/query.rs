//! What is asked and what is answered: a prepared query, the way to search, hits.

use crate::form::{Form, Target};
use crate::mrl;
use crate::score::QueryCodes;
use crate::segment::Estimate;

/// The position of a row inside its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// The widths of a segment: rows are kept at `full`, codes are cut to `dims`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers in a row as kept.
    pub full: usize,
    /// Numbers in a code, at least 1 and at most `full`.
    pub dims: usize,
}

/// A query prepared for one [`Shape`] of rows of unit length, or for one segment.
#[derive(Clone, Debug)]
pub struct Query {
    target: Target,    // [full]
    cut: Vec<f32>,     // [dims], unit length; empty where lengths count
    codes: QueryCodes, // [dims]
    estimate: Estimate,
}

impl Query {
    /// Prepares a query for rows of unit length, whatever their segment: the full-width vector is kept as
    /// given, its cut is renormalised and quantised. [`Segment::query`](crate::Segment::query) prepares one
    /// for any segment.
    ///
    /// # Panics
    /// If `dims` is 0 or larger than `full.len()`.
    pub fn new(full: &[f32], dims: usize) -> Query {
        Query::of_unit(full, dims, Form::Unit)
    }

    pub(crate) fn of_unit(full: &[f32], dims: usize, form: Form) -> Query {
        assert!(dims > 0, "a query has at least one dimension");
        let cut = mrl::cut(full, dims);
        let codes = QueryCodes::new(mrl::quantise(&cut));
        Query { cut, ..Query::of_codes(full, form, codes, Estimate::Same) }
    }

    pub(crate) fn of_codes(
        full: &[f32],
        form: Form,
        codes: QueryCodes,
        estimate: Estimate,
    ) -> Query {
        Query { target: Target::new(full, form), cut: Vec::new(), codes, estimate }
    }

    /// The widths this query was prepared for.
    pub fn shape(&self) -> Shape {
        Shape { full: self.full().len(), dims: self.codes.len() }
    }

    /// The full-width vector, `[full]`.
    pub fn full(&self) -> &[f32] {
        self.target.full()
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// Its first numbers at unit length, `[dims]`.
    pub(crate) fn cut(&self) -> &[f32] {
        &self.cut
    }

    pub(crate) fn codes(&self) -> &QueryCodes {
        &self.codes
    }
}

/// A row and its full-width score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row's position in its segment.
    pub row: RowId,
    /// Of a row of unit length the dot product of the f16 row and the f32 query, accumulated in f32; of a
    /// given row what its [`Metric`](crate::Metric) says. Higher is closer. A score that is not a number counts
    /// as negative infinity.
    pub score: f32,
}

/// The answer of one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Best first; equal scores in order of their rows.
    pub hits: Vec<Scored>,
    /// How many rows (scans) or nodes (walks) were scored, those of a walk that gave up included.
    pub compared: usize,
    /// Whether every row that was asked for was scored at full width, so that no closer one can have been missed.
    pub exact: bool,
    /// How the hits were found.
    pub plan: Plan,
}

/// How hits were found. Their scores are at full width in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// By a walk over the graph, through all rows, that kept those asked for.
    Walk,
    /// By scoring the codes of each row asked for.
    CodeScan,
    /// By scoring each row asked for at full width.
    ExactScan,
}

/// How to search a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Search {
    /// Looks as far as the segment, by its own measurement, must for this recall; the default.
    ///
    /// A segment that was not measured, or whose measurement is damaged, looks as far as
    /// [`EF_DEFAULT`](crate::EF_DEFAULT) says.
    Recall {
        /// The share of the true best that should be found, `0..=1`.
        target: f32,
    },
    /// Walks the graph and keeps the `ef` best nodes; `ef` below `k` is raised to `k`.
    Graph {
        /// Nodes kept while walking (`ef` in the HNSW paper).
        ef: usize,
    },
    /// Scores every row that is asked for at full width.
    Exact,
}

impl Default for Search {
    fn default() -> Self {
        Search::Recall { target: RECALL_TARGET }
    }
}

/// The recall looked for unless told otherwise.
pub const RECALL_TARGET: f32 = 0.975;
