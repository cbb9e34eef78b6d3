//! A column of a row group, decoded a few rows at a time, and the guard before its pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::basic::{Encoding, LogicalType};
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::RowGroupReader;
use ::parquet::schema::types::ColumnDescPtr;
use anyhow::{Context, bail, ensure};
use half::f16;

use super::super::MAX_WIDTH;

/// Pages that are begun for one batch promise no more values than this. A page of a few bytes can promise
/// two thousand million, and all of one row.
const MAX_BATCH_VALUES: u64 = 1 << 26;

/// A column of a row group.
pub(super) struct Column {
    reader: ColumnReader,
    column: ColumnDescPtr,
    n_allowed: Arc<AtomicU64>, // values
}

/// What a batch of rows is decoded to.
struct Batch<T> {
    values: Vec<T>, // without nulls
    defs: Vec<i16>, // empty if nothing can be null
    reps: Vec<i16>, // empty if it is no list
}

impl Column {
    pub(super) fn open(group: &dyn RowGroupReader, leaf: usize) -> anyhow::Result<Column> {
        let column = group.metadata().column(leaf).column_descr_ptr();
        let n_allowed = Arc::new(AtomicU64::new(0));
        let pages = group.get_column_page_reader(leaf)?;
        let guarded =
            Box::new(GuardedPages { pages, n_allowed: n_allowed.clone(), has_dictionary: false });
        Ok(Column { reader: get_column_reader(column.clone(), guarded), column, n_allowed })
    }

    /// The next texts.
    pub(super) fn texts(
        &mut self,
        n_rows: usize,
        first_row: usize,
    ) -> anyhow::Result<Vec<Option<String>>> {
        let place = self.place(first_row, n_rows);
        let doing = || place.clone();
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                let batch = read(reader, n_rows, &self.n_allowed).with_context(doing)?;
                let max_def = self.column.max_def_level();
                let texts = batch.values.iter().map(|text| str::from_utf8(text.data()));
                let rows = spread(texts, &batch.defs, max_def).zip(first_row..);
                rows.map(|(text, row)| {
                    let text = text.transpose();
                    let text = text.with_context(|| {
                        format!("row {row}: its '{}' is not UTF-8", self.column.name())
                    })?;
                    Ok(text.map(str::to_owned))
                })
                .collect()
            }
            _ => bail!("{place} holds no texts"),
        }
    }

    /// The next ids: texts, or numbers as they are written.
    pub(super) fn ids(
        &mut self,
        n_rows: usize,
        first_row: usize,
    ) -> anyhow::Result<Vec<Option<String>>> {
        let place = self.place(first_row, n_rows);
        let doing = || place.clone();
        let max_def = self.column.max_def_level();
        let is_signed = match self.column.logical_type_ref() {
            Some(LogicalType::Integer(integer)) => integer.is_signed,
            _ => true,
        };
        Ok(match &mut self.reader {
            ColumnReader::Int32ColumnReader(reader) => {
                let batch = read(reader, n_rows, &self.n_allowed).with_context(doing)?;
                let id =
                    |id: &i32| if is_signed { id.to_string() } else { (*id as u32).to_string() };
                spread(batch.values.iter().map(id), &batch.defs, max_def).collect()
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let batch = read(reader, n_rows, &self.n_allowed).with_context(doing)?;
                let id =
                    |id: &i64| if is_signed { id.to_string() } else { (*id as u64).to_string() };
                spread(batch.values.iter().map(id), &batch.defs, max_def).collect()
            }
            _ => return self.texts(n_rows, first_row),
        })
    }

    /// The next vectors. Their widths are looked at by who takes them.
    pub(super) fn vectors(
        &mut self,
        n_rows: usize,
        first_row: usize,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let place = self.place(first_row, n_rows);
        let doing = || place.clone();
        let n_allowed = &self.n_allowed;
        let (values, defs, reps) = match &mut self.reader {
            ColumnReader::FloatColumnReader(reader) => {
                let Batch { values, defs, reps } =
                    read(reader, n_rows, n_allowed).with_context(doing)?;
                (values, defs, reps)
            }
            ColumnReader::DoubleColumnReader(reader) => {
                let Batch { values, defs, reps } =
                    read(reader, n_rows, n_allowed).with_context(doing)?;
                (values.iter().map(|x| *x as f32).collect(), defs, reps)
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                let Batch { values, defs, reps } =
                    read(reader, n_rows, n_allowed).with_context(doing)?;
                let halves: Option<Vec<[u8; 2]>> =
                    values.iter().map(|bytes| bytes.data().try_into().ok()).collect();
                let halves = halves.context("a half is not 2 bytes").with_context(doing)?;
                (halves.iter().map(|x| f16::from_le_bytes(*x).to_f32()).collect(), defs, reps)
            }
            _ => bail!("{place} holds no numbers"),
        };
        self.rows_of(values, defs.into_iter().zip(reps), first_row)
    }

    /// Cuts the numbers of a batch into its rows. `levels`: for each number or null how much of its path
    /// is there, and 0 where a row begins.
    fn rows_of(
        &self,
        values: Vec<f32>,
        levels: impl Iterator<Item = (i16, i16)>,
        first_row: usize,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let (full, in_list) =
            (self.column.max_def_level(), self.column.repeated_ancestor_def_level());
        let mut rows: Vec<Vec<f32>> = Vec::new();
        let mut values = values.into_iter();
        for (def, rep) in levels {
            if rep == 0 {
                rows.push(Vec::new());
            }
            let row_idx = (first_row + rows.len()).saturating_sub(1);
            let row = rows.last_mut().context("a list begins before its row does")?;
            ensure!(row.len() < MAX_WIDTH, "row {row_idx}: its vector is wider than {MAX_WIDTH}");
            if def == full {
                row.push(values.next().context("a page has fewer numbers than it says")?);
            } else if def >= in_list {
                bail!("row {row_idx}: number {} of its vector is null", row.len());
            } else if def + 1 == in_list {
                bail!("row {row_idx}: its vector is empty");
            } else {
                bail!("row {row_idx}: its vector is null");
            }
        }
        Ok(rows)
    }

    fn place(&self, first_row: usize, n_rows: usize) -> String {
        let last_row = first_row + n_rows.saturating_sub(1);
        format!("rows {first_row} to {last_row}, column '{}'", self.column.path().string())
    }
}

/// Decodes rows, all that are asked for.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    n_rows: usize,
    n_allowed: &AtomicU64,
) -> anyhow::Result<Batch<T::T>> {
    n_allowed.store(MAX_BATCH_VALUES, Ordering::Relaxed);
    let (mut values, mut defs, mut reps) = (Vec::new(), Vec::new(), Vec::new());
    let (n_read, _, _) =
        reader.read_records(n_rows, Some(&mut defs), Some(&mut reps), &mut values)?;
    ensure!(n_read == n_rows, "it has fewer rows than the row group");
    Ok(Batch { values, defs, reps })
}

/// The values of rows, with none where there is a null.
fn spread<T>(
    mut values: impl Iterator<Item = T>,
    defs: &[i16],
    max_def: i16,
) -> impl Iterator<Item = Option<T>> {
    let n_more = if max_def == 0 { usize::MAX } else { 0 };
    let is_there = defs.iter().map(move |def| *def == max_def);
    is_there
        .chain(std::iter::repeat_n(true, n_more))
        .map_while(move |is_there| if is_there { values.next().map(Some) } else { Some(None) })
}

/// Pages that promise what they can hold: of a page that promises more, the library would make room first. And without
/// what it would panic over.
struct GuardedPages {
    pages: Box<dyn PageReader>,
    n_allowed: Arc<AtomicU64>,
    has_dictionary: bool,
}

impl GuardedPages {
    fn check(&mut self, page: &Page) -> Result<()> {
        let n_values = u64::from(page.num_values());
        if !page.is_data_page() {
            // Of the values that dictionaries hold, halves are the smallest.
            self.has_dictionary = true;
            let most = (page.buffer().len() / size_of::<f16>()) as u64;
            return within(n_values, most, "its dictionary promises more values than it has bytes");
        }
        if matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)
            && !self.has_dictionary
        {
            return Err(ParquetError::General(
                "a page needs a dictionary that is not there".into(),
            ));
        }
        let n_left = self.n_allowed.load(Ordering::Relaxed);
        within(n_values, n_left, "its pages promise more values than so few rows can have")?;
        self.n_allowed.store(n_left - n_values, Ordering::Relaxed);
        Ok(())
    }
}

fn within(n: u64, most: u64, problem: &str) -> Result<()> {
    if n <= most { Ok(()) } else { Err(ParquetError::General(format!("{problem}: {n}"))) }
}

impl Iterator for GuardedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for GuardedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
