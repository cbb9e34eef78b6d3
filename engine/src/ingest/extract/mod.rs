//! From the bytes of one file to text with marks.
//!
//! The kind is told by the file's name first and by its content second ([`Kind`]). Kinds that are
//! text already (Markdown, reStructuredText, plain text, source code, JSON, tables, XML) are returned
//! as they are, byte for byte, so that every range of the text is a range of the file. Kinds that hold
//! text inside something else (HTML, PDF, docx, notebooks) are rendered, and ranges are those of the
//! rendering ([`Offsets`]).
//!
//! A file ends as text, as skipped (it holds nothing for us, and we know why) or as failed (it should
//! have held text, and we could not get it). No text is cut to a length: what is too long is refused.

mod archive;
mod code;
mod docx;
mod encoding;
mod epub;
mod front_matter;
mod html;
mod json;
mod kind;
mod markdown;
mod notebook;
mod pdf;
mod plain;
mod pptx;
mod rendering;
mod rst;
mod run;
mod table;
mod xml;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use kind::Route;
pub use run::on_extracting_thread;
use run::{Watch, size};

/// The text of a file and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Extracted {
    /// The text; never empty, never only white space.
    pub text: String,
    /// What byte ranges of `text` are ranges of.
    pub offsets: Offsets,
    /// Where pages, headings and blocks begin, ascending by offset; several may share one offset, in
    /// the order page, heading, block. Each offset is a char boundary of `text`. Text before the first
    /// mark is possible (a file may begin with blank lines).
    pub marks: Vec<Mark>,
    /// The title the file gives itself, else its first heading of level 1, where there is one.
    pub title: Option<String>,
    /// What the file says about itself: front matter, HTML meta, PDF information; `language` of source
    /// code, `encoding` where it was not plain UTF-8. Keys of front matter are kept as they are.
    pub meta: Map<String, Value>,
    /// What kind of file it was taken for.
    pub kind: Kind,
}

impl Extracted {
    /// A text that a program hands over, without marks.
    pub fn plain(text: impl Into<String>, title: Option<String>) -> Extracted {
        Extracted {
            text: text.into(),
            offsets: Offsets::Text,
            marks: Vec::new(),
            title,
            meta: Map::new(),
            kind: Kind::Plain,
        }
    }
}

/// What the byte ranges of an extracted text refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// The file: `text` is the file, byte for byte.
    Source,
    /// The extracted text, which can be had again by extracting the file again.
    Text,
}

/// A place in the text where something begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Byte offset into the text, on a char boundary, at most the text's length.
    pub offset: usize,
    /// What begins here.
    pub kind: MarkKind,
}

/// What begins at a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A page, counted from 1.
    Page(u32),
    /// A heading; its own text lies at the mark as well.
    Heading {
        /// 1 (the widest) to 6.
        level: u8,
        /// The heading without its markup.
        text: String,
    },
    /// A paragraph, list item, code fence, table, top-level item of source code, or record.
    Block,
}

/// What a file was taken for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// CommonMark with tables, footnotes and front matter.
    Markdown,
    /// reStructuredText.
    Rst,
    /// Text of no known structure but paragraphs.
    Plain,
    /// Source code or a configuration file; `meta["language"]` names which.
    Code,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
    /// Word's docx.
    Docx,
    /// PowerPoint's pptx.
    Pptx,
    /// An EPUB book.
    Epub,
    /// One JSON value.
    Json,
    /// A JSON value a line.
    JsonLines,
    /// A Jupyter notebook.
    Notebook,
    /// XML, feeds included.
    Xml,
    /// Comma- or tab-separated rows.
    Table,
}

impl Kind {
    /// The kind as one word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Markdown => "markdown",
            Kind::Rst => "rst",
            Kind::Plain => "plain",
            Kind::Code => "code",
            Kind::Html => "html",
            Kind::Pdf => "pdf",
            Kind::Docx => "docx",
            Kind::Pptx => "pptx",
            Kind::Epub => "epub",
            Kind::Json => "json",
            Kind::JsonLines => "jsonl",
            Kind::Notebook => "notebook",
            Kind::Xml => "xml",
            Kind::Table => "table",
        }
    }
}

/// Why a file gave no text. Both carry a reason for people: lower case, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing for us in there: binary, empty, too large, not a supported format.
    Skipped(String),
    /// There should have been text: broken, encrypted, unreadable, out of time.
    Failed(String),
}

impl Failure {
    /// The reason, whichever of the two it is.
    pub fn reason(&self) -> &str {
        match self {
            Failure::Skipped(reason) | Failure::Failed(reason) => reason,
        }
    }
}

/// How much work one file may cause. What goes beyond is refused with a reason, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that is read, in bytes.
    pub file_bytes: u64,
    /// Longest text that is returned, in bytes.
    pub text_bytes: usize,
    /// Most bytes that the compressed parts of one file may unfold to, all together.
    pub inflated_bytes: u64,
    /// Most pages of one document.
    pub pages: u32,
    /// Longest time one file may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: 128 << 20,
            text_bytes: 128 << 20,
            inflated_bytes: 256 << 20,
            pages: 20_000,
            time: Duration::from_secs(20),
        }
    }
}

/// Reads a file whole, if it is a regular file of a size within the limits.
///
/// Links are not followed, and neither a pipe nor a device is waited for, even if the path became one
/// since it was listed.
pub fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::Failed(match error.kind() {
            io::ErrorKind::NotFound => "vanished before it was read".to_owned(),
            _ => format!("could not be read: {error}"),
        })
    };
    let irregular = || Failure::Skipped("not a regular file".to_owned());
    if !fs::symlink_metadata(path).map_err(failed)?.is_file() {
        return Err(irregular());
    }
    let file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(irregular());
    }
    let too_large = |n_bytes| {
        let (found, limit) = (size(n_bytes), size(limits.file_bytes));
        Failure::Skipped(format!("too large: {found}, the limit is {limit}"))
    };
    if metadata.len() > limits.file_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // One byte more than allowed shows that the file has grown meanwhile.
    file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limits.file_bytes {
        true => Err(too_large(bytes.len() as u64)),
        false => Ok(bytes),
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    File::options().read(true).custom_flags(flags as i32).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Turns the bytes of the file `path` into text. The path is only looked at, never opened.
///
/// The same path and bytes give the same result, unless the time runs out. Returns after
/// [`Limits::time`] at the latest; see [`on_extracting_thread`] for what a panic in a reader prints.
pub fn extract(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Extracted, Failure> {
    let watch = Watch::new(limits);
    if is_blank(&bytes) {
        return Err(empty());
    }
    let route = kind::route(path, &bytes)?;
    let extracted = run::guarded(&watch, move |watch| {
        let mut extracted = by_kind(route, bytes, watch)?;
        check(&mut extracted, watch)?;
        Ok(extracted)
    })?;
    Ok(extracted)
}

fn by_kind(route: Route, bytes: Vec<u8>, watch: &Watch) -> Result<Extracted, Failure> {
    match route.kind {
        Kind::Pdf => return pdf::extract(bytes, watch),
        Kind::Docx => return docx::extract(bytes, watch),
        Kind::Pptx => return pptx::extract(bytes, watch),
        Kind::Epub => return epub::extract(bytes, watch),
        Kind::Html => return html::extract(&bytes, watch),
        _ => {}
    }
    let decoded = encoding::decode(bytes)?;
    match route.kind {
        Kind::Markdown => markdown::extract(decoded, watch),
        Kind::Rst => Ok(rst::extract(decoded)),
        Kind::Code => Ok(code::extract(decoded, route.language.unwrap_or("unknown"))),
        Kind::Json => Ok(json::extract(decoded)),
        Kind::JsonLines => Ok(json::extract_lines(decoded)),
        Kind::Notebook => notebook::extract(decoded, watch),
        Kind::Xml => xml::extract(decoded, watch),
        Kind::Table => Ok(table::extract(decoded)),
        _ => Ok(plain::extract(decoded)),
    }
}

/// Brings an extraction into the form that [`Extracted`] promises, or refuses it.
fn check(extracted: &mut Extracted, watch: &Watch) -> Result<(), Failure> {
    let text = &extracted.text;
    if text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').is_empty() {
        return Err(empty());
    }
    watch.check_text(text.len())?;
    extracted.marks.sort_by_key(|mark| (mark.offset, rank(&mark.kind)));
    extracted.marks.dedup();
    assert!(
        extracted.marks.iter().all(|mark| text.is_char_boundary(mark.offset)),
        "a mark lies inside a character"
    );
    Ok(())
}

/// The order of marks that share an offset.
fn rank(kind: &MarkKind) -> u8 {
    match kind {
        MarkKind::Page(_) => 0,
        MarkKind::Heading { .. } => 1,
        MarkKind::Block => 2,
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn empty() -> Failure {
    Failure::Skipped("empty".to_owned())
}

#[cfg(test)]
mod tests;
