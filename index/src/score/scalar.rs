//! The definition of each score: one sum, left to right.

use half::f16;

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
