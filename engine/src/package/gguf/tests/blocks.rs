//! Blocks to numbers and back, bit for bit.

use super::*;
use crate::package::gguf::{dequantise::dequantise, quantise::quantise};

#[test]
fn every_format_reads_as_the_reference_does() {
    let golden = golden();
    for dtype in Dtype::ALL {
        let format = &golden["formats"][dtype.name()];
        let expected = numbers_of_hex(&format["numbers"]);
        assert!(!expected.is_empty(), "{}", dtype.name());
        let mut numbers = vec![f32::NAN; expected.len()];
        dequantise(dtype, &bytes_of_hex(&format["stored"]), &mut numbers);
        assert_eq!(bits(&numbers), bits(&expected), "{}", dtype.name());
    }
}

#[test]
fn every_writable_format_rounds_as_the_reference_does() {
    let golden = golden();
    let row = numbers_of_hex(&golden["row"]);
    for name in ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q6_K"] {
        let dtype = *Dtype::ALL.iter().find(|dtype| dtype.name() == name).unwrap();
        let mut stored = Vec::new();
        quantise(dtype, &row, &mut stored);
        let expected = bytes_of_hex(&golden["quantised"][name]);
        assert_eq!(stored.len(), expected.len(), "{name}");
        for (i, (block, expected)) in
            stored.chunks(dtype.block_bytes()).zip(expected.chunks(dtype.block_bytes())).enumerate()
        {
            assert_eq!(block, expected, "{name} block {i}");
        }
    }
}

#[test]
fn rounding_errs_by_no_more_than_half_a_step() {
    let row: Vec<f32> = (0..512).map(|i| weight("row", i)).collect();
    // Steps as parts of the largest magnitude; Q6_K's scales are rounded as well.
    for (dtype, bound) in
        [(Dtype::Q8_0, 0.51 / 127.0), (Dtype::Q4_0, 1.01 / 8.0), (Dtype::Q6K, 0.03)]
    {
        let mut stored = Vec::new();
        quantise(dtype, &row, &mut stored);
        let mut back = vec![0.0; row.len()];
        dequantise(dtype, &stored, &mut back);
        let worst = row.iter().zip(&back).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst > 0.0 && worst <= bound, "{}: {worst}", dtype.name());
    }
}

#[test]
fn rows_that_are_no_whole_blocks_take_the_next_finer_format() {
    let fits = |dtype: Dtype, row_len| dtype.that_fits(row_len).name();
    assert_eq!(fits(Dtype::Q4_0, 768), "Q4_0");
    assert_eq!(fits(Dtype::Q4_0, 48), "F16");
    assert_eq!(fits(Dtype::Q8_0, 33), "F16");
    assert_eq!(fits(Dtype::Q6K, 768), "Q6_K");
    assert_eq!(fits(Dtype::Q6K, 1152), "Q8_0");
    assert_eq!(fits(Dtype::Q6K, 48), "F16");
    assert_eq!(fits(Dtype::Bf16, 7), "BF16");
}
