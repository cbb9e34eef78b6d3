//! The check before first use, and the instructions where there are any.

use super::*;
use crate::kernel::tests::numbers;

#[test]
fn the_check_passes_the_twin_and_finds_faults() {
    assert!(equals_twin(twin_sums));
    // Rows taken as unsigned.
    assert!(!equals_twin(|dot, tile, out| {
        let rows: Vec<u8> = tile.rows.iter().map(|x| x & 0x7f).collect();
        twin_sums(dot, &Tile { rows: &rows, ..*tile }, out);
    }));
    for (row, col) in [(0, 0), (6, 31), (16, 16), (28, 15)] {
        assert!(!equals_twin(|dot, tile, out| {
            twin_sums(dot, tile, out);
            if let (Some(sums), Dot::Bf16) = (out.get_mut(row), dot) {
                sums[col] ^= 1;
            }
        }));
    }
}

#[test]
fn instructions_equal_the_twin() {
    if !(is_present() && is_permitted()) {
        eprintln!("skipped: this processor or system has no AMX");
        return;
    }
    assert!(is_sound());
    let stride = 5 * STEP;
    let bytes: Vec<u8> =
        numbers(stride * 64 / 2, 3).iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect();
    let (rows, panel) = bytes.split_at(32 * stride);
    for n_rows in 1..=32 {
        let tile = Tile { rows: &rows[..n_rows * stride], stride, panel, offsets: &[] };
        let run = |dot, out: &mut [Sums]| {
            // SAFETY: the registers are configured for so many rows.
            configured(n_rows, &mut || unsafe { sums(&mut Instructions, dot, &tile, out) });
        };
        let (mut found, mut expected) = ([[0; PANEL]; 32], [[0; PANEL]; 32]);
        run(Dot::Int8, &mut found[..n_rows]);
        twin_sums(Dot::Int8, &tile, &mut expected[..n_rows]);
        assert_eq!(found, expected);
        run(Dot::Bf16, &mut found[..n_rows]);
        twin_sums(Dot::Bf16, &tile, &mut expected[..n_rows]);
        let differ = found.as_flattened().iter().zip(expected.as_flattened());
        for (found, expected) in differ.map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b))) {
            // 160 products of at most 16, each sum rounded to 24 bits: once here, once there.
            let bound = 2.0 * 160.0 * (160.0 * 16.0) / (1 << 24) as f32;
            assert!((found - expected).abs() <= bound, "{found}, not {expected}");
        }
    }
    eprintln!("instructions ran");
}
