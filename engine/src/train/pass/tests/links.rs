//! Links on token rows.

use super::twin::{Twin, slope};
use super::*;

/// Relative L2 error that f32 and the differences may cause.
const TOLERANCE: f64 = 2e-5;

fn random_link(hidden: usize, seed: u64) -> Link {
    let mut numbers = Numbers(seed);
    Link { u: numbers.matrix(hidden, 4, 0.5), v: numbers.matrix(hidden, 4, 0.5), strength: 0.7 }
}

#[test]
fn a_link_of_zeros_changes_no_bit() {
    let config = tiny();
    let pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    let sequences = sequences(&LENGTHS, config.vocab_size);
    let link = Link { u: Matrix::zeros(config.hidden, 4), ..random_link(config.hidden, 3) };
    let plain = pass.forward(&slices(&sequences), &[]);
    let linked = pass.forward(&slices(&sequences), &[Some(&link); 6]);
    assert_eq!(plain.vectors(), linked.vectors());
    let y = Numbers(2).take(plain.vectors().len());
    assert_eq!(pass.backward_inputs(&plain, &y), pass.backward_inputs(&linked, &y));
}

#[test]
fn sequences_with_and_without_links_equal_those_run_alone() {
    let config = tiny();
    let pass = Pass::new(&config, random_weights(&config, 1), Precision::F32);
    let ids = sequences(&LENGTHS, config.vocab_size);
    let (first, second) = (random_link(config.hidden, 3), random_link(config.hidden, 4));
    let links = [Some(&first), None, Some(&second), Some(&first), None, Some(&second)];
    let together = pass.forward(&slices(&ids), &links);
    let y = Numbers(2).take(together.vectors().len());
    let of_inputs = pass.backward_inputs(&together, &y);
    let width = y.len() / ids.len();
    for (i, span) in together.spans().iter().enumerate() {
        let alone = pass.forward(&[&ids[i]], &links[i..=i]);
        assert_eq!(alone.vectors(), &together.vectors()[i * width..][..width], "sequence {i}");
        let rows = span.start * config.hidden..span.end * config.hidden;
        assert_eq!(together.inputs()[rows.clone()], *alone.inputs(), "sequence {i}");
        let alone = pass.backward_inputs(&alone, &y[i * width..][..width]);
        assert_eq!(of_inputs[rows], alone, "sequence {i}");
    }
}

/// `x + strength * U (V^T x)`, in f64.
fn linked(link: &Link, x: &[f64]) -> Vec<f64> {
    let (u, v) = (super::twin::rows(&link.u), super::twin::rows(&link.v));
    let h = |r: usize| v.iter().zip(x).map(|(v, x)| v[r] * x).sum::<f64>();
    let h: Vec<f64> = (0..link.u.n_cols).map(h).collect();
    let change = |u: &Vec<f64>| u.iter().zip(&h).map(|(u, h)| u * h).sum::<f64>();
    x.iter().zip(&u).map(|(x, u)| x + f64::from(link.strength) * change(u)).collect()
}

#[test]
fn gradients_behind_and_before_a_link_equal_finite_differences() {
    let config = Config { layers: vec![Sliding, Full], ..tiny() };
    let weights = random_weights(&config, 5);
    let mut twin = Twin::new(&config, &weights);
    let pass = Pass::new(&config, weights, Precision::F32);
    let ids = sequences(&[7], config.vocab_size).remove(0);
    let link = random_link(config.hidden, 3);
    let factors = Numbers(2).take(17);
    let loss =
        |y: Vec<f64>| -> f64 { y.iter().zip(&factors).map(|(y, f)| y * f64::from(*f)).sum() };
    let tape = pass.forward(&[&ids], &[Some(&link)]);

    // Behind: by the rows that the first layer meets.
    let mut x: Vec<Vec<f64>> = twin.inputs(&ids).iter().map(|x| linked(&link, x)).collect();
    let mut expected = Vec::new();
    for (row, column) in (0..ids.len()).flat_map(|r| (0..config.hidden).map(move |c| (r, c))) {
        let of = |x: &Vec<Vec<f64>>| loss(twin.forward(x.clone()));
        expected.push(slope(&mut x, |x| &mut x[row][column], of) as f32);
    }
    let error = relative_error(&pass.backward_inputs(&tape, &factors), &expected);
    assert!(error < TOLERANCE, "behind the link: {error:e}");

    // Before: by the embedding.
    let mut found = pass.weights().zeros();
    pass.backward(&tape, &factors, &mut found);
    let mut expected = Vec::new();
    for at in 0..found.embedding.values.len() {
        let (row, column) = (at / config.hidden, at % config.hidden);
        let of = |twin: &Twin| {
            let x = twin.inputs(&ids);
            loss(twin.forward(x.iter().map(|x| linked(&link, x)).collect()))
        };
        let slope = slope(&mut twin, |twin| &mut twin.weights.embedding[row][column], of);
        expected.push(slope as f32);
    }
    let error = relative_error(&found.embedding.values, &expected);
    assert!(error < TOLERANCE, "before the link: {error:e}");
}
