//! Tests of the whole program, from outside.

/// The real binary: flags, output, exit codes, signals.
mod cli;
/// Chunks of an indexed folder against the text extracted again.
mod coverage;
/// Indexing killed at random moments, and finished later.
mod crash;
/// What an edit of a long file costs.
mod edits;
/// The readers of bytes, which the fuzzer meets too.
#[path = "fuzz/targets/mod.rs"]
mod fuzz;
/// Bytes that are cut short or changed, before each of those readers.
mod hostile;
/// Rows that were made in several precisions.
mod precision;
/// Answers of the graph against those of the exact scan.
mod recall;
/// House rules that a text search can see.
mod tidy;
/// Ids, metadata, texts, vectors and numbers that nobody expects.
mod unusual;
