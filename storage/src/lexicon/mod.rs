//! Full-text search: BM25 over the words of each chunk, its headings and its document's title.
//!
//! In reading order:
//!
//! - `words` cuts text into words; `query` says what a query asks for; `score` is BM25.
//! - `index` keeps rows on disk, through `directory`; `tail` holds the rows that are not there yet.
//! - `marks` finds a query's words in a text, for snippets.
//!
//! Each collection has its own index, so that the counts behind its scores are its own, and damage stays in it.
//! It is a cache of rows whose texts are in sled and in segments: it can be removed at any time, and opening the database
//! makes it again. A commit says up to which row it goes, its *mark*. Row ids only grow, so the rows from the mark on are
//! what is missing: the *tail*, which is kept in memory and searched the same way. A commit moves the tail to disk.
//!
//! Dead rows are never returned, since each hit is asked of the view. The tail forgets a dead row at once, the
//! index is told at the next commit; until then it is still counted in how many rows have a word.

mod directory;
mod index;
mod marks;
mod query;
mod score;
mod tail;
mod words;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Need};
use crate::error::{Error, io};

pub(crate) use tail::RowWords;

use index::{Committed, Origin};
use query::Query;
use score::Rows;
use tail::Tail;

/// The directory of all lexicons in a database; each collection has one in it, named by its number.
pub(crate) const LEXICON_DIR: &str = "lexicon";

/// Version of the fields and of the words that a text gives. Another one is built anew.
const VERSION: u32 = 0;

/// Rows in the tail at which it is committed.
pub(crate) const TAIL_ROWS: usize = 1024;

/// Why the index on disk cannot be used, or could not be written. Never a reason to refuse a write to the database.
#[derive(Clone, Debug)]
pub(crate) struct Problem(pub(crate) String);

type Result<T> = std::result::Result<T, Problem>;

impl<E: std::error::Error> From<E> for Problem {
    fn from(error: E) -> Problem {
        Problem(error.to_string())
    }
}

/// What can be searched by words in a collection at one moment. Part of a view; cheap to clone.
#[derive(Clone, Default)]
pub struct Lexicon {
    collection: Arc<Place>,
    committed: Option<Arc<Committed>>,
    tail: Tail,
    /// Why the last commit failed, and the tail's length at that time.
    failed: Option<(Problem, usize)>,
}

/// Where a lexicon lies and whose it is.
#[derive(Default)]
struct Place {
    dir: PathBuf,
    number: u32,
    name: String,
}

impl Lexicon {
    /// An empty lexicon of a new collection.
    pub(crate) fn new(database: &Path, number: u32, name: &str) -> Lexicon {
        let dir = database.join(LEXICON_DIR).join(number.to_string());
        let collection = Arc::new(Place { dir, number, name: name.to_owned() });
        Lexicon { collection, ..Lexicon::default() }
    }

    /// Opens a collection's lexicon as its last commit left it, and says why if there is none that fits. Writes nothing.
    ///
    /// `next_row`: the next row of the collection. `n_live(mark)`: its live rows below the mark.
    pub(crate) fn open(
        database: &Path,
        number: u32,
        name: &str,
        next_row: u64,
        n_live: &dyn Fn(u64) -> u64,
    ) -> (Lexicon, Option<Problem>) {
        let empty = Lexicon::new(database, number, name);
        let opened = guarded(|| Committed::open(&empty.collection.dir)).and_then(|committed| {
            let Some(committed) = committed else { return Ok(None) };
            let Origin { version, number: found, name: of, mark } = &committed.origin;
            if (*version, *found, of.as_str()) != (VERSION, number, name) {
                Err(Problem(format!("it is version {version} of collection {found}, {of}")))
            } else if next_row < *mark {
                Err(Problem(format!("it goes up to row {mark}, the collection up to {next_row}")))
            } else if committed.n_rows() < n_live(*mark) {
                Err(Problem("rows are missing".to_owned()))
            } else {
                Ok(Some(Arc::new(committed)))
            }
        });
        match opened {
            Ok(committed) => (Lexicon { committed, ..empty }, None),
            Err(problem) => (empty, Some(problem)),
        }
    }

    /// Rows below are on disk.
    pub(crate) fn mark(&self) -> u64 {
        self.committed.as_ref().map_or(0, |committed| committed.origin.mark)
    }

    /// Rows that are not.
    pub(crate) fn n_tail(&self) -> usize {
        self.tail.rows.len()
    }

    /// What kept the last commit from being written.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.failed.as_ref().map(|(problem, _)| problem.0.as_str())
    }

    /// True if the tail is long; after a failed commit not before it has grown as much again.
    pub(crate) fn is_due(&self) -> bool {
        let since = self.failed.as_ref().map_or(0, |(_, n_tail)| *n_tail);
        since + TAIL_ROWS <= self.n_tail()
    }

    /// The same without some rows of the tail and with more at its end.
    pub(crate) fn changed(&self, gone: &[Range<u64>], added: Vec<Arc<RowWords>>) -> Lexicon {
        let is_gone = |row: u64| gone.iter().any(|gone| gone.contains(&row));
        let mut next = self.clone();
        next.tail.rows.retain(|words| !is_gone(words.row));
        next.tail.rows.extend(added);
        next
    }

    /// The same with the tail on disk and the dead rows taken out; if that fails, as it was, with the problem.
    pub(crate) fn commit(&self, live: &dyn Fn(u64) -> bool) -> Lexicon {
        let mark = self.tail.rows.last().map_or(self.mark(), |words| words.row + 1);
        self.fill(mark, live, &mut std::iter::empty())
    }

    /// The same with the tail and then `more` rows on disk, which are all live rows below `mark` that it lacks.
    pub(crate) fn fill(
        &self,
        mark: u64,
        live: &dyn Fn(u64) -> bool,
        more: &mut dyn Iterator<Item = RowWords>,
    ) -> Lexicon {
        let Place { dir, number, name } = self.collection.as_ref();
        let origin = Origin { version: VERSION, number: *number, name: name.clone(), mark };
        let committed = guarded(|| {
            let known = self.committed.iter().flat_map(|committed| committed.rows());
            let dead: Vec<u64> = known.filter(|row| !live(*row)).collect();
            if mark == self.mark() && dead.is_empty() {
                return Ok(self.committed.clone());
            }
            if self.committed.is_none() {
                remove(dir)?;
            }
            fs::create_dir_all(dir).map_err(io("create", dir))?;
            let tail_bytes = self.tail.rows.iter().map(|words| words.n_bytes()).sum::<usize>();
            // A merge may write all of it again.
            disk::require(dir, Need::File(tail_bytes as u64 + disk::files_bytes(dir)))?;
            let mut rows = self.tail.rows.iter().cloned().chain(more.map(Arc::new));
            Ok(Some(Arc::new(index::commit(dir, &origin, &mut rows, dead)?)))
        });
        match committed {
            Ok(committed) => {
                let collection = Arc::clone(&self.collection);
                Lexicon { collection, committed, ..Lexicon::default() }
            }
            Err(problem) => Lexicon { failed: Some((problem, self.n_tail())), ..self.clone() },
        }
    }

    /// Removes the files. If that fails, the next commit tries again.
    pub(crate) fn remove(&self) {
        let _ = remove(&self.collection.dir);
    }

    /// Bytes of its files.
    pub(crate) fn n_bytes(&self) -> u64 {
        disk::files_bytes(&self.collection.dir)
    }

    /// The best `k` live rows for a query, best first, equal scores in the order of their ids; their BM25 scores.
    ///
    /// A query is words, of which a row has at least one (`small cat`); phrases (`"small cat"`); starts of words
    /// (`cat*`); what a row must have (`+cat`) or must not have (`-dog`). No query is an error; one without words
    /// finds nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the files of the lexicon are damaged.
    pub fn search(
        &self,
        query: &str,
        k: usize,
        live: &dyn Fn(u64) -> bool,
    ) -> crate::Result<Vec<(u64, f32)>> {
        let query = Query::parse(query);
        let segments = self.committed.iter().flat_map(|committed| &committed.segments);
        let mut parts: Vec<&dyn Rows> = segments.map(|segment| segment as &dyn Rows).collect();
        parts.push(&self.tail);
        guarded(|| score::search(&parts, &query, k, live)).map_err(|problem| {
            let dir = self.collection.dir.display();
            let problem = format!("{}; remove it and open the database again", problem.0);
            Error::corrupt(format!("lexicon {dir}"), problem)
        })
    }

    /// The byte ranges of a text that match a query, in order, none touching another.
    pub fn marks(text: &str, query: &str) -> Vec<Range<usize>> {
        marks::marks(text, query)
    }
}

impl std::fmt::Debug for Lexicon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lexicon").field("dir", &self.collection.dir).finish_non_exhaustive()
    }
}

/// Removes a lexicon's directory.
fn remove(dir: &Path) -> crate::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Runs what reads or writes the index: a panic, which damaged files can cause in tantivy, is a problem like others.
fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Problem("reading or writing it ended in a panic".to_owned())))
}
