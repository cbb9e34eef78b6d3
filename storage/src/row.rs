//! Rows: what is kept beside each vector, and the rows that are not yet in a segment.
//!
//! A row's information (document, text, range, ...) has one encoding, used in sled's row records and in the text blocks
//! of segments. It is decoded only for rows that are shown to someone.

use std::ops::Range;

use bincode::{Decode, Encode};
use index::{Form, Values, Vector};

use crate::document::{Chunk, StoredChunk};
use crate::error::{Error, Result};
use crate::filter::fields::Fields;
use crate::records::key::Key;
use crate::records::record;
use crate::space::Space;

/// What is kept beside a vector, in this order.
#[derive(Encode, Decode)]
struct RowInfo {
    precision: Option<String>,
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
    let Chunk { text, hash, range, page, headings, n_tokens, precision, vector: _ } = chunk;
    record::encode(&RowInfo {
        precision: precision.clone(),
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
        precision: info.precision,
    })
}

/// The chunk's hash, which is the last field of the encoded information.
///
/// # Panics
/// If `info` was not made by [`encode_info`] or read back by [`decode_info`].
pub(crate) fn hash_of(info: &[u8]) -> &[u8; 16] {
    info.last_chunk().expect("encoded information ends with 16 bytes of hash")
}

/// What the chunk's vector was made in, which is the first field of the encoded information of row `row`.
pub(crate) fn precision_of(row: u64, info: &[u8]) -> Result<Option<&str>> {
    let first = bincode::borrow_decode_from_slice(info, bincode::config::standard());
    let (precision, _) = first.map_err(|error| {
        Error::corrupt(
            format_args!("the text of row {row}"),
            format!("it does not begin with a precision: {error}"),
        )
    })?;
    Ok(precision)
}

/// A checksum (crc32) of all that is kept of a row: its id, its vector as kept, its encoded information.
pub(crate) fn sum(row: u64, vector: Values<'_>, info: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&row.to_le_bytes());
    hasher.update(vector.bytes());
    hasher.update(info);
    hasher.finalize()
}

/// The payload of a row's record: the information, then the vector as it is kept, little endian.
pub(crate) fn encode_row(info: &[u8], vector: Values<'_>) -> Vec<u8> {
    [info, vector.bytes()].concat()
}

/// Splits the payload of a row's record into information and vector.
pub(crate) fn decode_row(key: &Key, payload: &[u8], space: &Space) -> Result<(Vec<u8>, Vector)> {
    let found = payload.len().checked_sub(space.row_bytes());
    let Some((info, vector)) = found.and_then(|at| payload.split_at_checked(at)) else {
        let width = space.full_width;
        return Err(Error::corrupt(key, format!("no vector of width {width} fits in it")));
    };
    let vector = match space.form() {
        Form::Unit => {
            let (values, _) = vector.as_chunks();
            values.iter().map(|bytes| half::f16::from_le_bytes(*bytes)).collect()
        }
        Form::Given(_) => {
            let (values, _) = vector.as_chunks();
            Vector::F32(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
    };
    Ok((info.to_vec(), vector))
}

/// Consecutive rows of one document that are not yet in a segment, in memory.
///
/// sled holds the same rows; this copy is what searches read, so that they never wait for sled.
#[derive(Debug)]
pub(crate) struct Run {
    first_row: u64,
    width: usize,
    form: Form,
    vectors: Vector,       // [n_rows, width]
    infos: Vec<u8>,        // one after the other
    info_ends: Vec<usize>, // [n_rows]
    fields: Vec<Fields>,   // [n_rows], once described
}

impl Run {
    pub(crate) fn new(first_row: u64, space: &Space) -> Run {
        let (form, width) = (space.form(), space.full_width);
        let (vectors, infos, info_ends) = (Vector::empty(form), Vec::new(), Vec::new());
        Run { first_row, width, form, vectors, infos, info_ends, fields: Vec::new() }
    }

    /// How its vectors are kept and compared.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, info: &[u8], vector: Values<'_>) {
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
    pub(crate) fn vector(&self, idx: usize) -> Values<'_> {
        self.vectors.values().row(idx, self.width)
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
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Values<'_>)> {
        self.rows().zip((0..self.len()).map(|idx| self.vector(idx)))
    }
}
