//! Maps a file into memory. The only unsafe of this crate.

#![expect(unsafe_code, reason = "a memory map is safe only if nobody shortens the file")]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Result, io};

/// Maps a whole segment file, read-only.
pub(crate) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(io("open", path))?;
    // SAFETY: segment files are immutable: written under another name, renamed, and only ever unlinked (which leaves
    // the map valid). The bytes are parsed as untrusted, so a program that overwrites them in place gives wrong
    // answers or errors; only one that shortens the file, against our lock, could end this process (SIGBUS).
    unsafe { Mmap::map(&file) }.map_err(io("map", path))
}
