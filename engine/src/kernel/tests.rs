//! Each kernel against its definition compiled for any processor, and against f64.

mod back;

use super::panels::unpack;
use super::*;

/// Numbers between -4 and 4, the same in each run.
pub(super) fn numbers(n: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 40) as f32 / (1u64 << 24) as f32 * 8.0 - 4.0
    };
    (0..n).map(|_| next()).collect()
}

fn close(found: &[f32], expected: &[f64]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-6 * expected.abs().max(1.0), "at {i}: {found}, not {expected}");
    }
}

#[test]
fn norm_equals_its_definition_and_f64() {
    for width in 1..=67 {
        let (x, gain) = (numbers(3 * width, 7), numbers(width, 9));
        let (mut found, mut plain) = (vec![0.0; 3 * width], vec![0.0; 3 * width]);
        rms_norm(&x, &gain, 1e-6, &mut found);
        scalar::rms_norm(&x, &gain, 1e-6, &mut plain);
        assert_eq!(found, plain);
        let expected: Vec<f64> = x
            .chunks(width)
            .flat_map(|row| {
                let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                let root = (square / width as f64 + 1e-6).sqrt();
                let scaled = row.iter().zip(&gain);
                scaled.map(move |(&x, &g)| f64::from(x) / root * f64::from(g))
            })
            .collect();
        close(&found, &expected);
        rms_norm_add(&x, &gain, 1e-6, &mut found);
        close(&found, &expected.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
}

#[test]
fn softmax_equals_its_definition_and_f64() {
    for n in 1..=67 {
        let visible = [(0, n), (n / 2, n), (0, n / 2 + 1), (n / 3, n / 3 + 1)];
        let scores = numbers(4 * n, 3);
        let (mut found, mut plain) = (scores.clone(), scores.clone());
        softmax(&mut found, n, 2.5, &visible);
        scalar::softmax(&mut plain, n, 2.5, &visible);
        assert_eq!(found, plain);
        for ((row, found), (first, end)) in scores.chunks(n).zip(found.chunks(n)).zip(visible) {
            let is_seen = |i: usize| (first..end).contains(&i);
            let weight = |i: usize| if is_seen(i) { (f64::from(row[i]) * 2.5).exp() } else { 0.0 };
            let total: f64 = (0..n).map(weight).sum();
            close(found, &(0..n).map(|i| weight(i) / total).collect::<Vec<_>>());
        }
    }
}

#[test]
fn softmax_of_huge_scores_is_finite() {
    let mut scores = vec![1e30, -1e30, 0.0];
    softmax(&mut scores, 3, 1.0, &[(0, 3)]);
    assert_eq!(scores[0], 1.0);
    assert!(scores.iter().all(|x| x.is_finite()));
}

#[test]
fn rope_turns_pairs_half_a_row_apart() {
    for half in 1..=40 {
        let angles = numbers(half, 11);
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
        let row = numbers(2 * half, 13);
        let mut found = row.clone();
        rope(&mut found, &cos, &sin);
        let expected = (0..2 * half).map(|d| {
            let (i, sign) = if d < half { (d + half, -1.0) } else { (d - half, 1.0) };
            let angle = angles[d % half];
            f64::from(row[d]) * f64::from(angle.cos())
                + sign * f64::from(row[i]) * f64::from(angle.sin())
        });
        close(&found, &expected.collect::<Vec<_>>());
    }
}

#[test]
fn packed_weights_are_within_half_a_step() {
    for n_inputs in [1, 31, 32, 33, 64, 65, 200] {
        for n_outputs in [1, 31, 32] {
            let mut weights = numbers(n_inputs * n_outputs, 21);
            weights[..n_inputs].fill(0.0);
            let rows: Vec<&[f32]> = weights.chunks(n_inputs).collect();
            for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
                let mut panel = vec![1; precision.panel_bytes(n_inputs)];
                pack(precision, &rows, &mut panel);
                for (o, row) in rows.iter().enumerate() {
                    let mut found = vec![1.0; n_inputs];
                    unpack(precision, &panel, o, &mut found);
                    for (k, (w, found)) in row.iter().zip(&found).enumerate() {
                        let block = match precision {
                            Precision::Int4 => &row[k / 32 * 32..n_inputs.min(k / 32 * 32 + 32)],
                            _ => row,
                        };
                        let largest = block.iter().fold(0f32, |a, b| a.max(b.abs()));
                        let bound = match precision {
                            Precision::F32 => 0.0,
                            Precision::Bf16 => w.abs() / 256.0,
                            Precision::Int8 => 0.5001 * largest / 127.0,
                            // 7.5 steps and more, opposite the largest, find no number but 7.
                            Precision::Int4 if w.abs() > 0.93 * largest => 1.01 * largest / 8.0,
                            Precision::Int4 => 0.505 * largest / 8.0,
                        };
                        let error = (w - found).abs();
                        assert!(error <= bound, "{precision:?} at {o}, {k}: {found}, not {w}");
                    }
                }
            }
        }
    }
}

#[test]
fn keys_and_values_are_packed_as_weights_are() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (n_keys, width) in [(1, 64), (31, 64), (33, 70), (64, 256), (100, 33), (2, 1)] {
            let stride = width + 5;
            let rows = numbers(n_keys * stride, 23);
            let keys: Vec<&[f32]> = rows.chunks(stride).map(|row| &row[..width]).collect();
            let values: Vec<Vec<f32>> =
                (0..width).map(|i| keys.iter().map(|key| key[i]).collect()).collect();
            let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
            for (is_keys, weights, n_inputs) in [(true, &keys, width), (false, &values, n_keys)] {
                let n_bytes = precision.panel_bytes(n_inputs);
                let mut expected = vec![0; weights.len().div_ceil(PANEL) * n_bytes];
                for (rows, panel) in weights.chunks(PANEL).zip(expected.chunks_mut(n_bytes)) {
                    pack(precision, rows, panel);
                }
                let mut found = vec![77; expected.len()];
                let pack = if is_keys { pack_keys } else { pack_values };
                pack(&rows, stride, n_keys, width, precision, &mut found);
                assert!(found == expected, "{precision:?} {n_keys} x {width}, keys: {is_keys}");
            }
        }
    }
}

/// Rows to make trouble: zeros, huge and tiny numbers, what is halfway between two steps.
fn odd_rows() -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = (1..80).map(|n| numbers(n, 31)).collect();
    rows.push(vec![0.0; 70]);
    rows.push(vec![-0.0; 3]);
    for scale in [1e30, 8e37, 1e-30, 1e-36] {
        rows.push(numbers(70, 33).iter().map(|x| x * scale).collect());
    }
    rows.push((0..=254).map(|i| i as f32 - 127.0).collect());
    rows.push((0..=508).map(|i| (i as f32 - 254.0) / 2.0).collect());
    rows
}

#[test]
fn quantised_rows_are_within_half_a_step() {
    for row in odd_rows() {
        for (block, unit) in [(32, -8), (row.len().next_multiple_of(64), -128)] {
            let n = row.len().next_multiple_of(64);
            let (mut found, mut plain) = (vec![77; n], vec![77; n]);
            let (mut scale, mut plain_scale) = (0.0, 0.0);
            let (mut offsets, mut plain_offsets) = (vec![7; n / block], vec![7; n / block]);
            quantise(&row, &mut found, &mut scale, block, unit, &mut offsets);
            scalar::quantise(&row, &mut plain, &mut plain_scale, block, unit, &mut plain_offsets);
            assert_eq!((&found, scale, &offsets), (&plain, plain_scale, &plain_offsets));
            let top = row.iter().fold(0f64, |a, &b| a.max(f64::from(b).abs()));
            assert!((f64::from(scale) - top / 127.0).abs() <= 1e-6 * top / 127.0);
            for (x, q) in row.iter().zip(&found) {
                let steps = if top > 0.0 { f64::from(*x) / top * 127.0 } else { 0.0 };
                let q = f64::from(q.cast_signed());
                assert!((q - steps).abs() <= 0.500_02, "{x} of {top} is {q}");
            }
            assert!(found[row.len()..].iter().all(|&q| q == 0));
            for (offset, block) in offsets.iter().zip(found.chunks(block)) {
                let sum: i32 = block.iter().map(|q| i32::from(q.cast_signed())).sum();
                assert_eq!(*offset, sum * unit);
            }
        }
    }
}

/// Below 1e-36 no step has an inverse in f32: such rows may become zeros, but nothing else.
#[test]
fn quantised_rows_of_nothing_or_of_no_numbers() {
    for x in [1e-38, 1e-40, 1e-45, f32::NAN, f32::from_bits(u32::MAX), f32::INFINITY] {
        for y in [0.0, 1e-44, f32::NEG_INFINITY, -f32::NAN] {
            let (mut found, mut scale, mut offset) = ([77; 64], 0.0, [7]);
            quantise(&[x, y, -x], &mut found, &mut scale, 64, -128, &mut offset);
            let sum: i32 = found.iter().map(|q| i32::from(q.cast_signed())).sum();
            assert_eq!(offset, [sum * -128]);
            for (x, q) in [x, y, -x].iter().zip(found) {
                let value = f32::from(q.cast_signed()) * scale;
                assert!(!x.is_finite() || !value.is_finite() || (x - value).abs() <= 1e-37);
            }
        }
    }
}

#[test]
fn bf16_is_the_nearest_even() {
    let mut rows = odd_rows();
    rows.push((0..2000).map(|i| f32::from_bits(i * 2_147_483 + 0x8000)).collect());
    rows.push(vec![f32::NAN, f32::from_bits(u32::MAX), f32::from_bits(0x7fff_ffff), 1e-40, -1e-45]);
    rows.push(vec![
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::from_bits(0x7f80_0001),
    ]);
    for row in rows {
        let mut found = vec![77; row.len() * 2 + 6];
        to_bf16(&row, &mut found);
        let numbers = found.as_chunks::<2>().0;
        for (x, found) in row.iter().zip(numbers) {
            let (found, expected) = (half::bf16::from_le_bytes(*found), half::bf16::from_f32(*x));
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{x}: {found}");
        }
        assert!(found[row.len() * 2..].iter().all(|&b| b == 0));
    }
}
