//! The tiles on AVX-512, of up to fourteen rows: two vectors of sums a row, or one for int4.

use std::arch::x86_64::*;

use super::{Kernel, Kernels, Sums, Tile};
use crate::kernel::panels::{BLOCK, BLOCK_BYTES, PANEL};

/// Replaces what this processor can do better.
pub(super) fn choose(kernels: Kernels) -> Kernels {
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")) {
        return kernels;
    }
    let (f32, bf16) = (Kernel::plain(14, f32_tile), Kernel::plain(14, widened_tile));
    Kernels { f32, bf16, ..kernels }
}

/// As [`choose`], with AVX512_BF16.
pub(super) fn choose_bf16(kernels: Kernels) -> Kernels {
    if !(is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")) {
        return kernels;
    }
    Kernels { bf16: Kernel::plain(14, bf16_tile), ..kernels }
}

/// As [`choose`], with AVX512_VNNI.
pub(super) fn choose_vnni(kernels: Kernels) -> Kernels {
    if !(is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw")) {
        return kernels;
    }
    let (int8, int4) = (Kernel::plain(14, int8_tile), Kernel::plain(14, int4_tile));
    Kernels { int8, int4, ..kernels }
}

/// Calls `$rows` for the number of rows that `$out` has.
macro_rules! for_rows {
    ($rows:ident($tile:ident, $out:ident)) => {
        match $out.len() {
            1 => $rows::<1>($tile, $out),
            2 => $rows::<2>($tile, $out),
            3 => $rows::<3>($tile, $out),
            4 => $rows::<4>($tile, $out),
            5 => $rows::<5>($tile, $out),
            6 => $rows::<6>($tile, $out),
            7 => $rows::<7>($tile, $out),
            8 => $rows::<8>($tile, $out),
            9 => $rows::<9>($tile, $out),
            10 => $rows::<10>($tile, $out),
            11 => $rows::<11>($tile, $out),
            12 => $rows::<12>($tile, $out),
            13 => $rows::<13>($tile, $out),
            14 => $rows::<14>($tile, $out),
            n => unreachable!("a tile of {n} rows"),
        }
    };
}

/// A tile for each number of rows up to 14, of a step that four bytes of a row (`x`, in every lane)
/// and 128 of the panel (`w`, 64 at a time) make.
macro_rules! tile {
    ($name:ident, $features:literal, $zero:expr, |$sum:ident, $w:ident, $x:ident| $step:expr, $store:expr) => {
        fn $name(tile: &Tile, out: &mut [Sums]) {
            #[target_feature(enable = $features)]
            unsafe fn rows<const M: usize>(tile: &Tile, out: &mut [Sums]) {
                let mut sums = [[$zero; 2]; M];
                let rows = tile.rows.as_ptr();
                let mut panel = tile.panel.as_ptr();
                for k in 0..tile.stride / 4 {
                    // SAFETY: the caller checked that the panel has 128 bytes for every 4 of a row,
                    // and that there are M rows.
                    unsafe {
                        let w = [
                            _mm512_loadu_si512(panel.cast()),
                            _mm512_loadu_si512(panel.add(64).cast()),
                        ];
                        panel = panel.add(128);
                        for m in 0..M {
                            let $x =
                                rows.add(m * tile.stride + k * 4).cast::<i32>().read_unaligned();
                            let $x = _mm512_set1_epi32($x);
                            for i in 0..2 {
                                let ($sum, $w) = (sums[m][i], w[i]);
                                sums[m][i] = $step;
                            }
                        }
                    }
                }
                for (out, sums) in out.iter_mut().zip(&sums) {
                    for i in 0..2 {
                        // SAFETY: 16 of the 32 sums.
                        unsafe { $store(out.as_mut_ptr().add(i * 16).cast(), sums[i]) };
                    }
                }
            }
            assert!(
                tile.rows.len() == out.len() * tile.stride
                    && tile.panel.len() >= tile.stride * PANEL
            );
            // SAFETY: who chose the kernel asked for the features; the lengths were just checked.
            unsafe { for_rows!(rows(tile, out)) }
        }
    };
}

tile!(
    f32_tile,
    "avx512f,avx512bw",
    _mm512_setzero_ps(),
    |sum, w, x| _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), sum),
    _mm512_storeu_ps
);

tile!(
    bf16_tile,
    "avx512f,avx512bw,avx512bf16",
    _mm512_setzero_ps(),
    |sum, w, x| {
        _mm512_dpbf16_ps(
            sum,
            std::mem::transmute::<__m512i, __m512bh>(w),
            std::mem::transmute::<__m512i, __m512bh>(x),
        )
    },
    _mm512_storeu_ps
);

tile!(
    widened_tile,
    "avx512f,avx512bw",
    _mm512_setzero_ps(),
    |sum, w, x| {
        let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        let even = |v: __m512i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(v));
        let odd = |v: __m512i| _mm512_castsi512_ps(_mm512_and_si512(v, high));
        _mm512_fmadd_ps(odd(w), odd(x), _mm512_fmadd_ps(even(w), even(x), sum))
    },
    _mm512_storeu_ps
);

tile!(
    int8_tile,
    "avx512f,avx512bw,avx512vnni",
    _mm512_setzero_si512(),
    |sum, w, x| _mm512_dpbusd_epi32(sum, w, x),
    _mm512_storeu_si512
);

fn int4_tile(tile: &Tile, out: &mut [Sums]) {
    let n_blocks = tile.stride / BLOCK;
    assert!(
        tile.rows.len() == out.len() * tile.stride
            && tile.panel.len() == n_blocks * BLOCK_BYTES
            && tile.offsets.len() == out.len() * n_blocks
    );
    // SAFETY: who chose the kernel asked for the features; the lengths were just checked.
    unsafe { for_rows!(int4_rows(tile, out)) }
}

/// One half of the panel after the other: unpacking it costs as much as two rows do, so many rows
/// share it.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn int4_rows<const M: usize>(tile: &Tile, out: &mut [Sums]) {
    let n_blocks = tile.stride / BLOCK;
    let low = _mm512_set1_epi8(15);
    for half in 0..2 {
        let mut sums = [_mm512_setzero_ps(); M];
        for b in 0..n_blocks {
            // SAFETY: the caller checked that panel, rows and offsets have so many blocks.
            unsafe {
                let block = tile.panel.as_ptr().add(b * BLOCK_BYTES);
                let rows = tile.rows.as_ptr().add(b * BLOCK);
                let mut whole = [_mm512_setzero_si512(); M];
                for (m, whole) in whole.iter_mut().enumerate() {
                    *whole = _mm512_set1_epi32(*tile.offsets.as_ptr().add(m * n_blocks + b));
                }
                for step in 0..4 {
                    let bytes = _mm512_loadu_si512(block.add(step * 128 + half * 64).cast());
                    let w = [
                        _mm512_and_si512(bytes, low),
                        _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low),
                    ];
                    for (m, whole) in whole.iter_mut().enumerate() {
                        for (i, w) in w.into_iter().enumerate() {
                            let x = rows.add(m * tile.stride + i * 16 + step * 4);
                            let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
                            *whole = _mm512_dpbusd_epi32(*whole, w, x);
                        }
                    }
                }
                let scales = block.add(BLOCK * PANEL / 2 + half * 32);
                let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
                for (sum, whole) in sums.iter_mut().zip(whole) {
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scales, *sum);
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            // SAFETY: 16 of the 32 sums.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(half * 16).cast(), sums) };
        }
    }
}
