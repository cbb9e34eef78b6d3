//! How rows become int8 codes, so that a product of codes orders rows as their metric does.
//!
//! For a cosine, a row is cut, scaled to unit length and quantised. For the other two metrics lengths count:
//! rows are moved so that the *centre* of the segment's rows is at the origin and measured in *units* of
//! the segment, and each has a scale of its own and one more number, its bias:
//!
//! - l2: `-|x - q|^2 / 2 = x q - |x|^2 / 2 - |q|^2 / 2`, the bias is `-|x|^2 / 2`. Moving all rows and the query
//!   changes no distance. A unit is the middle distance from the centre.
//! - dot: moving the rows adds the same to every product with a query. Two rows are compared as if they had
//!   one number more, the bias, that makes all of them equally long (Bachrach et al. 2014, "Speeding up the
//!   Xbox recommender system"), so that a graph over them is one of angles, and none is closest to all; of a
//!   query that number is 0. A unit is the greatest distance from the centre.
//!
//! Centre and unit come from a sample, and far rows do not move them: one row of absurd length would else
//! leave all others with equal codes.

use std::borrow::Cow;

use super::curve::Rows;
use crate::form::{Form, Metric, Values};
use crate::mrl;
use crate::query::Query;
use crate::score::{Biases, CodeRows, QueryCodes};

/// Rows that centre and unit are estimated from.
const SAMPLE: usize = 1024;
/// Sampled rows whose length is more than this many times the middle one do not count for the centre.
const FAR: f64 = 8.0;
/// The longest row in units: its square, and that times a thousand, are still far from the end of f32.
const LONGEST: f64 = 1e15;
/// By how much the unit of a donor may differ so that its codes are taken over.
const UNIT_RATIO_MAX: f64 = 2.0;
/// By how much a row may be longer than the unit, where that is the greatest length.
const OVERLONG_MAX: f64 = 1.05;

/// How the rows of a segment are coded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coding<'a> {
    pub(super) form: Form,
    /// `[dims]`; empty if codes are of unit vectors.
    centre: Cow<'a, [f32]>,
    unit: f32,
}

/// The coding of the segment that rows are merged into, which may be that of one of its sources.
impl<'a> Coding<'a> {
    /// That of metrics without biases, and of other segments until their rows are known.
    pub(super) fn plain(form: Form) -> Coding<'a> {
        Coding { form, centre: Cow::Borrowed(&[]), unit: 1.0 }
    }

    /// Whether rows of this form have biases, a centre and a unit.
    pub(super) fn is_biased(form: Form) -> bool {
        matches!(form, Form::Given(Metric::Dot | Metric::L2))
    }

    /// The coding that was kept in a segment: the centre, then the unit.
    pub(super) fn kept(form: Form, numbers: &'a [f32]) -> Coding<'a> {
        match numbers.split_last() {
            Some((unit, centre)) => Coding { form, centre: Cow::Borrowed(centre), unit: *unit },
            None => Coding::plain(form),
        }
    }

    /// What a segment keeps of it.
    pub(super) fn to_keep(&self) -> Vec<f32> {
        if !Coding::is_biased(self.form) {
            return Vec::new();
        }
        self.centre.iter().copied().chain([self.unit]).collect()
    }

    /// Whether its numbers can be those of a coding.
    pub(super) fn is_sound(&self) -> bool {
        self.unit.is_normal() && self.unit > 0.0 && self.centre.iter().all(|x| x.is_finite())
    }

    /// The coding that suits rows; the answer is the same however they are cut into slices.
    pub(super) fn of_rows(form: Form, rows: &Rows<'_>, dims: usize) -> Coding<'a> {
        if !Coding::is_biased(form) {
            return Coding::plain(form);
        }
        let n_rows = rows.len();
        let n = n_rows.min(SAMPLE);
        let all = (0..n).map(|nth| rows.get((nth * n_rows).checked_div(n).unwrap_or(0)));
        let cut = all.map(|row| row.range(0..dims).iter().map(f64::from).collect::<Vec<f64>>());
        let sample: Vec<Vec<f64>> = cut.filter(|row| row.iter().all(|x| x.is_finite())).collect();
        let lengths: Vec<f64> = sample.iter().map(|row| length(row)).collect();
        let near_max = FAR * middle(lengths.clone());
        let near = sample.iter().zip(&lengths).filter(|(_, length)| **length <= near_max);
        let n_near = near.clone().count().max(1) as f64;
        let mut centre = vec![0.0f64; dims];
        for (row, _) in near {
            centre.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / n_near);
        }
        let centre: Vec<f32> = centre.into_iter().map(|x| x as f32).collect();
        let coding = Coding { form, centre: Cow::Owned(centre), unit: 1.0 };
        let unit = match form {
            Form::Given(Metric::Dot) => coding.greatest_length(rows),
            _ => middle(sample.iter().map(|row| coding.distance(row.iter().copied())).collect()),
        } as f32;
        // All rows may be alike; then their codes are zeros whatever the unit.
        Coding { unit: if unit.is_normal() { unit } else { 1.0 }, ..coding }
    }

    /// Whether rows for which `fresh` was made may be coded in this way too, so that those that are need not be
    /// coded and linked again.
    pub(super) fn suits(&self, fresh: &Coding<'_>) -> bool {
        if !Coding::is_biased(self.form) {
            return true;
        }
        let ratio = f64::from(fresh.unit) / f64::from(self.unit);
        let is_near = self.distance(fresh.centre.iter().map(|x| f64::from(*x))) <= self.unit.into();
        let ratio_max = match self.form {
            Form::Given(Metric::Dot) => OVERLONG_MAX,
            _ => UNIT_RATIO_MAX,
        };
        is_near && (1.0 / UNIT_RATIO_MAX..=ratio_max).contains(&ratio)
    }

    /// The same, independent of where it was read.
    pub(super) fn into_owned(self) -> Coding<'static> {
        Coding { form: self.form, centre: Cow::Owned(self.centre.into_owned()), unit: self.unit }
    }

    /// Writes a row's codes; returns their scale and the row's bias, 0 if there are none. `cut` is scratch.
    pub(super) fn encode(
        &self,
        row: Values<'_>,
        cut: &mut Vec<f32>,
        codes: &mut [i8],
    ) -> (f32, f32) {
        cut.clear();
        let numbers = row.range(0..codes.len()).iter();
        if !Coding::is_biased(self.form) {
            cut.extend(numbers);
            return (mrl::encode_cut(cut, codes), 0.0);
        }
        self.measure(numbers, cut);
        let scale = mrl::quantise_into(cut, codes);
        let squares: u64 = codes.iter().map(|code| u64::from(code.unsigned_abs()).pow(2)).sum();
        let squared = f64::from(scale) * f64::from(scale) * squares as f64;
        let bias = match self.form {
            Form::Given(Metric::Dot) => (1.0 - squared).max(0.0).sqrt(),
            _ => -squared / 2.0,
        };
        (scale, bias as f32)
    }

    /// Prepares a query for the segment.
    pub(super) fn query(&self, full: &[f32], dims: usize) -> Query {
        if !Coding::is_biased(self.form) {
            return Query::of_unit(full, dims, self.form);
        }
        let mut cut = Vec::with_capacity(dims);
        let numbers = full[..dims].iter().copied();
        if self.form == Form::Given(Metric::Dot) {
            cut.extend(numbers);
            let length = length(&cut.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
            mrl::normalise(&mut cut);
            let codes = QueryCodes::new(mrl::quantise(&cut));
            let products = full.iter().zip(&*self.centre);
            let offset = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let factor = length * f64::from(self.unit);
            return Query::of_codes(full, self.form, codes, Estimate::Product { factor, offset });
        }
        self.measure(numbers, &mut cut);
        let squares: f64 = cut.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let codes = QueryCodes::with_bias(mrl::quantise(&cut), 1.0, (-squares / 2.0) as f32);
        Query::of_codes(full, self.form, codes, Estimate::Distance { unit: self.unit })
    }

    /// The rows of codes whose scales, and biases if there are any, are the first of `numbers`.
    pub(super) fn rows<'b>(
        form: Form,
        codes: &'b [i8],
        numbers: &'b [f32],
        n_nodes: usize,
        dims: usize,
    ) -> CodeRows<'b> {
        let (scales, rest) = numbers.split_at(n_nodes);
        let biases = if Coding::is_biased(form) { &rest[..n_nodes] } else { &[] };
        CodeRows::new(codes, scales, dims).with_biases(Coding::biases(form, biases))
    }

    /// What biases of this form say.
    pub(super) fn biases<'b>(form: Form, biases: &'b [f32]) -> Biases<'b> {
        match form {
            Form::Given(Metric::L2) => Biases::Added(biases),
            Form::Given(Metric::Dot) => Biases::Lifted(biases),
            _ => Biases::None,
        }
    }

    /// Puts numbers into `cut`, moved and in units, none longer than [`LONGEST`].
    fn measure(&self, numbers: impl Iterator<Item = f32>, cut: &mut Vec<f32>) {
        cut.clear();
        let unit = f64::from(self.unit);
        let moved = numbers.zip(&*self.centre).map(|(x, c)| (f64::from(x) - f64::from(*c)) / unit);
        let moved: Vec<f64> = moved.collect();
        let length = length(&moved);
        let factor = if length > LONGEST { LONGEST / length } else { 1.0 };
        cut.extend(moved.into_iter().map(|x| (x * factor) as f32));
    }

    fn distance(&self, row: impl Iterator<Item = f64>) -> f64 {
        row.zip(&*self.centre).map(|(x, c)| (x - f64::from(*c)).powi(2)).sum::<f64>().sqrt()
    }

    /// Of all rows, the greatest distance from the centre.
    fn greatest_length(&self, rows: &Rows<'_>) -> f64 {
        let lengths = (0..rows.len()).map(|idx| {
            let row = rows.get(idx).range(0..self.centre.len());
            self.distance(row.iter().map(f64::from))
        });
        lengths.filter(|length| length.is_finite()).fold(0.0, f64::max)
    }
}

/// From the score of codes to what it says about the score at full width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Estimate {
    /// They are the same.
    Same,
    /// A product in units, and that of query and centre.
    Product { factor: f64, offset: f64 },
    /// Minus half of a squared distance in units.
    Distance { unit: f32 },
}

impl Estimate {
    pub(crate) fn of(self, score: f32) -> f32 {
        match self {
            Estimate::Same => score,
            Estimate::Product { factor, offset } => (f64::from(score) * factor + offset) as f32,
            Estimate::Distance { unit } => -(-2.0 * f64::from(score)).max(0.0).sqrt() as f32 * unit,
        }
    }
}

fn length(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The middle one of numbers; 0 if there are none.
fn middle(mut numbers: Vec<f64>) -> f64 {
    if numbers.is_empty() {
        return 0.0;
    }
    let at = numbers.len() / 2;
    *numbers.select_nth_unstable_by(at, f64::total_cmp).1
}
