//! AVX2 with FMA and F16C: f16 rows eight numbers a step, int8 codes sixteen, widened to 16 bits.
#![expect(
    unsafe_code,
    reason = "vector loads through pointers; a call that needs the token's proof"
)]

use std::arch::x86_64::*;

use half::f16;

/// Proof that this processor has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        there.then_some(Avx2(()))
    }

    pub(super) fn dot_f16(self, row: &[f16], query: &[f32]) -> f32 {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_f16(row, query) }
    }

    /// The dot products of four rows with a query.
    pub(super) fn dot_i8_x4(self, rows: [&[i8]; 4], query: &[i8]) -> [i32; 4] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_i8_x4(rows, query) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16(row: &[f16], query: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let (row_blocks, row_rest) = row.as_chunks::<32>();
    let (query_blocks, query_rest) = query.as_chunks::<32>();
    for (row, query) in row_blocks.iter().zip(query_blocks) {
        let (row, _) = row.as_chunks::<8>();
        let (query, _) = query.as_chunks::<8>();
        for (sum, (row, query)) in sums.iter_mut().zip(row.iter().zip(query)) {
            *sum = multiply_add_f16(row, query, *sum);
        }
    }
    let (row_chunks, row_tail) = row_rest.as_chunks::<8>();
    let (query_chunks, query_tail) = query_rest.as_chunks::<8>();
    for (row, query) in row_chunks.iter().zip(query_chunks) {
        sums[0] = multiply_add_f16(row, query, sums[0]);
    }
    if !row_tail.is_empty() {
        let (mut row, mut query) = ([f16::ZERO; 8], [0.0; 8]);
        row[..row_tail.len()].copy_from_slice(row_tail);
        query[..query_tail.len()].copy_from_slice(query_tail);
        sums[1] = multiply_add_f16(&row, &query, sums[1]);
    }
    let low = _mm256_add_ps(sums[0], sums[1]);
    let high = _mm256_add_ps(sums[2], sums[3]);
    let mut lanes = [0.0f32; 8];
    // SAFETY: eight f32 are 32 writable bytes, and an unaligned store is allowed anywhere.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(low, high)) };
    lanes.iter().sum()
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_add_f16(row: &[f16; 8], query: &[f32; 8], sum: __m256) -> __m256 {
    // SAFETY: eight f16 are 16 readable bytes, and an unaligned load is allowed anywhere.
    let row = unsafe { _mm_loadu_si128(row.as_ptr().cast()) };
    // SAFETY: eight f32 are 32 readable bytes, and an unaligned load is allowed anywhere.
    let query = unsafe { _mm256_loadu_ps(query.as_ptr()) };
    _mm256_fmadd_ps(_mm256_cvtph_ps(row), query, sum)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_i8_x4(rows: [&[i8]; 4], query: &[i8]) -> [i32; 4] {
    assert!(rows.iter().all(|row| row.len() == query.len()), "rows of unequal width");
    let mut sums = [_mm256_setzero_si256(); 4];
    let chunks = rows.map(|row| row.as_chunks::<16>());
    let (query_chunks, query_tail) = query.as_chunks::<16>();
    for (idx, query) in query_chunks.iter().enumerate() {
        let query = widen(query);
        for (sum, (chunks, _)) in sums.iter_mut().zip(&chunks) {
            // Two products of codes fit in 32 bits; `maddubs` would saturate at 16.
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(widen(&chunks[idx]), query));
        }
    }
    let mut dots = [0i32; 4];
    for ((dot, sum), (_, tail)) in dots.iter_mut().zip(sums).zip(chunks) {
        let mut lanes = [0i32; 8];
        // SAFETY: eight i32 are 32 writable bytes, and an unaligned store is allowed anywhere.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        *dot = lanes.iter().sum::<i32>() + super::scalar::dot_i8(tail, query_tail);
    }
    dots
}

/// Sixteen codes as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(codes: &[i8; 16]) -> __m256i {
    // SAFETY: sixteen codes are 16 readable bytes, and an unaligned load is allowed anywhere.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}
