//! A GGUF file over its bytes: metadata by key, tensors by name, rows as f32.
//!
//! Everything is checked in [`Gguf::parse`]. Only names, shapes and places are kept, so a mapped
//! file stays on the disk until rows of it are asked for.

use std::collections::BTreeMap;
use std::ops::Range;

use super::value::{Kind, Value};
use super::{Dtype, Refusal, dequantise, parse, refuse};
use crate::{Error, Result};

/// A parsed GGUF file over any bytes, such as a memory map.
pub struct Gguf<B> {
    name: String,
    bytes: B,
    version: u32,
    metadata: BTreeMap<String, Slot>,
    tensors: BTreeMap<String, Tensor>,
}

/// Where a metadata value lies.
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

/// One entry of the table of tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Row-major, outermost first: `[n_rows, row_len]` for a matrix. At least one dimension, none
    /// of them zero.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its bytes in the file.
    pub(super) range: Range<usize>,
}

impl Tensor {
    /// The length of a row: the innermost dimension.
    pub fn row_len(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many rows there are, all outer dimensions taken together.
    pub fn n_rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }
}

impl<B: AsRef<[u8]>> Gguf<B> {
    /// Reads header, metadata and the table of tensors; `name` is what messages call the file.
    ///
    /// # Errors
    /// [`Error::Package`] names the first thing that is not as the format says.
    pub fn parse(name: impl Into<String>, bytes: B) -> Result<Gguf<B>> {
        let name = name.into();
        match parse::file(bytes.as_ref()) {
            Ok(parse::Tables { version, metadata, tensors }) => {
                Ok(Gguf { name, bytes, version, metadata, tensors })
            }
            Err(refusal) => Err(named(&name, refusal)),
        }
    }

    /// What messages call this file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata's keys, in order of the alphabet.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// The value of a key, if the file has it.
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let slot = self.metadata.get(key)?;
        let bytes = self.bytes.as_ref().get(slot.range.clone())?;
        Value::decode(slot.kind, bytes).map(|(value, _)| value)
    }

    /// A value turned into a Rust type by `read`; `None` if the key is absent.
    ///
    /// # Errors
    /// [`Error::Package`] if the value is there and `read` does not take it.
    pub fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match read(value) {
            Some(typed) => Ok(Some(typed)),
            None => Err(self.refused(refuse(key, value, expected))),
        }
    }

    /// The tensors by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// One tensor's entry, if the file has it.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The stored bytes of some rows, in the tensor's [`Dtype`].
    ///
    /// # Errors
    /// [`Error::Package`] if there is no such tensor.
    ///
    /// # Panics
    /// If the rows are not the tensor's.
    pub fn stored_rows(&self, name: &str, rows: Range<usize>) -> Result<(&Tensor, &[u8])> {
        let missing = || self.refused(refuse(name, "missing", "a tensor"));
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        assert!(rows.start <= rows.end && rows.end <= tensor.n_rows(), "{name} rows {rows:?}");
        // All were checked when the file was parsed; a map of a file that has since shrunk fails
        // in the operating system, not here.
        let row_bytes = tensor.range.len() / tensor.n_rows();
        let start = tensor.range.start + rows.start * row_bytes;
        let stored = self.bytes.as_ref().get(start..start + rows.len() * row_bytes);
        Ok((tensor, stored.ok_or_else(missing)?))
    }

    /// Writes some rows of a tensor to `out` as f32, exactly as the format defines them.
    ///
    /// # Errors
    /// [`Error::Package`] if there is no such tensor, or a number is not finite.
    ///
    /// # Panics
    /// If the rows are not the tensor's, or `out` is not `rows.len() * row_len` long.
    pub fn dequantise(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (tensor, stored) = self.stored_rows(name, rows.clone())?;
        assert_eq!(out.len(), rows.len() * tensor.row_len(), "{name} rows {rows:?}");
        dequantise::dequantise(tensor.dtype, stored, out);
        match out.iter().find(|x| !x.is_finite()) {
            None => Ok(()),
            Some(x) => {
                let field = format!("{name} rows {} to {}", rows.start, rows.end);
                Err(self.refused(refuse(field, x, "finite numbers")))
            }
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Error {
        named(&self.name, refusal)
    }
}

/// Adds the package's name at the boundary.
pub(super) fn named(package: &str, refusal: Refusal) -> Error {
    let Refusal { field, found, expected } = refusal;
    Error::Package { package: package.to_owned(), field, found, expected }
}
