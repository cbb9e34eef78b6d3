//! The tiles on AVX-512: two vectors of sums a row, twelve or fourteen rows.

use std::arch::x86_64::*;

use super::{Kernel, Kernels, Sums, Tile};
use crate::kernel::panels::{BLOCK, BLOCK_BYTES, PANEL};

/// Replaces what this processor can do better.
pub(super) fn choose(mut kernels: Kernels) -> Kernels {
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        kernels.f32 = Kernel { most_rows: 14, run: f32_tile };
        kernels.bf16 = Kernel { most_rows: 14, run: widened_tile };
        if is_x86_feature_detected!("avx512bf16") {
            kernels.bf16 = Kernel { most_rows: 14, run: bf16_tile };
        }
        if is_x86_feature_detected!("avx512vnni") {
            kernels.int8 = Kernel { most_rows: 14, run: int8_tile };
            kernels.int4 = Kernel { most_rows: 6, run: int4_tile };
        }
    }
    kernels
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
            // SAFETY: `choose` asked for the features; the lengths were just checked.
            unsafe {
                match out.len() {
                    1 => rows::<1>(tile, out),
                    2 => rows::<2>(tile, out),
                    3 => rows::<3>(tile, out),
                    4 => rows::<4>(tile, out),
                    5 => rows::<5>(tile, out),
                    6 => rows::<6>(tile, out),
                    7 => rows::<7>(tile, out),
                    8 => rows::<8>(tile, out),
                    9 => rows::<9>(tile, out),
                    10 => rows::<10>(tile, out),
                    11 => rows::<11>(tile, out),
                    12 => rows::<12>(tile, out),
                    13 => rows::<13>(tile, out),
                    14 => rows::<14>(tile, out),
                    n => unreachable!("a tile of {n} rows"),
                }
            }
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
    // SAFETY: `choose` asked for the features; the lengths were just checked.
    unsafe {
        match out.len() {
            1 => int4_rows::<1>(tile, out),
            2 => int4_rows::<2>(tile, out),
            3 => int4_rows::<3>(tile, out),
            4 => int4_rows::<4>(tile, out),
            5 => int4_rows::<5>(tile, out),
            6 => int4_rows::<6>(tile, out),
            n => unreachable!("a tile of {n} rows"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn int4_rows<const M: usize>(tile: &Tile, out: &mut [Sums]) {
    let n_blocks = tile.stride / BLOCK;
    let low = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    for b in 0..n_blocks {
        // SAFETY: the caller checked that panel, rows and offsets have so many blocks.
        unsafe {
            let block = tile.panel.as_ptr().add(b * BLOCK_BYTES);
            let rows = tile.rows.as_ptr().add(b * BLOCK);
            let mut whole = [[_mm512_setzero_si512(); 2]; M];
            for m in 0..M {
                whole[m] = [_mm512_set1_epi32(*tile.offsets.as_ptr().add(m * n_blocks + b)); 2];
            }
            for step in 0..4 {
                let bytes =
                    [0, 1].map(|i| _mm512_loadu_si512(block.add(step * 128 + i * 64).cast()));
                let halves = [
                    bytes.map(|v| _mm512_and_si512(v, low)),
                    bytes.map(|v| _mm512_and_si512(_mm512_srli_epi16::<4>(v), low)),
                ];
                for m in 0..M {
                    for (h, w) in halves.iter().enumerate() {
                        let x = rows.add(m * tile.stride + h * 16 + step * 4);
                        let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
                        whole[m][0] = _mm512_dpbusd_epi32(whole[m][0], w[0], x);
                        whole[m][1] = _mm512_dpbusd_epi32(whole[m][1], w[1], x);
                    }
                }
            }
            let scales = block.add(BLOCK * PANEL / 2);
            let scales =
                [0, 1].map(|i| _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(i * 32).cast())));
            for m in 0..M {
                for i in 0..2 {
                    let whole = _mm512_cvtepi32_ps(whole[m][i]);
                    sums[m][i] = _mm512_fmadd_ps(whole, scales[i], sums[m][i]);
                }
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(&sums) {
        for i in 0..2 {
            // SAFETY: 16 of the 32 sums.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * 16).cast(), sums[i]) };
        }
    }
}
