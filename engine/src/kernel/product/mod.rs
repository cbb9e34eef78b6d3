//! Matrix products: rows of activations with panels of weights.
//!
//! The work is cut into tiles: a few rows against one panel of 32 outputs, whose sums stay in
//! registers. A tile is the only part that knows the processor; the sums of int8 are exact whole
//! numbers, so all processors give the same. What follows a tile (scales, GEGLU, the way to its
//! place) is one piece of code for all.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::sync::OnceLock;

use rayon::prelude::*;

use super::finish;
use super::panels::{PANEL, Panels, Precision};
use super::rows::Rows;

/// The most rows of any tile.
const MOST_ROWS: usize = 32;

/// The sums of one row of a tile: f32, or i32 for int8, by their bits.
pub(crate) type Sums = [u32; PANEL];

/// What turns the sums of a tile into outputs.
pub(crate) struct Finish<'a> {
    pub(super) precision: Precision,
    /// One a row, for int8 and int4.
    pub(super) scales: &'a [f32],
    /// One a row, for int8.
    pub(super) offsets: &'a [i32],
    pub(super) panel: &'a [u8],
    pub(super) epilogue: Epilogue,
    pub(super) n_cols: usize,
    pub(super) out_stride: usize,
}

/// A few rows and a panel.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// `[m][stride]`
    rows: &'a [u8],
    /// Bytes from row to row; of these, all count.
    stride: usize,
    panel: &'a [u8],
    /// int4: `[m][n_blocks]`
    offsets: &'a [i32],
}

/// The tile of one precision on one kind of processor.
#[derive(Clone, Copy)]
struct Kernel {
    most_rows: usize,
    /// Tiles end at multiples of this, and where the rows end.
    grain: usize,
    /// Calls back with the processor in the state that `run` needs for a product of so many rows.
    around: fn(usize, &mut dyn FnMut()),
    /// Fills one [`Sums`] for each row.
    ///
    /// # Safety
    /// Called inside `around`, with a tile of the product named to it.
    run: unsafe fn(&Tile, &mut [Sums]),
}

impl Kernel {
    /// One that needs no state, and takes any number of rows up to `most_rows`.
    const fn plain(most_rows: usize, run: fn(&Tile, &mut [Sums])) -> Kernel {
        Kernel { most_rows, grain: 1, around: |_, product| product(), run }
    }
}

/// What a processor runs.
#[derive(Clone, Copy)]
struct Kernels {
    f32: Kernel,
    bf16: Kernel,
    int8: Kernel,
    int4: Kernel,
}

/// Puts better kernels in the place of given ones, if this processor can run them.
type Choose = fn(Kernels) -> Kernels;

/// The kinds of processors, each better than those before.
const KINDS: &[(&str, Choose)] = &[
    #[cfg(target_arch = "x86_64")]
    ("avx2", avx2::choose),
    #[cfg(target_arch = "x86_64")]
    ("avx512", avx512::choose),
    #[cfg(target_arch = "x86_64")]
    ("avx512_bf16", avx512::choose_bf16),
    #[cfg(target_arch = "x86_64")]
    ("avx512_vnni", avx512::choose_vnni),
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    ("amx", amx::choose),
];

/// What this processor runs.
fn kernels() -> &'static Kernels {
    static KERNELS: OnceLock<Kernels> = OnceLock::new();
    KERNELS.get_or_init(|| KINDS.iter().fold(portable::KERNELS, |best, (_, choose)| choose(best)))
}

impl Kernels {
    fn of(&self, precision: Precision) -> Kernel {
        match precision {
            Precision::F32 => self.f32,
            Precision::Bf16 => self.bf16,
            Precision::Int8 => self.int8,
            Precision::Int4 => self.int4,
        }
    }
}

/// What a product leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epilogue {
    /// The outputs.
    Plain,
    /// The outputs, added to what is there.
    Add,
    /// `gelu(gate) * up`, from panels of 16 gates and their 16 ups: half as many outputs.
    Geglu,
}

/// `out = rows · panelsᵀ`, on the calling thread.
///
/// `out`: `[rows, n_outputs]` (half of it after [`Epilogue::Geglu`]), its rows `out_stride` apart.
///
/// # Panics
/// If precision or shapes do not fit.
pub(crate) fn product(
    rows: &Rows,
    panels: Panels,
    epilogue: Epilogue,
    out: &mut [f32],
    out_stride: usize,
) {
    product_with(kernels().of(panels.precision), rows, panels, epilogue, out, out_stride);
}

/// As [`product`], but the panels are shared out over the threads: each weight is read once, by one
/// of them. For few rows.
///
/// `blocks` is room to work in.
pub(crate) fn product_shared(
    rows: &Rows,
    panels: Panels,
    epilogue: Epilogue,
    blocks: &mut Vec<f32>,
    out: &mut [f32],
    out_stride: usize,
) {
    let share = panels.len().div_ceil(rayon::current_num_threads()).max(1) * PANEL;
    let width = if epilogue == Epilogue::Geglu { share / 2 } else { share };
    let block = rows.n_rows() * width;
    let n_blocks = panels.n_outputs.div_ceil(share);
    blocks.resize(n_blocks * block, 0.0);
    blocks.par_chunks_exact_mut(block).enumerate().for_each(|(i, block)| {
        let outputs = i * share..panels.n_outputs.min((i + 1) * share);
        let of_block = if epilogue == Epilogue::Add { Epilogue::Plain } else { epilogue };
        product(rows, panels.outputs(outputs), of_block, block, width);
    });
    let n_outputs = panels.n_outputs * width / share;
    for (i, block) in blocks.chunks_exact(block).enumerate() {
        let n = width.min(n_outputs - i * width);
        for (m, row) in block.chunks_exact(width).enumerate() {
            let out = &mut out[m * out_stride + i * width..][..n];
            match epilogue {
                Epilogue::Add => out.iter_mut().zip(row).for_each(|(out, x)| *out += x),
                _ => out.copy_from_slice(&row[..n]),
            }
        }
    }
}

fn product_with(
    kernel: Kernel,
    rows: &Rows,
    panels: Panels,
    epilogue: Epilogue,
    out: &mut [f32],
    out_stride: usize,
) {
    let precision = rows.precision();
    assert!(precision == panels.precision && rows.n_cols() == panels.n_inputs);
    let (n_rows, stride, per_row) = (rows.n_rows(), rows.stride(), rows.offsets_per_row());
    // Tiles of like size: none is left with a row or two.
    let n_grains = n_rows.div_ceil(kernel.grain);
    let n_tiles = n_rows.div_ceil(kernel.most_rows);
    let mut sums = [[0; PANEL]; MOST_ROWS];
    let outputs_per_col = if epilogue == Epilogue::Geglu { 2 } else { 1 };
    let width = PANEL / outputs_per_col;
    let n_outputs = panels.n_outputs / outputs_per_col;
    (kernel.around)(n_rows, &mut || {
        for i in 0..panels.len() {
            let panel = panels.panel(i);
            let (first_col, mut first) = (i * width, 0);
            let n_cols = width.min(n_outputs - first_col);
            for t in 1..=n_tiles {
                let end = n_rows.min(n_grains * t / n_tiles * kernel.grain);
                let sums = &mut sums[..end - first];
                let tile = Tile {
                    rows: &rows.bytes()[first * stride..end * stride],
                    stride,
                    panel,
                    offsets: if precision == Precision::Int4 {
                        &rows.offsets()[first * per_row..end * per_row]
                    } else {
                        &[]
                    },
                };
                // SAFETY: inside `around`, and of this product.
                unsafe { (kernel.run)(&tile, sums) };
                let scales = rows.scales().get(first..end).unwrap_or(&[]);
                let offsets = rows.offsets().get(first..end).unwrap_or(&[]);
                finish(
                    Finish { precision, scales, offsets, panel, epilogue, n_cols, out_stride },
                    sums,
                    &mut out[first * out_stride + first_col..],
                );
                first = end;
            }
        }
    });
}

#[cfg(test)]
mod tests;
