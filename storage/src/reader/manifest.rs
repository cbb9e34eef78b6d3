//! `MANIFEST`: what readers in other processes need, since they can open neither sled nor the lock.
//!
//! It names the segments and tombstones of one moment, those of all collections. The writer writes it anew whenever the
//! list of segments changes, when documents in segments are deleted, and when it opens the database: temporary name,
//! fsync, rename. It follows from the records in sled, so a bad one is no loss. `STORE.md` has the table.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::collection::{Collection, Ledger};
use crate::disk;
use crate::error::{Error, Result};
use crate::link::Link;
use crate::records::record;
use crate::segments::bitmap::Bitmap;
use crate::segments::sealed::{Sealed, SegmentRecord};
use crate::space::Space;

/// The file's name.
pub(crate) const FILE_NAME: &str = "MANIFEST";

const MAGIC: [u8; 8] = *b"GEMMMAN\0";
const VERSION: u32 = 1;

// Magic at 0, version u32 at 8, zero u32 at 12, bytes of the payload u64 at 16, checksum of bytes 0..24 and the payload
// u64 at 24, payload from 32.
const CHECKSUM_AT: usize = 24;
const HEADER_BYTES: usize = 32;

/// The payload, in this order.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(crate) struct Manifest {
    written_at_unix_ms: u64,
    pub(crate) collections: Vec<Entry>,
}

/// One collection.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) space: Space,
    pub(crate) segments: Vec<SegmentRecord>,
    /// Block and its bytes, as in a record of tombstones.
    tombstones: Vec<(u64, Vec<u8>)>,
    /// What queries go through.
    pub(crate) link: Option<Link>,
}

impl Manifest {
    /// By the clock of who wrote it, which may be wrong.
    pub(crate) fn written_at(&self) -> SystemTime {
        let since_1970 = Duration::from_millis(self.written_at_unix_ms);
        UNIX_EPOCH.checked_add(since_1970).unwrap_or(UNIX_EPOCH)
    }
}

impl Entry {
    /// Which sealed rows are dead; `None` if a block has another size.
    pub(crate) fn ledger(&self) -> Option<Ledger> {
        let blocks = self.tombstones.iter();
        let blocks = blocks.map(|(block, bytes)| Some((*block, Bitmap::from_block(bytes)?)));
        Some(Ledger { tombstones: blocks.collect::<Option<_>>()?, ..Ledger::default() })
    }
}

/// Writes the manifest of what the writer's collections hold now.
pub(crate) fn write<'a>(
    dir: &Path,
    collections: impl Iterator<Item = &'a Collection>,
    ledgers: &HashMap<u32, Ledger>,
) -> Result<()> {
    let entry = |collection: &Collection| {
        let tombstones = ledgers.get(&collection.number).into_iter();
        let tombstones = tombstones.flat_map(|ledger| &ledger.tombstones);
        let view = collection.view();
        Entry {
            number: collection.number,
            name: collection.name.clone(),
            space: collection.space().as_ref().clone(),
            segments: view.sealed().iter().map(Sealed::record).cloned().collect(),
            tombstones: tombstones.map(|(block, bitmap)| (*block, bitmap.to_block())).collect(),
            link: collection.link().map(|link| Link::clone(&link)),
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let manifest = Manifest {
        written_at_unix_ms: now.as_millis() as u64,
        collections: collections.map(entry).collect(),
    };
    disk::write_file(dir, FILE_NAME, &encode(&manifest))
}

/// Reads the manifest of a database, and the checksum that tells it from others.
pub(crate) fn read(dir: &Path) -> Result<(u64, Manifest)> {
    let path = dir.join(FILE_NAME);
    let problem = |problem: String| Error::Manifest { path: path.clone(), problem };
    let bytes = fs::read(&path).map_err(|error| problem(error.to_string()))?;
    decode(&bytes).map_err(problem)
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    let payload = record::encode(manifest);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((payload.len() as u64).to_le_bytes());
    let checksum = checksum(&bytes, &payload);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn decode(bytes: &[u8]) -> Result<(u64, Manifest), String> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("{} bytes are too few", bytes.len()));
    };
    let (start, stored) = header.split_at(CHECKSUM_AT);
    let checksum = checksum(start, payload);
    if !start.starts_with(&MAGIC) {
        return Err("it does not start as a manifest does".to_owned());
    }
    if start[8..12] != VERSION.to_le_bytes() {
        return Err(format!("it is not of version {VERSION}, which this program reads"));
    }
    if stored != checksum.to_le_bytes() || start[16..24] != (payload.len() as u64).to_le_bytes() {
        return Err("its length or checksum does not match".to_owned());
    }
    let manifest = record::decode(FILE_NAME, payload).map_err(|error| error.to_string())?;
    Ok((checksum, manifest))
}

fn checksum(start: &[u8], payload: &[u8]) -> u64 {
    xxh3_64(&[start, payload].concat())
}

#[cfg(test)]
mod tests {
    use index::mrl::Quant;

    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let tombstones = vec![(3, vec![7; 4096])];
        let space = Space {
            model: "tiny".to_owned(),
            fingerprint: "f00d".to_owned(),
            document_prompt: String::new(),
            link: None,
            full_width: 8,
            dims: 4,
            quant: Quant::default(),
        };
        let name = "notes".to_owned();
        let (segments, link) = (Vec::new(), None);
        let entry = Entry { number: 1, name, space, segments, tombstones, link };
        let manifest = Manifest { written_at_unix_ms: 5, collections: vec![entry] };
        let bytes = encode(&manifest);
        assert_eq!(decode(&bytes).unwrap().1, manifest);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(decode(&flipped).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "{at} bytes");
        }
    }
}
