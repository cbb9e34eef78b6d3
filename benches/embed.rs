//! Text to vectors with the built-in model: the fast pass beside the reference, in tokens a second.

use divan::Bencher;
use divan::counter::ItemsCount;
use gemmule::engine::model::Reference;
use gemmule::engine::package::Package;
use gemmule::engine::{Embedder, Precision, Tokens};

/// Texts and tokens of each: one short query, one chunk, eight chunks, one long text.
const SHAPES: [(usize, usize); 4] = [(1, 16), (1, 256), (8, 256), (1, 2048)];

fn main() {
    divan::main();
}

/// `n` texts of `n_tokens` each.
fn texts((n, n_tokens): (usize, usize), vocab_size: u32) -> Vec<Tokens> {
    let id = |i: usize, j: usize| ((i * 31 + j * 7919) as u32) % vocab_size;
    let ids = |i: usize| (0..n_tokens).map(|j| id(i, j)).collect();
    (0..n).map(|i| Tokens { ids: ids(i), n_dropped: 0 }).collect()
}

/// The fast pass in each precision.
const PRECISIONS: [Precision; 4] =
    [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4];

fn cases() -> impl Iterator<Item = String> {
    let names = |shape: &(usize, usize)| format!("{}x{}", shape.0, shape.1);
    SHAPES
        .iter()
        .flat_map(move |shape| PRECISIONS.map(|p| format!("{} {}", names(shape), p.name())))
}

#[divan::bench(args = cases())]
fn fast(bencher: Bencher, case: &str) {
    let (name, precision) = case.split_once(' ').expect("a shape and a precision");
    let shape = shape(name);
    let precision = PRECISIONS.into_iter().find(|known| known.name() == precision);
    let embedder = Embedder::open_in("nano", precision).expect("nano is compiled in");
    let texts = texts(shape, embedder.package().config.vocab_size as u32);
    bencher
        .counter(ItemsCount::new(shape.0 * shape.1))
        .bench(|| embedder.embed(&texts, |_, _| true).expect("a text of known ids is embedded"));
}

#[divan::bench(args = SHAPES.iter().map(|shape| format!("{}x{}", shape.0, shape.1)))]
fn reference(bencher: Bencher, name: &str) {
    let shape = shape(name);
    let (package, source) = Package::nano().expect("nano is compiled in");
    let weights = source.weights().expect("nano is compiled in");
    let reference = Reference::new(&package.config, &weights).expect("there is memory");
    let texts = texts(shape, package.config.vocab_size as u32);
    let sequences: Vec<&[u32]> = texts.iter().map(|text| &text.ids[..]).collect();
    bencher
        .counter(ItemsCount::new(shape.0 * shape.1))
        .bench(|| reference.forward(&sequences).expect("a text of known ids is embedded"));
}

fn shape(name: &str) -> (usize, usize) {
    let (n, n_tokens) = name.split_once('x').expect("a shape is written 8x256");
    (n.parse().expect("a number"), n_tokens.parse().expect("a number"))
}

#[divan::bench]
fn load(bencher: Bencher) {
    bencher.bench(|| Embedder::open("nano").expect("nano is compiled in"));
}
