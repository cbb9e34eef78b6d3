//! What is small, or not yet in a segment: records in one sled tree.
//!
//! `key` and `record` say what is in it, byte by byte; `tree` is the only file that knows sled; `swap` gives it a new
//! directory.

pub(crate) mod key;
pub(crate) mod record;
pub(crate) mod swap;
pub(crate) mod tree;
