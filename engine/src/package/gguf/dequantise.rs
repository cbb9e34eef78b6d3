//! Stored blocks to f32, as ggml defines them: one rounding for each operation written here, in
//! this order, so that results equal those of the `gguf` Python package bit for bit.

use half::{bf16, f16};

use super::Dtype;

/// Turns whole blocks into numbers.
///
/// # Panics
/// If `bytes` and `out` are not the same number of whole blocks of `dtype`.
pub(super) fn dequantise(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => blocks(bytes, out, |b: &[u8; 4], [x]| *x = f32::from_le_bytes(*b)),
        Dtype::F16 => blocks(bytes, out, |b: &[u8; 2], [x]| *x = f16::from_le_bytes(*b).to_f32()),
        Dtype::Bf16 => blocks(bytes, out, |b: &[u8; 2], [x]| *x = bf16::from_le_bytes(*b).to_f32()),
        Dtype::Q8_0 => blocks(bytes, out, q8_0),
        Dtype::Q4_0 => blocks(bytes, out, q4_0),
        Dtype::Q4_1 => blocks(bytes, out, q4_1),
        Dtype::Q5_0 => blocks(bytes, out, q5_0),
        Dtype::Q5_1 => blocks(bytes, out, q5_1),
        Dtype::Q4K => blocks(bytes, out, q4_k),
        Dtype::Q5K => blocks(bytes, out, q5_k),
        Dtype::Q6K => blocks(bytes, out, q6_k),
    }
}

fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (stored, rest) = bytes.as_chunks::<BYTES>();
    let (numbers, left) = out.as_chunks_mut::<LEN>();
    assert!(stored.len() == numbers.len() && rest.is_empty() && left.is_empty(), "whole blocks");
    for (from, to) in stored.iter().zip(numbers) {
        block(from, to);
    }
}

/// The f16 that is stored at `at`.
fn half_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Value `i` of 32 whose nibbles start at `at`: 16 low nibbles, then 16 high ones.
fn nibble<const BYTES: usize>(block: &[u8; BYTES], at: usize, i: usize) -> u8 {
    (block[at + i % 16] >> (4 * (i / 16))) & 15
}

/// Bit `i` of the 32 that are stored at `at`.
fn bit<const BYTES: usize>(block: &[u8; BYTES], at: usize, i: usize) -> u8 {
    (block[at + i / 8] >> (i % 8)) & 1
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, x) in out.iter_mut().enumerate() {
        *x = f32::from(block[2 + i].cast_signed()) * scale;
    }
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, x) in out.iter_mut().enumerate() {
        *x = (f32::from(nibble(block, 2, i)) - 8.0) * scale;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    for (i, x) in out.iter_mut().enumerate() {
        *x = f32::from(nibble(block, 4, i)) * scale + min;
    }
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, x) in out.iter_mut().enumerate() {
        let q = nibble(block, 6, i) | (bit(block, 2, i) << 4);
        *x = (f32::from(q) - 16.0) * scale;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    for (i, x) in out.iter_mut().enumerate() {
        let q = nibble(block, 8, i) | (bit(block, 4, i) << 4);
        *x = f32::from(q) * scale + min;
    }
}

/// Scale and minimum of group `g` of 8, six bits each, packed into the 12 bytes at offset 4: the
/// first four groups lie in the low six bits of bytes 0-3 and 4-7, the others have their low
/// nibbles in bytes 8-11 and their upper two bits on top of the first eight.
fn scale_and_min<const BYTES: usize>(block: &[u8; BYTES], g: usize) -> (f32, f32) {
    let packed = |i: usize| block[4 + i];
    let (scale, min) = if g < 4 {
        (packed(g) & 63, packed(g + 4) & 63)
    } else {
        let low = packed(g + 4);
        ((low & 15) | ((packed(g - 4) >> 6) << 4), (low >> 4) | ((packed(g) >> 6) << 4))
    };
    (half_at(block, 0) * f32::from(scale), half_at(block, 2) * f32::from(min))
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    for (g, group) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(block, g);
        for (i, x) in group.iter_mut().enumerate() {
            let q = (block[16 + g / 2 * 32 + i] >> (4 * (g % 2))) & 15;
            *x = f32::from(q) * scale - min;
        }
    }
}

fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    for (g, group) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_and_min(block, g);
        for (i, x) in group.iter_mut().enumerate() {
            let low = (block[48 + g / 2 * 32 + i] >> (4 * (g % 2))) & 15;
            let high = (block[16 + i] >> g) & 1;
            *x = f32::from(low | (high << 4)) * scale - min;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let super_scale = half_at(block, 208);
    for (g, group) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = super_scale * f32::from(block[192 + g].cast_signed());
        for (i, x) in group.iter_mut().enumerate() {
            // Each half of 128 values: 64 bytes of nibbles, 32 bytes of bit pairs.
            let (half, at) = (g / 8, g % 8 * 16 + i);
            let low = (block[half * 64 + at % 64] >> (4 * (at / 64))) & 15;
            let high = (block[128 + half * 32 + at % 32] >> (2 * (at / 32))) & 3;
            *x = (f32::from(low | (high << 4)) - 32.0) * scale;
        }
    }
}
