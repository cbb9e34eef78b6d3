//! The definition of each kernel: plain loops, in lanes that a compiler can turn into vectors.

mod back;

use super::panels::{PANEL, Precision};
use super::product::{Epilogue, Finish, Sums};
pub(super) use back::*;

/// 1.5 * 2^23: adding it leaves no room for a fraction, so it rounds to the nearest whole number.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Partial sums of a reduction; as many as the widest vector has f32 lanes.
const LANES: usize = 16;

/// The sum over `f(x)`, lane by lane, then over the lanes.
#[inline(always)]
fn sum(xs: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = xs.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

#[inline(always)]
fn largest(xs: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = xs.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// `e^x` to 2 units in the last place for `x` in -87 to 88; clamped outside.
///
/// `x = n ln 2 + r`, `e^r` by a polynomial (Cephes), `2^n` by writing the exponent.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    // The last bits of the rounded sum are `n`: no conversion, which would have to mind overflow.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

#[inline(always)]
fn inverse_rms(row: &[f32], eps: f32) -> f32 {
    1.0 / (sum(row, |x| x * x) / row.len() as f32 + eps).sqrt()
}

#[inline(always)]
pub(super) fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for (row, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        let scale = inverse_rms(row, eps);
        for ((out, x), gain) in out.iter_mut().zip(row).zip(gain) {
            *out = x * scale * gain;
        }
    }
}

#[inline(always)]
pub(super) fn rms_norm_add(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for (row, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        let scale = inverse_rms(row, eps);
        for ((out, x), gain) in out.iter_mut().zip(row).zip(gain) {
            *out += x * scale * gain;
        }
    }
}

#[inline(always)]
pub(super) fn rope(row: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = row.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

#[inline(always)]
pub(super) fn softmax(scores: &mut [f32], n: usize, scale: f32, visible: &[(usize, usize)]) {
    assert_eq!(scores.len(), n * visible.len());
    for (row, &(first, end)) in scores.chunks_exact_mut(n).zip(visible) {
        row[..first].fill(0.0);
        row[end..].fill(0.0);
        let seen = &mut row[first..end];
        let top = largest(seen);
        for x in seen.iter_mut() {
            *x = exp((*x - top) * scale);
        }
        let inverse = 1.0 / sum(seen, |x| x);
        for x in seen {
            *x *= inverse;
        }
    }
}

/// `2 sqrt(2 / pi)`
const TWICE_ROOT: f32 = 1.595_769;

/// GELU in its tanh form.
#[inline(always)]
fn gelu(z: f32) -> f32 {
    // 0.5 (1 + tanh u) = 1 / (1 + e^-2u), with u = sqrt(2 / pi) (z + 0.044715 z^3)
    let u = TWICE_ROOT * (z + 0.044_715 * z * z * z);
    z / (1.0 + exp(-u))
}

/// The bits of the nearest bf16 in the upper half; the lower half is what is left of the sum.
#[inline(always)]
fn rounded_bf16(x: f32) -> u32 {
    // Adding just under half of what is cut off, and the last kept bit, rounds to even. What is not
    // a number stays so: the sum could carry into its sign.
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if x.is_nan() { f32::NAN.to_bits() } else { nearest }
}

#[inline(always)]
fn bf16_pair(first: f32, second: f32) -> [u8; 4] {
    (rounded_bf16(first) >> 16 | rounded_bf16(second) & 0xffff_0000).to_le_bytes()
}

#[inline(always)]
pub(super) fn to_bf16(row: &[f32], out: &mut [u8]) {
    let (numbers, padding) = out.split_at_mut(row.len() * 2);
    for (to, x) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(row) {
        *to = ((rounded_bf16(*x) >> 16) as u16).to_le_bytes();
    }
    padding.fill(0);
}

#[inline(always)]
pub(super) fn quantise(
    row: &[f32],
    out: &mut [u8],
    scale: &mut f32,
    block: usize,
    unit: i32,
    offsets: &mut [i32],
) {
    let mut tops = [0f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (top, x) in tops.iter_mut().zip(chunk) {
            *top = if x.abs() > *top { x.abs() } else { *top };
        }
    }
    let top = tops.iter().chain(rest).fold(0f32, |a, b| if b.abs() > a { b.abs() } else { a });
    *scale = top / 127.0;
    let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
    let (numbers, padding) = out.split_at_mut(row.len());
    for (to, x) in numbers.iter_mut().zip(row) {
        // The sum's last bits are the nearest whole number.
        *to = (x * inverse + ROUND).to_bits() as u8;
    }
    padding.fill(0);
    for (offset, block) in offsets.iter_mut().zip(out.chunks_exact(block)) {
        *offset = block.iter().map(|&q| i32::from(q as i8)).sum::<i32>() * unit;
    }
}

#[inline(always)]
pub(super) fn finish(how: Finish, sums: &[Sums], out: &mut [f32]) {
    let mut weight_scales = [1f32; PANEL];
    match how.precision {
        Precision::F32 | Precision::Bf16 => {
            place(&how, &weight_scales, sums, out, |_| |sum, _| f32::from_bits(sum));
        }
        Precision::Int8 => {
            let bytes = how.panel[how.panel.len() - PANEL * 4..].as_chunks::<4>().0;
            for (scale, bytes) in weight_scales.iter_mut().zip(bytes) {
                *scale = f32::from_le_bytes(*bytes);
            }
            place(&how, &weight_scales, sums, out, |m| {
                let (scale, offset) = (how.scales[m], how.offsets[m]);
                move |sum, weight_scale| (sum as i32 + offset) as f32 * (scale * weight_scale)
            });
        }
        Precision::Int4 => place(&how, &weight_scales, sums, out, |m| {
            let scale = how.scales[m];
            move |sum, _| f32::from_bits(sum) * scale
        }),
    }
}

/// Writes the outputs of a tile, or what GEGLU makes of them, where they belong: `value_of(row)` is
/// what turns one of its sums, and the scale of the weights, into an output.
#[inline(always)]
fn place<F: Fn(u32, f32) -> f32>(
    how: &Finish,
    scales: &[f32; PANEL],
    sums: &[Sums],
    out: &mut [f32],
    value_of: impl Fn(usize) -> F,
) {
    const HALF: usize = PANEL / 2;
    for (m, sums) in sums.iter().enumerate() {
        let value = value_of(m);
        let out = &mut out[m * how.out_stride..][..how.n_cols];
        match how.epilogue {
            Epilogue::Plain => write::<PANEL>(out, |out| {
                for ((x, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                    *x = value(*sum, *scale);
                }
            }),
            Epilogue::Add => write::<PANEL>(out, |out| {
                for ((x, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                    *x += value(*sum, *scale);
                }
            }),
            Epilogue::Geglu => {
                let (gates, ups) = (sums[..HALF].iter(), sums[HALF..].iter());
                let (gates, ups) = (gates.zip(&scales[..HALF]), ups.zip(&scales[HALF..]));
                write::<HALF>(out, |out| {
                    for ((x, gate), up) in out.iter_mut().zip(gates).zip(ups) {
                        *x = gelu(value(*gate.0, *gate.1)) * value(*up.0, *up.1);
                    }
                });
            }
        }
    }
}

/// Has `N` numbers made of those there, and keeps those that there is room for: loops of a known
/// length make better vectors.
#[inline(always)]
fn write<const N: usize>(out: &mut [f32], make: impl FnOnce(&mut [f32; N])) {
    match out.as_chunks_mut::<N>() {
        ([whole], []) => make(whole),
        _ => {
            let mut whole = [0f32; N];
            whole[..out.len()].copy_from_slice(out);
            make(&mut whole);
            out.copy_from_slice(&whole[..out.len()]);
        }
    }
}

#[inline(always)]
pub(super) fn pack_keys(
    rows: &[f32],
    stride: usize,
    n_keys: usize,
    width: usize,
    precision: Precision,
    out: &mut [u8],
) {
    let panels = out.chunks_exact_mut(precision.panel_bytes(width));
    for (i, panel) in panels.enumerate() {
        let first = i * PANEL;
        let n = PANEL.min(n_keys - first);
        let panel = panel.as_chunks_mut::<4>().0.as_chunks_mut::<PANEL>().0;
        for (o, key) in (first..first + n).map(|key| &rows[key * stride..][..width]).enumerate() {
            match precision {
                Precision::F32 => {
                    for (step, x) in panel.iter_mut().zip(key) {
                        step[o] = x.to_le_bytes();
                    }
                }
                _ => {
                    let (pairs, odd) = key.as_chunks::<2>();
                    for (step, [x, y]) in panel.iter_mut().zip(pairs) {
                        step[o] = bf16_pair(*x, *y);
                    }
                    if let [x] = odd {
                        panel[pairs.len()][o] = bf16_pair(*x, 0.0);
                    }
                }
            }
        }
        let used = if precision == Precision::F32 { width } else { width.div_ceil(2) };
        panel[used..].fill([[0; 4]; PANEL]);
        for step in &mut panel[..used] {
            step[n..].fill([0; 4]);
        }
    }
}

#[inline(always)]
pub(super) fn pack_values(
    rows: &[f32],
    stride: usize,
    n_keys: usize,
    width: usize,
    precision: Precision,
    out: &mut [u8],
) {
    let panels = out.chunks_exact_mut(precision.panel_bytes(n_keys));
    for (i, panel) in panels.enumerate() {
        let first = i * PANEL;
        let n = PANEL.min(width - first);
        let part = |key: usize| -> [f32; PANEL] {
            let mut part = [0.0; PANEL];
            if key < n_keys {
                let row = &rows[key * stride + first..][..n];
                match row.as_chunks::<PANEL>() {
                    ([whole], []) => part = *whole,
                    _ => part[..n].copy_from_slice(row),
                }
            }
            part
        };
        let panel = panel.as_chunks_mut::<4>().0.as_chunks_mut::<PANEL>().0;
        for (k, step) in panel.iter_mut().enumerate() {
            match precision {
                Precision::F32 => *step = part(k).map(f32::to_le_bytes),
                _ => {
                    let (even, odd) = (part(2 * k), part(2 * k + 1));
                    *step = std::array::from_fn(|o| bf16_pair(even[o], odd[o]));
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn combine(factors: &[f32], matrix: &[f32], out: &mut [f32]) {
    assert_eq!(matrix.len(), factors.len() * out.len());
    let width = out.len();
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        let mut sums = [0f64; LANES];
        for (&factor, row) in factors.iter().zip(matrix.chunks_exact(width)) {
            let row = &row[i * LANES..];
            match row.first_chunk::<LANES>() {
                Some(row) => {
                    for (sum, &x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(factor) * f64::from(x);
                    }
                }
                None => {
                    for (sum, &x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(factor) * f64::from(x);
                    }
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum as f32;
        }
    }
}
