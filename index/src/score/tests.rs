//! Each kernel against its scalar definition.

use super::*;
use crate::mrl;

/// More than four times the widest lane (64 codes), and every tail.
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=300;

/// Numbers in `-1..1` that repeat only after many; a small linear congruential generator.
fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn codes(seed: u32, n: usize) -> Vec<i8> {
    numbers(seed, n).iter().map(|x| (x * 127.4).round() as i8).collect()
}

fn halves(x: &[f32]) -> Vec<f16> {
    x.iter().map(|x| f16::from_f32(*x)).collect()
}

/// The bound stated for f32 sums in another order: `n * 2^-23 * sum |a b|`.
fn bound(a: impl Iterator<Item = f32>, b: &[f32]) -> f32 {
    b.len() as f32 * f32::EPSILON * a.zip(b).map(|(a, b)| (a * b).abs()).sum::<f32>()
}

#[test]
fn f32_products_are_within_the_bound_of_the_scalar_ones() {
    for n in LENGTHS.chain([768, 769]) {
        let (a, b) = (numbers(1, n), numbers(2, n));
        let error = (dot_f32(&a, &b) - scalar::dot_f32(&a, &b)).abs();
        assert!(error <= bound(a.iter().copied(), &b), "{n} numbers: {error}");
    }
}

#[test]
fn int8_products_are_exact() {
    for n in LENGTHS.chain([768, 769]) {
        let (a, b) = (codes(3, n), codes(4, n));
        assert_eq!(dot_i8(&a, &b), scalar::dot_i8(&a, &b), "{n} codes");
    }
}

/// Every instruction set with a product of bits that this processor has.
fn bit_isas() -> Vec<(&'static str, bits::BitIsa)> {
    let mut isas = vec![("portable", bits::BitIsa::Portable)];
    #[cfg(target_arch = "x86_64")]
    {
        isas.extend(avx2::Avx2::new().map(|isa| ("avx2", bits::BitIsa::Avx2(isa))));
        isas.extend(avx512::Popcount::new().map(|isa| ("avx512", bits::BitIsa::Avx512(isa))));
    }
    isas
}

#[test]
fn four_products_of_bits_are_exact_wherever_their_rows_lie() {
    let pool: Vec<u64> = (0..40u64).map(|i| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let levels: Vec<i8> = numbers(13, 64 * 20).iter().map(|x| (x * 7.4).round() as i8).collect();
    assert!(levels.contains(&7) && levels.contains(&-7));
    for n_words in 1..=20 {
        for shift in [0, 1, 3, 7] {
            // Rows in no order, one of them twice.
            let rows = [5usize, 0, 11, 5].map(|row| &pool[shift + row..][..n_words]);
            let levels = &levels[shift..][..64 * n_words - 8 * shift];
            let expected = rows.map(|row| scalar::dot_bits(row, levels));
            let planes = bits::planes(levels);
            for (name, isa) in bit_isas() {
                let found = bits::dot_bits_x4(isa, rows, &planes);
                assert_eq!(found, expected, "{name}, {n_words} words, shifted by {shift}");
            }
        }
    }
}

#[test]
fn products_of_bits_are_exact_at_the_ends_of_the_range_and_the_largest_width() {
    for level in [7i8, -7] {
        let n = crate::segment::MAX_WIDTH;
        let (levels, row) = (vec![level; n], vec![u64::MAX; words_of(n)]);
        for (name, isa) in bit_isas() {
            let found = bits::dot_bits_x4(isa, [&row; 4], &bits::planes(&levels));
            assert_eq!(found, [i32::from(level) * n as i32; 4], "{name}");
        }
    }
}

#[test]
fn many_rows_of_bits_score_as_one_by_one() {
    let dims = 130;
    let codes: Vec<u64> = (0..9 * 4u64)
        .map(|i| match i % 4 {
            // The last word of bits has but two, the one behind it a factor and a product with the mean.
            2 => i % 3,
            3 => u64::from((0.01 * i as f32).to_bits()) | u64::from((-0.5f32).to_bits()) << 32,
            _ => (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        })
        .collect();
    let rows = BitRows::new(&codes, dims);
    let rest = numbers(9, dims);
    let largest = rest.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let step = largest / 7.0;
    let levels: Vec<i8> = rest.iter().map(|x| (x / step).round() as i8).collect();
    let sum: i32 = levels.iter().map(|level| i32::from(*level)).sum();
    let query = BitQuery::new(&rest, 0.25);
    let mut scores = vec![1.0; 3];
    let idxs = [8u32, 0, 3, 3, 1, 7, 2, 2, 6];
    for n in 0..=idxs.len() {
        let idxs = &idxs[..n];
        rows.score_many(idxs, &query, &mut scores);
        let expected = idxs.iter().map(|idx| {
            let dot = scalar::dot_bits(&codes[*idx as usize * 4..][..3], &levels);
            let factor = 0.01 * (*idx * 4 + 3) as f32;
            0.25 - 0.5 + (2 * dot - sum) as f32 * step * factor
        });
        assert_eq!(scores, expected.collect::<Vec<f32>>(), "{n} rows");
    }
}

#[test]
fn a_query_that_is_not_finite_counts_no_bits() {
    let codes = [u64::MAX, u64::from(1.0f32.to_bits()) | u64::from(0.5f32.to_bits()) << 32];
    for bad in [f32::NAN, f32::INFINITY] {
        let query = BitQuery::new(&[[bad; 32], [1.0; 32]].concat(), 0.0);
        let mut scores = Vec::new();
        BitRows::new(&codes, 64).score_many(&[0], &query, &mut scores);
        assert_eq!(scores, [0.5]);
    }
}

/// Every instruction set that this processor has.
fn isas() -> Vec<(&'static str, Isa)> {
    let mut isas = vec![("portable", Isa::Portable)];
    #[cfg(target_arch = "x86_64")]
    {
        isas.extend(avx2::Avx2::new().map(|isa| ("avx2", Isa::Avx2(isa))));
        isas.extend(avx512::Avx512::new().map(|isa| ("avx512", Isa::Avx512(isa))));
    }
    isas
}

#[test]
fn four_int8_products_are_exact_wherever_their_rows_lie() {
    let (pool, queries) = (codes(11, 8 * 300 + 64), codes(12, 300 + 64));
    for n in LENGTHS {
        for shift in [0, 1, 3, 8, 17, 32, 63] {
            // Rows in no order, one of them twice.
            let rows = [5usize, 0, 7, 5].map(|row| &pool[shift + row * n..][..n]);
            let query = &queries[shift % 7..][..n];
            let expected = rows.map(|row| scalar::dot_i8(row, query));
            let query = QueryCodes::new(mrl::Codes { codes: query.to_vec(), scale: 1.0 });
            for (name, isa) in isas() {
                let found = dot_i8_x4(isa, rows, &query);
                assert_eq!(found, expected, "{name}, {n} codes, shifted by {shift}");
            }
        }
    }
}

#[test]
fn int8_products_are_exact_at_the_ends_of_the_range_and_the_largest_width() {
    for (a, b) in [(127i8, 127i8), (-127, 127), (-128, -127), (127, -127)] {
        let n = crate::segment::MAX_WIDTH;
        let (a, b) = (vec![a; n], vec![b; n]);
        assert_eq!(dot_i8(&a, &b), scalar::dot_i8(&a, &b));
        let query = QueryCodes::new(mrl::Codes { codes: b.clone(), scale: 1.0 });
        for (name, isa) in isas() {
            let expected = [scalar::dot_i8(&a, &b); 4];
            assert_eq!(dot_i8_x4(isa, [&a; 4], &query), expected, "{name}");
        }
    }
}

#[test]
fn f16_products_of_every_instruction_set_are_within_the_bound_of_the_scalar_ones() {
    for n in LENGTHS.chain([768, 769]) {
        let (row, query) = (halves(&numbers(5, n)), numbers(6, n));
        let expected = scalar::dot_f16(&row, &query);
        for (name, isa) in isas() {
            let error = (dot_f16_on(isa, &row, &query) - expected).abs();
            let bound = bound(row.iter().map(|x| x.to_f32()), &query);
            assert!(error <= bound, "{name}, {n} numbers: {error} > {bound}");
        }
    }
}

#[test]
fn f16_products_keep_what_f16_sums_would_lose() {
    // 2048 + 1 is 2048 in f16.
    let row = halves(&[2048.0, 1.0, 1.0, 1.0]);
    assert_eq!(dot_f16(&row, &[1.0; 4]), 2051.0);
}

#[test]
fn a_nan_or_an_infinity_stays_one() {
    let mut row = halves(&numbers(7, 70));
    row[69] = f16::NAN;
    assert!(dot_f16(&row, &[1.0; 70]).is_nan());
    row[69] = f16::INFINITY;
    assert_eq!(dot_f16(&row, &[1.0; 70]), f32::INFINITY);
}

#[test]
fn many_rows_score_as_one_by_one() {
    let dims = 67;
    let codes = codes(8, 9 * dims);
    let scales: Vec<f32> = (0..9).map(|i| i as f32 / 1000.0).collect();
    let rows = CodeRows::new(&codes, &scales, dims);
    let query = QueryCodes::new(mrl::quantise(&numbers(9, dims)));
    let mut scores = vec![1.0; 3];
    let idxs = [8, 0, 3, 3, 1, 7, 2, 2, 6];
    for n in 0..=idxs.len() {
        let idxs = &idxs[..n];
        rows.score_many(idxs, &query, &mut scores);
        let expected = idxs.iter().map(|idx| {
            let dot = scalar::dot_i8(rows.codes(*idx), &query.codes) as f32;
            dot * (scales[*idx as usize] * query.scale)
        });
        assert_eq!(scores, expected.collect::<Vec<f32>>(), "{n} rows");
    }
}

#[test]
fn a_row_as_query_scores_as_a_pair_does() {
    let codes = codes(11, 3 * 70);
    let rows = CodeRows::new(&codes, &[0.01, 0.02, 0.03], 70);
    let (mut query, mut scores) = (QueryCodes::default(), Vec::new());
    for row in [2, 0] {
        query.set(rows, row);
        rows.score_many(&[0, 1, 2], &query, &mut scores);
        assert_eq!(scores, [0, 1, 2].map(|other| rows.score_pair(other, row)));
    }
}

#[test]
fn a_pair_scores_alike_from_both_sides() {
    let codes = codes(10, 2 * 33);
    let rows = CodeRows::new(&codes, &[0.01, 0.02], 33);
    assert_eq!(rows.score_pair(0, 1), rows.score_pair(1, 0));
}

#[test]
fn sums_in_f64_of_every_instruction_set_are_within_the_bound_of_the_scalar_ones() {
    for n in LENGTHS.chain([768, 769]) {
        let (row, query) = (numbers(13, n), numbers(14, n));
        let query: Vec<f64> = query.into_iter().map(|x| f64::from(x) * 1e30).collect();
        for what in [Sum::Products, Sum::Distances, Sum::ProductsAndSquares] {
            let expected = scalar::sum_f32(what, &row, &query);
            // Of magnitudes, so that nothing cancels.
            let magnitudes: Vec<f32> = row.iter().map(|x| -x.abs()).collect();
            let positive: Vec<f64> = query.iter().map(|x| x.abs()).collect();
            let largest = scalar::sum_f32(what, &magnitudes, &positive);
            for (name, isa) in isas() {
                let found = sum_f32_on(isa, what, &row, &query);
                for which in 0..2 {
                    let error = (found[which] - expected[which]).abs();
                    let bound = n as f64 * f64::EPSILON * largest[which].abs();
                    assert!(error <= bound, "{name}, {n} numbers, {what:?}: {error} > {bound}");
                }
            }
        }
    }
}

#[test]
fn with_biases_rows_score_by_distance_or_as_unit_vectors() {
    let codes = codes(15, 3 * 20);
    let scales = [0.01, 0.02, 0.005];
    let row = |n: usize| codes[n * 20..][..20].iter().map(move |c| f32::from(*c) * scales[n]);
    let squared = |n: usize| row(n).map(|x| x * x).sum::<f32>();
    let halves: Vec<f32> = (0..3).map(|n| -squared(n) / 2.0).collect();
    let lifts = [0.25, 0.5, 0.75];
    let rows = CodeRows::new(&codes, &scales, 20);
    for biases in [Biases::Added(&halves), Biases::Lifted(&lifts)] {
        let rows = rows.with_biases(biases);
        let (mut query, mut scores) = (QueryCodes::default(), Vec::new());
        for a in 0..3 {
            query.set(rows, a);
            rows.score_many(&[0, 1, 2], &query, &mut scores);
            for b in 0..3u32 {
                let (x, y) = (row(a as usize), row(b as usize));
                let expected = match biases {
                    Biases::Lifted(lifts) => {
                        x.zip(y).map(|(x, y)| x * y).sum::<f32>()
                            + lifts[a as usize] * lifts[b as usize]
                    }
                    _ => -x.zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f32>() / 2.0,
                };
                let found = scores[b as usize];
                assert_eq!(found, rows.score_pair(a, b));
                assert!((found - expected).abs() <= 1e-4, "{found} for {expected}");
            }
        }
    }
}
