//! Gives a collection's lexicon the rows that it lacks when the database opens: a tail, or everything.

use std::path::Path;
use std::sync::Arc;

use crate::collection;
use crate::document::StoredChunk;
use crate::error::{Error, Result};
use crate::lexicon::{Lexicon, RowWords, TAIL_ROWS};
use crate::records::tree::Tree;
use crate::search::view::View;

/// Opens the lexicon of a collection and reads the words of the rows that are not in it. A damaged one is made again; so
/// is one that was removed.
pub(crate) fn refill(
    dir: &Path,
    tree: &Tree,
    (number, name): (u32, &str),
    view: &View,
    next_row: u64,
    warnings: &mut Vec<String>,
) -> Lexicon {
    let n_live = |mark| view.n_live_before(mark) as u64;
    let (lexicon, problem) = Lexicon::open(dir, number, name, next_row, &n_live);
    if let Some(problem) = problem {
        warnings.push(format!("the lexicon of collection {name} was made again: {}", problem.0));
        lexicon.remove();
    }
    let mark = lexicon.mark();
    let mut filled = lexicon;
    let mut is_filled = false;
    if TAIL_ROWS < view.n_live_before(u64::MAX) - view.n_live_before(mark) {
        let mut skipped = Vec::new();
        let mut rows = Rows::new(tree, number, view, mark, &mut skipped);
        filled = filled.fill(next_row, &|row| view.is_live(row), &mut rows);
        drop(rows);
        is_filled = filled.problem().is_none();
        if is_filled {
            warnings.append(&mut skipped);
        }
    }
    if !is_filled {
        let tail = Rows::new(tree, number, view, mark, warnings).map(Arc::new);
        filled = filled.changed(&[], tail.collect());
    }
    filled
}

/// The words of the live rows from a mark on; rows that cannot be read are skipped, with a warning.
struct Rows<'a> {
    tree: &'a Tree,
    number: u32,
    view: &'a View,
    rows: Box<dyn Iterator<Item = u64> + 'a>,
    /// The document of the last row, and its title.
    document: Option<(String, Option<String>)>,
    skipped: &'a mut Vec<String>,
}

impl<'a> Rows<'a> {
    fn new(
        tree: &'a Tree,
        number: u32,
        view: &'a View,
        mark: u64,
        skipped: &'a mut Vec<String>,
    ) -> Rows<'a> {
        Rows { tree, number, view, rows: view.live_rows_from(mark), document: None, skipped }
    }

    fn words(&mut self, row: u64) -> Result<RowWords> {
        let chunk = self.view.chunk(row)?;
        let chunk = chunk.ok_or_else(|| Error::corrupt(format!("row {row}"), "it is nowhere"))?;
        let StoredChunk { document, headings, text, .. } = chunk;
        if self.document.as_ref().is_none_or(|(id, _)| *id != document) {
            let info = collection::read_document(self.tree, self.number, &document)?;
            self.document = Some((document, info.and_then(|info| info.title)));
        }
        let title = self.document.as_ref().and_then(|(_, title)| title.as_deref());
        Ok(RowWords::new(row, title, &headings, &text))
    }
}

impl Iterator for Rows<'_> {
    type Item = RowWords;

    fn next(&mut self) -> Option<RowWords> {
        loop {
            let row = self.rows.next()?;
            match self.words(row) {
                Ok(words) => return Some(words),
                Err(error) => {
                    self.skipped.push(format!("row {row} is not found by its words: {error}"));
                }
            }
        }
    }
}
