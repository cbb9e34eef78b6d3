//! The readers of bytes, each with seeds and a function that must come back from whatever it is given.
//!
//! The fuzzer (`tests/fuzz/run`) and the tests (`tests/hostile.rs`) share them. Each target asks all that can be
//! asked of what it could read, and what must hold of it is asserted.

mod database;
mod model;
mod rows;
mod text;

/// A reader before the fuzzer.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: &'static str,
    /// Small files that it reads to their end.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Reads; a panic is a bug.
    pub(crate) run: fn(&[u8]),
}

/// Every target.
pub(crate) fn all() -> Vec<Target> {
    let target = |name, seeds, run| Target { name, seeds, run };
    vec![
        target("segment", database::segment_seeds, database::segment),
        target("database", database::seeds, database::run),
        target("filter", text::filter_seeds, text::filter),
        target("extract", text::extract_seeds, text::extract),
        target("npy", rows::npy_seeds, rows::npy),
        target("fvecs", rows::fvecs_seeds, rows::fvecs),
        target("jsonl", rows::jsonl_seeds, rows::jsonl),
        target("parquet", rows::parquet_seeds, rows::parquet),
        target("gguf", model::gguf_seeds, model::gguf),
        target("package", model::package_seeds, model::package),
        target("tokenizer", model::tokenizer_seeds, model::tokenizer),
        target("link", model::link_seeds, model::link),
    ]
}

/// Whether a panic is caught where it happens, and ends as an error.
#[allow(dead_code, reason = "the fuzzer asks; the tests catch all of them")]
pub(crate) fn is_caught(panic: &std::panic::PanicHookInfo<'_>) -> bool {
    let is_tokenizers = |place: &std::panic::Location<'_>| place.file().contains("/tokenizers-");
    gemmule::engine::ingest::extract::on_extracting_thread()
        || rows::is_reading()
        || panic.location().is_some_and(is_tokenizers)
}

/// A file of the reference values.
fn reference(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    // From the root package and from that of the fuzzer.
    let places = ["tests/reference/", "../reference/"].map(|up| format!("{folder}{up}{name}"));
    let found = places.iter().find_map(|place| std::fs::read(place).ok());
    found.unwrap_or_else(|| panic!("the reference values have no {name}"))
}
