//! GGUF: the one-file format of llama.cpp and Ollama, read and written.
//!
//! ```text
//! bytes -> Gguf -> Model           the numbers of the model, and where its dense layers are
//!               -> Tokenizer       pieces, scores and kinds
//!               -> dequantise      rows of f32, one after another
//! rows of f32 -> write_package     a file that llama.cpp runs
//! ```
//!
//! Nothing here holds a whole tensor: rows are dequantised as they are asked for, and quantised as
//! they come. The file is mapped, or read, by the caller.
//!
//! Left out: big-endian files, version 1, arrays of arrays, files in several parts, and the
//! formats below four bits.

mod dequantise;
mod dtype;
mod model;
pub mod names;
mod package;
mod parse;
mod pieces;
mod quantise;
mod reader;
mod value;
mod writer;

pub use dtype::Dtype;
pub use model::{Dense, Model};
pub use package::{Export, Formats, Rows, TokenizerForm, write_package};
pub use pieces::{Piece, PieceRef, Tokenizer, pieces_from_tokenizer_json};
pub use reader::{Gguf, Tensor};
pub use value::{Array, Kind, Value};

use super::{Config, LayerKind, Refusal, refuse};

/// Rounds numbers to the blocks of a format and back, in place.
///
/// # Panics
/// If they are not whole blocks, or the format cannot be written.
pub(crate) fn round(dtype: Dtype, values: &mut [f32]) {
    let mut stored = Vec::with_capacity(values.len() / dtype.block_len() * dtype.block_bytes());
    quantise::quantise(dtype, values, &mut stored);
    dequantise::dequantise(dtype, &stored, values);
}

#[cfg(test)]
mod tests;
