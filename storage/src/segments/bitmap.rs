//! Sets of small numbers, one bit each: which rows are dead.

/// Rows that one stored block of tombstones covers.
pub(crate) const BLOCK_ROWS: u64 = 32 * 1024;

/// Bytes of a stored block.
const BLOCK_BYTES: usize = (BLOCK_ROWS / 8) as usize;

/// A set of numbers below the largest one ever set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(crate) fn contains(&self, idx: usize) -> bool {
        self.words.get(idx / 64).is_some_and(|word| word >> (idx % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, idx: usize) {
        if self.words.len() <= idx / 64 {
            self.words.resize(idx / 64 + 1, 0);
        }
        self.words[idx / 64] |= 1 << (idx % 64);
    }

    pub(crate) fn remove(&mut self, idx: usize) {
        if let Some(word) = self.words.get_mut(idx / 64) {
            *word &= !(1 << (idx % 64));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The bytes of a block of tombstones: bit `i % 8` of byte `i / 8` is row `i` of the block.
    ///
    /// # Panics
    /// If a number is not below [`BLOCK_ROWS`].
    pub(crate) fn to_block(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert!(bytes.len() <= BLOCK_BYTES, "a block of tombstones of {} bytes", bytes.len());
        bytes.resize(BLOCK_BYTES, 0);
        bytes
    }

    /// Reads a block; `None` if it has another size.
    pub(crate) fn from_block(bytes: &[u8]) -> Option<Bitmap> {
        if bytes.len() != BLOCK_BYTES {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Some(Bitmap { words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_holds_what_was_inserted_and_survives_its_bytes() {
        let mut bitmap = Bitmap::default();
        for idx in [0, 63, 64, 32_767, 63] {
            bitmap.insert(idx);
        }
        let read = Bitmap::from_block(&bitmap.to_block()).unwrap();
        assert_eq!(read, bitmap);
        let set: Vec<usize> = (0..40_000).filter(|&idx| read.contains(idx)).collect();
        assert_eq!(set, [0, 63, 64, 32_767]);
        assert_eq!(Bitmap::from_block(&[0; 100]), None);
        set.iter().for_each(|idx| bitmap.remove(*idx));
        bitmap.remove(1 << 40);
        assert!(bitmap.is_empty() && !read.is_empty());
    }
}
