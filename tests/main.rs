//! Tests of the whole program, from outside.

/// The real binary: flags, output, exit codes, signals.
mod cli;
/// Chunks of an indexed folder against the text extracted again.
mod coverage;
/// Indexing killed at random moments, and finished later.
mod crash;
/// What an edit of a long file costs.
mod edits;
/// Answers of the graph against those of the exact scan.
mod recall;
/// House rules that a text search can see.
mod tidy;
