//! AVX2 with FMA and F16C: f16 rows eight numbers a step, int8 codes sixteen, widened to 16 bits, bits 256.
#![expect(
    unsafe_code,
    reason = "vector loads through pointers; a call that needs the token's proof"
)]

use std::arch::x86_64::*;

use half::f16;

use super::bits::PLANES;
use super::wide::{self, Sum};

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

    pub(super) fn sum_f32(self, what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { sum_f32(what, row, query) }
    }

    /// The dot products of four rows with a query.
    pub(super) fn dot_i8_x4(self, rows: [&[i8]; 4], query: &[i8]) -> [i32; 4] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_i8_x4(rows, query) }
    }

    /// The sums of a query's levels, kept as planes, where each of four rows has a bit.
    pub(super) fn dot_bits_x4(self, rows: [&[u64]; 4], planes: &[u64]) -> [i32; 4] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        rows.map(|row| unsafe { dot_bits(row, planes) })
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn sum_f32(what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    wide::sum(what, row, query)
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

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_bits(row: &[u64], planes: &[u64]) -> i32 {
    assert_eq!(planes.len(), PLANES * row.len(), "a query of another width");
    let mut sum = _mm256_setzero_si256();
    for at in (0..row.len()).step_by(4) {
        let bits = load(&row[at..]);
        // From the highest plane, which counts negative, down, doubling on the way.
        let mut levels = _mm256_setzero_si256();
        for plane in (0..PLANES).rev() {
            let query = load(&planes[plane * row.len()..][..row.len()][at..]);
            let count = count_ones(_mm256_and_si256(bits, query));
            levels = if plane == PLANES - 1 {
                _mm256_sub_epi64(levels, count)
            } else {
                _mm256_add_epi64(_mm256_add_epi64(levels, levels), count)
            };
        }
        sum = _mm256_add_epi64(sum, levels);
    }
    let mut lanes = [0i64; 4];
    // SAFETY: four i64 are 32 writable bytes, and an unaligned store is allowed anywhere.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
    lanes.iter().sum::<i64>() as i32
}

/// The first four words, zeros where there are fewer.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(words: &[u64]) -> __m256i {
    let mut four = [0u64; 4];
    let words = words.first_chunk::<4>().unwrap_or_else(|| {
        four[..words.len()].copy_from_slice(words);
        &four
    });
    // SAFETY: four words are 32 readable bytes, and an unaligned load is allowed anywhere.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// The number of bits set in each word: each half of a byte is looked up, bytes are added up.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn count_ones(words: __m256i) -> __m256i {
    let of_half = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    let of_half = _mm256_broadcastsi128_si256(of_half);
    let half = _mm256_set1_epi8(0x0f);
    let low = _mm256_and_si256(words, half);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(words), half);
    let low = _mm256_shuffle_epi8(of_half, low);
    let bytes = _mm256_add_epi8(low, _mm256_shuffle_epi8(of_half, high));
    _mm256_sad_epu8(bytes, _mm256_setzero_si256())
}
