//! Sums over an f32 row and an f64 query, in f64: in lanes, which the compiler makes into vectors of
//! whatever instruction set the caller is compiled for.

/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 16;

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// `row * query`.
    Products,
    /// `row * query` and `row * row`.
    ProductsAndSquares,
    /// `(row - query)^2`.
    Distances,
}

/// The sums; the second is 0 unless there are two. A longer slice is cut to the shorter.
#[inline(always)]
pub(super) fn sum(what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    match what {
        Sum::Products => [in_lanes(row, query, |a, b| a * b), 0.0],
        Sum::Distances => [in_lanes(row, query, |a, b| (a - b) * (a - b)), 0.0],
        Sum::ProductsAndSquares => {
            let squares = in_lanes(row, query, |a, _| a * a);
            [in_lanes(row, query, |a, b| a * b), squares]
        }
    }
}

#[inline(always)]
fn in_lanes(row: &[f32], query: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (row_lanes, row_tail) = row.as_chunks::<LANES>();
    let (query_lanes, query_tail) = query.as_chunks::<LANES>();
    for (a, b) in row_lanes.iter().zip(query_lanes) {
        for lane in 0..LANES {
            sums[lane] += term(f64::from(a[lane]), b[lane]);
        }
    }
    let tail = row_tail.iter().zip(query_tail).map(|(a, b)| term(f64::from(*a), *b)).sum::<f64>();
    sums.iter().sum::<f64>() + tail
}
