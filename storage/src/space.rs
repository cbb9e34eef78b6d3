//! The space that a collection's vectors live in: which model, prompt and link made them, and how wide they are.

use std::fmt;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use half::f16;
use index::mrl::Quant;
use index::{Form, Metric, Values, Vector};

use crate::error::{Error, Result, RowProblem};
use crate::write::check_vector;

/// Widest vector that a collection takes; keeps a row's record far below the record limit.
pub(crate) const MAX_FULL_WIDTH: usize = 16_384;

/// Stands for a model's fingerprint where no model of ours made the vectors: they are given, kept as they came, and
/// compared by the metric that follows.
const GIVEN: &str = "given in f32, compared by ";

/// The same of collections that were made before there were metrics: given, scaled to unit length, kept in f16.
const GIVEN_UNIT: &str = "given, compared by cosine";

/// How far from 1 the length of a vector may be that is taken for one of unit length: as far as rounding to f16 can
/// bring it. So vectors that come out of a collection that keeps f16 go into another as they are.
const UNIT_TOLERANCE: f64 = 5e-4;

/// In a record, the kind of codes stands above the 32 bits of their width: a record without a kind is one of int8.
const QUANT_SHIFT: u32 = 32;

/// Where vectors come from. Two vectors may be compared only if their spaces are the same.
///
/// The order of the fields is the order in the collection's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The model's name or path, for messages only.
    pub model: String,
    /// What identifies the model: weights, tokenizer, prompts.
    pub fingerprint: String,
    /// The prompt put before each document.
    pub document_prompt: String,
    /// The adapter that documents went through, if any.
    pub link: Option<String>,
    /// Values in a vector as it is kept.
    pub full_width: usize,
    /// Values of a vector that the graph's codes are cut to.
    pub dims: usize,
    /// What codes keep of a value.
    pub quant: Quant,
}

impl Encode for Space {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let Space { model, fingerprint, document_prompt, link, full_width, dims, quant } = self;
        (model, fingerprint, document_prompt, link, full_width).encode(encoder)?;
        (*dims as u64 | (*quant as u64) << QUANT_SHIFT).encode(encoder)
    }
}

impl<Context> Decode<Context> for Space {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Space, DecodeError> {
        let (model, fingerprint, document_prompt, link, full_width) = Decode::decode(decoder)?;
        let codes = u64::decode(decoder)?;
        let quant = match codes >> QUANT_SHIFT {
            0 => Quant::Int8,
            1 => Quant::Binary,
            kind => {
                let problem = format!("{kind} is no kind of codes that this version knows");
                return Err(DecodeError::OtherString(problem));
            }
        };
        let dims = (codes & u64::from(u32::MAX)) as usize;
        Ok(Space { model, fingerprint, document_prompt, link, full_width, dims, quant })
    }
}

bincode::impl_borrow_decode!(Space);

impl Space {
    /// True if vectors of both spaces may be compared and share segments: all but the model's name and the codes is the
    /// same.
    pub fn agrees_with(&self, other: &Space) -> bool {
        let Space { model, dims, quant, .. } = other.clone();
        Space { model, dims, quant, ..self.clone() } == *other
    }

    /// True if both have the same codes: width and kind.
    pub(crate) fn has_codes_of(&self, other: &Space) -> bool {
        (self.dims, self.quant) == (other.dims, other.quant)
    }

    /// The space of vectors that no model of ours made, kept as they are given and compared by `metric`; codes are as wide
    /// as the vectors.
    pub fn of_vectors(width: usize, metric: Metric) -> Space {
        Space {
            model: "none".to_owned(),
            fingerprint: format!("{GIVEN}{metric}"),
            document_prompt: String::new(),
            link: None,
            full_width: width,
            dims: width,
            quant: Quant::default(),
        }
    }

    /// How given vectors are compared; `None` if a model makes them, and texts become vectors.
    pub fn metric(&self) -> Option<Metric> {
        match self.form() {
            Form::Given(metric) => Some(metric),
            Form::Unit => (self.fingerprint == GIVEN_UNIT).then_some(Metric::Cosine),
        }
    }

    /// False if its vectors are given, and no text can become one.
    pub fn has_model(&self) -> bool {
        self.metric().is_none()
    }

    /// How its vectors are kept and compared.
    pub fn form(&self) -> Form {
        let named = self.fingerprint.strip_prefix(GIVEN);
        let is_named = |metric: &Metric| named.is_some_and(|named| named == metric.to_string());
        Metric::ALL.into_iter().find(is_named).map_or(Form::Unit, Form::Given)
    }

    /// Whether it is one of given vectors of this width that are compared so, however they are kept.
    pub fn takes_vectors(&self, width: usize, metric: Metric) -> bool {
        self.full_width == width && self.metric() == Some(metric)
    }

    /// Bytes of a vector as it is kept.
    pub(crate) fn row_bytes(&self) -> usize {
        self.form().number_bytes() * self.full_width
    }

    /// A vector as the space keeps it: in f32 as it is, or in f16 at unit length.
    ///
    /// # Errors
    /// As [`Space::asked`].
    pub fn kept(&self, vector: &[f32]) -> Result<Vector, RowProblem> {
        let vector = self.asked(vector)?;
        Ok(match self.form() {
            Form::Unit => vector.into_iter().map(f16::from_f32).collect(),
            Form::Given(_) => vector.into(),
        })
    }

    /// Stands for a vector that is lost. No vector that is put is like it, and none is farther from a query.
    pub(crate) fn lost(&self) -> Vector {
        match self.form() {
            Form::Unit => vec![f16::ZERO; self.full_width].into(),
            Form::Given(_) => vec![f32::NAN; self.full_width].into(),
        }
    }

    /// Whether this stands for a vector that is lost: a repair found it damaged.
    pub fn is_lost(&self, vector: Values<'_>) -> bool {
        match vector {
            Values::F16(values) => values.iter().all(|value| *value == f16::ZERO),
            Values::F32(values) => values.iter().any(|value| value.is_nan()),
        }
    }

    /// Checks numbers that are to be compared in this space.
    pub(crate) fn check(
        &self,
        vector: impl ExactSizeIterator<Item = f32> + Clone,
    ) -> Result<(), RowProblem> {
        check_vector(vector.clone(), self.full_width)?;
        let Form::Given(metric) = self.form() else { return Ok(()) };
        let length = length(vector);
        if length > metric.length_max() {
            return Err(RowProblem::TooLong { metric });
        }
        if metric == Metric::Cosine && length == 0.0 {
            return Err(RowProblem::Zero);
        }
        Ok(())
    }

    /// Checks a vector that is to be kept as it is.
    pub(crate) fn check_kept(&self, vector: Values<'_>) -> Result<(), RowProblem> {
        if !vector.are_of(self.form()) {
            return Err(RowProblem::Kept);
        }
        match vector {
            Values::F16(values) => self.check(values.iter().map(|value| value.to_f32())),
            Values::F32(values) => self.check(values.iter().copied()),
        }
    }

    /// A vector as it is compared: as it is, or, where vectors are kept at unit length, scaled to that unless it is its
    /// length but for rounding.
    ///
    /// # Errors
    /// What is wrong with a vector of another width, that holds NaN or an infinity; that is all zeros, where cosines are
    /// compared; that is too long for its metric.
    pub fn asked(&self, vector: &[f32]) -> Result<Vec<f32>, RowProblem> {
        self.check(vector.iter().copied())?;
        if self.form() != Form::Unit {
            return Ok(vector.to_vec());
        }
        let length = length(vector.iter().copied());
        if length == 0.0 {
            return Err(RowProblem::Zero);
        }
        if (length - 1.0).abs() <= UNIT_TOLERANCE {
            return Ok(vector.to_vec());
        }
        Ok(vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
    }

    pub(crate) fn check_codes(&self) -> Result<()> {
        let Space { full_width, dims, quant, .. } = *self;
        if dims == 0 || dims > full_width || full_width > MAX_FULL_WIDTH {
            return Err(Error::Width { full_width, dims });
        }
        if !quant.takes(dims) {
            return Err(Error::Narrow { dims });
        }
        if let Some(metric) = self.metric().filter(|_| !quant.takes_form(self.form())) {
            return Err(Error::Lengths { metric });
        }
        Ok(())
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Space { model, fingerprint, document_prompt, link, full_width, dims, quant } = self;
        if let Some(metric) = self.metric() {
            let kept = if self.form() == Form::Unit { ", kept in f16" } else { "" };
            return write!(f, "no model, vectors of width {full_width} compared by {metric}{kept}");
        }
        write!(f, "model {model} (fingerprint {fingerprint}, prompt {document_prompt:?}, ")?;
        match link {
            Some(link) => write!(f, "link {link}, ")?,
            None => write!(f, "no link, ")?,
        }
        write!(f, "width {full_width}, {quant} codes of {dims})")
    }
}

/// In f64, where no square of a finite f32 overflows or vanishes.
fn length(vector: impl Iterator<Item = f32>) -> f64 {
    vector.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_before(width: usize) -> Space {
        Space { fingerprint: GIVEN_UNIT.to_owned(), ..Space::of_vectors(width, Metric::Cosine) }
    }

    #[test]
    fn vectors_given_before_there_were_metrics_get_unit_length_and_keep_it() {
        let space = of_before(2);
        assert!(!space.has_model() && space.form() == Form::Unit);
        assert_eq!(space.asked(&[3.0, 4.0]), Ok(vec![0.6, 0.8]));
        for size in [3e38f32, 1e-38] {
            let unit = space.asked(&[size, 0.0]).unwrap();
            assert_eq!(unit, [1.0, 0.0], "{size}");
        }
        // Twice through f16 is as good as once, whatever the direction.
        for step in 0..1000 {
            let angle = step as f32 / 300.0;
            let kept = space.kept(&[angle.cos() * 7.0, angle.sin() * 7.0]).unwrap();
            assert_eq!(space.kept(&kept.clone().into_f32()), Ok(kept));
        }
    }

    #[test]
    fn a_vector_without_direction_is_refused() {
        for space in [of_before(2), Space::of_vectors(2, Metric::Cosine)] {
            let problem = |vector: &[f32]| space.kept(vector).unwrap_err();
            assert_eq!(problem(&[0.0, -0.0]), RowProblem::Zero);
            assert_eq!(problem(&[1.0, f32::NAN]), RowProblem::NotFinite { position: 1 });
            assert_eq!(problem(&[f32::NEG_INFINITY, 1.0]), RowProblem::NotFinite { position: 0 });
            assert_eq!(problem(&[1.0]), RowProblem::Width { found: 1, expected: 2 });
        }
    }

    #[test]
    fn given_vectors_are_kept_as_they_are_if_their_metric_can_compare_them() {
        for (metric, longest, too_long) in [
            (Metric::Cosine, 3e38, None),
            (Metric::Dot, 9e17, Some(2e18)),
            (Metric::L2, 9e36, Some(2e37)),
        ] {
            let space = Space::of_vectors(2, metric);
            assert_eq!((space.form(), space.metric()), (Form::Given(metric), Some(metric)));
            for vector in [[longest, 0.0f32], [3.0, 1e-40], [-0.0, 0.1]] {
                assert_eq!(space.kept(&vector), Ok(vector.to_vec().into()), "{metric}");
            }
            if let Some(too_long) = too_long {
                assert_eq!(space.kept(&[0.0, too_long]), Err(RowProblem::TooLong { metric }));
                assert!(space.kept(&[0.0, 0.0]).is_ok(), "zeros have a place");
            }
            let in_f16 = Vector::from_iter([f16::ONE, f16::ONE]);
            assert_eq!(space.check_kept(in_f16.values()), Err(RowProblem::Kept));
            let binary = Space { quant: Quant::Binary, ..Space::of_vectors(64, metric) };
            assert_eq!(binary.check_codes().is_ok(), metric == Metric::Cosine);
            assert!(space.is_lost(space.lost().values()));
            assert!(!space.is_lost(Values::F32(&[0.0, 0.0])));
        }
    }

    #[test]
    fn a_record_of_int8_codes_is_one_without_a_kind() {
        let space = Space::of_vectors(384, Metric::Cosine);
        let encode = |space: &Space| crate::records::record::encode(space);
        let plain = (&space.model, &space.fingerprint, &space.document_prompt, &space.link);
        assert_eq!(encode(&space), crate::records::record::encode(&(plain, 384usize, 384usize)));
        let decode = |bytes: &[u8]| crate::records::record::decode::<Space>("it", bytes);
        for quant in [Quant::Int8, Quant::Binary] {
            let space = Space { dims: 256, quant, ..space.clone() };
            assert_eq!(decode(&encode(&space)).unwrap(), space);
        }
        let unknown = crate::records::record::encode(&(plain, 384usize, 384u64 | 2 << 32));
        assert!(decode(&unknown).unwrap_err().to_string().contains("kind of codes"));
    }

    #[test]
    fn given_vectors_and_a_model_are_different_spaces() {
        let given = Space::of_vectors(8, Metric::Dot);
        let model = Space { fingerprint: "f00d".to_owned(), ..given.clone() };
        assert!(!given.has_model() && model.has_model() && !given.agrees_with(&model));
        assert!(!given.agrees_with(&Space::of_vectors(9, Metric::Dot)));
        assert!(!given.agrees_with(&Space::of_vectors(8, Metric::L2)));
        let cosine = Space::of_vectors(8, Metric::Cosine);
        assert!(!cosine.agrees_with(&of_before(8)), "rows in f16 and in f32 share no segment");
        assert!([cosine, of_before(8)].iter().all(|each| each.takes_vectors(8, Metric::Cosine)));
        assert!(!given.takes_vectors(8, Metric::Cosine) && !model.takes_vectors(8, Metric::Dot));
    }
}
