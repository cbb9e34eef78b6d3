//! Which way to search, by counting what each would score.
//!
//! Costs are in nanoseconds of one busy core of a Zen 4 server, 100,000 rows of width 384 cut to 256, sets
//! and walks in memory order at random: only their ratios matter.

use super::curve::Effort;
use crate::query::Plan;

/// Nodes that a walk scores for each node it keeps, unless rows are few.
const COMPARED_PER_EF: f64 = 16.0;
/// Nodes scored in the upper layers.
const COMPARED_ABOVE: f64 = 150.0;

/// A walk that scores this many times what was expected is among rows far from the query. These lie so
/// close together that their codes rank them badly, so a scan has to answer.
const EXCESS_MAX: f64 = 4.0;

/// What it costs to score one row, in nanoseconds.
struct Costs {
    /// By its codes in a walk, the walk's own work included.
    walked: f64,
    /// By its codes in a scan of a set.
    code: f64,
    /// At full width.
    row: f64,
}

/// Bytes of a row's code and of the row at full width.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub(super) code_bytes: usize,
    pub(super) row_bytes: usize,
}

impl Costs {
    fn new(widths: Widths) -> Costs {
        // A miss of the cache, then line by line.
        let scored = |bytes: usize| 40.0 + 0.16 * bytes as f64;
        let (code, row) = (scored(widths.code_bytes), scored(widths.row_bytes));
        Costs { walked: code + 30.0, code, row }
    }
}

/// A plan, and the nodes a walk may score before it gives up.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) compared_max: usize,
}

/// Chooses how to find the best `k` of `n_among` rows of a segment that has `n_rows`.
///
/// To keep `ef` nodes of a set, a walk meets `ef * n_rows / n_among`, if the set has nothing to do with
/// the query. If the set lies far from the query it meets many more; so it gives up after a few times
/// that, or when it has cost as much as a scan, and the search costs at most twice what the scan would.
pub(super) fn plan(
    n_among: usize,
    n_rows: usize,
    k: usize,
    effort: Effort,
    widths: Widths,
) -> Planned {
    let costs = Costs::new(widths);
    let n = n_among as f64;
    let compared = COMPARED_ABOVE + COMPARED_PER_EF * effort.ef as f64 * n_rows as f64 / n.max(1.0);
    let rescore = costs.row * effort.depth as f64;
    let walk = costs.walked * compared + rescore;
    let code_scan = costs.code * n + rescore;
    let exact_scan = costs.row * n;
    let plan = if k >= n_among || exact_scan <= walk.min(code_scan) {
        Plan::ExactScan
    } else if code_scan <= walk {
        Plan::CodeScan
    } else {
        Plan::Walk
    };
    let compared_max = if n_among < n_rows {
        (code_scan / costs.walked).min(EXCESS_MAX * compared) as usize
    } else {
        usize::MAX
    };
    Planned { plan, compared_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(n_among: usize, n_rows: usize, k: usize) -> Plan {
        let effort = Effort { ef: 100, depth: 50 };
        plan(n_among, n_rows, k, effort, Widths { code_bytes: 256, row_bytes: 1536 }).plan
    }

    #[test]
    fn few_rows_are_scanned_more_by_their_codes_and_many_walked() {
        assert_eq!(chosen(40, 1_000_000, 10), Plan::ExactScan);
        assert_eq!(chosen(10_000, 1_000_000, 10), Plan::CodeScan);
        assert_eq!(chosen(500_000, 1_000_000, 10), Plan::Walk);
        assert_eq!(chosen(1_000_000, 1_000_000, 10), Plan::Walk);
        assert_eq!(chosen(300, 300, 10), Plan::CodeScan);
    }

    #[test]
    fn when_all_rows_are_asked_for_all_are_scored() {
        assert_eq!(chosen(500_000, 1_000_000, 500_000), Plan::ExactScan);
    }
}
