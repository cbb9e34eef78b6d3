//! f32 to stored blocks: the rounding of ggml's reference quantisers, bit for bit, so that a file
//! written here equals the one that llama.cpp's converter writes from the same numbers.
//!
//! No importance matrix: each block is rounded on its own.

use half::{bf16, f16};

use super::Dtype;

/// The formats that can be written.
pub(super) fn is_writable(dtype: Dtype) -> bool {
    use Dtype::{Bf16, F16, F32, Q4_0, Q6K, Q8_0};
    matches!(dtype, F32 | F16 | Bf16 | Q8_0 | Q4_0 | Q6K)
}

/// Appends the blocks of whole rows to `out`.
///
/// # Panics
/// If `values` is not a whole number of blocks, or the format is not [`is_writable`].
pub(super) fn quantise(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) {
    assert!(values.len().is_multiple_of(dtype.block_len()), "whole blocks");
    match dtype {
        Dtype::F32 => out.extend(values.iter().flat_map(|x| x.to_le_bytes())),
        Dtype::F16 => out.extend(values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes())),
        Dtype::Bf16 => out.extend(values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes())),
        Dtype::Q8_0 => values.as_chunks().0.iter().for_each(|block| q8_0(block, out)),
        Dtype::Q4_0 => values.as_chunks().0.iter().for_each(|block| q4_0(block, out)),
        Dtype::Q6K => values.as_chunks().0.iter().for_each(|block| q6_k(block, out)),
        Dtype::Q4_1 | Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q4K | Dtype::Q5K => {
            unreachable!("{} is read, never written", dtype.name())
        }
    }
}

/// `1 / scale`, and 0 for the scale of a block of zeros.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The number of largest magnitude, the first of equals.
fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |best: f32, x| if x.abs() > best.abs() { *x } else { best })
}

fn q8_0(values: &[f32; 32], out: &mut Vec<u8>) {
    let scale = extreme(values).abs() / 127.0;
    let inverse = inverse(scale);
    out.extend(f16::from_f32(scale).to_le_bytes());
    // Halves are rounded away from zero, as by C's `roundf`.
    out.extend(values.iter().map(|x| ((x * inverse).round() as i8).cast_unsigned()));
}

/// The number of largest magnitude becomes -8 exactly, so the scale carries its sign.
fn q4_0(values: &[f32; 32], out: &mut Vec<u8>) {
    let scale = extreme(values) / -8.0;
    let inverse = inverse(scale);
    let nibble = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend((0..16).map(|i| nibble(values[i]) | (nibble(values[i + 16]) << 4)));
}

/// A group whose numbers are all smaller than this is stored as zeros.
const Q6_K_ZERO: f32 = 1e-15;

fn q6_k(values: &[f32; 256], out: &mut Vec<u8>) {
    let groups = values.as_chunks::<16>().0;
    let mut levels = [0_u8; 256];
    let mut scales = [0_f32; 16];
    for ((group, levels), scale) in
        groups.iter().zip(levels.as_chunks_mut::<16>().0).zip(&mut scales)
    {
        *scale = best_six_bit_scale(group, levels);
    }
    let widest = extreme(&scales);
    if widest.abs() < Q6_K_ZERO {
        out.extend([0; 210]);
        return;
    }
    // The scale of largest magnitude becomes -128.
    let inverse = -128.0 / widest;
    let super_scale = f16::from_f32(1.0 / inverse);
    let stored: [i8; 16] = scales.map(|scale| nearest(inverse * scale).min(127) as i8);
    for ((group, levels), scale) in groups.iter().zip(levels.as_chunks_mut::<16>().0).zip(stored) {
        let scale = super_scale.to_f32() * f32::from(scale);
        if scale != 0.0 {
            *levels = group.map(|x| six_bit_level(x / scale));
        }
    }
    for half in levels.as_chunks::<128>().0 {
        out.extend((0..64).map(|i| (half[i] & 15) | ((half[i + 64] & 15) << 4)));
    }
    for half in levels.as_chunks::<128>().0 {
        let pair = |i: usize, place: usize| (half[i + 32 * place] >> 4) << (2 * place);
        out.extend((0..32).map(|i| pair(i, 0) | pair(i, 1) | pair(i, 2) | pair(i, 3)));
    }
    out.extend(stored.map(i8::cast_unsigned));
    out.extend(super_scale.to_le_bytes());
}

/// Nearest integer, halves to even.
fn nearest(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// A number in units of its scale to a level of 0 to 63, 32 standing for 0.
fn six_bit_level(x: f32) -> u8 {
    (nearest(x).clamp(-32, 31) + 32) as u8
}

/// Fits `values` by 64 levels times one scale: of 19 candidates around the scale that makes the
/// extreme number the lowest level, the one whose error, weighted by the squared number, is least.
///
/// Sums are f32, left to right: the choice between close candidates depends on it.
fn best_six_bit_scale(values: &[f32; 16], levels: &mut [u8; 16]) -> f32 {
    let extreme = extreme(values);
    if extreme.abs() < Q6_K_ZERO {
        *levels = [0; 16];
        return 0.0;
    }
    // For given levels l the best scale is sum(w x l) / sum(w l l), and it lowers the error by
    // the square of the first sum over the second.
    let fit = |inverse: f32| {
        let (mut product, mut square) = (0.0_f32, 0.0_f32);
        for x in values {
            let level = nearest(inverse * x).clamp(-32, 31) as f32;
            let weight = x * x;
            product += weight * x * level;
            square += weight * level * level;
        }
        (product, square)
    };
    let mut inverse = -32.0 / extreme;
    let (product, square) = fit(inverse);
    let mut scale = if square == 0.0 { 0.0 } else { product / square };
    let mut best = scale * product;
    for step in (-9..=9).filter(|step| *step != 0) {
        let candidate = -(32.0 + 0.1 * step as f32) / extreme;
        let (product, square) = fit(candidate);
        if square > 0.0 && product * product > best * square {
            inverse = candidate;
            scale = product / square;
            best = scale * product;
        }
    }
    *levels = values.map(|x| six_bit_level(inverse * x));
    scale
}
