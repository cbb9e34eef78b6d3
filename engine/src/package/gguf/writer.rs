//! Writes a GGUF file front to back: metadata, the table of tensors, then rows as they come.
//!
//! The table holds the place of each tensor, so shapes and formats are given first; numbers may
//! then be made, quantised and written a few rows at a time. Version 3, little-endian, tensors
//! without gaps in the order of the table: what llama.cpp reads.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::parse::DEFAULT_ALIGNMENT;
use super::value::Kind;
use super::{Dtype, quantise};

/// Metadata in the order in which it is written.
#[derive(Default)]
pub(super) struct Metadata {
    bytes: Vec<u8>,
    keys: BTreeSet<String>,
}

impl Metadata {
    fn key(&mut self, key: &str, kind: Kind) {
        assert!(self.keys.insert(key.to_owned()), "{key} is written twice");
        put_str(&mut self.bytes, key);
        self.bytes.extend((kind as u32).to_le_bytes());
    }

    fn list(&mut self, key: &str, element: Kind, len: usize) {
        self.key(key, Kind::Array);
        self.bytes.extend((element as u32).to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }

    pub(super) fn str(&mut self, key: &str, text: &str) {
        self.key(key, Kind::Str);
        put_str(&mut self.bytes, text);
    }

    pub(super) fn u32(&mut self, key: &str, x: u32) {
        self.key(key, Kind::U32);
        self.bytes.extend(x.to_le_bytes());
    }

    pub(super) fn f32(&mut self, key: &str, x: f32) {
        self.key(key, Kind::F32);
        self.bytes.extend(x.to_le_bytes());
    }

    pub(super) fn bool(&mut self, key: &str, x: bool) {
        self.key(key, Kind::Bool);
        self.bytes.push(x.into());
    }

    pub(super) fn strs<'a>(&mut self, key: &str, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.list(key, Kind::Str, texts.len());
        texts.for_each(|text| put_str(&mut self.bytes, text));
    }

    pub(super) fn f32s(&mut self, key: &str, numbers: impl ExactSizeIterator<Item = f32>) {
        self.list(key, Kind::F32, numbers.len());
        self.bytes.extend(numbers.flat_map(f32::to_le_bytes));
    }

    pub(super) fn i32s(&mut self, key: &str, numbers: impl ExactSizeIterator<Item = i32>) {
        self.list(key, Kind::I32, numbers.len());
        self.bytes.extend(numbers.flat_map(i32::to_le_bytes));
    }

    pub(super) fn bools(&mut self, key: &str, flags: impl ExactSizeIterator<Item = bool>) {
        self.list(key, Kind::Bool, flags.len());
        self.bytes.extend(flags.map(u8::from));
    }
}

fn put_str(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A tensor that will be written.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Its name in the file.
    pub(super) name: String,
    /// Row-major, outermost first; rows are whole blocks of `dtype`.
    pub(super) shape: Vec<usize>,
    /// A format that can be written.
    pub(super) dtype: Dtype,
}

impl Plan {
    pub(super) fn row_len(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    pub(super) fn n_rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    fn bytes(&self) -> usize {
        let row_bytes = self.dtype.row_bytes(self.row_len());
        self.n_rows() * row_bytes.expect("a format that fits the row, from `Dtype::that_fits`")
    }
}

/// The head of the file, padded: everything before the data.
pub(super) fn head(metadata: &Metadata, plans: &[Plan]) -> Vec<u8> {
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend((plans.len() as u64).to_le_bytes());
    head.extend((metadata.keys.len() as u64).to_le_bytes());
    head.extend(&metadata.bytes);
    let mut offset = 0;
    for plan in plans {
        assert!(quantise::is_writable(plan.dtype), "{} in {}", plan.name, plan.dtype.name());
        put_str(&mut head, &plan.name);
        head.extend((plan.shape.len() as u32).to_le_bytes());
        head.extend(plan.shape.iter().rev().flat_map(|dim| (*dim as u64).to_le_bytes()));
        head.extend(plan.dtype.code().to_le_bytes());
        head.extend((offset as u64).to_le_bytes());
        offset += padded(plan.bytes());
    }
    head.resize(padded(head.len()), 0);
    head
}

/// The size of everything after the head.
pub(super) fn data_bytes(plans: &[Plan]) -> u64 {
    plans.iter().map(|plan| padded(plan.bytes()) as u64).sum()
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(DEFAULT_ALIGNMENT)
}

/// Appends one tensor's rows, and the padding after them, to a file whose head is written.
pub(super) struct TensorWriter<'a, W> {
    out: W,
    plan: &'a Plan,
    stored: Vec<u8>,
    n_bytes: usize,
}

impl<'a, W: Write> TensorWriter<'a, W> {
    pub(super) fn new(out: W, plan: &'a Plan) -> Self {
        TensorWriter { out, plan, stored: Vec::new(), n_bytes: 0 }
    }

    /// Quantises and writes the next rows.
    ///
    /// # Panics
    /// If `values` is not whole rows.
    pub(super) fn rows(&mut self, values: &[f32]) -> io::Result<()> {
        assert!(values.len().is_multiple_of(self.plan.row_len()), "{}", self.plan.name);
        self.stored.clear();
        quantise::quantise(self.plan.dtype, values, &mut self.stored);
        self.n_bytes += self.stored.len();
        self.out.write_all(&self.stored)
    }

    /// Writes the padding.
    ///
    /// # Panics
    /// If rows are missing, or there were too many.
    pub(super) fn finish(mut self) -> io::Result<()> {
        assert_eq!(self.n_bytes, self.plan.bytes(), "rows of {}", self.plan.name);
        let padding = [0; DEFAULT_ALIGNMENT];
        self.out.write_all(&padding[..padded(self.n_bytes) - self.n_bytes])
    }
}
