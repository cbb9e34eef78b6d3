//! Rows: what is kept beside each vector, and the rows that are not yet in a segment.
//!
//! A row's information (document, text, range, ...) has one encoding, used in sled's row records and in the text blocks
//! of segments. It is decoded only for rows that are shown to someone.

use std::ops::Range;

use bincode::{Decode, Encode};
use half::f16;

use crate::document::{Chunk, StoredChunk};
use crate::error::{Error, Result};
use crate::filter::fields::Fields;
use crate::records::key::Key;
use crate::records::record;

/// What is kept beside a vector, in this order.
#[derive(Encode, Decode)]
struct RowInfo {
    document: String,
    chunk_idx: u32,
    text: String,
    range_start: u64,
    range_end: u64,
    page: Option<u32>,
    headings: Vec<String>,
    n_tokens: u32,
    hash: [u8; 16],
}

/// Encodes what is kept beside a chunk's vector.
pub(crate) fn encode_info(document: &str, chunk_idx: u32, chunk: &Chunk) -> Vec<u8> {
    let Chunk { text, hash, range, page, headings, n_tokens, vector: _ } = chunk;
    record::encode(&RowInfo {
        document: document.to_owned(),
        chunk_idx,
        text: text.clone(),
        range_start: range.start,
        range_end: range.end,
        page: *page,
        headings: headings.clone(),
        n_tokens: *n_tokens,
        hash: *hash,
    })
}

/// Decodes what is kept beside row `row`.
pub(crate) fn decode_info(row: u64, bytes: &[u8]) -> Result<StoredChunk> {
    let info: RowInfo = record::decode(format_args!("the text of row {row}"), bytes)?;
    Ok(StoredChunk {
        document: info.document,
        chunk_idx: info.chunk_idx,
        text: info.text,
        range: info.range_start..info.range_end,
        page: info.page,
        headings: info.headings,
        n_tokens: info.n_tokens,
        hash: info.hash,
    })
}

/// The chunk's hash, which is the last field of the encoded information.
///
/// # Panics
/// If `info` was not made by [`encode_info`] or read back by [`decode_info`].
pub(crate) fn hash_of(info: &[u8]) -> &[u8; 16] {
    info.last_chunk().expect("encoded information ends with 16 bytes of hash")
}

/// A checksum (crc32) of all that is kept of a row: its id, its vector as kept, its encoded information.
pub(crate) fn sum(row: u64, vector: &[f16], info: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&row.to_le_bytes());
    vector.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
    hasher.update(info);
    hasher.finalize()
}

/// The payload of a row's record: the information, then the vector as little-endian f16.
pub(crate) fn encode_row(info: &[u8], vector: &[f16]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(info.len() + 2 * vector.len());
    payload.extend(info);
    payload.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    payload
}

/// Splits the payload of a row's record into information and vector.
pub(crate) fn decode_row(key: &Key, payload: &[u8], width: usize) -> Result<(Vec<u8>, Vec<f16>)> {
    let Some((info, vector)) =
        payload.len().checked_sub(2 * width).and_then(|at| payload.split_at_checked(at))
    else {
        return Err(Error::corrupt(key, format!("no vector of width {width} fits in it")));
    };
    let (values, _) = vector.as_chunks::<2>();
    Ok((info.to_vec(), values.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect()))
}

/// Consecutive rows of one document that are not yet in a segment, in memory.
///
/// sled holds the same rows; this copy is what searches read, so that they never wait for sled.
#[derive(Debug)]
pub(crate) struct Run {
    first_row: u64,
    width: usize,
    vectors: Vec<f16>,     // [n_rows, width]
    infos: Vec<u8>,        // one after the other
    info_ends: Vec<usize>, // [n_rows]
    fields: Vec<Fields>,   // [n_rows], once described
}

impl Run {
    pub(crate) fn new(first_row: u64, width: usize) -> Run {
        let (vectors, infos, info_ends) = (Vec::new(), Vec::new(), Vec::new());
        Run { first_row, width, vectors, infos, info_ends, fields: Vec::new() }
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, info: &[u8], vector: &[f16]) {
        assert_eq!(vector.len(), self.width);
        self.vectors.extend(vector);
        self.infos.extend(info);
        self.info_ends.push(self.infos.len());
    }

    /// Notes what filters see of the rows, once all are there: the fields of their document, and their own.
    pub(crate) fn describe(&mut self, document: &Fields) -> Result<()> {
        let fields = self.rows().enumerate().map(|(idx, row)| {
            let StoredChunk { chunk_idx, page, headings, n_tokens, .. } =
                decode_info(row, self.info(idx))?;
            Ok(document.with_chunk(chunk_idx, page, &headings, n_tokens))
        });
        self.fields = fields.collect::<Result<_>>()?;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.info_ends.len()
    }

    pub(crate) fn rows(&self) -> Range<u64> {
        self.first_row..self.first_row + self.len() as u64
    }

    /// The vector of the run's row number `idx`.
    pub(crate) fn vector(&self, idx: usize) -> &[f16] {
        &self.vectors[idx * self.width..][..self.width]
    }

    /// The encoded information of the run's row number `idx`.
    pub(crate) fn info(&self, idx: usize) -> &[u8] {
        let start = if idx == 0 { 0 } else { self.info_ends[idx - 1] };
        &self.infos[start..self.info_ends[idx]]
    }

    /// What filters see of each row.
    ///
    /// # Panics
    /// If the run is not described.
    pub(crate) fn fields(&self) -> &[Fields] {
        assert_eq!(self.fields.len(), self.len(), "a run is described before it is seen");
        &self.fields
    }

    /// Each row with its id and vector.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[f16])> {
        self.rows().zip((0..self.len()).map(|idx| self.vector(idx)))
    }
}
