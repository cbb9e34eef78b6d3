//! Tables as pyarrow, pandas and polars write them: <https://parquet.apache.org/docs/file-format/>.
//!
//! | column | holds | may be null |
//! |---|---|---|
//! | `id` | a text, or a whole number | |
//! | `vector` | a list of float, double or half, of any of the kinds of list | |
//! | `text`, `title` | a text | yes, or missing |
//! | `meta` | a text: a JSON object | yes, or missing |
//!
//! Rows are decoded a few at a time; of a row group no more than a page of each column is in memory. The
//! metadata of a file is believed only where being lied to costs nothing. Some damage the library panics
//! over: such a panic ends as an error, and [`is_reading`] keeps it from being printed.

mod column;
mod schema;
mod write;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use anyhow::{Context, bail};
use gemmule::Document;
use serde_json::{Map, Value};

use column::Column;
use schema::Columns;

pub(super) use write::Writer;

/// Rows that are decoded together have about this many bytes,
const BATCH_BYTES: i64 = 8 << 20;

/// are no more than this,
const BATCH_ROWS: i64 = 1024;

/// and have no more numbers than this: lists of few different ones take few bytes.
const BATCH_NUMBERS: i64 = 1 << 18;

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is in the library, where a panic is an outcome and no bug: for the
/// program's panic hook.
pub(crate) fn is_reading() -> bool {
    IS_READING.get()
}

/// Does what a damaged file may make the library panic over.
fn caught<T>(read: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    IS_READING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    IS_READING.set(false);
    outcome.unwrap_or_else(|_| bail!("it is damaged in a way that its reader did not expect"))
}

/// Rows that are read one by one.
pub(super) struct Reader<R: ChunkReader + 'static> {
    file: SerializedFileReader<R>,
    columns: Columns,
    group: Option<Group>,
    n_groups: usize,
    batch: vec::IntoIter<(Document, Vec<f32>)>,
    n_decoded: usize,
}

/// The row group that is being read.
struct Group {
    id: Column,
    vector: Column,
    text: Option<Column>,
    title: Option<Column>,
    meta: Option<Column>,
    n_left: usize,
    batch_rows: usize,
}

impl<R: ChunkReader + 'static> Reader<R> {
    /// Reads the metadata and finds the columns.
    pub(super) fn new(file: R) -> anyhow::Result<Reader<R>> {
        let open = || SerializedFileReader::new(file).context("it is not a whole Parquet file");
        let file = caught(open)?;
        let columns = Columns::find(file.metadata().file_metadata().schema_descr())?;
        let batch = Vec::new().into_iter();
        Ok(Reader { file, columns, group: None, n_groups: 0, batch, n_decoded: 0 })
    }

    /// The next row; none after the last. After an error nothing more can be read.
    pub(super) fn next_row(&mut self) -> anyhow::Result<Option<(Document, Vec<f32>)>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            match &mut self.group {
                Some(group) if group.n_left > 0 => {
                    let batch = caught(|| group.next_batch(self.n_decoded))?;
                    self.n_decoded += batch.len();
                    self.batch = batch.into_iter();
                }
                _ if self.n_groups == self.file.num_row_groups() => return Ok(None),
                _ => {
                    let open = || Group::open(&self.file, &self.columns, self.n_groups);
                    let doing = || format!("row group {}", self.n_groups);
                    self.group = Some(caught(open).with_context(doing)?);
                    self.n_groups += 1;
                }
            }
        }
    }
}

impl Group {
    fn open<R: ChunkReader + 'static>(
        file: &SerializedFileReader<R>,
        columns: &Columns,
        group_idx: usize,
    ) -> anyhow::Result<Group> {
        let group = file.get_row_group(group_idx)?;
        let open = |leaf: usize| Column::open(&*group, leaf);
        Ok(Group {
            id: open(columns.id)?,
            vector: open(columns.vector)?,
            text: columns.text.map(open).transpose()?,
            title: columns.title.map(open).transpose()?,
            meta: columns.meta.map(open).transpose()?,
            n_left: usize::try_from(group.metadata().num_rows())
                .context("it has less than no rows")?,
            batch_rows: batch_rows(group.metadata(), columns.vector),
        })
    }

    /// Decodes rows; the first of them is this row of the file.
    fn next_batch(&mut self, first_row: usize) -> anyhow::Result<Vec<(Document, Vec<f32>)>> {
        let n_rows = self.batch_rows.min(self.n_left);
        self.n_left -= n_rows;
        let ids = self.id.ids(n_rows, first_row)?;
        let vectors = self.vector.vectors(n_rows, first_row)?;
        let texts = |column: &mut Option<Column>| match column {
            Some(column) => column.texts(n_rows, first_row),
            None => Ok(vec![None; n_rows]),
        };
        let (texts, titles, metas) =
            (texts(&mut self.text)?, texts(&mut self.title)?, texts(&mut self.meta)?);
        let said = texts.into_iter().zip(titles).zip(metas);
        let rows = ids.into_iter().zip(vectors).zip(said).enumerate();
        rows.map(|(position, ((id, vector), ((text, title), meta)))| {
            let doing = || format!("row {}", first_row + position);
            let id = id.context("its 'id' is null").with_context(doing)?;
            let meta = meta.map(|meta| object(&meta)).transpose().with_context(doing)?;
            let (text, meta) = (text.unwrap_or_default(), meta.unwrap_or_default());
            Ok((Document { id, text, title, meta }, vector))
        })
        .collect()
    }
}

/// How many rows of a group are decoded together.
fn batch_rows(group: &RowGroupMetaData, vector: usize) -> usize {
    let n_rows = group.num_rows().max(1);
    let most = |limit: i64, all: i64| limit / (all / n_rows).max(1);
    let by_bytes = most(BATCH_BYTES, group.total_byte_size());
    let by_numbers = most(BATCH_NUMBERS, group.column(vector).num_values());
    by_bytes.min(by_numbers).clamp(1, BATCH_ROWS) as usize
}

/// A row's metadata; an empty text is none.
fn object(meta: &str) -> anyhow::Result<Map<String, Value>> {
    if meta.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_str(meta).context("its 'meta' is not JSON")?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        other => bail!("its 'meta' is {}, not a JSON object", super::jsonl::kind(&other)),
    }
}
