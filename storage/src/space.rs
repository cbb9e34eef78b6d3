//! The space that a collection's vectors live in: which model, prompt and link made them, and how wide they are.

use std::fmt;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use index::mrl::Quant;

use crate::error::{Error, Result, RowProblem};
use crate::write::check_vector;

/// Widest vector that a collection takes; keeps a row's record far below the record limit.
pub(crate) const MAX_FULL_WIDTH: usize = 16_384;

/// Stands for a model's fingerprint where no model of ours made the vectors: they are given, and compared by cosine.
const GIVEN: &str = "given, compared by cosine";

/// How far from 1 the length of a vector may be that is taken for one of unit length: as far as rounding to f16 can
/// bring it. So vectors that come out of a collection go into another as they are.
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

    /// The space of vectors that no model of ours made, compared by their cosine; codes are as wide as the vectors.
    pub fn of_vectors(width: usize) -> Space {
        Space {
            model: "none".to_owned(),
            fingerprint: GIVEN.to_owned(),
            document_prompt: String::new(),
            link: None,
            full_width: width,
            dims: width,
            quant: Quant::default(),
        }
    }

    /// False if its vectors are given, and no text can become one.
    pub fn has_model(&self) -> bool {
        self.fingerprint != GIVEN
    }

    /// A vector as the space keeps it: scaled to unit length, unless that is its length but for rounding.
    ///
    /// # Errors
    /// What is wrong with a vector of another width, that holds NaN or an infinity, or is all zeros.
    pub fn unit(&self, vector: &[f32]) -> Result<Vec<f32>, RowProblem> {
        check_vector(vector.iter().copied(), self.full_width)?;
        // In f64 no square of a finite f32 overflows or vanishes.
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(RowProblem::Zero);
        }
        if (length - 1.0).abs() <= UNIT_TOLERANCE {
            return Ok(vector.to_vec());
        }
        Ok(vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Space { full_width, dims, quant, .. } = *self;
        if dims == 0 || dims > full_width || full_width > MAX_FULL_WIDTH {
            return Err(Error::Width { full_width, dims });
        }
        if !quant.takes(dims) {
            return Err(Error::Narrow { dims });
        }
        Ok(())
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Space { model, fingerprint, document_prompt, link, full_width, dims, quant } = self;
        if !self.has_model() {
            return write!(f, "no model, vectors of width {full_width} compared by cosine");
        }
        write!(f, "model {model} (fingerprint {fingerprint}, prompt {document_prompt:?}, ")?;
        match link {
            Some(link) => write!(f, "link {link}, ")?,
            None => write!(f, "no link, ")?,
        }
        write!(f, "width {full_width}, {quant} codes of {dims})")
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn given_vectors_get_unit_length_and_keep_it() {
        let space = Space::of_vectors(2);
        assert_eq!(space.unit(&[3.0, 4.0]), Ok(vec![0.6, 0.8]));
        for size in [3e38f32, 1e-38] {
            let unit = space.unit(&[size, 0.0]).unwrap();
            assert_eq!(unit, [1.0, 0.0], "{size}");
        }
        // Twice through f16 is as good as once, whatever the direction.
        for step in 0..1000 {
            let angle = step as f32 / 300.0;
            let unit = space.unit(&[angle.cos() * 7.0, angle.sin() * 7.0]).unwrap();
            let kept: Vec<f32> = unit.iter().map(|x| f16::from_f32(*x).to_f32()).collect();
            assert_eq!(space.unit(&kept), Ok(kept));
        }
    }

    #[test]
    fn a_vector_without_direction_is_refused() {
        let space = Space::of_vectors(2);
        let problem = |vector: &[f32]| space.unit(vector).unwrap_err();
        assert_eq!(problem(&[0.0, -0.0]), RowProblem::Zero);
        assert_eq!(problem(&[1.0, f32::NAN]), RowProblem::NotFinite { position: 1 });
        assert_eq!(problem(&[f32::NEG_INFINITY, 1.0]), RowProblem::NotFinite { position: 0 });
        assert_eq!(problem(&[1.0]), RowProblem::Width { found: 1, expected: 2 });
    }

    #[test]
    fn a_record_of_int8_codes_is_one_without_a_kind() {
        let space = Space::of_vectors(384);
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
        let given = Space::of_vectors(8);
        let model = Space { fingerprint: "f00d".to_owned(), ..given.clone() };
        assert!(!given.has_model() && model.has_model() && !given.agrees_with(&model));
        assert!(!given.agrees_with(&Space::of_vectors(9)));
    }
}
