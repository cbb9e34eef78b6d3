//! The sections of a segment that are storage's own: texts in compressed blocks, hashes of chunks, checksums of rows.
//!
//! `TEXT`: the encoded information of each row, in blocks of about 16 KiB before compression, so that showing a hit
//! decompresses one block. `HASH`: 16 bytes a row. `SUMS`: 4 bytes a row, so that after damage the rows that are still
//! good can be told from the others. `STORE.md` has the tables; `DOCS` is in `listing`.

/// Tag of the section with what is kept beside each row.
pub(crate) const TEXT: [u8; 4] = *b"TEXT";
/// Tag of the section with each row's chunk hash.
pub(crate) const HASH: [u8; 4] = *b"HASH";

/// Tag of the section with a checksum of each row: of its id, vector and information.
pub(crate) const SUMS: [u8; 4] = *b"SUMS";

/// A block is closed once it has this many bytes before compression.
const BLOCK_BYTES: usize = 16 * 1024;
/// Larger blocks are taken for damage: a block holds at most one row beyond [`BLOCK_BYTES`].
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + 4 + crate::records::record::MAX_PAYLOAD_BYTES;

// TEXT: number of blocks u32, then the directory, one entry a block, then the blocks. An entry: first row's position
// u32 at 0, compressed block's end u64 at 4 (counted from the end of the directory), length before compression u32 at 12.
const COUNT_BYTES: usize = 4;
const ENTRY_BYTES: usize = 16;

/// Writes a `TEXT` section, row by row.
#[derive(Default)]
pub(crate) struct Writer {
    directory: Vec<u8>,
    blocks: Vec<u8>,
    block: Vec<u8>, // the one that is not closed yet
    first: u32,     // position of its first row
    next: u32,
}

impl Writer {
    /// Appends the information of the next row.
    pub(crate) fn push(&mut self, info: &[u8]) {
        self.block.extend((info.len() as u32).to_le_bytes());
        self.block.extend(info);
        self.next += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close();
        }
    }

    /// The section's bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.block.is_empty() {
            self.close();
        }
        let n_blocks = (self.directory.len() / ENTRY_BYTES) as u32;
        let mut section = n_blocks.to_le_bytes().to_vec();
        section.extend(self.directory);
        section.extend(self.blocks);
        section
    }

    fn close(&mut self) {
        self.blocks.extend(lz4_flex::block::compress(&self.block));
        self.directory.extend(self.first.to_le_bytes());
        self.directory.extend((self.blocks.len() as u64).to_le_bytes());
        self.directory.extend((self.block.len() as u32).to_le_bytes());
        self.block.clear();
        self.first = self.next;
    }
}

/// Reads rows' information from a `TEXT` section; keeps the last block, so rows in order decompress each block once.
pub(crate) struct Texts<'a> {
    directory: &'a [[u8; ENTRY_BYTES]],
    blocks: &'a [u8],
    last: Option<(usize, Vec<u8>)>,
}

impl<'a> Texts<'a> {
    /// Finds the parts of a section; the bytes are not trusted.
    pub(crate) fn new(section: &'a [u8]) -> Result<Texts<'a>, &'static str> {
        let (n_blocks, rest) =
            section.split_first_chunk::<COUNT_BYTES>().ok_or("section TEXT is too short")?;
        let n_blocks = u32::from_le_bytes(*n_blocks) as usize;
        let (directory, blocks) = n_blocks
            .checked_mul(ENTRY_BYTES)
            .and_then(|at| rest.split_at_checked(at))
            .ok_or("the directory of section TEXT is too short")?;
        let (directory, _) = directory.as_chunks();
        Ok(Texts { directory, blocks, last: None })
    }

    /// The encoded information of the row at this position of the segment.
    pub(crate) fn info(&mut self, position: u32) -> Result<&[u8], &'static str> {
        let after = self.directory.partition_point(|entry| Entry::read(entry).first <= position);
        let block_idx = after.checked_sub(1).ok_or("a row is in no block of section TEXT")?;
        let entry = Entry::read(&self.directory[block_idx]);
        if self.last.as_ref().is_none_or(|(idx, _)| *idx != block_idx) {
            self.last = Some((block_idx, self.decompress(block_idx)?));
        }
        let Some((_, mut block)) = self.last.as_ref().map(|(idx, block)| (idx, block.as_slice()))
        else {
            return Err("a row is in no block of section TEXT");
        };
        for _ in entry.first..position {
            (_, block) = split_info(block)?;
        }
        Ok(split_info(block)?.0)
    }

    fn decompress(&self, block_idx: usize) -> Result<Vec<u8>, &'static str> {
        let end = |idx: usize| self.directory.get(idx).map_or(0, |entry| Entry::read(entry).end);
        let start = block_idx.checked_sub(1).map_or(0, end);
        let bytes = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end(block_idx)).ok())
            .and_then(|(start, end)| self.blocks.get(start..end))
            .ok_or("a block of section TEXT lies outside of it")?;
        let n_bytes = Entry::read(&self.directory[block_idx]).n_bytes as usize;
        if n_bytes > MAX_BLOCK_BYTES {
            return Err("a block of section TEXT is too long");
        }
        let block = lz4_flex::block::decompress(bytes, n_bytes)
            .map_err(|_| "a block of section TEXT cannot be decompressed")?;
        if block.len() == n_bytes { Ok(block) } else { Err("a block of section TEXT is too short") }
    }
}

struct Entry {
    first: u32,
    end: u64,
    n_bytes: u32,
}

impl Entry {
    fn read(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let [f0, f1, f2, f3, e0, e1, e2, e3, e4, e5, e6, e7, n0, n1, n2, n3] = *bytes;
        Entry {
            first: u32::from_le_bytes([f0, f1, f2, f3]),
            end: u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            n_bytes: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }
}

fn split_info(block: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (n_bytes, rest) =
        block.split_first_chunk().ok_or("a block of section TEXT has too few rows")?;
    rest.split_at_checked(u32::from_le_bytes(*n_bytes) as usize)
        .ok_or("a row of section TEXT is longer than its block")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write<'a>(infos: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut writer = Writer::default();
        infos.for_each(|info| writer.push(info));
        writer.finish()
    }

    fn infos() -> Vec<Vec<u8>> {
        (0..300_usize).map(|idx| vec![idx as u8; idx * idx % 1_999]).collect()
    }

    #[test]
    fn every_row_is_read_back_in_and_out_of_order() {
        let infos = infos();
        let section = write(infos.iter().map(Vec::as_slice));
        let mut texts = Texts::new(&section).unwrap();
        assert!(texts.directory.len() > 3, "several blocks are tried");
        for position in (0..infos.len()).chain((0..infos.len()).rev().step_by(7)) {
            assert_eq!(texts.info(position as u32).unwrap(), infos[position]);
        }
        assert!(texts.info(300).is_err());
    }

    #[test]
    fn no_rows_make_an_empty_section() {
        let section = write(std::iter::empty());
        assert!(Texts::new(&section).unwrap().info(0).is_err());
    }

    #[test]
    fn damaged_sections_give_errors_or_other_bytes_but_never_panic() {
        let infos: Vec<Vec<u8>> = infos().into_iter().take(40).collect();
        let section = write(infos.iter().map(Vec::as_slice));
        let read_all = |section: &[u8]| {
            if let Ok(mut texts) = Texts::new(section) {
                for position in 0..40 {
                    let _ = texts.info(position);
                }
            }
        };
        for end in 0..section.len() {
            read_all(&section[..end]);
        }
        for at in 0..section.len() {
            let mut flipped = section.clone();
            flipped[at] ^= 0x81;
            read_all(&flipped);
        }
    }
}
