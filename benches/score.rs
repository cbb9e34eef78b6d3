//! Dot products over rows: what the search uses beside plain loops.

use divan::{Bencher, black_box};
use half::f16;
use index::score;

/// Widths of codes and of full rows.
const WIDTHS: [usize; 4] = [64, 128, 384, 768];

fn main() {
    divan::main();
}

fn floats(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

#[divan::bench(args = WIDTHS)]
fn f32_simd(bencher: Bencher, width: usize) {
    let (a, b) = (floats(width), floats(width));
    bencher.bench(|| score::dot_f32(black_box(&a), black_box(&b)));
}

#[divan::bench(args = WIDTHS)]
fn f32_plain(bencher: Bencher, width: usize) {
    let (a, b) = (floats(width), floats(width));
    bencher.bench(|| black_box(&a).iter().zip(black_box(&b)).map(|(a, b)| a * b).sum::<f32>());
}

fn bytes(n: usize) -> Vec<i8> {
    (0..n).map(|i| ((i * 37 % 255) as i32 - 127) as i8).collect()
}

#[divan::bench(args = WIDTHS)]
fn i8_simd(bencher: Bencher, width: usize) {
    let (a, b) = (bytes(width), bytes(width));
    bencher.bench(|| score::dot_i8(black_box(&a), black_box(&b)));
}

#[divan::bench(args = WIDTHS)]
fn i8_plain(bencher: Bencher, width: usize) {
    let (a, b) = (bytes(width), bytes(width));
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    bencher.bench(|| black_box(&a).iter().zip(black_box(&b)).map(product).sum::<i32>());
}

#[divan::bench(args = WIDTHS)]
fn f16_simd(bencher: Bencher, width: usize) {
    let row: Vec<f16> = floats(width).into_iter().map(f16::from_f32).collect();
    let query = floats(width);
    bencher.bench(|| score::dot_f16(black_box(&row), black_box(&query)));
}

#[divan::bench(args = WIDTHS)]
fn f16_plain(bencher: Bencher, width: usize) {
    let row: Vec<f16> = floats(width).into_iter().map(f16::from_f32).collect();
    let query = floats(width);
    bencher.bench(|| {
        black_box(&row).iter().zip(black_box(&query)).map(|(a, b)| a.to_f32() * b).sum::<f32>()
    });
}
