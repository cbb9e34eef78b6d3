//! From a folder to texts that are ready to be cut.
//!
//! ```text
//! folder --walk--> Found --read--> bytes --extract--> Extracted --chunk--> chunks
//! ```
//!
//! [`mod@walk`] says which files there are, [`mod@extract`] turns one file into text with marks where pages,
//! headings and blocks begin. Both report what they leave out and why: a caller that counts what it
//! is given can account for every file it saw. Nothing here opens a path outside the folder that was
//! named, follows what a file says, or prints.

pub mod extract;
pub mod walk;

pub use extract::{Extracted, Failure, Kind, Limits, Mark, MarkKind, Offsets, extract, read};
pub use walk::{Found, Refused, Walk, walk};
