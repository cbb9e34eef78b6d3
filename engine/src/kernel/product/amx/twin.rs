//! The tile instructions in plain Rust, as the manual defines them: what the real ones must equal.

use std::array;

use half::bf16;

use super::{GRAIN, Tiles};

/// The eight tile registers; only their first `n_rows` rows take part where tiles hold rows of
/// activations or sums.
pub(super) struct Twin {
    n_rows: usize,
    tiles: [[[u8; 64]; GRAIN]; 8],
}

impl Twin {
    pub(super) fn configured(n_rows: usize) -> Twin {
        Twin { n_rows, tiles: [[[0; 64]; GRAIN]; 8] }
    }

    /// Rows of a tile: those of a panel are always whole.
    fn height(&self, tile: usize) -> usize {
        if tile < 6 { self.n_rows } else { GRAIN }
    }

    fn row(&self, tile: usize, row: usize) -> [[u8; 4]; 16] {
        let bytes = &self.tiles[tile][row];
        array::from_fn(|i| array::from_fn(|j| bytes[i * 4 + j]))
    }

    /// Each sum of tile `C` becomes `f(row of A, step by step weights of B for the sum, sum)`.
    fn dot(
        &mut self,
        [c, a, b]: [usize; 3],
        f: impl Fn(&[[u8; 4]; 16], [[u8; 4]; 16], u32) -> u32,
    ) {
        let panel: [_; GRAIN] = array::from_fn(|k| self.row(b, k));
        for m in 0..self.n_rows {
            let (row, sums) = (self.row(a, m), self.row(c, m));
            for (n, sum) in sums.into_iter().enumerate() {
                let weights = array::from_fn(|k| panel[k][n]);
                let sum = f(&row, weights, u32::from_le_bytes(sum));
                self.tiles[c][m][n * 4..][..4].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
}

impl Tiles for Twin {
    fn zero<const T: usize>(&mut self) {
        self.tiles[T] = [[0; 64]; GRAIN];
    }

    unsafe fn load<const T: usize>(&mut self, from: *const u8, stride: usize) {
        for m in 0..self.height(T) {
            // SAFETY: the caller names memory that has all rows.
            self.tiles[T][m] = unsafe { from.add(m * stride).cast::<[u8; 64]>().read_unaligned() };
        }
    }

    fn dot_int8<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.dot([C, A, B], |row, weights, sum| {
            let mut sum = sum.cast_signed();
            for (x, w) in row.as_flattened().iter().zip(weights.as_flattened()) {
                sum = sum.wrapping_add(i32::from(x.cast_signed()) * i32::from(*w));
            }
            sum.cast_unsigned()
        });
    }

    // Even and odd inputs are summed apart, from zero, then together, then with what was there. All
    // that is denormal, before or after, counts as zero.
    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self) {
        let number = |low, high| flushed(bf16::from_le_bytes([low, high]).to_f32());
        self.dot([C, A, B], |row, weights, sum| {
            let (mut even, mut odd) = (0f32, 0f32);
            for (x, w) in row.iter().zip(weights) {
                even = flushed(number(x[0], x[1]).mul_add(number(w[0], w[1]), even));
                odd = flushed(number(x[2], x[3]).mul_add(number(w[2], w[3]), odd));
            }
            flushed(flushed(f32::from_bits(sum)) + flushed(even + odd)).to_bits()
        });
    }

    unsafe fn store<const T: usize>(&self, to: *mut u32, stride: usize) {
        for m in 0..self.height(T) {
            // SAFETY: the caller names memory that has all rows.
            unsafe { to.add(m * stride).cast::<[u8; 64]>().write_unaligned(self.tiles[T][m]) };
        }
    }
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}
