//! The bytes of a GGUF file to its tables: a header, metadata, a table of tensors, then their data.
//!
//! ```text
//! "GGUF"  version u32  n_tensors u64  n_metadata u64
//! n_metadata x { key str, kind u32, value }          str: length u64, UTF-8
//! n_tensors  x { name str, n_dims u32, dims u64 x n_dims (innermost first), dtype u32, offset u64 }
//! padding to `general.alignment`
//! data: each tensor at its offset, a multiple of the alignment
//! ```
//!
//! Versions 2 and 3, little-endian. Lengths are checked before they are used, each range against
//! the file, ranges against each other; memory grows with what the file holds, never with what it
//! claims.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use super::reader::{Slot, Tensor};
use super::value::{Kind, Value};
use super::{Dtype, Refusal, refuse};
use crate::Result;

/// Where data starts is a multiple of this, unless `general.alignment` says otherwise.
pub(super) const DEFAULT_ALIGNMENT: usize = 32;

/// Files of this model have some 60 entries of metadata and 316 tensors; a hostile one might claim
/// billions.
const MOST_ENTRIES: u64 = 1 << 16;
const MOST_DIMS: u32 = 4;
const LARGEST_ALIGNMENT: usize = 1 << 16;
const LONGEST_NAME: usize = 1 << 10;

/// What the file says before its data.
pub(super) struct Tables {
    pub(super) version: u32,
    pub(super) metadata: BTreeMap<String, Slot>,
    pub(super) tensors: BTreeMap<String, Tensor>,
}

/// Reads everything before the data, and places the tensors in it.
pub(super) fn file(bytes: &[u8]) -> Result<Tables, Refusal> {
    Cursor { bytes, at: 0 }.file()
}

/// A place in the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn file(mut self) -> Result<Tables, Refusal> {
        let (version, n_tensors, n_metadata) = self.header()?;
        let mut metadata = BTreeMap::new();
        for i in 0..n_metadata {
            let key = self.name(&format!("metadata key {i}"))?;
            let slot = self.slot(key)?;
            match metadata.entry(key.to_owned()) {
                Entry::Occupied(_) => return Err(twice(format!("metadata {key}"))),
                Entry::Vacant(entry) => drop(entry.insert(slot)),
            }
        }
        let alignment = self.alignment(&metadata)?;
        let mut tensors = BTreeMap::new();
        for i in 0..n_tensors {
            let name = self.name(&format!("name of tensor {i}"))?;
            let tensor = self.tensor(name, alignment)?;
            match tensors.entry(name.to_owned()) {
                Entry::Occupied(_) => return Err(twice(format!("tensor {name}"))),
                Entry::Vacant(entry) => drop(entry.insert(tensor)),
            }
        }
        place(&mut tensors, self.at.next_multiple_of(alignment), self.bytes.len())?;
        Ok(Tables { version, metadata, tensors })
    }

    fn header(&mut self) -> Result<(u32, u64, u64), Refusal> {
        let magic = self.take(4, "the first four bytes")?;
        if magic != b"GGUF" {
            let expected = "GGUF (is this a GGUF file, and was it downloaded whole?)";
            return Err(refuse("the first four bytes", format!("{magic:02x?}"), expected));
        }
        let version = self.u32("version")?;
        match version {
            2 | 3 => {}
            _ if (1..=3).contains(&version.swap_bytes()) => {
                return Err(refuse("version", "big-endian", "a little-endian file"));
            }
            _ => return Err(refuse("version", version, "2 or 3; convert the model anew")),
        }
        let n_tensors = self.count("number of tensors")?;
        let n_metadata = self.count("number of metadata entries")?;
        Ok((version, n_tensors, n_metadata))
    }

    fn count(&mut self, field: &str) -> Result<u64, Refusal> {
        match self.u64(field)? {
            count if count <= MOST_ENTRIES => Ok(count),
            count => Err(refuse(field, count, format!("at most {MOST_ENTRIES}"))),
        }
    }

    /// Steps over one metadata value, so that it can be decoded at any time later.
    fn slot(&mut self, key: &str) -> Result<Slot, Refusal> {
        let kind = self.kind(key)?;
        let start = self.at;
        if kind != Kind::Array {
            self.skip(kind, key)?;
            return Ok(Slot { kind, range: start..self.at });
        }
        let element = self.kind(key)?;
        if element == Kind::Array {
            return Err(refuse(key, "a list of lists", "a list of numbers or texts"));
        }
        let len = self.u64(key)?;
        match element.fixed_bytes() {
            Some(size) => drop(self.take(len.saturating_mul(size as u64), key)?),
            // Each text takes at least the eight bytes of its length: this ends with the file.
            None => (0..len).try_for_each(|_| self.skip(element, key))?,
        }
        Ok(Slot { kind, range: start..self.at })
    }

    fn skip(&mut self, kind: Kind, key: &str) -> Result<(), Refusal> {
        match kind.fixed_bytes() {
            Some(size) => self.take(size as u64, key).map(drop),
            None => self.str(key).map(drop),
        }
    }

    fn kind(&mut self, key: &str) -> Result<Kind, Refusal> {
        let code = self.u32(key)?;
        Kind::from_code(code)
            .ok_or_else(|| refuse(key, format!("of the unknown type {code}"), "a type of 0 to 12"))
    }

    /// One entry of the table of tensors; its range still counts from the start of the data.
    fn tensor(&mut self, name: &str, alignment: usize) -> Result<Tensor, Refusal> {
        let n_dims = self.u32(name)?;
        if !(1..=MOST_DIMS).contains(&n_dims) {
            let expected = format!("1 to {MOST_DIMS} dimensions");
            return Err(refuse(name, format!("of {n_dims} dimensions"), expected));
        }
        let mut shape = Vec::new();
        for _ in 0..n_dims {
            let dim = self.u64(name)?;
            shape.push(usize::try_from(dim).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let dtype = Dtype::from_code(self.u32(name)?).map_err(|found| {
            let known = Dtype::ALL.map(Dtype::name).join(", ");
            refuse(name, found, format!("one of {known}; convert the model to Q8_0, say"))
        })?;
        let offset = self.u64(name)?;
        let field = || format!("{name} of shape {shape:?} and type {}", dtype.name());
        let bytes = bytes_of(dtype, &shape).ok_or_else(|| {
            let block_len = dtype.block_len();
            refuse(field(), "impossible", format!("rows of whole blocks of {block_len}, not empty"))
        })?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if !offset.is_multiple_of(alignment) {
            let expected = format!("a multiple of the alignment {alignment}");
            return Err(refuse(format!("{name} offset"), offset, expected));
        }
        match offset.checked_add(bytes) {
            Some(end) => Ok(Tensor { shape, dtype, range: offset..end }),
            None => Err(refuse(field(), format!("at offset {offset}"), "an offset in the file")),
        }
    }

    fn alignment(&self, metadata: &BTreeMap<String, Slot>) -> Result<usize, Refusal> {
        const KEY: &str = "general.alignment";
        let Some(slot) = metadata.get(KEY) else { return Ok(DEFAULT_ALIGNMENT) };
        let value = self.bytes.get(slot.range.clone()).and_then(|b| Value::decode(slot.kind, b));
        let alignment = value.and_then(|(value, _)| value.as_u64()).unwrap_or(0);
        match usize::try_from(alignment) {
            Ok(alignment) if alignment.is_power_of_two() && alignment <= LARGEST_ALIGNMENT => {
                Ok(alignment)
            }
            _ => Err(refuse(KEY, alignment, format!("a power of two up to {LARGEST_ALIGNMENT}"))),
        }
    }

    fn name(&mut self, field: &str) -> Result<&'a str, Refusal> {
        match self.str(field)? {
            name if (1..=LONGEST_NAME).contains(&name.len()) => Ok(name),
            name => {
                let expected = format!("1 to {LONGEST_NAME}");
                Err(refuse(field, format!("a name of {} bytes", name.len()), expected))
            }
        }
    }

    fn str(&mut self, field: &str) -> Result<&'a str, Refusal> {
        let len = self.u64(field)?;
        let text = self.take(len, field)?;
        std::str::from_utf8(text).map_err(|_| refuse(field, "not UTF-8", "a text in UTF-8"))
    }

    fn u32(&mut self, field: &str) -> Result<u32, Refusal> {
        let bytes = self.take(4, field)?.first_chunk().copied().unwrap_or_default();
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self, field: &str) -> Result<u64, Refusal> {
        let bytes = self.take(8, field)?.first_chunk().copied().unwrap_or_default();
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next `len` bytes; `field` says what they belong to.
    fn take(&mut self, len: u64, field: &str) -> Result<&'a [u8], Refusal> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let bytes = taken.ok_or_else(|| {
            let found = format!("{len} bytes long where the file has {} left", rest.len());
            refuse(field, found, WHOLE_FILE)
        })?;
        self.at += bytes.len();
        Ok(bytes)
    }
}

const WHOLE_FILE: &str = "a whole file; it may have been cut short, get it anew";

fn twice(field: String) -> Refusal {
    refuse(field, "there twice", "each name once")
}

/// The size of a tensor, unless a dimension is zero, rows are not whole blocks, or it overflows.
fn bytes_of(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let (row_len, outer) = shape.split_last()?;
    let row_bytes = dtype.row_bytes(*row_len)?;
    let bytes = outer.iter().try_fold(row_bytes, |bytes, dim| bytes.checked_mul(*dim))?;
    (bytes > 0).then_some(bytes)
}

/// Moves the tensors' ranges from the start of the data to the start of the file, and checks that
/// each lies inside it and that no two share a byte.
fn place(
    tensors: &mut BTreeMap<String, Tensor>,
    data_start: usize,
    file_len: usize,
) -> Result<(), Refusal> {
    let data_len = file_len.saturating_sub(data_start);
    let mut in_order: Vec<(&String, &mut Tensor)> = tensors.iter_mut().collect();
    in_order.sort_by_key(|(_, tensor)| tensor.range.start);
    let mut end_before = 0;
    for (name, tensor) in in_order {
        let Range { start, end } = tensor.range;
        if end > data_len {
            let found = format!("at bytes {start} to {end} of {data_len} bytes of data");
            return Err(refuse(name, found, WHOLE_FILE));
        }
        if start < end_before {
            let found = format!("at byte {start}, inside the tensor before it");
            return Err(refuse(name, found, "data of its own"));
        }
        end_before = end;
        tensor.range = data_start + start..data_start + end;
    }
    Ok(())
}
