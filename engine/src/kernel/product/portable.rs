//! The tiles as plain loops: their definition, and what runs on a processor without better ones.

use half::{bf16, f16};

use super::{Kernel, Kernels, Sums, Tile};
use crate::kernel::panels::{BLOCK, BLOCK_BYTES, PANEL};

pub(super) const KERNELS: Kernels = Kernels {
    f32: Kernel::plain(4, f32_tile),
    bf16: Kernel::plain(4, bf16_tile),
    int8: Kernel::plain(4, int8_tile),
    int4: Kernel::plain(4, int4_tile),
};

/// Four bytes of a row meet 128 of the panel; `step` adds to the sums of one row.
fn steps<T: Copy>(tile: &Tile, sums: &mut [[T; PANEL]], step: impl Fn(&mut T, [u8; 4], [u8; 4])) {
    let weights = tile.panel.as_chunks::<4>().0.as_chunks::<PANEL>().0;
    for (row, sums) in tile.rows.chunks_exact(tile.stride).zip(sums) {
        for (x, weights) in row.as_chunks::<4>().0.iter().zip(weights) {
            for (sum, w) in sums.iter_mut().zip(weights) {
                step(sum, *x, *w);
            }
        }
    }
}

fn f32_tile(tile: &Tile, out: &mut [Sums]) {
    let mut sums = vec![[0f32; PANEL]; out.len()];
    steps(tile, &mut sums, |sum, x, w| {
        *sum = f32::from_le_bytes(w).mul_add(f32::from_le_bytes(x), *sum);
    });
    store(&sums, out, f32::to_bits);
}

fn bf16_tile(tile: &Tile, out: &mut [Sums]) {
    let pair = |b: [u8; 4]| [[b[0], b[1]], [b[2], b[3]]].map(|b| bf16::from_le_bytes(b).to_f32());
    let mut sums = vec![[0f32; PANEL]; out.len()];
    steps(tile, &mut sums, |sum, x, w| {
        let (x, w) = (pair(x), pair(w));
        *sum = w[1].mul_add(x[1], w[0].mul_add(x[0], *sum));
    });
    store(&sums, out, f32::to_bits);
}

fn int8_tile(tile: &Tile, out: &mut [Sums]) {
    let mut sums = vec![[0i32; PANEL]; out.len()];
    steps(tile, &mut sums, |sum, x, w| {
        *sum += (0..4).map(|i| i32::from(x[i] as i8) * i32::from(w[i])).sum::<i32>();
    });
    store(&sums, out, i32::cast_unsigned);
}

fn int4_tile(tile: &Tile, out: &mut [Sums]) {
    let n_blocks = tile.panel.len() / BLOCK_BYTES;
    for (m, out) in out.iter_mut().enumerate() {
        let row = &tile.rows[m * tile.stride..][..tile.stride];
        let mut sums = [0f32; PANEL];
        for (i, block) in tile.panel.chunks_exact(BLOCK_BYTES).enumerate() {
            let (halves, scales) = block.split_at(BLOCK * PANEL / 2);
            for (o, sum) in sums.iter_mut().enumerate() {
                let mut whole = tile.offsets[m * n_blocks + i];
                for k in 0..BLOCK {
                    let byte = halves[(k / 4 % 4 * PANEL + o) * 4 + k % 4];
                    let w = byte >> (k / 16 * 4) & 15;
                    whole += i32::from(w) * i32::from(row[i * BLOCK + k] as i8);
                }
                let scale = f16::from_le_bytes([scales[o * 2], scales[o * 2 + 1]]).to_f32();
                *sum = (whole as f32).mul_add(scale, *sum);
            }
        }
        *out = sums.map(f32::to_bits);
    }
}

fn store<T: Copy>(sums: &[[T; PANEL]], out: &mut [Sums], bits: fn(T) -> u32) {
    for (out, sums) in out.iter_mut().zip(sums) {
        *out = sums.map(bits);
    }
}
