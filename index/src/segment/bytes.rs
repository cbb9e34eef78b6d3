//! Bytes of a segment, aligned so that numbers can be read in place.

use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};

#[cfg(not(target_endian = "little"))]
compile_error!("segments are read in place, and their numbers are little endian");

/// The largest alignment of a number in a segment: that of a u64.
const ALIGN: usize = align_of::<u64>();

/// Bytes whose first lies at a multiple of eight.
pub(crate) enum Bytes {
    Shared(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// A copy of bytes that were not aligned: a memory map always is, a slice of a buffer may not be.
    Copied {
        words: Vec<u64>,
        length: usize,
    },
}

impl Bytes {
    pub(crate) fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let slice = (*bytes).as_ref();
        if slice.as_ptr().addr().is_multiple_of(ALIGN) {
            return Bytes::Shared(bytes);
        }
        let mut words = vec![0u64; slice.len().div_ceil(ALIGN)];
        let length = slice.len();
        bytemuck::cast_slice_mut(&mut words)[..length].copy_from_slice(slice);
        Bytes::Copied { words, length }
    }

    pub(crate) fn all(&self) -> &[u8] {
        match self {
            Bytes::Shared(bytes) => (**bytes).as_ref(),
            Bytes::Copied { words, length } => &bytemuck::cast_slice(words)[..*length],
        }
    }

    /// The numbers in a range of bytes.
    ///
    /// # Panics
    /// If the range is outside the bytes, not aligned, or not a whole count of numbers.
    pub(crate) fn numbers<T: AnyBitPattern + NoUninit>(&self, start: u64, end: u64) -> &[T] {
        bytemuck::cast_slice(&self.all()[start as usize..end as usize])
    }
}
