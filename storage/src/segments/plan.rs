//! Which segments are worth merging: a pure function of their sizes.
//!
//! A search asks every segment, and the cost of a graph grows with little more than the logarithm of its rows: two graphs
//! cost nearly twice what one of all rows costs, unless the second is much smaller. So sizes are kept falling
//! geometrically: each segment holds at least [`RATIO`] times the live rows of all that come after it. Then
//!
//! - there are at most `2 + log33(rows)` segments, 3 or 4 for a million rows. Above a thousand rows, a merge is due before
//!   the others could cost half of the first graph (they then hold more than the root of its rows), unless they hold
//!   less than a 32nd of its rows: that last share is left unmerged to spare the writes;
//! - a row is rewritten at most `(RATIO + 1) * (2 + log32(rows))` times. It is written again because newer rows came, and
//!   then lies in a segment [`RATIO`] times as large, or because of them an older segment is copied, of at most [`RATIO`]
//!   times their rows.
//!
//! A larger ratio would spare searches and cost copies. Copying a row, about two KiB in one stream, costs little beside
//! putting it into a graph.
//!
//! A segment with more than [`DEAD_SHARE`] dead rows is rewritten alone: its dead rows are walked through by every
//! search, and their bytes are held. Its writes are paid for by the rows that died, at most four for each.

use std::ops::Range;

use index::MAX_ROWS;

/// A segment is merged with all after it if it has fewer than this many times their live rows.
const RATIO: usize = 32;

/// A segment is rewritten if more than one in this many of its rows are dead.
const DEAD_SHARE: usize = 5;

/// Ranges of segments, rising and disjoint, each to become one segment (or none, if all of it is dead).
///
/// `sizes` has rows, dead ones included, and dead rows of each segment, oldest first. Once it has been done, the plan is
/// empty.
pub(crate) fn plan(sizes: &[(usize, usize)]) -> Vec<Range<usize>> {
    let live = |idx: usize| sizes[idx].0 - sizes[idx].1;
    let mut n_after = 0;
    let mut tail = sizes.len();
    for idx in (0..sizes.len()).rev() {
        let n_live = live(idx);
        let is_small = n_live < RATIO * n_after;
        if n_live > 0 && is_small && n_live + n_after <= MAX_ROWS {
            tail = idx;
        }
        n_after += n_live;
    }
    let is_dying = |idx: &usize| sizes[*idx].1 * DEAD_SHARE > sizes[*idx].0;
    let mut ranges: Vec<_> = (0..tail).filter(is_dying).map(|idx| idx..idx + 1).collect();
    if tail < sizes.len() {
        ranges.push(tail..sizes.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does one step of a plan, and returns the rows written.
    fn merge(sizes: &mut Vec<(usize, usize)>, range: Range<usize>) -> usize {
        let n_live = sizes[range.clone()].iter().map(|(rows, dead)| rows - dead).sum();
        sizes.splice(range, (n_live > 0).then_some((n_live, 0)));
        n_live
    }

    /// Does the first step of the plan until there is none; returns the rows written and the steps.
    fn settle(sizes: &mut Vec<(usize, usize)>) -> (usize, usize) {
        let (mut n_written, mut n_steps) = (0, 0);
        while let Some(range) = plan(sizes).into_iter().next() {
            n_written += merge(sizes, range);
            n_steps += 1;
            assert!(n_steps < 1_000, "it never ends: {sizes:?}");
        }
        (n_written, n_steps)
    }

    fn check_settled(sizes: &[(usize, usize)]) {
        let n_rows: usize = sizes.iter().map(|(rows, dead)| rows - dead).sum();
        let limit = 2.0 + (n_rows.max(1) as f64).ln() / 33_f64.ln();
        assert!(sizes.len() as f64 <= limit, "{} segments of {n_rows} rows", sizes.len());
        assert!(sizes.iter().all(|(rows, dead)| 5 * dead <= *rows), "{sizes:?}");
        // Cost of a graph: the logarithm of its rows.
        let Some((first, _)) = sizes.first() else { return };
        let cost: f64 = sizes.iter().map(|(rows, _)| (*rows as f64).log2()).sum();
        let n_rest = n_rows.saturating_sub(*first);
        let is_cheap = cost <= 1.5 * (n_rows as f64).log2();
        assert!(is_cheap || n_rest * 32 <= n_rows, "cost {cost} of {sizes:?}");
    }

    fn sizes() -> impl Strategy<Value = Vec<(usize, usize)>> {
        let size = (1..1_000_000_usize, 0..=100_usize).prop_map(|(rows, dead)| {
            let n_dead = if dead > 50 { 0 } else { rows * 2 * dead / 100 };
            (rows, n_dead)
        });
        prop::collection::vec(size, 0..20)
    }

    proptest! {
        #[test]
        fn a_plan_is_disjoint_rises_changes_something_and_once_done_is_empty(sizes in sizes()) {
            let ranges = plan(&sizes);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for range in &ranges {
                let has_dead = sizes[range.clone()].iter().any(|(_, dead)| *dead > 0);
                prop_assert!(range.len() > 1 || (range.len() == 1 && has_dead), "{ranges:?}");
            }
            let mut after = sizes.clone();
            ranges.iter().rev().for_each(|range| { merge(&mut after, range.clone()); });
            prop_assert!(plan(&after).is_empty());
            let mut settled = sizes;
            let (_, n_steps) = settle(&mut settled);
            prop_assert_eq!((settled, n_steps), (after.clone(), ranges.len()));
            check_settled(&after);
        }

        #[test]
        fn rows_that_keep_coming_are_written_a_bounded_number_of_times(
            seals in prop::collection::vec(1..40_000_usize, 1..300),
            every in 1..5_usize,
        ) {
            let (mut sizes, mut n_written) = (Vec::new(), 0);
            for (idx, n_rows) in seals.iter().enumerate() {
                sizes.push((*n_rows, 0));
                if idx % every == 0 {
                    n_written += settle(&mut sizes).0;
                    check_settled(&sizes);
                }
            }
            let n_rows: usize = seals.iter().sum();
            let times = 33.0 * (2.0 + (n_rows as f64).ln() / 32_f64.ln());
            prop_assert!(n_written as f64 <= times * n_rows as f64, "{n_written} of {n_rows}");
        }
    }

    #[test]
    fn plans_of_known_sizes() {
        let plan = |sizes: &[(usize, usize)]| {
            super::plan(sizes).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert!(plan(&[]).is_empty());
        assert!(plan(&[(100, 0)]).is_empty());
        assert!(plan(&[(100, 20)]).is_empty());
        assert_eq!(plan(&[(100, 21)]), [(0, 1)]);
        assert!(plan(&[(3_200, 0), (100, 0)]).is_empty());
        assert_eq!(plan(&[(3_199, 0), (100, 0)]), [(0, 2)]);
        // The first is large enough for both, the second not for the third.
        assert_eq!(plan(&[(90_000, 20_000), (1_000, 0), (900, 0)]), [(0, 1), (1, 3)]);
        assert_eq!(plan(&[(5, 5), (1_000, 0)]), [(0, 1)], "nothing is copied for a dead segment");
        assert!(plan(&[(MAX_ROWS, 0), (MAX_ROWS, 0)]).is_empty(), "no segment can hold both");
    }
}
