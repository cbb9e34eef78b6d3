//! A Markdown file to chunks, and a folder to answers: bytes a second.

use std::path::Path;

use divan::Bencher;
use divan::counter::BytesCount;
use gemmule::Database;
use gemmule::engine::Embedder;
use gemmule::engine::ingest::{self, ChunkOptions, Limits};

fn main() {
    divan::main();
}

/// About 64 KiB of Markdown.
fn markdown() -> String {
    let section = |i: usize| {
        let sentence = "The bridge over the river was built of stone and reopened in the spring. ";
        format!("## Section {i}\n\n{}\n\nItem {i}:\n\n- one\n- two\n\n", sentence.repeat(6 + i % 5))
    };
    (0..110).map(section).collect()
}

#[divan::bench]
fn extract(bencher: Bencher) {
    let text = markdown();
    bencher.counter(BytesCount::new(text.len())).bench(|| {
        let bytes = text.clone().into_bytes();
        ingest::extract(Path::new("a.md"), bytes, &Limits::default()).expect("it is Markdown")
    });
}

#[divan::bench]
fn cut_and_tokenize(bencher: Bencher) {
    let embedder = Embedder::open("nano").expect("nano is compiled in");
    let bytes = markdown().into_bytes();
    let counter = BytesCount::new(bytes.len());
    let text = ingest::extract(Path::new("a.md"), bytes, &Limits::default());
    let text = text.expect("it is Markdown");
    bencher.counter(counter).bench(|| {
        ingest::prepare(&text, &embedder, &ChunkOptions::default()).expect("it is tokenised")
    });
}

#[divan::bench(sample_count = 5)]
fn folder_to_database(bencher: Bencher) {
    let text = markdown();
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    std::fs::write(folder.path().join("a.md"), &text).expect("the file is written");
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| tempfile::tempdir().expect("there is a temporary folder"))
        .bench_refs(|place| {
            let db = Database::open(place.path().join("db")).expect("a new database opens");
            let collection = db.collection("bench").expect("a new collection opens");
            collection.sync(folder.path()).expect("the folder is indexed")
        });
}
