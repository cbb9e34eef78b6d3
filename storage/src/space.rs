//! The space that a collection's vectors live in: which model, prompt and link made them, and how wide they are.

use std::fmt;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};

/// Widest vector that a collection takes; keeps a row's record far below the record limit.
pub(crate) const MAX_FULL_WIDTH: usize = 16_384;

/// Where vectors come from. Two vectors may be compared only if their spaces are the same.
///
/// The order of the fields is the order in the collection's record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
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
}

impl Space {
    /// True if vectors of both spaces may be compared and share segments: all but the model's name and the width of codes
    /// is the same.
    pub fn agrees_with(&self, other: &Space) -> bool {
        let named = Space { model: other.model.clone(), dims: other.dims, ..self.clone() };
        named == *other
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Space { full_width, dims, .. } = *self;
        if dims == 0 || dims > full_width || full_width > MAX_FULL_WIDTH {
            return Err(Error::Width { full_width, dims });
        }
        Ok(())
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Space { model, fingerprint, document_prompt, link, full_width, dims } = self;
        write!(f, "model {model} (fingerprint {fingerprint}, prompt {document_prompt:?}, ")?;
        match link {
            Some(link) => write!(f, "link {link}, ")?,
            None => write!(f, "no link, ")?,
        }
        write!(f, "width {full_width}, codes of {dims})")
    }
}
