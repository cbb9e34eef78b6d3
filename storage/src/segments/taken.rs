//! What was taken to be sealed, against what is there once the segment is made: rows came and went meanwhile.
//!
//! `tests/interleave` compiles this file too.

/// Unsealed runs, sorted out.
pub(crate) struct Taken<R> {
    /// Still there: they move into the segment.
    pub(crate) moved: Vec<R>,
    /// Deleted or replaced meanwhile: in the segment they are dead.
    pub(crate) gone: Vec<R>,
    /// Came meanwhile: they stay unsealed.
    pub(crate) left: Vec<R>,
}

impl<R: Clone> Taken<R> {
    /// Both lists are in the order of `first_row`, by which runs are told apart: row ids are never used twice.
    pub(crate) fn sort(taken: &[R], now: &[R], first_row: impl Fn(&R) -> u64) -> Taken<R> {
        let has =
            |list: &[R], run: &R| list.binary_search_by_key(&first_row(run), &first_row).is_ok();
        let (moved, left) = now.iter().cloned().partition(|run| has(taken, run));
        let gone = taken.iter().filter(|run| !has(now, run)).cloned().collect();
        Taken { moved, gone, left }
    }
}
