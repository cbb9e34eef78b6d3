//! AVX-512 with VNNI: f16 rows sixteen numbers a step, int8 codes sixty-four. With VPOPCNTDQ: 512 bits.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes, so rows are shifted by 128 as they are read and the
//! shift is taken off again, once: `sum (r + 128) q - 128 sum q`. Both sums are exact in i32 for any
//! width that [`MAX_WIDTH`](crate::segment::MAX_WIDTH) allows. Four rows share the query's registers
//! and one reduction, which for short codes costs more than the products.
#![expect(unsafe_code, reason = "vector loads through pointers; calls that need the token's proof")]

use std::arch::x86_64::*;

use half::f16;

use super::bits::PLANES;
use super::wide::{self, Sum};

/// Bytes in a line of the cache.
const LINE_BYTES: usize = 64;

/// Proof that this processor has AVX-512 F, BW, VL and VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        there.then_some(Avx512(()))
    }

    pub(super) fn dot_f16(self, row: &[f16], query: &[f32]) -> f32 {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_f16(row, query) }
    }

    pub(super) fn sum_f32(self, what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { sum_f32(what, row, query) }
    }

    /// The dot products of four rows with a query whose codes add up to `query_sum`.
    pub(super) fn dot_i8_x4(self, rows: [&[i8]; 4], query: &[i8], query_sum: i32) -> [i32; 4] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_i8_x4(rows, query, query_sum) }
    }
}

/// Proof that this processor has AVX-512 F and VPOPCNTDQ.
#[derive(Clone, Copy)]
pub(super) struct Popcount(());

impl Popcount {
    pub(super) fn new() -> Option<Self> {
        let there =
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq");
        there.then_some(Popcount(()))
    }

    /// The sums of a query's levels, kept as planes, where each of four rows has a bit.
    pub(super) fn dot_bits_x4(self, rows: [&[u64]; 4], planes: &[u64]) -> [i32; 4] {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_bits_x4(rows, planes) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sum_f32(what: Sum, row: &[f32], query: &[f64]) -> [f64; 2] {
    wide::sum(what, row, query)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_f16(row: &[f16], query: &[f32]) -> f32 {
    let mut sums = [_mm512_setzero_ps(); 4];
    let (row_blocks, row_rest) = row.as_chunks::<64>();
    let (query_blocks, query_rest) = query.as_chunks::<64>();
    for (row, query) in row_blocks.iter().zip(query_blocks) {
        let (row, _) = row.as_chunks::<16>();
        let (query, _) = query.as_chunks::<16>();
        for (sum, (row, query)) in sums.iter_mut().zip(row.iter().zip(query)) {
            *sum = multiply_add_f16(row, query, *sum);
        }
    }
    let (row_chunks, row_tail) = row_rest.as_chunks::<16>();
    let (query_chunks, query_tail) = query_rest.as_chunks::<16>();
    for (row, query) in row_chunks.iter().zip(query_chunks) {
        sums[0] = multiply_add_f16(row, query, sums[0]);
    }
    if !row_tail.is_empty() {
        let (mut row, mut query) = ([f16::ZERO; 16], [0.0; 16]);
        row[..row_tail.len()].copy_from_slice(row_tail);
        query[..query_tail.len()].copy_from_slice(query_tail);
        sums[1] = multiply_add_f16(&row, &query, sums[1]);
    }
    let low = _mm512_add_ps(sums[0], sums[1]);
    let high = _mm512_add_ps(sums[2], sums[3]);
    _mm512_reduce_add_ps(_mm512_add_ps(low, high))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_add_f16(row: &[f16; 16], query: &[f32; 16], sum: __m512) -> __m512 {
    // SAFETY: sixteen f16 are 32 readable bytes, and an unaligned load is allowed anywhere.
    let row = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
    // SAFETY: sixteen f32 are 64 readable bytes, and an unaligned load is allowed anywhere.
    let query = unsafe { _mm512_loadu_ps(query.as_ptr()) };
    _mm512_fmadd_ps(_mm512_cvtph_ps(row), query, sum)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_i8_x4(rows: [&[i8]; 4], query: &[i8], query_sum: i32) -> [i32; 4] {
    assert!(rows.iter().all(|row| row.len() == query.len()), "rows of unequal width");
    let shift = _mm512_set1_epi8(i8::MIN); // flips the sign bit: adds 128, read as unsigned
    let mut sums = [_mm512_setzero_si512(); 4];
    let chunks = rows.map(|row| row.as_chunks::<64>());
    let (query_chunks, query_tail) = query.as_chunks::<64>();
    for (idx, query) in query_chunks.iter().enumerate() {
        // SAFETY: a chunk is 64 readable bytes, and an unaligned load is allowed anywhere.
        let query = unsafe { _mm512_loadu_si512(query.as_ptr().cast()) };
        for (sum, (chunks, _)) in sums.iter_mut().zip(&chunks) {
            // SAFETY: as above.
            let row = unsafe { _mm512_loadu_si512(chunks[idx].as_ptr().cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(row, shift), query);
        }
    }
    if !query_tail.is_empty() {
        let mask = u64::MAX >> (64 - query_tail.len());
        // SAFETY: the mask lets only bytes of the tail be read. Beyond it the query is 0.
        let query = unsafe { _mm512_maskz_loadu_epi8(mask, query_tail.as_ptr()) };
        for (sum, (_, tail)) in sums.iter_mut().zip(&chunks) {
            // SAFETY: as above; a row's tail is as long as the query's.
            let row = unsafe { _mm512_maskz_loadu_epi8(mask, tail.as_ptr()) };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(row, shift), query);
        }
    }
    let [a, b, c, d] = sums;
    // Four sums in each 128 bits, those of a, b, c and d; then the four parts are added up.
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let sums = _mm_sub_epi32(sums, _mm_set1_epi32(128 * query_sum));
    let mut dots = [0i32; 4];
    // SAFETY: four i32 are 16 writable bytes, and an unaligned store is allowed anywhere.
    unsafe { _mm_storeu_si128(dots.as_mut_ptr().cast(), sums) };
    dots
}

#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn dot_bits_x4(rows: [&[u64]; 4], planes: &[u64]) -> [i32; 4] {
    let n_words = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == n_words), "rows of unequal width");
    assert_eq!(planes.len(), PLANES * n_words, "a query of another width");
    let mut sums = [_mm512_setzero_si512(); 4];
    for at in (0..n_words).step_by(8) {
        let mask = u8::MAX >> (8 - (n_words - at).min(8));
        let load = |words: &[u64], at: usize| {
            // SAFETY: `at` lies in the slice, and the mask lets only words of the row's or plane's be read.
            unsafe { _mm512_maskz_loadu_epi64(mask, words[at..].as_ptr().cast()) }
        };
        let bits = rows.map(|row| load(row, at));
        // From the highest plane, which counts negative, down, doubling on the way.
        let mut levels = [_mm512_setzero_si512(); 4];
        for plane in (0..PLANES).rev() {
            let query = load(planes, plane * n_words + at);
            for (levels, bits) in levels.iter_mut().zip(bits) {
                let count = _mm512_popcnt_epi64(_mm512_and_si512(bits, query));
                *levels = if plane == PLANES - 1 {
                    _mm512_sub_epi64(*levels, count)
                } else {
                    _mm512_add_epi64(_mm512_add_epi64(*levels, *levels), count)
                };
            }
        }
        for (sum, levels) in sums.iter_mut().zip(levels) {
            *sum = _mm512_add_epi64(*sum, levels);
        }
    }
    let [a, b, c, d] = sums;
    let [a, b] = reduce_two(a, b);
    let [c, d] = reduce_two(c, d);
    [a, b, c, d]
}

/// The sums of the lanes of two vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn reduce_two(a: __m512i, b: __m512i) -> [i32; 2] {
    let ab = _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let half = _mm256_add_epi64(_mm512_castsi512_si256(ab), _mm512_extracti64x4_epi64::<1>(ab));
    let sums = _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let mut lanes = [0i64; 2];
    // SAFETY: two i64 are 16 writable bytes, and an unaligned store is allowed anywhere.
    unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), sums) };
    lanes.map(|sum| sum as i32)
}

/// Asks the memory for each cache line of a slice.
#[inline]
pub(super) fn prefetch<T>(slice: &[T]) {
    let bytes = size_of_val(slice);
    let start = slice.as_ptr().cast::<i8>();
    for offset in (0..bytes).step_by(LINE_BYTES) {
        // SAFETY: a prefetch reads nothing and faults nowhere, and every x86-64 has it; the address
        // lies inside the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
    }
}
