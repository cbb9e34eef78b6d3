//! The int8 and bf16 tiles on AMX: 16 or 32 rows against a panel, two tile registers of sums for
//! each 16 rows.
//!
//! The instructions are behind [`Tiles`], so that the loop over them also runs, in tests and in a
//! check before their first use, with a [`Twin`] in plain Rust.

mod twin;

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use half::bf16;

use super::{Kernel, Kernels, Sums, Tile};
use crate::kernel::panels::PANEL;
use twin::Twin;

/// Rows of a tile register; a product of fewer makes do with these.
const GRAIN: usize = 16;

/// Bytes of a row that one tile register of it holds, and bytes of a panel that they meet.
const STEP: usize = 64;
const PANEL_STEP: usize = STEP * PANEL;

/// Replaces what this processor can do better.
pub(super) fn choose(kernels: Kernels) -> Kernels {
    if !(is_present() && is_permitted() && is_sound()) {
        return kernels;
    }
    let kernel = |run| Kernel { most_rows: 2 * GRAIN, grain: GRAIN, around: configured, run };
    Kernels { bf16: kernel(bf16_tile), int8: kernel(int8_tile), ..kernels }
}

/// Whether the processor has tiles and the system saves them.
fn is_present() -> bool {
    const AMX_BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: register 0 is there on every processor with `xgetbv`.
        unsafe { _xgetbv(0) }
    }
    is_x86_feature_detected!("avx512f")
        && __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & AMX_BF16_TILE_INT8 == AMX_BF16_TILE_INT8
        && __cpuid(1).ecx & OSXSAVE != 0
        // SAFETY: the bit just seen says that the system has turned `xgetbv` on.
        && unsafe { saved() } & TILE_STATE == TILE_STATE
}

/// Asks Linux, for the whole process, to let tiles be used: they make its signal frames larger.
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that touches no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Whether the instructions give what the manual says: an emulator's may not.
fn is_sound() -> bool {
    equals_twin(|dot, tile, out| {
        configured(out.len(), &mut || {
            // SAFETY: the registers are configured for so many rows.
            unsafe { sums(&mut Instructions, dot, tile, out) };
        });
    })
}

/// Whether tiles come out as the twin's, bit for bit.
///
/// Of whole numbers of 8 bits: their sums are exact in bf16 too, whatever the order.
fn equals_twin(run: impl Fn(Dot, &Tile, &mut [Sums])) -> bool {
    let mut seed = 1u32;
    let mut byte = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let stride = 3 * STEP;
    let bytes: Vec<u8> = (0..stride * (2 * GRAIN + PANEL)).map(|_| byte()).collect();
    let to_bf16 = |b: &[u8]| bf16::from_f32(f32::from(b[0].cast_signed())).to_le_bytes();
    let numbers: Vec<u8> = bytes.chunks_exact(2).flat_map(to_bf16).collect();
    let shapes = [GRAIN - 9, GRAIN, 2 * GRAIN - 3];
    [(Dot::Int8, bytes), (Dot::Bf16, numbers)].iter().all(|(dot, bytes)| {
        let (rows, panel) = bytes.split_at(2 * GRAIN * stride);
        shapes.into_iter().all(|n_rows| {
            let tile = Tile { rows: &rows[..n_rows * stride], stride, panel, offsets: &[] };
            let (mut found, mut expected) = ([[1; PANEL]; 2 * GRAIN], [[1; PANEL]; 2 * GRAIN]);
            run(*dot, &tile, &mut found[..n_rows]);
            twin_sums(*dot, &tile, &mut expected[..n_rows]);
            found == expected
        })
    })
}

fn twin_sums(dot: Dot, tile: &Tile, out: &mut [Sums]) {
    let twin = &mut Twin::configured(out.len().min(GRAIN));
    // SAFETY: the twin is configured for these rows.
    unsafe { sums(twin, dot, tile, out) };
}

/// Configures the tile registers of this thread for a product of `n_rows`, and gives them back: what
/// other code left in them, or expects there, is not ours to know.
fn configured(n_rows: usize, product: &mut dyn FnMut()) {
    /// The operand of `ldtilecfg`.
    #[repr(C, align(64))]
    #[derive(Default)]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        n_rows: [u8; 16],
    }
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            // SAFETY: whoever got as far as to configure tiles has the instruction.
            unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
        }
    }
    let mut config = Config { palette: 1, ..Config::default() };
    config.row_bytes[..8].fill(STEP as u16);
    config.n_rows[..6].fill(n_rows.clamp(1, GRAIN) as u8);
    config.n_rows[6..8].fill(GRAIN as u8);
    // SAFETY: `choose` found the instruction; it reads the 64 bytes of `config`.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags, readonly));
    }
    let _release = Release;
    product();
}

unsafe fn int8_tile(tile: &Tile, out: &mut [Sums]) {
    // SAFETY: as the caller promised.
    unsafe { sums(&mut Instructions, Dot::Int8, tile, out) };
}

unsafe fn bf16_tile(tile: &Tile, out: &mut [Sums]) {
    // SAFETY: as the caller promised.
    unsafe { sums(&mut Instructions, Dot::Bf16, tile, out) };
}

/// As [`choose`], on any processor, with the twin in place of the instructions.
#[cfg(test)]
pub(super) fn choose_twin(kernels: Kernels) -> Kernels {
    let kernel = |run| Kernel { most_rows: 2 * GRAIN, grain: GRAIN, ..Kernel::plain(0, run) };
    Kernels {
        bf16: kernel(|tile, out| twin_sums(Dot::Bf16, tile, out)),
        int8: kernel(|tile, out| twin_sums(Dot::Int8, tile, out)),
        ..kernels
    }
}

/// What is multiplied: signed bytes of rows with unsigned ones of panels, or bf16 with bf16.
#[derive(Clone, Copy)]
enum Dot {
    Int8,
    Bf16,
}

/// The tile registers by their numbers: 0 to 3 hold sums, 4 and 5 rows, 6 and 7 a panel.
trait Tiles {
    fn zero<const T: usize>(&mut self);

    /// The rows of `T`, 64 bytes each, `stride` bytes apart.
    ///
    /// # Safety
    /// All of them can be read.
    unsafe fn load<const T: usize>(&mut self, from: *const u8, stride: usize);

    /// Adds rows `A` times panel `B` to the sums `C`.
    fn dot_int8<const C: usize, const A: usize, const B: usize>(&mut self);

    /// As [`Tiles::dot_int8`].
    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self);

    /// The rows of `T`, 16 sums each, `stride` sums apart.
    ///
    /// # Safety
    /// All of them can be written.
    unsafe fn store<const T: usize>(&self, to: *mut u32, stride: usize);
}

/// The sums of a tile.
///
/// More than 16 rows are the first 16 and the last 16: where these meet, both write the same.
///
/// # Safety
/// `tiles` is configured for as many rows as `out` has, or for 16 if it has more.
#[inline(always)]
unsafe fn sums<T: Tiles>(tiles: &mut T, dot: Dot, tile: &Tile, out: &mut [Sums]) {
    let &Tile { rows, stride, panel, .. } = tile;
    let n_rows = out.len();
    assert!((1..=2 * GRAIN).contains(&n_rows) && stride % STEP == 0);
    assert!(rows.len() == n_rows * stride && panel.len() >= stride * PANEL);
    let second = n_rows.saturating_sub(GRAIN);
    tiles.zero::<0>();
    tiles.zero::<1>();
    tiles.zero::<2>();
    tiles.zero::<3>();
    for k in 0..stride / STEP {
        // SAFETY: the lengths were just checked, for the rows that tiles are configured for.
        unsafe {
            let panel = panel.as_ptr().add(k * PANEL_STEP);
            let rows = rows.as_ptr().add(k * STEP);
            tiles.load::<6>(panel, PANEL * 4);
            tiles.load::<7>(panel.add(STEP), PANEL * 4);
            tiles.load::<4>(rows, stride);
            match dot {
                Dot::Int8 => {
                    tiles.dot_int8::<0, 4, 6>();
                    tiles.dot_int8::<1, 4, 7>();
                }
                Dot::Bf16 => {
                    tiles.dot_bf16::<0, 4, 6>();
                    tiles.dot_bf16::<1, 4, 7>();
                }
            }
            if second > 0 {
                tiles.load::<5>(rows.add(second * stride), stride);
                match dot {
                    Dot::Int8 => {
                        tiles.dot_int8::<2, 5, 6>();
                        tiles.dot_int8::<3, 5, 7>();
                    }
                    Dot::Bf16 => {
                        tiles.dot_bf16::<2, 5, 6>();
                        tiles.dot_bf16::<3, 5, 7>();
                    }
                }
            }
        }
    }
    // SAFETY: `out` has the rows that tiles are configured for, from the first and from `second` on.
    unsafe {
        let out = out.as_flattened_mut().as_mut_ptr();
        tiles.store::<0>(out, PANEL);
        tiles.store::<1>(out.add(16), PANEL);
        if second > 0 {
            let out = out.add(second * PANEL);
            tiles.store::<2>(out, PANEL);
            tiles.store::<3>(out.add(16), PANEL);
        }
    }
}

/// The instructions. No code but this writes tile registers while they are configured, and the
/// compiler knows none of its own, so that what one instruction leaves the next one finds.
struct Instructions;

/// One instruction on tile registers; those that the text names as `{t}` are constants.
macro_rules! tile_asm {
    ($text:literal, $options:tt, $($operand:tt)*) => {
        // SAFETY: `choose` found the instructions and `configured` surrounds them; the caller vouches
        // for the memory.
        unsafe { asm!($text, $($operand)*, options $options) }
    };
}

impl Tiles for Instructions {
    #[inline(always)]
    fn zero<const T: usize>(&mut self) {
        tile_asm!("tilezero tmm{t}", (nostack, preserves_flags, nomem), t = const T);
    }

    #[inline(always)]
    unsafe fn load<const T: usize>(&mut self, from: *const u8, stride: usize) {
        tile_asm!("tileloadd tmm{t}, [{from} + {stride}]", (nostack, preserves_flags, readonly),
            t = const T, from = in(reg) from, stride = in(reg) stride);
    }

    #[inline(always)]
    fn dot_int8<const C: usize, const A: usize, const B: usize>(&mut self) {
        tile_asm!("tdpbsud tmm{c}, tmm{a}, tmm{b}", (nostack, preserves_flags, nomem),
            c = const C, a = const A, b = const B);
    }

    #[inline(always)]
    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self) {
        tile_asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", (nostack, preserves_flags, nomem),
            c = const C, a = const A, b = const B);
    }

    #[inline(always)]
    unsafe fn store<const T: usize>(&self, to: *mut u32, stride: usize) {
        tile_asm!("tilestored [{to} + {stride}], tmm{t}", (nostack, preserves_flags),
            t = const T, to = in(reg) to, stride = in(reg) stride * 4);
    }
}

#[cfg(test)]
mod tests;
