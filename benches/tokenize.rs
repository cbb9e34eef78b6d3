//! Text to token ids: our tokenizer beside the library that it must agree with, in bytes a second.

use divan::Bencher;
use divan::counter::BytesCount;
use gemmule::Embedder;
use gemmule::engine::package::export;

fn main() {
    divan::main();
}

/// Prose, of which there is much in this very folder.
fn text() -> String {
    [include_str!("../README.md"), include_str!("../ARCHITECTURE.md")].concat().repeat(16)
}

/// Paragraph by paragraph, as texts are cut before they are embedded.
fn paragraphs(text: &str) -> Vec<&str> {
    text.split("\n\n").collect()
}

#[divan::bench]
fn ours(bencher: Bencher) {
    let embedder = Embedder::open("nano").expect("nano is compiled in");
    let text = text();
    let paragraphs = paragraphs(&text);
    bencher.counter(BytesCount::of_str(&text)).bench(|| {
        let count = |text: &&str| embedder.tokenize_truncated("", text).expect("known tokens");
        paragraphs.iter().map(|text| count(text).ids.len()).sum::<usize>()
    });
}

#[divan::bench]
fn library(bencher: Bencher) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nano = folder.path().join("nano");
    export::to_folder("nano", &nano).expect("nano is written");
    let tokenizer =
        tokenizers::Tokenizer::from_file(nano.join("tokenizer.json")).expect("a tokenizer");
    let text = text();
    let paragraphs = paragraphs(&text);
    bencher.counter(BytesCount::of_str(&text)).bench(|| {
        let count = |text: &&str| tokenizer.encode_fast(*text, true).expect("known tokens").len();
        paragraphs.iter().map(count).sum::<usize>()
    });
}
