//! The bytes of an image: a header with named sections, read in place.
//!
//! All numbers are little-endian. The header is
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic and version |
//! | 8..16 | xxh3 of the bytes from 24 to the header's end |
//! | 16..24 | xxh3 of all bytes after the header |
//! | 24..32 | length of the image |
//! | 32..36 | pieces of the model: ids below this number |
//! | 36..40 | longest probe in the piece table |
//! | 40..44 | longest probe in the merge table |
//! | 44..48 | how normalised text is cut: 0 at pairs no piece holds, 1 by the word pattern |
//! | 48.. | for each [`Section`]: offset u32, length u32 |
//!
//! Opening checks the header and that every section lies inside the bytes; it reads no section.
//! An image holds no pointers and is read byte by byte: it may lie anywhere, at any alignment.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::tables::View;
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"GMLTOK\x01\0";
const SECTIONS_AT: usize = 48;
const N_SECTIONS: usize = 11;
pub(super) const HEADER_LEN: usize = SECTIONS_AT + 8 * N_SECTIONS;

/// No probe is longer in a sound image; without a bound a damaged table could be walked for ever.
pub(super) const PROBE_MAX: u32 = 1024;

/// Ids fit 20 bits, ranks 24, so that a merge is one word of the table.
pub(super) const N_IDS_MAX: usize = (1 << 20) - 1;
pub(super) const N_MERGES_MAX: usize = (1 << 24) - 1;

/// The parts of an image, in their order.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// The normaliser's steps, see `normalise`.
    Steps,
    /// u32 each: ids before and after a framed text: count of the first, then all.
    Frame,
    /// u32 by id and one more: where the piece's text begins in `Texts`.
    Starts,
    /// UTF-8.
    Texts,
    /// u32 each: a hash table from text to id, with flags.
    Pieces,
    /// u64 each: a hash table of left id (20 bits), right id (20), rank (24).
    Merges,
    /// u32 by rank: the id that a merge makes.
    Merged,
    /// u32 by byte: ids of the 256 byte pieces.
    ByteIds,
    /// u32 by ASCII character: its id, or all ones.
    AsciiIds,
    /// u32 each: the tokens matched before the model, see `added`.
    Added,
    /// For cut 0 bits of pairs, for cut 1 the Unicode classes, see `split`.
    Cuts,
}

#[cfg(test)]
pub(super) const ALL: [Section; N_SECTIONS] = [
    Section::Steps,
    Section::Frame,
    Section::Starts,
    Section::Texts,
    Section::Pieces,
    Section::Merges,
    Section::Merged,
    Section::ByteIds,
    Section::AsciiIds,
    Section::Added,
    Section::Cuts,
];

/// The checked header of an image.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) vocab_size: u32,
    piece_probe: u32,
    merge_probe: u32,
    pub(super) cut: u32,
    sections: [Range<usize>; N_SECTIONS],
}

fn refuse(
    field: &'static str,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Error {
    Error::TokenizerImage { field, found: found.to_string(), expected: expected.to_string() }
}

/// The `index`th u32 of `bytes`.
pub(super) fn u32_at(bytes: &[u8], index: usize) -> Option<u32> {
    let four = bytes.get(index.checked_mul(4)?..)?.first_chunk()?;
    Some(u32::from_le_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], index: usize) -> Option<u64> {
    let eight = bytes.get(index.checked_mul(8)?..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

impl Header {
    /// Reads and checks the header of `bytes`, without touching what follows it.
    pub(super) fn read(bytes: &[u8]) -> Result<Header> {
        let header = bytes
            .get(..HEADER_LEN)
            .ok_or_else(|| refuse("length", bytes.len(), format!("at least {HEADER_LEN}")))?;
        if header[..8] != MAGIC {
            let expected = format!("{:?}", MAGIC.escape_ascii().to_string());
            return Err(refuse("magic", header[..8].escape_ascii(), expected));
        }
        let long = |at: usize| u64_at(header, at / 8).unwrap_or(0);
        let short = |at: usize| u32_at(header, at / 4).unwrap_or(0);
        let sum = xxh3_64(&header[24..]);
        if sum != long(8) {
            return Err(refuse("header checksum", format_args!("{sum:016x}"), long(8)));
        }
        if long(24) != bytes.len() as u64 {
            return Err(refuse("length", bytes.len(), long(24)));
        }
        let (piece_probe, merge_probe) = (short(36), short(40));
        if piece_probe.max(merge_probe) > PROBE_MAX {
            let found = piece_probe.max(merge_probe);
            return Err(refuse("probe length", found, format!("at most {PROBE_MAX}")));
        }
        let mut sections = std::array::from_fn(|_| 0..0);
        for (index, section) in sections.iter_mut().enumerate() {
            let start = short(SECTIONS_AT + 8 * index) as usize;
            let end = start.saturating_add(short(SECTIONS_AT + 8 * index + 4) as usize);
            if end > bytes.len() || start < HEADER_LEN {
                return Err(refuse(
                    "section",
                    format!("{start}..{end}"),
                    format!("inside {HEADER_LEN}..{}", bytes.len()),
                ));
            }
            *section = start..end;
        }
        Ok(Header { vocab_size: short(32), piece_probe, merge_probe, cut: short(44), sections })
    }

    /// The image as tables. `bytes` are those that the header was read from.
    pub(super) fn view<'a>(&self, bytes: &'a [u8]) -> View<'a> {
        let section = |s: Section| bytes.get(self.sections[s as usize].clone()).unwrap_or(&[]);
        View {
            steps: section(Section::Steps),
            frame: section(Section::Frame),
            starts: section(Section::Starts),
            texts: section(Section::Texts),
            pieces: section(Section::Pieces),
            merges: section(Section::Merges),
            merged: section(Section::Merged),
            byte_ids: section(Section::ByteIds),
            ascii_ids: section(Section::AsciiIds),
            added: section(Section::Added),
            cuts: section(Section::Cuts),
            piece_probe: self.piece_probe,
            merge_probe: self.merge_probe,
        }
    }
}

/// Compares the checksum of everything behind the header: reads the whole image.
pub(super) fn verify(bytes: &[u8]) -> Result<()> {
    Header::read(bytes)?;
    let stored = u64_at(bytes, 2).unwrap_or(0);
    let found = xxh3_64(bytes.get(HEADER_LEN..).unwrap_or(&[]));
    if found != stored {
        let expected = format_args!("{stored:016x}");
        return Err(refuse("checksum", format_args!("{found:016x}"), expected));
    }
    Ok(())
}

/// Numbers of the header that the writer must know.
pub(super) struct Numbers {
    pub(super) vocab_size: u32,
    pub(super) piece_probe: u32,
    pub(super) merge_probe: u32,
    pub(super) cut: u32,
}

/// Joins sections, in the order of [`Section`], behind a header; checksums are left for [`seal`].
pub(super) fn join(numbers: &Numbers, sections: [Vec<u8>; N_SECTIONS]) -> Vec<u8> {
    let len = HEADER_LEN + sections.iter().map(|s| s.len().next_multiple_of(8)).sum::<usize>();
    let mut image = vec![0; HEADER_LEN];
    image.reserve_exact(len - HEADER_LEN);
    image[..8].copy_from_slice(&MAGIC);
    image[24..32].copy_from_slice(&(len as u64).to_le_bytes());
    let n = [numbers.vocab_size, numbers.piece_probe, numbers.merge_probe, numbers.cut];
    for (index, number) in n.iter().enumerate() {
        image[32 + 4 * index..][..4].copy_from_slice(&number.to_le_bytes());
    }
    for (index, section) in sections.iter().enumerate() {
        let place = [image.len() as u32, section.len() as u32].map(u32::to_le_bytes).concat();
        image[SECTIONS_AT + 8 * index..][..8].copy_from_slice(&place);
        image.extend_from_slice(section);
        image.resize(image.len().next_multiple_of(8), 0);
    }
    image
}

/// Writes both checksums into a joined image.
pub(super) fn seal(image: &mut [u8]) {
    let body = xxh3_64(&image[HEADER_LEN..]);
    image[16..24].copy_from_slice(&body.to_le_bytes());
    let header = xxh3_64(&image[24..HEADER_LEN]);
    image[8..16].copy_from_slice(&header.to_le_bytes());
}

/// Where a section lies in a joined image.
pub(super) fn place(image: &[u8], section: Section) -> Range<usize> {
    let at = SECTIONS_AT / 4 + 2 * section as usize;
    let start = u32_at(image, at).unwrap_or(0) as usize;
    start..start + u32_at(image, at + 1).unwrap_or(0) as usize
}
