//! From the fields of rows, or from other columns, to the bytes of a section `META`.

use std::collections::{BTreeMap, HashMap};

use index::{RowId, RowSet};
use roaring::RoaringBitmap;

use super::bytes::Problem;
use super::{BITMAPS, Columns, RANGES, dictionary};
use crate::filter::fields::Fields;
use crate::filter::scalar::Scalar;

/// With more distinct values than these, bitmaps are not even tried.
const MAX_BITMAPS: usize = 4096;

/// Rows from the first to the last, both included; rising, with a gap between two.
type Ranges = Vec<(u32, u32)>;

#[derive(Default)]
struct Builder {
    n_rows: u32,
    fields: BTreeMap<String, HashMap<Scalar, Ranges>>,
}

impl Columns<'_> {
    /// Writes the columns of rows, in their order.
    pub(crate) fn build(rows: impl Iterator<Item = Fields>) -> Vec<u8> {
        let mut builder = Builder::default();
        for fields in rows {
            let row = builder.n_rows;
            for (name, values) in fields.iter() {
                for value in values {
                    push(builder.ranges(name, value), row);
                }
            }
            builder.n_rows = row + 1;
        }
        builder.finish()
    }

    /// Writes the columns of the live rows of several segments, one segment after the other: the same bytes as
    /// [`Columns::build`] makes of these rows.
    ///
    /// # Errors
    /// What is wrong with one of them.
    ///
    /// # Panics
    /// If a set is of another number of rows than its columns.
    pub(crate) fn merge(sources: &[(Columns<'_>, &RowSet)]) -> Result<Vec<u8>, Problem> {
        let mut builder = Builder::default();
        for (columns, live) in sources {
            assert_eq!(columns.n_rows(), live.n_rows(), "a set of another segment");
            let mut next = builder.n_rows;
            let mut new_rows = vec![u32::MAX; live.n_rows()];
            for row in live.iter() {
                new_rows[row.0 as usize] = next;
                next += 1;
            }
            for name in columns.names() {
                let name = name?;
                columns.each_value(name, &mut |value, rows| {
                    let mut live_rows = rows.filter(|row| live.contains(RowId(*row))).peekable();
                    if live_rows.peek().is_some() {
                        let ranges = builder.ranges(name, value);
                        live_rows.for_each(|row| push(ranges, new_rows[row as usize]));
                    }
                })?;
            }
            builder.n_rows = next;
        }
        Ok(builder.finish())
    }
}

fn push(ranges: &mut Ranges, row: u32) {
    match ranges.last_mut() {
        Some((_, last)) if *last + 1 == row => *last = row,
        _ => ranges.push((row, row)),
    }
}

impl Builder {
    fn ranges(&mut self, name: &str, value: &Scalar) -> &mut Ranges {
        // Looked up by reference first: nearly always both are there, and need no copy.
        if !self.fields.contains_key(name) {
            self.fields.insert(name.to_owned(), HashMap::new());
        }
        let values = self.fields.get_mut(name).expect("it is there or was just inserted");
        if !values.contains_key(value) {
            values.insert(value.clone(), Ranges::new());
        }
        values.get_mut(value).expect("it is there or was just inserted")
    }

    fn finish(self) -> Vec<u8> {
        let mut section = self.n_rows.to_le_bytes().to_vec();
        section.extend((self.fields.len() as u32).to_le_bytes());
        let (mut names, mut columns): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        for (name, values) in self.fields {
            names.extend(name.as_bytes());
            columns.extend(column(values));
            section.extend((names.len() as u64).to_le_bytes());
            section.extend((columns.len() as u64).to_le_bytes());
        }
        section.extend(names);
        section.extend(columns);
        section
    }
}

fn column(values: HashMap<Scalar, Ranges>) -> Vec<u8> {
    let mut values: Vec<(Scalar, Ranges)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let present = bytes_of(&present(&values));
    let dictionary = dictionary::write(values.iter().map(|(value, _)| value));
    let ranges = ranges_of(&values);
    let bitmaps = (values.len() <= MAX_BITMAPS).then(|| bitmaps_of(&values));
    let (form, rows) = match bitmaps {
        Some(bitmaps) if bitmaps.len() < ranges.len() => (BITMAPS, bitmaps),
        _ => (RANGES, ranges),
    };
    let mut column = (values.len() as u32).to_le_bytes().to_vec();
    column.push(form);
    column.extend((present.len() as u64).to_le_bytes());
    column.extend((dictionary.len() as u64).to_le_bytes());
    column.extend(present);
    column.extend(dictionary);
    column.extend(rows);
    column
}

/// The rows that have a value.
fn present(values: &[(Scalar, Ranges)]) -> RoaringBitmap {
    let mut ranges: Ranges = values.iter().flat_map(|(_, ranges)| ranges).copied().collect();
    ranges.sort_unstable();
    bitmap(&ranges)
}

fn ranges_of(values: &[(Scalar, Ranges)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut end = 0_u64;
    for (_, ranges) in values {
        end += ranges.len() as u64;
        bytes.extend(end.to_le_bytes());
    }
    for (first, last) in values.iter().flat_map(|(_, ranges)| ranges) {
        bytes.extend(first.to_le_bytes());
        bytes.extend(last.to_le_bytes());
    }
    bytes
}

fn bitmaps_of(values: &[(Scalar, Ranges)]) -> Vec<u8> {
    let (mut ends, mut bitmaps) = (Vec::new(), Vec::new());
    for (_, ranges) in values {
        bitmaps.extend(bytes_of(&bitmap(ranges)));
        ends.extend((bitmaps.len() as u64).to_le_bytes());
    }
    ends.extend(bitmaps);
    ends
}

fn bitmap(ranges: &[(u32, u32)]) -> RoaringBitmap {
    let mut bitmap = RoaringBitmap::new();
    for (first, last) in ranges {
        bitmap.insert_range(*first..=*last);
    }
    bitmap.optimize();
    bitmap
}

fn bytes_of(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("memory takes all bytes");
    bytes
}
