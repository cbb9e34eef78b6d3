//! The definition of each kernel: plain loops, in lanes that a compiler can turn into vectors.

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
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
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

#[inline(always)]
pub(super) fn geglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    assert_eq!(gate_up.len(), 2 * out.len());
    // 0.5 (1 + tanh u) = 1 / (1 + e^-2u), with u = sqrt(2 / pi) (z + 0.044715 z^3)
    const TWICE_ROOT: f32 = 1.595_769;
    for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = row.split_at(width);
        for ((out, &z), up) in out.iter_mut().zip(gate).zip(up) {
            let u = TWICE_ROOT * (z + 0.044_715 * z * z * z);
            *out = z / (1.0 + exp(-u)) * up;
        }
    }
}
