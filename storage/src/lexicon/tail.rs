//! Rows as the lexicon sees them, and the tail: those that are not yet in the index on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Result;
use super::score::{Rows, count_phrase, round, unround};
use super::words::words;

/// How often the words of a title and of headings count.
const HEADING_WEIGHT: u32 = 1;

/// Words that no phrase stands across: between title, headings and text.
const GAP: u32 = 2;

/// The words of one row: its document's title, its headings, its text.
///
/// Title and headings are words like those of the text, which is BM25F with weights of [`HEADING_WEIGHT`] and 1. A
/// heading that repeats the title, or a heading of its own, counts once.
#[derive(Debug, PartialEq)]
pub(crate) struct RowWords {
    pub(super) row: u64,
    pub(super) n_words: u32,
    /// Sorted by term; positions ascend.
    pub(super) terms: Vec<(String, Vec<u32>)>,
}

impl RowWords {
    pub(crate) fn new(row: u64, title: Option<&str>, headings: &[String], text: &str) -> RowWords {
        let mut above: Vec<&str> = Vec::new();
        for heading in title.into_iter().chain(headings.iter().map(String::as_str)) {
            if !above.contains(&heading) {
                above.push(heading);
            }
        }
        let above = above.iter().flat_map(|heading| (0..HEADING_WEIGHT).map(|_| *heading));
        let mut terms: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let (mut n_words, mut start) = (0, 0);
        for text in above.chain([text]) {
            let mut end = start;
            for word in words(text) {
                n_words += 1;
                end = start + word.position + 1;
                terms.entry(word.term).or_default().push(start + word.position);
            }
            start = end + GAP;
        }
        RowWords { row, n_words, terms: terms.into_iter().collect() }
    }

    /// About what it takes on disk before postings are packed.
    pub(super) fn n_bytes(&self) -> usize {
        let bytes = |(term, positions): &(String, Vec<u32>)| term.len() + 4 * positions.len();
        self.terms.iter().map(bytes).sum()
    }

    fn find(&self, term: &str) -> Option<&[u32]> {
        let at = self.terms.binary_search_by(|(found, _)| found.as_str().cmp(term)).ok()?;
        self.terms.get(at).map(|(_, positions)| positions.as_slice())
    }
}

/// The live rows above the mark, in order.
#[derive(Clone, Default)]
pub(super) struct Tail {
    pub(super) rows: Vec<Arc<RowWords>>,
}

impl Tail {
    fn numbered(&self) -> impl Iterator<Item = (u32, &RowWords)> {
        (0..).zip(self.rows.iter().map(Arc::as_ref))
    }
}

impl Rows for Tail {
    fn size(&self) -> (u64, u64) {
        let n_words = self.rows.iter().map(|row| u64::from(unround(round(row.n_words)))).sum();
        (self.rows.len() as u64, n_words)
    }

    fn end(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, number: u32) -> u64 {
        self.rows[number as usize].row
    }

    fn length(&self, number: u32) -> u8 {
        round(self.rows[number as usize].n_words)
    }

    fn count(&self, term: &str) -> Result<u64> {
        Ok(self.rows.iter().filter(|row| row.find(term).is_some()).count() as u64)
    }

    fn visit(&self, term: &str, visit: &mut dyn FnMut(u32, u32)) -> Result<()> {
        for (number, row) in self.numbered() {
            if let Some(positions) = row.find(term) {
                visit(number, positions.len() as u32);
            }
        }
        Ok(())
    }

    fn phrase(&self, terms: &[(u32, String)]) -> Result<Vec<(u32, u32)>> {
        let mut found = Vec::new();
        for (number, row) in self.numbered() {
            let positions = terms.iter().map(|(_, term)| row.find(term).map(<[u32]>::to_vec));
            let Some(positions) = positions.collect::<Option<Vec<_>>>() else { continue };
            let times = count_phrase(&positions, terms.iter().map(|(distance, _)| *distance));
            if times > 0 {
                found.push((number, times));
            }
        }
        Ok(found)
    }

    fn expand(&self, prefix: &str, n_most: usize, found: &mut BTreeSet<String>) -> Result<()> {
        let mut here = BTreeSet::new();
        for row in &self.rows {
            let start = row.terms.partition_point(|(term, _)| term.as_str() < prefix);
            let terms = row.terms[start..].iter().map(|(term, _)| term);
            here.extend(terms.take_while(|term| term.starts_with(prefix)).cloned());
        }
        found.extend(here.into_iter().take(n_most));
        Ok(())
    }
}
