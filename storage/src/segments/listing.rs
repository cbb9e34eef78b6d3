//! The `DOCS` section of a segment: the documents whose rows are in it, as they were when it was made.
//!
//! sled has the records that count. These copies serve readers in other processes, which have no sled, and they let a
//! lost record be put back. An entry a document: a hash of its id to find it by, and its record in blocks like those
//! of `TEXT`. `STORE.md` has the table.

use crate::document::DocumentInfo;
use crate::error::{Error, Result};
use crate::records::key::Key;
use crate::segments::texts::{self, Texts};

/// Tag of the section.
pub(crate) const DOCS: [u8; 4] = *b"DOCS";

// Number of documents u32, then a directory sorted by hash, an entry a document: the first 8 bytes of the blake3 of its
// id at 0, its position u32 at 8; then a TEXT section of the records in the order of their positions.
const COUNT_BYTES: usize = 4;
const ENTRY_BYTES: usize = 12;

/// Writes a `DOCS` section, document by document.
#[derive(Default)]
pub(crate) struct Writer {
    entries: Vec<([u8; 8], u32)>,
    records: texts::Writer,
}

impl Writer {
    /// Appends a document; `record` is the payload of its record.
    pub(crate) fn push(&mut self, id: &str, record: &[u8]) {
        self.entries.push((hash(id), self.entries.len() as u32));
        self.records.push(record);
    }

    /// The section's bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entries.sort();
        let mut section = (self.entries.len() as u32).to_le_bytes().to_vec();
        for (hash, position) in self.entries {
            section.extend(hash);
            section.extend(position.to_le_bytes());
        }
        section.extend(self.records.finish());
        section
    }
}

/// Reads a `DOCS` section; its bytes are not trusted.
pub(crate) struct Listing<'a> {
    entries: &'a [[u8; ENTRY_BYTES]],
    records: Texts<'a>,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(section: &'a [u8]) -> Result<Listing<'a>, &'static str> {
        let (n_documents, rest) =
            section.split_first_chunk::<COUNT_BYTES>().ok_or("section DOCS is too short")?;
        let (entries, records) = (u32::from_le_bytes(*n_documents) as usize)
            .checked_mul(ENTRY_BYTES)
            .and_then(|at| rest.split_at_checked(at))
            .ok_or("the directory of section DOCS is too short")?;
        let (entries, _) = entries.as_chunks();
        Ok(Listing { entries, records: Texts::new(records)? })
    }

    /// The payloads of the records of all documents whose id has this hash: nearly always at most one.
    pub(crate) fn find(&mut self, id: &str) -> Result<Vec<Vec<u8>>, &'static str> {
        let wanted = hash(id);
        let start = self.entries.partition_point(|entry| entry[..8] < wanted[..]);
        let same = self.entries[start..].iter().take_while(|entry| entry[..8] == wanted);
        same.map(|entry| Ok(self.records.info(position(entry))?.to_vec())).collect()
    }

    /// The payloads of all records, in the order of their rows.
    pub(crate) fn records(&mut self) -> impl Iterator<Item = Result<Vec<u8>, &'static str>> {
        let n_documents = self.entries.len() as u32;
        (0..n_documents).map(|position| Ok(self.records.info(position)?.to_vec()))
    }
}

/// Decodes a record from a section; a damaged one names the segment.
pub(crate) fn decode(segment: &str, record: &[u8]) -> Result<DocumentInfo> {
    // The collection is the reader's: only the error of a record that does not decode would name it.
    DocumentInfo::decode(&Key::document(0, ""), record).map_err(|error| {
        Error::corrupt(format!("a document's record in segment {segment}"), error.to_string())
    })
}

fn hash(id: &str) -> [u8; 8] {
    *blake3::hash(id.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn position(entry: &[u8; ENTRY_BYTES]) -> u32 {
    let [.., p0, p1, p2, p3] = *entry;
    u32::from_le_bytes([p0, p1, p2, p3])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Vec<u8> {
        let mut writer = Writer::default();
        (0..200).for_each(|n| writer.push(&format!("document {n}"), &[n as u8; 150]));
        writer.finish()
    }

    #[test]
    fn documents_are_found_by_id_and_listed_in_order() {
        let section = section();
        let mut listing = Listing::new(&section).unwrap();
        for n in [0_usize, 7, 199] {
            assert_eq!(listing.find(&format!("document {n}")).unwrap(), [vec![n as u8; 150]]);
        }
        assert!(listing.find("another").unwrap().is_empty());
        let all: Vec<u8> = listing.records().map(|record| record.unwrap()[0]).collect();
        assert_eq!(all, (0..200).collect::<Vec<u8>>());
        assert_eq!(Listing::new(&Writer::default().finish()).unwrap().records().count(), 0);
    }

    #[test]
    fn damaged_sections_give_errors_or_other_bytes_but_never_panic() {
        let section = section();
        let read = |section: &[u8]| {
            if let Ok(mut listing) = Listing::new(section) {
                let _ = listing.find("document 7");
                let _ = listing.records().filter(Result::is_ok).count();
            }
        };
        for at in (0..section.len()).step_by(3) {
            read(&section[..at]);
            let mut flipped = section.clone();
            flipped[at] ^= 0x81;
            read(&flipped);
        }
    }
}
