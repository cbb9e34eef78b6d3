//! Rows to a table: a row group at a time, numbers as they are, texts compressed.

use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use ::parquet::errors::Result;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::ColumnPath;
use gemmule::Document;

/// A row group is written when its rows have this many bytes.
const GROUP_BYTES: usize = 32 << 20;

/// The columns, in the order in which they are written.
const SCHEMA: &str = "message rows {
    required binary id (STRING);
    required group vector (LIST) { repeated group list { required float element; } }
    optional binary text (STRING);
    optional binary title (STRING);
    optional binary meta (STRING);
}";

/// A table that is written row by row.
pub(crate) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    group: Group,
    width: usize,
}

/// Rows that wait to be written.
#[derive(Default)]
struct Group {
    ids: Vec<ByteArray>,
    numbers: Vec<f32>, // [rows, width]
    texts: Optional,
    titles: Optional,
    metas: Optional,
    n_bytes: usize,
}

/// A column of texts, of which some are missing.
#[derive(Default)]
struct Optional {
    values: Vec<ByteArray>,
    defs: Vec<i16>,
}

impl Optional {
    fn push(&mut self, text: Option<String>) -> usize {
        self.defs.push(i16::from(text.is_some()));
        let n_bytes = text.as_ref().map_or(0, String::len);
        self.values.extend(text.map(|text| ByteArray::from(text.into_bytes())));
        n_bytes
    }
}

impl<W: Write + Send> Writer<W> {
    /// Begins a table of rows of this width.
    pub(crate) fn new(out: W, width: usize) -> Result<Writer<W>> {
        let numbers = ColumnPath::from(vec!["vector".into(), "list".into(), "element".into()]);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("gemmule ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::None)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Numbers of vectors hardly repeat: nothing would be gained, and much time lost.
            .set_column_compression(numbers.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(numbers, false)
            .build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Writer { file, group: Group::default(), width })
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, document: &Document, vector: &[f32]) -> anyhow::Result<()> {
        assert_eq!(vector.len(), self.width, "a table has rows of equal width");
        let Document { id, text, title, meta } = document;
        let group = &mut self.group;
        group.n_bytes += id.len() + size_of_val(vector);
        group.ids.push(ByteArray::from(id.clone().into_bytes()));
        group.numbers.extend_from_slice(vector);
        let meta = (!meta.is_empty()).then(|| serde_json::to_string(meta)).transpose()?;
        group.n_bytes += group.texts.push((!text.is_empty()).then(|| text.clone()));
        group.n_bytes += group.titles.push(title.clone());
        group.n_bytes += group.metas.push(meta);
        if group.n_bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<()> {
        let Group { ids, numbers, texts, titles, metas, .. } = std::mem::take(&mut self.group);
        let mut group = self.file.next_row_group()?;
        column::<ByteArrayType>(&mut group, &ids, None, None)?;
        let defs = vec![1; numbers.len()];
        let reps: Vec<i16> =
            (0..numbers.len()).map(|idx| i16::from(!idx.is_multiple_of(self.width))).collect();
        column::<FloatType>(&mut group, &numbers, Some(&defs), Some(&reps))?;
        for Optional { values, defs } in [texts, titles, metas] {
            column::<ByteArrayType>(&mut group, &values, Some(&defs), None)?;
        }
        group.close().map(|_| ())
    }

    /// Ends the table.
    pub(crate) fn finish(mut self) -> Result<W> {
        if !self.group.ids.is_empty() {
            self.write_group()?;
        }
        self.file.into_inner()
    }
}

/// Writes the next column of a row group.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    defs: Option<&[i16]>,
    reps: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.expect("the schema has this column");
    column.typed::<T>().write_batch(values, defs, reps)?;
    column.close()
}
