//! Files of vectors, by the ending of their name: one row after the other, each with an id.
//!
//! | file | a row |
//! |---|---|
//! | `.jsonl` | an object a line: `id`, `vector`, and if there are any `text`, `title`, `meta` |
//! | `.npy` | a row of a matrix |
//! | `.fvecs` | the width as a 32-bit number, then as many float32, little endian |
//! | `.parquet` | a row of a table with the columns `id`, `vector`, and if there are any `text`, `title`, `meta` |
//!
//! Two of them have no ids: these are in a file of the same name with `.ids` after it, one a line, or
//! they are the numbers of the rows, from 0. A file is read as it comes, whatever its size. What is wrong
//! is said with the row.

mod fvecs;
mod jsonl;
mod parquet;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use gemmule::Document;

use crate::output::Usage;
use gemmule::engine::npy;
pub(crate) use parquet::is_reading;

/// Bytes that are read ahead.
const READ_BYTES: usize = 1 << 20;

/// The widest row that is read: a damaged file can promise any.
pub(crate) const MAX_WIDTH: usize = 1 << 16;

/// What a file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Jsonl,
    Npy,
    Fvecs,
    Parquet,
}

impl Format {
    /// What the ending of a file's name says.
    fn of(path: &Path) -> anyhow::Result<Format> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("jsonl") => Ok(Format::Jsonl),
            Some("npy") => Ok(Format::Npy),
            Some("fvecs") => Ok(Format::Fvecs),
            Some("parquet") => Ok(Format::Parquet),
            _ => bail!(Usage(format!(
                "{}: the name of a file of vectors ends in .jsonl, .parquet, .npy or .fvecs",
                path.display()
            ))),
        }
    }
}

/// The file of ids beside a file of vectors: its name, and `.ids` after it.
pub(crate) fn ids_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".ids");
    name.into()
}

/// A file that is read row by row.
pub(crate) struct Reader {
    rows: Rows,
    ids: Option<Ids>,
    path: PathBuf,
    n_read: usize,
}

enum Rows {
    Jsonl(jsonl::Reader<BufReader<File>>),
    Npy(npy::Reader<BufReader<File>>),
    Fvecs(fvecs::Reader<BufReader<File>>),
    Parquet(Box<parquet::Reader<File>>),
}

impl Reader {
    /// Opens a file, and that of its ids if there is one.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Reader> {
        let format = Format::of(path)?;
        let doing = || format!("could not read {}", path.display());
        let file = File::open(path).with_context(doing)?;
        let ahead = |file: File| BufReader::with_capacity(READ_BYTES, file);
        let rows = match format {
            Format::Jsonl => Rows::Jsonl(jsonl::Reader::new(ahead(file))),
            Format::Npy => Rows::Npy(npy::Reader::new(ahead(file)).with_context(doing)?),
            Format::Fvecs => Rows::Fvecs(fvecs::Reader::new(ahead(file))),
            Format::Parquet => {
                Rows::Parquet(Box::new(parquet::Reader::new(file).with_context(doing)?))
            }
        };
        let ids = match format {
            Format::Jsonl | Format::Parquet => None,
            Format::Npy | Format::Fvecs => Ids::open(&ids_path(path))?,
        };
        Ok(Reader { rows, ids, path: path.to_owned(), n_read: 0 })
    }

    /// What the next row is called in messages.
    pub(crate) fn place(&self) -> String {
        match &self.rows {
            Rows::Jsonl(reader) => format!("line {}", reader.line()),
            _ => format!("row {}", self.n_read.saturating_sub(1)),
        }
    }

    /// The next row; none after the last.
    pub(crate) fn next_row(&mut self) -> anyhow::Result<Option<(Document, Vec<f32>)>> {
        let row = self.read().with_context(|| format!("could not read {}", self.path.display()))?;
        if row.is_none() {
            let n_rows = self.n_read;
            let more = self.ids.as_mut().map(|ids| ids.next_id()).transpose()?.flatten();
            ensure!(
                more.is_none(),
                "{} has more ids than {} has rows: {n_rows}",
                ids_path(&self.path).display(),
                self.path.display()
            );
        }
        Ok(row)
    }

    fn read(&mut self) -> anyhow::Result<Option<(Document, Vec<f32>)>> {
        let mut vector = Vec::new();
        let is_there = match &mut self.rows {
            Rows::Jsonl(reader) => return reader.next_row(),
            Rows::Parquet(reader) => {
                let row = reader.next_row()?;
                self.n_read += usize::from(row.is_some());
                return Ok(row);
            }
            Rows::Npy(reader) => reader.next_row(&mut vector)?,
            Rows::Fvecs(reader) => reader.next_row(&mut vector)?,
        };
        if !is_there {
            return Ok(None);
        }
        let row_idx = self.n_read;
        self.n_read += 1;
        let id = match &mut self.ids {
            None => row_idx.to_string(),
            Some(ids) => ids
                .next_id()?
                .with_context(|| format!("{} has no id for row {row_idx}", ids.path.display()))?,
        };
        Ok(Some((Document::new(id, ""), vector)))
    }
}

/// Ids of rows, one a line.
struct Ids {
    lines: BufReader<File>,
    path: PathBuf,
    n_read: usize,
}

impl Ids {
    /// None if there is no such file.
    fn open(path: &Path) -> anyhow::Result<Option<Ids>> {
        match File::open(path) {
            Ok(file) => {
                Ok(Some(Ids { lines: BufReader::new(file), path: path.to_owned(), n_read: 0 }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
        }
    }

    /// None after the last.
    fn next_id(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        let doing = |path: &Path, n: usize| format!("could not read {}, line {n}", path.display());
        self.n_read += 1;
        let n_bytes =
            self.lines.read_line(&mut line).with_context(|| doing(&self.path, self.n_read))?;
        if n_bytes == 0 {
            return Ok(None);
        }
        let id = line.strip_suffix('\n').unwrap_or(&line);
        let id = id.strip_suffix('\r').unwrap_or(id);
        ensure!(!id.is_empty(), "{}, line {}: the id is empty", self.path.display(), self.n_read);
        Ok(Some(id.to_owned()))
    }
}

/// A file that is written row by row.
pub(crate) struct Writer {
    out: Out,
    ids: Option<BufWriter<File>>,
    path: PathBuf,
}

enum Out {
    Jsonl(BufWriter<File>),
    Npy(BufWriter<File>),
    Fvecs(BufWriter<File>),
    Parquet(Box<parquet::Writer<BufWriter<File>>>),
}

impl Writer {
    /// Creates a file for this many rows of this width, and one for their ids if it has no room for
    /// them. They get their names when they are whole.
    pub(crate) fn create(path: &Path, n_rows: usize, width: usize) -> anyhow::Result<Writer> {
        let format = Format::of(path)?;
        let create = |path: &Path| {
            let path = part_path(path);
            let doing = || format!("could not write {}", path.display());
            File::create(&path).map(BufWriter::new).with_context(doing)
        };
        let mut out = create(path)?;
        let ids = match format {
            Format::Jsonl | Format::Parquet => None,
            Format::Npy | Format::Fvecs => Some(create(&ids_path(path))?),
        };
        let out = match format {
            Format::Jsonl => Out::Jsonl(out),
            Format::Npy => {
                npy::write_header(&mut out, n_rows, width)?;
                Out::Npy(out)
            }
            Format::Fvecs => Out::Fvecs(out),
            Format::Parquet => Out::Parquet(Box::new(parquet::Writer::new(out, width)?)),
        };
        Ok(Writer { out, ids, path: path.to_owned() })
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, document: &Document, vector: &[f32]) -> anyhow::Result<()> {
        let id = &document.id;
        match &mut self.out {
            Out::Jsonl(out) => jsonl::write(out, document, vector).map_err(Into::into),
            Out::Npy(out) => npy::write_row(out, vector).map_err(Into::into),
            Out::Fvecs(out) => fvecs::write_row(out, vector).map_err(Into::into),
            Out::Parquet(out) => out.row(document, vector),
        }
        .with_context(|| format!("could not write {}", self.path.display()))?;
        if let Some(ids) = &mut self.ids {
            ensure!(
                !id.contains(['\n', '\r']),
                "the id {id:?} has a line break, which a file of ids cannot hold: export to \
                 .jsonl or .parquet"
            );
            writeln!(ids, "{id}").context("could not write the ids")?;
        }
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let doing = || format!("could not write {}", self.path.display());
        match self.out {
            Out::Jsonl(mut out) | Out::Npy(mut out) | Out::Fvecs(mut out) => {
                out.flush().with_context(doing)?;
            }
            Out::Parquet(out) => out.finish().with_context(doing)?.flush().with_context(doing)?,
        }
        if let Some(ids) = &mut self.ids {
            ids.flush().with_context(doing)?;
            let path = ids_path(&self.path);
            fs::rename(part_path(&path), path).with_context(doing)?;
        }
        fs::rename(part_path(&self.path), &self.path).with_context(doing)
    }
}

/// The name of a file that is not whole yet.
fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// The one vector that a file holds; `-` is standard input, with a JSON array as `embed` writes it.
pub(crate) fn one_vector(path: &Path) -> anyhow::Result<Vec<f32>> {
    let json = |mut bytes: Box<dyn Read>, name: &str| {
        let mut text = String::new();
        bytes.read_to_string(&mut text).with_context(|| format!("could not read {name}"))?;
        serde_json::from_str::<Vec<f32>>(text.trim())
            .with_context(|| format!("could not read {name}: it is not one JSON array of numbers"))
    };
    if path == Path::new("-") {
        return json(Box::new(io::stdin().lock()), "standard input");
    }
    let name = path.display().to_string();
    if path.extension().is_some_and(|ending| ending == "json") {
        let file = File::open(path).with_context(|| format!("could not read {name}"))?;
        return json(Box::new(file), &name);
    }
    let mut reader = Reader::open(path)?;
    let (_, vector) = reader
        .next_row()?
        .with_context(|| format!("{name} has no rows: there is nothing to ask"))?;
    ensure!(reader.next_row()?.is_none(), "{name} has several rows; a search asks with one");
    Ok(vector)
}
