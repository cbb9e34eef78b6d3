//! The section `META` of a segment: for each field its distinct values, sorted, and the rows that have each.
//!
//! A comparison finds a stretch of the values by binary search, LIKE goes through those that begin as its pattern does,
//! and the rows of these values are the answer. Rows of a value are bitmaps (roaring: small for runs and for scattered
//! rows) or ranges, whichever is smaller. All rows of a document follow each other, so what is said of a document is
//! one range for each of its values however many rows it has.
//!
//! `STORE.md` has the bytes. They are not trusted: damage is an error, or another answer if a checksum was not asked.

mod build;
mod bytes;
mod dictionary;

#[cfg(test)]
mod tests;

use std::ops::Range;

use index::{RowId, RowSet};
use roaring::RoaringBitmap;

pub(crate) use bytes::Problem;

use super::scalar::Scalar;
use super::{Comparison, Condition, Filter, Test};
use bytes::{Reader, TOO_SHORT, part};
use dictionary::Dictionary;

/// Tag of the section.
pub(crate) const META: [u8; 4] = *b"META";

/// The rows of a column's values are a bitmap for each value.
const BITMAPS: u8 = 0;
/// The rows of a column's values are ranges.
const RANGES: u8 = 1;

/// A bitmap with fewer rows for each of its bytes is taken for scattered rows: these have half a row a byte when rare and
/// up to four when every other row is one, runs of ten have 2.5.
const MIN_ROWS_A_BYTE_OF_RUNS: usize = 2;

const OUTSIDE: Problem = "section META names a row that the segment does not have";

/// The columns of a segment, read where they lie and only as far as a filter asks.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    n_rows: usize,
    directory: &'a [[u8; 16]], // [n_fields]
    names: &'a [u8],
    columns: &'a [u8],
}

/// One field.
struct Column<'a> {
    n_rows: usize,
    present: &'a [u8],
    values: Dictionary<'a>,
    rows: Rows<'a>,
}

/// The rows of each value.
enum Rows<'a> {
    Bitmaps { ends: &'a [[u8; 8]], bitmaps: &'a [u8] },
    Ranges { ends: &'a [[u8; 8]], ranges: &'a [[u8; 8]] },
}

impl<'a> Columns<'a> {
    /// Finds the parts of a section of a segment with `n_rows`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(section: &'a [u8], n_rows: usize) -> Result<Columns<'a>, Problem> {
        let mut section = Reader(section);
        if section.u32()? as usize != n_rows {
            return Err("section META is not of as many rows as the segment has");
        }
        let n_fields = section.u32()? as usize;
        let directory = section.arrays(n_fields)?;
        let names_bytes = directory.last().map_or(0, |entry| ends(entry).0);
        let names = section.take(usize::try_from(names_bytes).map_err(|_| TOO_SHORT)?)?;
        Ok(Columns { n_rows, directory, names, columns: section.0 })
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The rows that pass a filter.
    ///
    /// # Errors
    /// What is wrong with the section.
    pub(crate) fn select(&self, filter: &Filter) -> Result<RowSet, Problem> {
        self.rows_where(&filter.condition, true)
    }

    /// The rows for which a condition is `truth`; those for which it is unknown are never among them.
    fn rows_where(&self, condition: &Condition, truth: bool) -> Result<RowSet, Problem> {
        let (conditions, all_needed) = match condition {
            Condition::And(conditions) => (conditions, truth),
            Condition::Or(conditions) => (conditions, !truth),
            Condition::Not(condition) => return self.rows_where(condition, !truth),
            Condition::IsNull(field) => {
                let present = match self.column(field)? {
                    Some(column) => column.present()?,
                    None => RowSet::empty(self.n_rows),
                };
                return Ok(if truth { present.complement() } else { present });
            }
            Condition::Has(field, test) => {
                let Some(column) = self.column(field)? else {
                    return Ok(RowSet::empty(self.n_rows));
                };
                let passing = column.passing(test)?;
                if truth {
                    return Ok(passing);
                }
                return Ok(column.present()?.intersection(&passing.complement()));
            }
        };
        let start = if all_needed { RowSet::all(self.n_rows) } else { RowSet::empty(self.n_rows) };
        conditions.iter().try_fold(start, |rows, condition| {
            if all_needed && rows.is_empty() {
                return Ok(rows);
            }
            let more = self.rows_where(condition, truth)?;
            Ok(if all_needed { rows.intersection(&more) } else { rows.union(&more) })
        })
    }

    /// The names of its fields, rising.
    pub(crate) fn names(&self) -> impl Iterator<Item = Result<&'a str, Problem>> {
        let columns = *self;
        (0..self.directory.len()).map(move |idx| columns.name(idx))
    }

    /// Calls `each` with each value of a field and the value's rows, rising.
    ///
    /// # Errors
    /// What is wrong with the section.
    pub(crate) fn each_value(
        &self,
        field: &str,
        each: &mut dyn FnMut(&Scalar, &mut dyn Iterator<Item = u32>),
    ) -> Result<(), Problem> {
        let Some(column) = self.column(field)? else { return Ok(()) };
        let mut values = column.values.values_from(0)?;
        while let Some((idx, value)) = values.next()? {
            let mut ranges = Vec::new();
            column.each_range(idx..idx + 1, &mut |range| ranges.push(range))?;
            each(value, &mut ranges.into_iter().flatten());
        }
        Ok(())
    }

    fn name(&self, idx: usize) -> Result<&'a str, Problem> {
        let end_of = |idx: usize| {
            let entry = self.directory.get(idx).ok_or(TOO_SHORT)?;
            usize::try_from(ends(entry).0).map_err(|_| TOO_SHORT)
        };
        let start = idx.checked_sub(1).map_or(Ok(0), end_of)?;
        let name = self.names.get(start..end_of(idx)?).ok_or(TOO_SHORT)?;
        std::str::from_utf8(name).map_err(|_| "a name in section META is not UTF-8")
    }

    fn column(&self, field: &str) -> Result<Option<Column<'a>>, Problem> {
        let (mut low, mut high) = (0, self.directory.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.name(middle)? < field { low = middle + 1 } else { high = middle }
        }
        if low == self.directory.len() || self.name(low)? != field {
            return Ok(None);
        }
        let start = match low.checked_sub(1) {
            Some(before) => ends(&self.directory[before]).1,
            None => 0,
        };
        let end = ends(&self.directory[low]).1;
        let bytes = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let bytes = bytes.and_then(|(start, end)| self.columns.get(start..end)).ok_or(TOO_SHORT)?;
        Column::open(bytes, self.n_rows).map(Some)
    }
}

/// Where a field's name and column end.
fn ends(entry: &[u8; 16]) -> (u64, u64) {
    let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = *entry;
    let name = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
    (name, u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]))
}

impl<'a> Column<'a> {
    fn open(bytes: &'a [u8], n_rows: usize) -> Result<Column<'a>, Problem> {
        let mut bytes = Reader(bytes);
        let n_values = bytes.u32()? as usize;
        let form = bytes.u8()?;
        let (present_bytes, dictionary_bytes) = (bytes.size()?, bytes.size()?);
        let present = bytes.take(present_bytes)?;
        let values = Dictionary::new(n_values, bytes.take(dictionary_bytes)?)?;
        let ends = bytes.arrays(n_values)?;
        let rows = match form {
            BITMAPS => Rows::Bitmaps { ends, bitmaps: bytes.0 },
            RANGES => Rows::Ranges { ends, ranges: bytes.0.as_chunks().0 },
            _ => return Err("a column of section META has no known form"),
        };
        Ok(Column { n_rows, present, values, rows })
    }

    /// The rows that have a value.
    fn present(&self) -> Result<RowSet, Problem> {
        let mut rows = RowSet::empty(self.n_rows);
        self.each_of_bitmap(self.present, &mut |range| insert(&mut rows, range))?;
        Ok(rows)
    }

    /// The rows that have a value which passes a test.
    fn passing(&self, test: &Test) -> Result<RowSet, Problem> {
        let mut rows = RowSet::empty(self.n_rows);
        let mut add =
            |values: Range<usize>| self.each_range(values, &mut |range| insert(&mut rows, range));
        match test {
            Test::Compare(comparison, with) => add(self.compared(*comparison, with)?)?,
            Test::Between(low, high) => {
                let from = self.compared(Comparison::GreaterOrEqual, low)?;
                let to = self.compared(Comparison::LessOrEqual, high)?;
                add(from.start.max(to.start)..from.end.min(to.end))?;
            }
            Test::In(list) => {
                for value in list {
                    add(self.compared(Comparison::Equal, value)?)?;
                }
            }
            Test::Like(pattern) => {
                let prefix = pattern.prefix();
                let first = Scalar::Text(prefix.clone());
                let first = self.values.partition_point(|value| *value < first)?;
                let mut values = self.values.values_from(first)?;
                while let Some((idx, Scalar::Text(text))) = values.next()? {
                    if !text.starts_with(&prefix) {
                        break;
                    }
                    if pattern.matches(text) {
                        add(idx..idx + 1)?;
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The values of the same type that compare so, by their numbers.
    fn compared(&self, comparison: Comparison, with: &Scalar) -> Result<Range<usize>, Problem> {
        let values = &self.values;
        let first = || values.partition_point(|value| value.rank() < with.rank());
        let end = || values.partition_point(|value| value.rank() <= with.rank());
        let below = || values.partition_point(|value| value < with);
        let not_above = || values.partition_point(|value| value <= with);
        Ok(match comparison {
            Comparison::Equal => below()?..not_above()?,
            Comparison::Less => first()?..below()?,
            Comparison::LessOrEqual => first()?..not_above()?,
            Comparison::Greater => not_above()?..end()?,
            Comparison::GreaterOrEqual => below()?..end()?,
        })
    }

    /// Calls `each` with ranges of the rows that have one of these values.
    fn each_range(
        &self,
        values: Range<usize>,
        each: &mut impl FnMut(Range<u32>),
    ) -> Result<(), Problem> {
        if values.is_empty() {
            return Ok(());
        }
        match self.rows {
            Rows::Bitmaps { ends, bitmaps } => {
                for value in values {
                    self.each_of_bitmap(part(ends, bitmaps, value)?, each)?;
                }
            }
            Rows::Ranges { ends, ranges } => {
                let end_of = |value: usize| {
                    let end = ends.get(value).ok_or(TOO_SHORT)?;
                    usize::try_from(u64::from_le_bytes(*end)).map_err(|_| TOO_SHORT)
                };
                let start = values.start.checked_sub(1).map_or(Ok(0), end_of)?;
                let ranges = ranges.get(start..end_of(values.end - 1)?).ok_or(TOO_SHORT)?;
                for [f0, f1, f2, f3, l0, l1, l2, l3] in ranges {
                    let first = u32::from_le_bytes([*f0, *f1, *f2, *f3]);
                    let last = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
                    if last as usize >= self.n_rows {
                        return Err(OUTSIDE);
                    }
                    each(first..last + 1);
                }
            }
        }
        Ok(())
    }

    fn each_of_bitmap(
        &self,
        bytes: &[u8],
        each: &mut impl FnMut(Range<u32>),
    ) -> Result<(), Problem> {
        let bitmap = RoaringBitmap::deserialize_from(bytes)
            .map_err(|_| "a bitmap in section META cannot be read")?;
        if bitmap.max().is_some_and(|last| last as usize >= self.n_rows) {
            return Err(OUTSIDE);
        }
        // Looking for runs costs more than it gives where there are none.
        if bitmap.len() <= (MIN_ROWS_A_BYTE_OF_RUNS * bytes.len()) as u64 {
            bitmap.iter().for_each(|row| each(row..row + 1));
            return Ok(());
        }
        let mut rows = bitmap.iter();
        while let Some(range) = rows.next_range() {
            each(*range.start()..*range.end() + 1);
        }
        Ok(())
    }
}

fn insert(rows: &mut RowSet, range: Range<u32>) {
    if range.len() == 1 {
        rows.insert(RowId(range.start));
    } else {
        rows.insert_range(RowId(range.start)..RowId(range.end));
    }
}
