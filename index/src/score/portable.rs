//! Any processor. f16 rows: widen a block, then sum in lanes that compilers vectorise. Bits: count them.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::bits::PLANES;

/// Numbers widened at once; `half` uses the processor's own conversion where it has one.
const BLOCK: usize = 64;
/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 16;

pub(crate) fn dot_f16(row: &[f16], query: &[f32]) -> f32 {
    let mut wide = [0.0f32; BLOCK];
    let mut sums = [0.0f32; LANES];
    let mut tail = 0.0f32;
    for (row, query) in row.chunks(BLOCK).zip(query.chunks(BLOCK)) {
        let wide = &mut wide[..row.len()];
        row.convert_to_f32_slice(wide);
        let (wide_lanes, wide_tail) = wide.as_chunks::<LANES>();
        let (query_lanes, query_tail) = query.as_chunks::<LANES>();
        for (a, b) in wide_lanes.iter().zip(query_lanes) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        tail += wide_tail.iter().zip(query_tail).map(|(a, b)| a * b).sum::<f32>();
    }
    sums.iter().sum::<f32>() + tail
}

/// The sum of the levels, kept as planes, where a row has a bit.
pub(crate) fn dot_bits(row: &[u64], planes: &[u64]) -> i32 {
    assert_eq!(planes.len(), PLANES * row.len(), "a query of another width");
    let mut sum = 0;
    for (plane, query) in planes.chunks_exact(row.len()).enumerate() {
        let bits = row.iter().zip(query).map(|(row, query)| (row & query).count_ones() as i32);
        let weighted = bits.sum::<i32>() << plane;
        sum += if plane == PLANES - 1 { -weighted } else { weighted };
    }
    sum
}
