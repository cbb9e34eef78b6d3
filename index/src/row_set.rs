//! Which rows of a segment a search may return: one bit a row.

use std::ops::Range;

use crate::query::RowId;

/// A set of rows of one segment, by their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>, // bit `row % 64` of word `row / 64`; bits from n_rows on are 0
    n_rows: usize,
    len: usize,
}

impl RowSet {
    /// No row of a segment that has `n_rows`.
    pub fn empty(n_rows: usize) -> RowSet {
        RowSet { words: vec![0; n_rows.div_ceil(64)], n_rows, len: 0 }
    }

    /// All rows of a segment that has `n_rows`.
    pub fn all(n_rows: usize) -> RowSet {
        RowSet::empty(n_rows).complement()
    }

    /// The rows that `is_in` accepts, of a segment that has `n_rows`.
    pub fn of(n_rows: usize, mut is_in: impl FnMut(RowId) -> bool) -> RowSet {
        let mut set = RowSet::empty(n_rows);
        let rows = (0..n_rows as u32).map(RowId);
        rows.filter(|row| is_in(*row)).for_each(|row| set.insert(row));
        set
    }

    /// Rows in the set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows of the segment, in the set or not.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Whether a row is in the set.
    ///
    /// # Panics
    /// If the segment has no such row.
    #[inline]
    pub fn contains(&self, row: RowId) -> bool {
        let row = row.0 as usize;
        debug_assert!(row < self.n_rows);
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Puts a row in.
    ///
    /// # Panics
    /// If the segment has no such row.
    #[inline]
    pub fn insert(&mut self, row: RowId) {
        assert!((row.0 as usize) < self.n_rows, "a row that the segment does not have");
        let (word, bit) = (&mut self.words[row.0 as usize / 64], 1 << (row.0 % 64));
        self.len += usize::from(*word & bit == 0);
        *word |= bit;
    }

    /// Puts rows in: from the first to before the end.
    ///
    /// # Panics
    /// If the segment does not have them all.
    pub fn insert_range(&mut self, rows: Range<RowId>) {
        let (start, end) = (rows.start.0 as usize, rows.end.0 as usize);
        assert!(end <= self.n_rows, "rows that the segment does not have");
        let mut at = start;
        while at < end {
            let n_bits = (64 - at % 64).min(end - at);
            let bits = (u64::MAX >> (64 - n_bits)) << (at % 64);
            let word = &mut self.words[at / 64];
            self.len += (bits & !*word).count_ones() as usize;
            *word |= bits;
            at += n_bits;
        }
    }

    /// Takes a row out.
    ///
    /// # Panics
    /// If the segment has no such row.
    pub fn remove(&mut self, row: RowId) {
        assert!((row.0 as usize) < self.n_rows, "a row that the segment does not have");
        let (word, bit) = (&mut self.words[row.0 as usize / 64], 1 << (row.0 % 64));
        self.len -= usize::from(*word & bit != 0);
        *word &= !bit;
    }

    /// The rows of the segment that are not in the set.
    #[must_use]
    pub fn complement(&self) -> RowSet {
        let mut words: Vec<u64> = self.words.iter().map(|word| !word).collect();
        let n_last = self.n_rows % 64;
        if let Some(last) = words.last_mut().filter(|_| n_last > 0) {
            *last &= (1 << n_last) - 1;
        }
        RowSet { words, n_rows: self.n_rows, len: self.n_rows - self.len }
    }

    /// The rows that are in both sets.
    ///
    /// # Panics
    /// If they are sets of segments of unequal size.
    #[must_use]
    pub fn intersection(&self, other: &RowSet) -> RowSet {
        self.combine(other, |a, b| a & b)
    }

    /// The rows that are in one of the sets or both.
    ///
    /// # Panics
    /// If they are sets of segments of unequal size.
    #[must_use]
    pub fn union(&self, other: &RowSet) -> RowSet {
        self.combine(other, |a, b| a | b)
    }

    fn combine(&self, other: &RowSet, join: impl Fn(u64, u64) -> u64) -> RowSet {
        assert_eq!(self.n_rows, other.n_rows, "sets of unequal segments");
        let words = self.words.iter().zip(&other.words);
        let words: Vec<u64> = words.map(|(a, b)| join(*a, *b)).collect();
        let len = words.iter().map(|word| word.count_ones() as usize).sum();
        RowSet { words, n_rows: self.n_rows, len }
    }

    /// The rows in the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = RowId> {
        self.iter_within(0..self.n_rows)
    }

    /// The rows in the set that lie in a range, rising. The range begins at a multiple of 64, and ends at
    /// one or behind the last row.
    pub(crate) fn iter_within(&self, rows: Range<usize>) -> impl Iterator<Item = RowId> {
        debug_assert!(rows.start.is_multiple_of(64));
        debug_assert!(rows.end.is_multiple_of(64) || rows.end == self.n_rows);
        let words = rows.start / 64..rows.end.div_ceil(64);
        self.words[words.clone()].iter().zip(words.start as u32..).flat_map(|(word, idx)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(RowId(idx * 64 + bit))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const N: usize = 150;

    fn set(rows: &BTreeSet<u32>) -> RowSet {
        RowSet::of(N, |row| rows.contains(&row.0))
    }

    fn rows(set: &RowSet) -> BTreeSet<u32> {
        assert_eq!(set.len(), set.iter().count());
        set.iter().map(|row| row.0).collect()
    }

    proptest! {
        #[test]
        fn sets_are_those_of_the_standard_library(
            a in prop::collection::btree_set(0..N as u32, 0..N),
            b in prop::collection::btree_set(0..N as u32, 0..N),
            row in 0..N as u32,
            range in (0..=N as u32, 0..=N as u32),
        ) {
            let all: BTreeSet<u32> = (0..N as u32).collect();
            prop_assert_eq!(rows(&set(&a)), a.clone());
            prop_assert_eq!(rows(&set(&a).intersection(&set(&b))), &a & &b);
            prop_assert_eq!(rows(&set(&a).union(&set(&b))), &a | &b);
            prop_assert_eq!(rows(&set(&a).complement()), &all - &a);
            let middle: BTreeSet<u32> =
                set(&a).iter_within(64..128).map(|row| row.0).collect();
            prop_assert_eq!(middle, a.range(64..128).copied().collect::<BTreeSet<u32>>());
            let (mut with, mut without) = (set(&a), set(&a));
            with.insert(RowId(row));
            without.remove(RowId(row));
            prop_assert_eq!(rows(&with), &a | &BTreeSet::from([row]));
            prop_assert_eq!(rows(&without), &a - &BTreeSet::from([row]));
            let mut with = set(&a);
            with.insert_range(RowId(range.0)..RowId(range.1));
            prop_assert_eq!(rows(&with), &a | &(range.0..range.1).collect());
        }
    }

    #[test]
    fn all_and_none_of_any_size() {
        for n_rows in [0, 1, 63, 64, 65] {
            assert_eq!(RowSet::all(n_rows).len(), n_rows);
            assert_eq!(RowSet::all(n_rows).iter().count(), n_rows);
            assert!(RowSet::all(n_rows).complement().is_empty());
        }
    }
}
