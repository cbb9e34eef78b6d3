//! The distinct values of a field, sorted, in blocks of 16: a text is kept as what differs from the one before it.
//!
//! A search decodes the first values of a few blocks and then one block; LIKE decodes them one after the other.

use super::bytes::{Problem, Reader, TOO_SHORT, part, put_varint};
use crate::filter::scalar::Scalar;

/// Values in a block, but for the last.
const BLOCK_VALUES: usize = 16;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;

/// Writes values that rise.
pub(super) fn write<'a>(values: impl Iterator<Item = &'a Scalar>) -> Vec<u8> {
    let (mut ends, mut blocks) = (Vec::new(), Vec::new());
    let mut before = "";
    for (idx, value) in values.enumerate() {
        if idx % BLOCK_VALUES == 0 {
            if idx > 0 {
                ends.extend((blocks.len() as u64).to_le_bytes());
            }
            before = "";
        }
        match value {
            Scalar::Bool(value) => blocks.push(if *value { TRUE } else { FALSE }),
            Scalar::Integer(value) => {
                blocks.push(INTEGER);
                blocks.extend(value.to_le_bytes());
            }
            Scalar::Float(value) => {
                blocks.push(FLOAT);
                blocks.extend(value.to_le_bytes());
            }
            Scalar::Text(text) => {
                let n_shared = shared_bytes(before, text);
                blocks.push(TEXT);
                put_varint(&mut blocks, n_shared);
                put_varint(&mut blocks, text.len() - n_shared);
                blocks.extend(&text.as_bytes()[n_shared..]);
                before = text;
            }
        }
    }
    if !blocks.is_empty() {
        ends.extend((blocks.len() as u64).to_le_bytes());
    }
    ends.extend(blocks);
    ends
}

/// Bytes of the whole characters that both texts begin with.
fn shared_bytes(a: &str, b: &str) -> usize {
    let mut n_bytes = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !b.is_char_boundary(n_bytes) {
        n_bytes -= 1;
    }
    n_bytes
}

/// Written values.
#[derive(Clone, Copy)]
pub(super) struct Dictionary<'a> {
    pub(super) n_values: usize,
    ends: &'a [[u8; 8]], // [n_blocks]
    blocks: &'a [u8],
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(n_values: usize, bytes: &'a [u8]) -> Result<Dictionary<'a>, Problem> {
        let mut bytes = Reader(bytes);
        let ends = bytes.arrays(n_values.div_ceil(BLOCK_VALUES))?;
        Ok(Dictionary { n_values, ends, blocks: bytes.0 })
    }

    #[cfg(test)]
    pub(super) fn n_bytes(&self) -> usize {
        8 * self.ends.len() + self.blocks.len()
    }

    /// How many of the values are below some point: those that `is_below` accepts, which come first.
    pub(super) fn partition_point(
        &self,
        is_below: impl Fn(&Scalar) -> bool,
    ) -> Result<usize, Problem> {
        // The last block that begins below the point holds it, or ends at it.
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.block_values(middle).next()? {
                Some((_, value)) if is_below(value) => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(block) = low.checked_sub(1) else { return Ok(0) };
        let end = (low * BLOCK_VALUES).min(self.n_values);
        let mut values = self.block_values(block);
        while let Some((idx, value)) = values.next()? {
            if idx == end || !is_below(value) {
                return Ok(idx);
            }
        }
        Ok(end)
    }

    /// The values from number `idx` on.
    pub(super) fn values_from(&self, idx: usize) -> Result<Values<'a>, Problem> {
        let mut values = self.block_values(idx / BLOCK_VALUES);
        for _ in 0..idx % BLOCK_VALUES {
            values.next()?;
        }
        Ok(values)
    }

    fn block_values(&self, block: usize) -> Values<'a> {
        let value = Scalar::Text(String::new());
        Values { dictionary: *self, next: block * BLOCK_VALUES, left: Reader(&[]), value }
    }
}

/// Values read one after the other, into one place.
pub(super) struct Values<'a> {
    dictionary: Dictionary<'a>,
    next: usize,
    left: Reader<'a>,
    value: Scalar,
}

impl Values<'_> {
    /// The next value with its number.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &Scalar)>, Problem> {
        let Dictionary { n_values, ends, blocks } = self.dictionary;
        let idx = self.next;
        if idx >= n_values {
            return Ok(None);
        }
        let begins_block = idx.is_multiple_of(BLOCK_VALUES);
        if begins_block {
            self.left = Reader(part(ends, blocks, idx / BLOCK_VALUES)?);
        }
        let fixed = match self.left.u8()? {
            FALSE => Scalar::Bool(false),
            TRUE => Scalar::Bool(true),
            INTEGER => Scalar::Integer(i64::from_le_bytes(self.left.array()?)),
            FLOAT => Scalar::float(f64::from_le_bytes(self.left.array()?))
                .ok_or("a number in section META is not finite")?,
            TEXT => {
                self.read_text(begins_block)?;
                self.next += 1;
                return Ok(Some((idx, &self.value)));
            }
            _ => return Err("a value in section META has no known type"),
        };
        self.value = fixed;
        self.next += 1;
        Ok(Some((idx, &self.value)))
    }

    fn read_text(&mut self, begins_block: bool) -> Result<(), Problem> {
        let (n_shared, n_rest) = (self.left.varint()?, self.left.varint()?);
        let rest = std::str::from_utf8(self.left.take(n_rest)?)
            .map_err(|_| "a text in section META is not UTF-8")?;
        if begins_block || !matches!(self.value, Scalar::Text(_)) {
            self.value = Scalar::Text(String::new());
        }
        let Scalar::Text(text) = &mut self.value else { return Err(TOO_SHORT) };
        if !text.is_char_boundary(n_shared) {
            return Err("a text in section META begins with more than the one before it");
        }
        text.truncate(n_shared);
        text.push_str(rest);
        Ok(())
    }
}
