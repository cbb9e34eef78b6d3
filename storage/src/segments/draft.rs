//! A segment in the making: rows and what is kept beside them go in, a file that no record names yet comes out.
//!
//! Sealing, merging and repairing all make segments here. The file is written under a temporary name and fsynced, renamed
//! to the name of its content, the directory fsynced. Publishing it is the caller's: until a record names it, a crash
//! leaves a file that the next opening removes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use index::{RowSet, SegmentBuilder, Shape, Values};

use crate::disk::{self, Need};
use crate::error::{Error, Result};
use crate::filter::columns::{Columns, META};
use crate::filter::fields::Fields;
use crate::records::record;
use crate::row;
use crate::segments::listing::{self, DOCS};
use crate::segments::sealed::{MADE, Made, Sealed, SegmentRecord};
use crate::segments::texts::{self, HASH, SUMS, TEXT};
use crate::space::Space;

/// How the names of segment files end.
pub(crate) const SUFFIX: &str = ".seg";

/// Rough size of a row's links, ids and checksums in a segment, for asking for space before the work is done.
const ROW_OVERHEAD_BYTES: usize = 512;

/// Rows on their way into a segment.
pub(crate) struct Draft<'a> {
    space: Arc<Space>,
    builder: SegmentBuilder<'a>,
    seed: u64,
    ends: Option<(u64, u64)>, // ids of the first and the last row
    n_rows: u64,
    texts: texts::Writer,
    hashes: Vec<u8>,
    sums: Vec<u8>,
    made: Made,
    documents: listing::Writer,
    fields: Vec<Described<'a>>,
}

/// What filters see of rows that follow each other.
enum Described<'a> {
    Fresh(Vec<Fields>),
    Sealed(&'a Sealed),
}

impl<'a> Draft<'a> {
    /// Begins a segment. No two segments of a database have the same seed and rows, so none have the same name.
    pub(crate) fn new(space: Arc<Space>, seed: u64) -> Draft<'a> {
        let (shape, form) = (Shape { full: space.full_width, dims: space.dims }, space.form());
        let quant = space.quant;
        Draft {
            space,
            builder: SegmentBuilder::new(shape, seed).quant(quant).form(form),
            seed,
            ends: None,
            n_rows: 0,
            texts: texts::Writer::default(),
            hashes: Vec::new(),
            sums: Vec::new(),
            made: BTreeMap::new(),
            documents: listing::Writer::default(),
            fields: Vec::new(),
        }
    }

    /// Adds a row; ids ascend. `info` is its encoded information, `fields` what filters see of it.
    pub(crate) fn push(
        &mut self,
        row: u64,
        vector: Values<'_>,
        info: &[u8],
        fields: Fields,
    ) -> Result<()> {
        self.builder.push(row, vector);
        self.keep(row, vector, info)?;
        match self.fields.last_mut() {
            Some(Described::Fresh(last)) => last.push(fields),
            _ => self.fields.push(Described::Fresh(vec![fields])),
        }
        Ok(())
    }

    /// Adds the live rows of a segment, whose ids are above those given before. Its vectors are read where they lie.
    pub(crate) fn extend(&mut self, source: &'a Sealed) -> Result<()> {
        let added = self.builder.extend(source.segment(), source.live());
        added.map_err(|problem| source.damaged(problem))?;
        let mut texts = source.texts()?;
        for row in source.live_rows() {
            let info = texts.info(row.0).map_err(|problem| source.corrupt(problem))?;
            self.keep(source.row_id(row), source.vector(row), info)?;
        }
        self.fields.push(Described::Sealed(source));
        Ok(())
    }

    /// Keeps what stands beside a row.
    fn keep(&mut self, row: u64, vector: Values<'_>, info: &[u8]) -> Result<()> {
        let precision = row::precision_of(row, info)?;
        match self.made.get_mut(precision.unwrap_or_default()) {
            Some(n_rows) => *n_rows += 1,
            None => drop(self.made.insert(precision.unwrap_or_default().to_owned(), 1)),
        }
        self.ends = Some((self.ends.map_or(row, |(first, _)| first), row));
        self.n_rows += 1;
        self.texts.push(info);
        self.hashes.extend(row::hash_of(info));
        self.sums.extend(row::sum(row, vector, info).to_le_bytes());
        Ok(())
    }

    /// Adds a document whose rows are in the segment, in the order of its rows; `record` is the payload of its record.
    pub(crate) fn push_document(&mut self, id: &str, record: &[u8]) {
        self.documents.push(id, record);
    }

    /// Builds the segment, writes its file and opens it; `None` if there are no rows or `cancelled` said so.
    pub(crate) fn write(
        mut self,
        segments_dir: &Path,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Sealed>> {
        let Some((first_row, last_row)) = self.ends else { return Ok(None) };
        self.builder.section(TEXT, self.texts.finish());
        self.builder.section(HASH, self.hashes);
        self.builder.section(SUMS, self.sums);
        self.builder.section(MADE, record::encode(&self.made));
        self.builder.section(DOCS, self.documents.finish());
        self.builder.section(META, columns(self.fields)?);
        let Some(built) = self.builder.build(cancelled) else { return Ok(None) };
        let n_bytes = built.n_bytes();
        disk::require(segments_dir, Need::File(n_bytes))?;
        // No two segments that are written at the same time have the same seed.
        let temporary = format!("{:016x}", self.seed);
        let named = disk::write_named(
            segments_dir,
            &temporary,
            |out| built.write_to(&mut Stoppable { out, cancelled }),
            |hash| format!("{hash:032x}{SUFFIX}"),
        );
        let name = match named {
            Err(_) if cancelled() => return Ok(None),
            named => named?,
        };
        let record = SegmentRecord { name, first_row, last_row, n_rows: self.n_rows, n_bytes };
        Sealed::open(segments_dir, record, &self.space).map(Some)
    }
}

/// Writes until it is told to stop, then fails.
struct Stoppable<'a> {
    out: &'a mut dyn Write,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.cancelled)() {
            return Err(io::Error::other("it was stopped"));
        }
        self.out.write(&bytes[..bytes.len().min(MOST_AT_ONCE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes written between two looks at whether to stop.
const MOST_AT_ONCE: usize = 4 << 20;

/// The columns of all rows.
fn columns(parts: Vec<Described<'_>>) -> Result<Vec<u8>> {
    let mut sections: Vec<(Cow<'_, [u8]>, RowSet)> = Vec::new();
    for part in parts {
        sections.push(match part {
            Described::Fresh(fields) => {
                let rows = RowSet::all(fields.len());
                (Columns::build(fields.into_iter()).into(), rows)
            }
            Described::Sealed(source) => {
                let all = || RowSet::all(source.n_rows());
                (source.meta()?.into(), source.live().cloned().unwrap_or_else(all))
            }
        });
    }
    if let [(fresh @ Cow::Owned(_), _)] = &mut sections[..] {
        return Ok(std::mem::take(fresh).into_owned());
    }
    let open = |(section, live)| Ok((Columns::open(section, RowSet::n_rows(live))?, live));
    let opened: Result<Vec<_>, _> = sections.iter().map(|(a, b)| open((a, b))).collect();
    let merged = opened.and_then(|opened| Columns::merge(&opened));
    merged.map_err(|problem| Error::corrupt("the metadata of segments that are merged", problem))
}

/// Bytes that a segment of so many rows takes, roughly; `text_bytes` are those of its texts as they will lie in it.
pub(crate) fn estimate_bytes(space: &Space, n_rows: usize, text_bytes: usize) -> u64 {
    (n_rows * (space.row_bytes() + space.dims + ROW_OVERHEAD_BYTES) + text_bytes) as u64
}

/// Removes the file of a segment that no record names and nobody searches.
pub(crate) fn discard(segments_dir: &Path, sealed: Sealed) {
    // Best effort: what stays is removed at the next open.
    let _ = fs::remove_file(segments_dir.join(sealed.name()));
}
