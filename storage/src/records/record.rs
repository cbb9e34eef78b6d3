//! The envelope around every value in sled, and the encoding of what is inside.
//!
//! A record is a header of 12 bytes and a payload; `STORE.md` has the table. The checksum covers the key as well, so
//! that a value under the wrong key is found. Records larger than [`PART_BYTES`] are cut into parts: sled writes values
//! of 131 KB and more (16 of ours in one leaf) to files that it never syncs (measured: 7 KiB values never do that).
//!
//! Payloads are bincode 2, standard configuration, with a limit on what may be allocated and no bytes left over; rows'
//! vectors and bitmaps are raw little-endian bytes.

use std::fmt;

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::error::{Error, Result};
use crate::records::key::Key;

/// Largest value that sled is given.
pub(crate) const PART_BYTES: usize = 7 * 1024;

/// Largest payload of one record; also bincode's limit.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 << 20;

const MAGIC: [u8; 2] = *b"Gm";
const VERSION: u8 = 1;

// Header: magic at 0, version at 2, tag at 3, payload length at 4, checksum at 8, payload from 12.
const VERSION_AT: usize = 2;
const TAG_AT: usize = 3;
const HEADER_BYTES: usize = 12;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_PAYLOAD_BYTES>> =
    config::standard().with_limit::<MAX_PAYLOAD_BYTES>();

/// Puts a payload into its envelope.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD_BYTES`]: callers refuse such input first.
pub(crate) fn wrap(key: &Key, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a payload of {} bytes", payload.len());
    let mut record = Vec::with_capacity(HEADER_BYTES + payload.len());
    record.extend(MAGIC);
    record.push(VERSION);
    record.push(key.tag() as u8);
    record.extend((payload.len() as u32).to_le_bytes());
    record.extend(checksum(key, payload).to_le_bytes());
    record.extend(payload);
    record
}

/// Takes a payload out of its envelope.
pub(crate) fn unwrap(key: &Key, record: &[u8]) -> Result<Vec<u8>> {
    let Some((header, payload)) = record.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::corrupt(key, format!("{} bytes are too few", record.len())));
    };
    let [m0, m1, version, tag, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let problem = if [m0, m1] != MAGIC {
        "it does not start as a record does".to_owned()
    } else if version != VERSION {
        format!("byte {VERSION_AT} says version {version}, this program knows {VERSION}")
    } else if tag != key.tag() as u8 {
        format!("byte {TAG_AT} says kind {tag}, its key says {}", key.tag() as u8)
    } else if u32::from_le_bytes([l0, l1, l2, l3]) as usize != payload.len() {
        format!("{} bytes of payload are not what its header says", payload.len())
    } else if u32::from_le_bytes([c0, c1, c2, c3]) != checksum(key, payload) {
        "the checksum does not match".to_owned()
    } else {
        return Ok(payload.to_vec());
    };
    Err(Error::corrupt(key, problem))
}

/// How many parts a record with a payload of this many bytes is stored in.
pub(crate) fn n_parts(payload_bytes: usize) -> u16 {
    (HEADER_BYTES + payload_bytes).div_ceil(PART_BYTES) as u16
}

fn checksum(key: &Key, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.encode());
    hasher.update(payload);
    hasher.finalize()
}

/// Encodes a payload.
///
/// # Panics
/// Never: the types of this crate have no value that cannot be encoded into memory.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG).expect("our own records can be encoded")
}

/// Decodes a payload; `of` names it in the error.
pub(crate) fn decode<T: Decode<()>>(of: impl fmt::Display, payload: &[u8]) -> Result<T> {
    let (value, n_read) = bincode::decode_from_slice(payload, CONFIG)
        .map_err(|error| Error::corrupt(&of, error.to_string()))?;
    if n_read != payload.len() {
        let n_left = payload.len() - n_read;
        return Err(Error::corrupt(of, format!("{n_left} bytes are left over at its end")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Row { collection: 1, row: 5 };

    #[test]
    fn a_record_gives_its_payload_back() {
        for n_bytes in [0, 1, 100, 9_000] {
            let payload = vec![7; n_bytes];
            assert_eq!(unwrap(&KEY, &wrap(&KEY, &payload)).unwrap(), payload);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found_and_named() {
        let record = wrap(&KEY, b"a payload");
        for at in 0..record.len() {
            let mut flipped = record.clone();
            for bit in 0..8 {
                flipped[at] = record[at] ^ (1 << bit);
                let error = unwrap(&KEY, &flipped).unwrap_err();
                assert!(error.is_corruption());
                assert!(error.to_string().contains("row 5 of collection number 1"), "{error}");
            }
            assert!(unwrap(&KEY, &record[..at]).unwrap_err().is_corruption());
        }
    }

    #[test]
    fn a_record_under_another_key_is_refused() {
        let record = wrap(&KEY, b"a payload");
        assert!(unwrap(&Key::Row { collection: 1, row: 6 }, &record).is_err());
    }

    #[test]
    fn bytes_left_over_and_absurd_lengths_are_refused() {
        let mut payload = encode(&"text".to_owned());
        assert_eq!(decode::<String>("x", &payload).unwrap(), "text");
        payload.push(0);
        assert!(decode::<String>("x", &payload).is_err());
        let absurd = encode(&(1_u64 << 60));
        assert!(decode::<Vec<u8>>("x", &absurd).is_err());
    }

    #[test]
    fn parts_are_counted_with_the_header() {
        assert_eq!(n_parts(0), 1);
        assert_eq!(n_parts(PART_BYTES - HEADER_BYTES), 1);
        assert_eq!(n_parts(PART_BYTES - HEADER_BYTES + 1), 2);
        assert!(u16::try_from((HEADER_BYTES + MAX_PAYLOAD_BYTES).div_ceil(PART_BYTES)).is_ok());
    }
}
