//! The definition of each score: one sum, left to right.

use half::f16;

use super::Sum;

/// Dot product of two f32 rows; a longer one is cut to the shorter.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Dot product of two int8 rows; a longer one is cut to the shorter.
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// Dot product of an f16 row, widened, and an f32 query; a longer one is cut to the shorter.
pub fn dot_f16(row: &[f16], query: &[f32]) -> f32 {
    row.iter().zip(query).map(|(a, b)| a.to_f32() * b).sum()
}

/// The sum of the levels where a row has a bit; bits and levels beyond the shorter of both are left out.
pub fn dot_bits(row: &[u64], levels: &[i8]) -> i32 {
    let bits = row.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
    bits.zip(levels).filter(|(is_set, _)| *is_set).map(|(_, level)| i32::from(*level)).sum()
}

/// Sums over an f32 row and an f64 query, in f64; a longer one is cut to the shorter.
#[cfg_attr(not(test), expect(dead_code, reason = "the twin of the fast sums, in tests"))]
pub(crate) fn sum_f32(what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (a, b) in row.iter().zip(query) {
        let a = f64::from(*a);
        match what {
            Sum::Products => sums[0] += a * b,
            Sum::Distances => sums[0] += (a - b) * (a - b),
            Sum::ProductsAndSquares => {
                sums[0] += a * b;
                sums[1] += a * a;
            }
        }
    }
    sums
}
