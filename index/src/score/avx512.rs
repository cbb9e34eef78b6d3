//! AVX-512 with VNNI: f16 rows sixteen numbers a step, int8 codes sixty-four.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes, so the query comes shifted by 128 and the shift is
//! taken off again: `sum (q + 128) r - sum 128 r`. Both sums are exact in i32 for any width that
//! [`MAX_WIDTH`](crate::segment::MAX_WIDTH) allows.
#![expect(unsafe_code, reason = "vector loads through pointers; calls that need the token's proof")]

use std::arch::x86_64::*;

use half::f16;

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

    /// The dot product of codes with `shifted - 128`.
    pub(super) fn dot_shifted(self, codes: &[i8], shifted: &[u8]) -> i32 {
        // SAFETY: `self` proves that the processor has the features the function is compiled for.
        unsafe { dot_shifted(codes, shifted) }
    }
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_shifted(codes: &[i8], shifted: &[u8]) -> i32 {
    let shift = _mm512_set1_epi8(i8::MIN); // 128, read as unsigned
    let (mut products, mut shifts) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let (code_chunks, code_tail) = codes.as_chunks::<64>();
    let (query_chunks, query_tail) = shifted.as_chunks::<64>();
    for (codes, query) in code_chunks.iter().zip(query_chunks) {
        // SAFETY: a chunk is 64 readable bytes, and an unaligned load is allowed anywhere.
        let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
        // SAFETY: as above.
        let query = unsafe { _mm512_loadu_si512(query.as_ptr().cast()) };
        products = _mm512_dpbusd_epi32(products, query, codes);
        shifts = _mm512_dpbusd_epi32(shifts, shift, codes);
    }
    let n_tail = code_tail.len().min(query_tail.len());
    if n_tail > 0 {
        let mask = u64::MAX >> (64 - n_tail);
        // SAFETY: the mask lets only the first `n_tail` bytes be read, which both slices have.
        let codes = unsafe { _mm512_maskz_loadu_epi8(mask, code_tail.as_ptr()) };
        // SAFETY: as above.
        let query = unsafe { _mm512_maskz_loadu_epi8(mask, query_tail.as_ptr().cast()) };
        products = _mm512_dpbusd_epi32(products, query, codes);
        shifts = _mm512_dpbusd_epi32(shifts, shift, codes);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(products, shifts))
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
