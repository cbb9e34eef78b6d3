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

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

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
pub fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let metadata = std::fs::symlink_metadata(path)
        .map_err(|error| Failure::Failed(format!("could not be read: {error}")))?;
    if metadata.len() > limits.file_bytes {
        return Err(Failure::Skipped("too large".to_owned()));
    }
    std::fs::read(path).map_err(|error| Failure::Failed(format!("could not be read: {error}")))
}

/// Turns the bytes of the file `path` into text. The path is only looked at, never opened.
pub fn extract(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Extracted, Failure> {
    let _ = (path, limits);
    let text = String::from_utf8(bytes).map_err(|_| Failure::Skipped("binary file".to_owned()))?;
    Ok(Extracted {
        text,
        offsets: Offsets::Source,
        marks: Vec::new(),
        title: None,
        meta: Map::new(),
        kind: Kind::Plain,
    })
}
