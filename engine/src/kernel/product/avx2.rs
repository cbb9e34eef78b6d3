//! The tiles on AVX2: the two halves of a panel one after the other, two vectors of sums a row.

use std::arch::x86_64::*;

use super::{Kernel, Kernels, Sums, Tile};
use crate::kernel::panels::{BLOCK, BLOCK_BYTES, PANEL};

/// Replaces what this processor can do better.
pub(super) fn choose(kernels: Kernels) -> Kernels {
    let known = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    if !known {
        return kernels;
    }
    Kernels {
        f32: Kernel::plain(6, f32_tile),
        bf16: Kernel::plain(4, bf16_tile),
        int8: Kernel::plain(4, int8_tile),
        int4: Kernel::plain(2, int4_tile),
    }
}

/// A tile for each number of rows up to 6, of a step that four bytes of a row (`x`, in every lane)
/// and 32 of the panel (`w`) make.
macro_rules! tile {
    ($name:ident, $zero:expr, |$sum:ident, $w:ident, $x:ident| $step:expr, $store:expr) => {
        fn $name(tile: &Tile, out: &mut [Sums]) {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn rows<const M: usize>(tile: &Tile, out: &mut [Sums]) {
                for half in 0..2 {
                    let mut sums = [[$zero; 2]; M];
                    let rows = tile.rows.as_ptr();
                    // SAFETY: the caller checked that the panel has 128 bytes for every 4 of a row,
                    // and that there are M rows.
                    unsafe {
                        let mut panel = tile.panel.as_ptr().add(half * 64);
                        for k in 0..tile.stride / 4 {
                            let w = [
                                _mm256_loadu_si256(panel.cast()),
                                _mm256_loadu_si256(panel.add(32).cast()),
                            ];
                            panel = panel.wrapping_add(128);
                            for m in 0..M {
                                let $x = rows
                                    .add(m * tile.stride + k * 4)
                                    .cast::<i32>()
                                    .read_unaligned();
                                let $x = _mm256_set1_epi32($x);
                                for i in 0..2 {
                                    let ($sum, $w) = (sums[m][i], w[i]);
                                    sums[m][i] = $step;
                                }
                            }
                        }
                    }
                    for (out, sums) in out.iter_mut().zip(&sums) {
                        for i in 0..2 {
                            // SAFETY: 8 of the 32 sums.
                            unsafe {
                                $store(out.as_mut_ptr().add(half * 16 + i * 8).cast(), sums[i])
                            };
                        }
                    }
                }
            }
            assert!(
                tile.rows.len() == out.len() * tile.stride
                    && tile.panel.len() >= tile.stride * PANEL
            );
            // SAFETY: `choose` asked for the features; the lengths were just checked.
            unsafe {
                match out.len() {
                    1 => rows::<1>(tile, out),
                    2 => rows::<2>(tile, out),
                    3 => rows::<3>(tile, out),
                    4 => rows::<4>(tile, out),
                    5 => rows::<5>(tile, out),
                    6 => rows::<6>(tile, out),
                    n => unreachable!("a tile of {n} rows"),
                }
            }
        }
    };
}

tile!(
    f32_tile,
    _mm256_setzero_ps(),
    |sum, w, x| _mm256_fmadd_ps(_mm256_castsi256_ps(w), _mm256_castsi256_ps(x), sum),
    _mm256_storeu_ps
);

tile!(
    bf16_tile,
    _mm256_setzero_ps(),
    |sum, w, x| {
        let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
        let even = |v: __m256i| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(v));
        let odd = |v: __m256i| _mm256_castsi256_ps(_mm256_and_si256(v, high));
        _mm256_fmadd_ps(odd(w), odd(x), _mm256_fmadd_ps(even(w), even(x), sum))
    },
    _mm256_storeu_ps
);

// `maddubs` adds pairs into 16 bits: 255 * 127 twice would not fit, 127 * 127 twice does. So the
// weight's sign goes to the weight again (its 128 is taken away), the row's sign to the weight too;
// the sums are those of signed weights, and what unsigned ones would have added is put back.
tile!(
    int8_tile,
    _mm256_setzero_si256(),
    |sum, w, x| {
        let ones = _mm256_set1_epi16(1);
        let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
        let offset = _mm256_maddubs_epi16(_mm256_set1_epi8(64), x);
        let offset = _mm256_madd_epi16(offset, _mm256_set1_epi16(2));
        _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(pairs, ones), offset))
    },
    store_whole
);

#[target_feature(enable = "avx2")]
unsafe fn store_whole(to: *mut i32, sums: __m256i) {
    // SAFETY: the caller has room for 8.
    unsafe { _mm256_storeu_si256(to.cast(), sums) };
}

fn int4_tile(tile: &Tile, out: &mut [Sums]) {
    let n_blocks = tile.stride / BLOCK;
    assert!(
        tile.rows.len() == out.len() * tile.stride
            && tile.panel.len() == n_blocks * BLOCK_BYTES
            && tile.offsets.len() == out.len() * n_blocks
    );
    for (m, out) in out.iter_mut().enumerate() {
        let row = &tile.rows[m * tile.stride..][..tile.stride];
        let offsets = &tile.offsets[m * n_blocks..][..n_blocks];
        // SAFETY: `choose` asked for the features; the lengths were just checked.
        unsafe { int4_row(row, tile.panel, offsets, out) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4_row(row: &[u8], panel: &[u8], offsets: &[i32], out: &mut Sums) {
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_ps(); 4];
    for (b, &offset) in offsets.iter().enumerate() {
        // SAFETY: the caller checked that row and panel have a block for each offset.
        unsafe {
            let block = panel.as_ptr().add(b * BLOCK_BYTES);
            let row = row.as_ptr().add(b * BLOCK);
            let mut whole = [_mm256_set1_epi32(offset); 4];
            for step in 0..4 {
                let x = [0, 16].map(|half| {
                    let x = row.add(half + step * 4).cast::<i32>();
                    _mm256_set1_epi32(x.read_unaligned())
                });
                for (i, whole) in whole.iter_mut().enumerate() {
                    let v = _mm256_loadu_si256(block.add(step * 128 + i * 32).cast());
                    let w = [
                        _mm256_and_si256(v, low),
                        _mm256_and_si256(_mm256_srli_epi16::<4>(v), low),
                    ];
                    for half in 0..2 {
                        let pairs = _mm256_maddubs_epi16(w[half], x[half]);
                        *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            let scales = block.add(BLOCK * PANEL / 2);
            for (i, (sum, whole)) in sums.iter_mut().zip(whole).enumerate() {
                let scale = _mm256_cvtph_ps(_mm_loadu_si128(scales.add(i * 16).cast()));
                *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, *sum);
            }
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: 8 of the 32 sums.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(i * 8).cast(), sum) };
    }
}
