//! Arithmetic on a few vectors.

/// The first `dims` numbers, scaled to unit length; a zero vector stays zero.
pub(crate) fn cut(full: &[f32], dims: usize) -> Vec<f32> {
    let mut cut = full[..dims].to_vec();
    if dims == full.len() {
        return cut;
    }
    let norm = cut.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if norm > 0.0 {
        cut.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
    cut
}

/// The dot product, in eight sums that the compiler can keep in one register.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    assert_eq!(a.len(), b.len(), "a dot product needs equal widths");
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}
