//! Bytes that are too many to be copied: compiled in, shared in memory, or mapped from a file.

#![expect(unsafe_code, reason = "a mapped file is only as constant as the file")]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};

/// Bytes that are there as long as this is. Cloning shares them.
#[derive(Clone)]
pub(crate) enum Bytes {
    /// Part of this program.
    BuiltIn(&'static [u8]),
    /// In memory.
    Owned(Arc<[u8]>),
    /// Part of a file; pages come when they are read. A range outside the file reads as nothing.
    Mapped(Arc<Mmap>, Range<usize>),
}

impl Bytes {
    /// Maps a file. Whoever shortens it while it is mapped ends this process: model files are
    /// replaced, never rewritten.
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        let file = File::open(path)?;
        // SAFETY: the file is only read; the caller is told above what must not happen to it.
        let map = unsafe { Mmap::map(&file) }?;
        let all = 0..map.len();
        Ok(Bytes::Mapped(Arc::new(map), all))
    }

    /// A part of these bytes that shares them; none if it does not lie inside.
    pub(crate) fn slice(&self, part: Range<usize>) -> Option<Bytes> {
        let bytes = self.get(part.clone())?;
        Some(match self {
            Bytes::BuiltIn(all) => Bytes::BuiltIn(&all[part]),
            Bytes::Owned(_) => Bytes::Owned(bytes.into()),
            Bytes::Mapped(map, all) => {
                Bytes::Mapped(map.clone(), all.start + part.start..all.start + part.end)
            }
        })
    }

    /// Gives back the pages that hold `part`, which was read and is not needed soon. Without it a
    /// file that is read once counts as this process's memory to the last byte.
    pub(crate) fn forget(&self, part: &[u8]) {
        if let Bytes::Mapped(map, _) = self {
            let from = part.as_ptr().addr().saturating_sub(map.as_ptr().addr());
            let advice = UncheckedAdvice::DontNeed;
            // SAFETY: a read-only map of a file: a dropped page is read again when it is asked for.
            // Advice that is refused changes nothing.
            let _ = unsafe { map.unchecked_advise_range(advice, from, part.len()) };
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::BuiltIn(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map, part) => map.get(part.clone()).unwrap_or(&[]),
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::Owned(bytes.into())
    }
}
