//! How rows are kept and compared.
//!
//! Rows that a model made have unit length and are kept in f16; their score is a dot product. Rows that were
//! given are kept in f32 as they came and compared by the metric of their collection. Their scores are
//! summed in f64, so that no square of a finite f32 overflows or vanishes, and rounded once.

use std::fmt;

use half::f16;

use crate::score::{self, Sum, dot_f16};

/// What a score of given rows is. Higher is closer with each of them. Its numbers are those of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The cosine of the angle between row and query; 0 if one of them is all zeros.
    #[default]
    Cosine = 0,
    /// The dot product of row and query.
    Dot = 1,
    /// Minus the Euclidean distance of row and query.
    L2 = 2,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

    /// The greatest length of a row or a query: with any longer ones a score could be beyond f32.
    pub fn length_max(self) -> f64 {
        match self {
            Metric::Cosine => f64::INFINITY,
            Metric::Dot => 1e18,
            Metric::L2 => 1e37,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Cosine => "cosine",
            Metric::Dot => "dot",
            Metric::L2 => "l2",
        })
    }
}

/// How the rows of a segment are kept and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// In f16, of unit length; a score is the dot product of row and query.
    #[default]
    Unit,
    /// In f32, as they were given.
    Given(Metric),
}

impl Form {
    /// Bytes of a number as kept.
    pub fn number_bytes(self) -> usize {
        match self {
            Form::Unit => size_of::<f16>(),
            Form::Given(_) => size_of::<f32>(),
        }
    }
}

/// Numbers of rows as they are kept: of one row, or of several that follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// Of [`Form::Unit`].
    F16(&'a [f16]),
    /// Of [`Form::Given`].
    F32(&'a [f32]),
}

impl<'a> Values<'a> {
    /// How many numbers there are.
    pub fn len(self) -> usize {
        match self {
            Values::F16(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether rows of this form are kept so.
    pub fn are_of(self, form: Form) -> bool {
        matches!(self, Values::F16(_)) == (form == Form::Unit)
    }

    /// The numbers as they lie in memory, little endian.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Values::F16(values) => bytemuck::cast_slice(values),
            Values::F32(values) => bytemuck::cast_slice(values),
        }
    }

    /// The numbers one by one, exactly.
    pub fn iter(self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        (0..self.len()).map(move |at| match self {
            Values::F16(values) => values[at].to_f32(),
            Values::F32(values) => values[at],
        })
    }

    /// Some of the numbers.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn range(self, range: std::ops::Range<usize>) -> Values<'a> {
        match self {
            Values::F16(values) => Values::F16(&values[range]),
            Values::F32(values) => Values::F32(&values[range]),
        }
    }

    /// Row number `idx` of several of this width.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn row(self, idx: usize, width: usize) -> Values<'a> {
        self.range(idx * width..(idx + 1) * width)
    }

    /// The rows of this width, one after the other.
    pub(crate) fn rows(self, width: usize) -> impl Iterator<Item = Values<'a>> + use<'a> {
        (0..self.len() / width).map(move |idx| self.row(idx, width))
    }
}

impl<'a> From<&'a [f16]> for Values<'a> {
    fn from(values: &'a [f16]) -> Self {
        Values::F16(values)
    }
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Values::F32(values)
    }
}

impl<'a> From<&'a Vec<f16>> for Values<'a> {
    fn from(values: &'a Vec<f16>) -> Self {
        Values::F16(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Values<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Values::F32(values)
    }
}

/// [`Values`] that own their numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// Of [`Form::Unit`].
    F16(Vec<f16>),
    /// Of [`Form::Given`].
    F32(Vec<f32>),
}

impl Vector {
    /// No numbers yet.
    pub fn empty(form: Form) -> Vector {
        match form {
            Form::Unit => Vector::F16(Vec::new()),
            Form::Given(_) => Vector::F32(Vec::new()),
        }
    }

    /// The numbers as they are kept.
    pub fn values(&self) -> Values<'_> {
        match self {
            Vector::F16(values) => values.into(),
            Vector::F32(values) => values.into(),
        }
    }

    /// Appends numbers.
    ///
    /// # Panics
    /// If they are kept in another way.
    pub fn extend(&mut self, more: Values<'_>) {
        match (self, more) {
            (Vector::F16(values), Values::F16(more)) => values.extend_from_slice(more),
            (Vector::F32(values), Values::F32(more)) => values.extend_from_slice(more),
            _ => panic!("numbers of f16 among those of f32"),
        }
    }

    /// The numbers in f32, exactly.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Vector::F16(values) => values.into_iter().map(f16::to_f32).collect(),
            Vector::F32(values) => values,
        }
    }
}

impl From<Values<'_>> for Vector {
    fn from(values: Values<'_>) -> Self {
        match values {
            Values::F16(values) => Vector::F16(values.to_vec()),
            Values::F32(values) => Vector::F32(values.to_vec()),
        }
    }
}

impl FromIterator<f16> for Vector {
    fn from_iter<I: IntoIterator<Item = f16>>(values: I) -> Self {
        Vector::F16(values.into_iter().collect())
    }
}

impl From<Vec<f16>> for Vector {
    fn from(values: Vec<f16>) -> Self {
        Vector::F16(values)
    }
}

impl From<Vec<f32>> for Vector {
    fn from(values: Vec<f32>) -> Self {
        Vector::F32(values)
    }
}

/// A query made ready to score rows of one form at full width.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    form: Form,
    full: Vec<f32>, // [full], as it came
    /// `[full]`; of unit length for a cosine. None for [`Form::Unit`].
    wide: Vec<f64>,
}

impl Target {
    pub(crate) fn new(full: &[f32], form: Form) -> Target {
        let mut wide: Vec<f64> = Vec::new();
        if let Form::Given(metric) = form {
            wide.extend(full.iter().map(|x| f64::from(*x)));
            if metric == Metric::Cosine {
                let length = wide.iter().map(|x| x * x).sum::<f64>().sqrt();
                let inverse = if length > 0.0 { 1.0 / length } else { 0.0 };
                wide.iter_mut().for_each(|x| *x *= inverse);
            }
        }
        Target { form, full: full.to_vec(), wide }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn full(&self) -> &[f32] {
        &self.full
    }

    /// The score of a row; not a number if one of its numbers is none.
    ///
    /// # Panics
    /// If the row is of another form or width.
    pub(crate) fn score(&self, row: Values<'_>) -> f32 {
        match (self.form, row) {
            (Form::Unit, Values::F16(row)) => dot_f16(row, &self.full),
            (Form::Given(metric), Values::F32(row)) => self.given(metric, row) as f32,
            _ => panic!("a row of another form than the query"),
        }
    }

    fn given(&self, metric: Metric, row: &[f32]) -> f64 {
        match metric {
            Metric::Dot => score::sum_f32(Sum::Products, row, &self.wide)[0],
            Metric::L2 => -score::sum_f32(Sum::Distances, row, &self.wide)[0].sqrt(),
            Metric::Cosine => {
                let [dot, squares] = score::sum_f32(Sum::ProductsAndSquares, row, &self.wide);
                if squares == 0.0 { 0.0 } else { dot / squares.sqrt() }
            }
        }
    }
}
