//! What can be wrong with the bytes of a segment. Bytes come from a disk: they are never trusted.

use std::fmt;

/// The tag of a part of a segment: four bytes, those of this crate begin with a full stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part(pub [u8; 4]);

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not a whole, sound segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The bytes do not begin as a segment does.
    Magic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The segment is of a format that this version does not read.
    Version {
        /// The format read by this version.
        expected: u32,
        /// The format of the segment.
        found: u32,
    },
    /// There are fewer or more bytes than the segment has.
    Length {
        /// Bytes the segment has, as far as its header could be read.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A field of the header is out of its range.
    Field {
        /// The field's name in `SEGMENT.md`.
        field: &'static str,
        /// What the format asks of it.
        rule: &'static str,
        /// The field's value.
        found: u64,
    },
    /// The table of parts says something else than the header's counts.
    Table {
        /// The tag found in the table.
        part: Part,
        /// The field's name in `SEGMENT.md`.
        field: &'static str,
        /// The value that follows from the header.
        expected: u64,
        /// The value in the table.
        found: u64,
    },
    /// The header and its table were altered.
    HeaderChecksum {
        /// The checksum kept.
        expected: u64,
        /// The checksum of the bytes there are.
        found: u64,
    },
    /// A part was altered.
    Checksum {
        /// The part.
        part: Part,
        /// The checksum kept.
        expected: u64,
        /// The checksum of the bytes there are.
        found: u64,
    },
    /// A part has the checksum it was written with, but holds what no segment may hold.
    Content {
        /// The part.
        part: Part,
        /// What the format asks.
        rule: &'static str,
        /// The first entry that breaks it.
        at: u64,
        /// The entry's value.
        found: u64,
    },
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { found } => write!(
                f,
                "not a segment: it begins with \"{}\", a segment with \"{}\"",
                found.escape_ascii(),
                crate::segment::MAGIC.escape_ascii()
            ),
            Self::Version { expected, found } => write!(
                f,
                "the segment has format {found} and this version reads format {expected}: \
                 use the version that wrote it, or index anew"
            ),
            Self::Length { expected, found } => write!(
                f,
                "the segment should have {expected} bytes and {found} are there: \
                 it was cut short or appended to"
            ),
            Self::Field { field, rule, found } => {
                write!(f, "header of the segment: {field} is {found}, but must be {rule}")
            }
            Self::Table { part, field, expected, found } => write!(
                f,
                "table of the segment: {field} of part {part} is {found}, but must be {expected}"
            ),
            Self::HeaderChecksum { expected, found } => write!(
                f,
                "header of the segment: its checksum is {found:016x} and should be \
                 {expected:016x}: the file is damaged"
            ),
            Self::Checksum { part, expected, found } => write!(
                f,
                "part {part} of the segment: its checksum is {found:016x} and should be \
                 {expected:016x}: the file is damaged"
            ),
            Self::Content { part, rule, at, found } => write!(
                f,
                "part {part} of the segment: entry {at} is {found}, but must be {rule}: \
                 the file was written wrongly"
            ),
        }
    }
}

impl std::error::Error for SegmentError {}
