//! The keys of the one sled tree, as one enum with explicit tags.
//!
//! A key is `collection: u32, tag: u8, what the tag says, part: u16`, all big-endian, so that iteration by prefix goes
//! through one kind of record of one collection in the order of its numbers. Collection 0 is the database itself.
//! A record too large for one value lies in several, which differ in `part` alone; this enum is the key without it.

use std::fmt;

/// The number under which records of the database itself are kept.
const DATABASE: u32 = 0;

/// The number of the first collection.
pub(crate) const FIRST_COLLECTION: u32 = 1;

/// Bytes of the part number at the end of each stored key.
pub(crate) const PART_BYTES: usize = 2;

/// What kind of record a key names. The values are the format: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Collection = 1,
    NextRow = 2,
    Document = 3,
    Row = 4,
    Tombstones = 5,
    Segment = 6,
    Root = 7,
    Link = 8,
    ActiveLink = 9,
    Successor = 10,
    Dropped = 11,
}

/// One record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A collection's name and space.
    Collection { number: u32 },
    /// The id that a collection's next row will get.
    NextRow { collection: u32 },
    /// A document, by the blake3 hash of its id.
    Document { collection: u32, id_hash: [u8; 32] },
    /// A row that is not yet in a segment.
    Row { collection: u32, row: u64 },
    /// Which of 32,768 rows are dead; block `n` starts at row `n * 32768`.
    Tombstones { collection: u32, block: u64 },
    /// A live segment, by its first row.
    Segment { collection: u32, first_row: u64 },
    /// A root folder that was indexed, by the blake3 hash of its path.
    Root { collection: u32, path_hash: [u8; 32] },
    /// A link, by the blake3 hash of its name.
    Link { collection: u32, name_hash: [u8; 32] },
    /// Which link is active.
    ActiveLink { collection: u32 },
    /// The space of what is to take a collection's place, and under which number that is built.
    Successor { collection: u32, number: u32 },
    /// A number whose records are no more than waste.
    Dropped { number: u32 },
}

impl Key {
    /// The key of a document.
    pub(crate) fn document(collection: u32, id: &str) -> Key {
        Key::Document { collection, id_hash: *blake3::hash(id.as_bytes()).as_bytes() }
    }

    /// The key of a root folder.
    pub(crate) fn root(collection: u32, path: &str) -> Key {
        Key::Root { collection, path_hash: *blake3::hash(path.as_bytes()).as_bytes() }
    }

    /// The key of a link.
    pub(crate) fn link(collection: u32, name: &str) -> Key {
        Key::Link { collection, name_hash: *blake3::hash(name.as_bytes()).as_bytes() }
    }

    pub(crate) fn tag(&self) -> Tag {
        match self {
            Key::Collection { .. } => Tag::Collection,
            Key::NextRow { .. } => Tag::NextRow,
            Key::Document { .. } => Tag::Document,
            Key::Row { .. } => Tag::Row,
            Key::Tombstones { .. } => Tag::Tombstones,
            Key::Segment { .. } => Tag::Segment,
            Key::Root { .. } => Tag::Root,
            Key::Link { .. } => Tag::Link,
            Key::ActiveLink { .. } => Tag::ActiveLink,
            Key::Successor { .. } => Tag::Successor,
            Key::Dropped { .. } => Tag::Dropped,
        }
    }

    /// The key's bytes without the part number.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let collection = match *self {
            Key::Collection { .. } | Key::Dropped { .. } => DATABASE,
            Key::NextRow { collection }
            | Key::Document { collection, .. }
            | Key::Row { collection, .. }
            | Key::Tombstones { collection, .. }
            | Key::Segment { collection, .. }
            | Key::Root { collection, .. }
            | Key::Link { collection, .. }
            | Key::ActiveLink { collection }
            | Key::Successor { collection, .. } => collection,
        };
        let mut bytes = prefix(collection, self.tag()).to_vec();
        match self {
            Key::Collection { number }
            | Key::Successor { number, .. }
            | Key::Dropped { number } => bytes.extend(number.to_be_bytes()),
            Key::NextRow { .. } | Key::ActiveLink { .. } => {}
            Key::Document { id_hash: hash, .. }
            | Key::Root { path_hash: hash, .. }
            | Key::Link { name_hash: hash, .. } => {
                bytes.extend(hash);
            }
            Key::Row { row: number, .. }
            | Key::Tombstones { block: number, .. }
            | Key::Segment { first_row: number, .. } => bytes.extend(number.to_be_bytes()),
        }
        bytes
    }

    /// The key's bytes with a part number, as it is stored.
    pub(crate) fn encode_part(&self, part: u16) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.extend(part.to_be_bytes());
        bytes
    }

    /// Reads a key without its part number; `None` if no version of this program wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Key> {
        let (collection, bytes) = bytes.split_first_chunk()?;
        let collection = u32::from_be_bytes(*collection);
        let (tag, rest) = bytes.split_first()?;
        let number = || rest.try_into().ok().map(u64::from_be_bytes);
        let of_collection = || rest.try_into().ok().map(u32::from_be_bytes);
        let key = match *tag {
            tag if tag == Tag::Collection as u8 => Key::Collection { number: of_collection()? },
            tag if tag == Tag::NextRow as u8 && rest.is_empty() => Key::NextRow { collection },
            tag if tag == Tag::Document as u8 => {
                Key::Document { collection, id_hash: rest.try_into().ok()? }
            }
            tag if tag == Tag::Row as u8 => Key::Row { collection, row: number()? },
            tag if tag == Tag::Tombstones as u8 => Key::Tombstones { collection, block: number()? },
            tag if tag == Tag::Segment as u8 => Key::Segment { collection, first_row: number()? },
            tag if tag == Tag::Root as u8 => {
                Key::Root { collection, path_hash: rest.try_into().ok()? }
            }
            tag if tag == Tag::Link as u8 => {
                Key::Link { collection, name_hash: rest.try_into().ok()? }
            }
            tag if tag == Tag::ActiveLink as u8 && rest.is_empty() => {
                Key::ActiveLink { collection }
            }
            tag if tag == Tag::Successor as u8 => {
                Key::Successor { collection, number: of_collection()? }
            }
            tag if tag == Tag::Dropped as u8 => Key::Dropped { number: of_collection()? },
            _ => return None,
        };
        (key.encode().first_chunk() == Some(&collection.to_be_bytes())).then_some(key)
    }
}

/// What all keys of one kind in one collection start with.
pub(crate) fn prefix(collection: u32, tag: Tag) -> [u8; 5] {
    let [a, b, c, d] = collection.to_be_bytes();
    [a, b, c, d, tag as u8]
}

/// What the keys of all collections' names and spaces start with.
pub(crate) fn collections() -> [u8; 5] {
    prefix(DATABASE, Tag::Collection)
}

/// What the keys of all dropped numbers start with.
pub(crate) fn dropped() -> [u8; 5] {
    prefix(DATABASE, Tag::Dropped)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Collection { number } => write!(f, "the record of collection number {number}"),
            Key::NextRow { collection } => {
                write!(f, "the record of the next row of collection number {collection}")
            }
            Key::Document { collection, id_hash } => {
                let hash = blake3::Hash::from_bytes(*id_hash);
                write!(
                    f,
                    "the record of document {hash} (hash of its id) of collection number {collection}"
                )
            }
            Key::Row { collection, row } => {
                write!(f, "the record of row {row} of collection number {collection}")
            }
            Key::Tombstones { collection, block } => {
                write!(f, "the record of tombstones {block} of collection number {collection}")
            }
            Key::Segment { collection, first_row } => write!(
                f,
                "the record of the segment from row {first_row} of collection number {collection}"
            ),
            Key::Root { collection, path_hash } => {
                let hash = blake3::Hash::from_bytes(*path_hash);
                write!(
                    f,
                    "the record of root {hash} (hash of its path) of collection number {collection}"
                )
            }
            Key::Link { collection, name_hash } => {
                let hash = blake3::Hash::from_bytes(*name_hash);
                write!(
                    f,
                    "the record of link {hash} (hash of its name) of collection number {collection}"
                )
            }
            Key::ActiveLink { collection } => {
                write!(f, "the record of the active link of collection number {collection}")
            }
            Key::Successor { collection, .. } => {
                write!(f, "the record of the new space of collection number {collection}")
            }
            Key::Dropped { number } => {
                write!(f, "the record that collection number {number} is dropped")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_bytes() {
        let keys = [
            Key::Collection { number: 7 },
            Key::NextRow { collection: 7 },
            Key::document(7, "a"),
            Key::Row { collection: 7, row: u64::MAX - 1 },
            Key::Tombstones { collection: 7, block: 3 },
            Key::Segment { collection: 7, first_row: 40_000 },
            Key::root(7, "/notes"),
            Key::link(7, "clicks"),
            Key::ActiveLink { collection: 7 },
            Key::Successor { collection: 7, number: 9 },
            Key::Dropped { number: 7 },
        ];
        for key in keys {
            let bytes = key.encode();
            assert_eq!(Key::decode(&bytes), Some(key));
            for end in 0..bytes.len() {
                assert_ne!(Key::decode(&bytes[..end]), Some(key));
            }
        }
        assert_eq!(Key::decode(&[0, 0, 0, 1, 99, 1, 2]), None);
        assert_eq!(Key::decode(&[0, 0, 0, 1, 1, 0, 0, 0, 1]), None);
    }

    #[test]
    fn rows_are_ordered_as_their_numbers() {
        let row = |row| Key::Row { collection: 1, row }.encode_part(0);
        assert!(row(255) < row(256));
        assert!(row(65_535) < row(65_536));
        assert!(row(1) < Key::Row { collection: 1, row: 1 }.encode_part(1));
    }
}
