//! A prepared model as a file, mapped by every process that uses it.
//!
//! ```text
//! 0      magic, version, where the head lies, hashes of head and body      64 bytes
//! 4096   body: the weights as the fast pass reads them
//!        tokenizer, on a page of its own; absent if the library must read tokenizer.json
//!        head: bincode, what the package is and what lies where
//! ```
//!
//! An image is made of a package and kept beside it. It notes length and time of the files that it was
//! made of, and counts for nothing once one of them is another. Whoever writes one writes a temporary
//! file and renames it, so that an image is whole or absent. The head is checked when it is opened, the
//! body by `model verify`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::prepared::{Body, Layout, Prepared, Report, build};
use crate::bytes::Bytes;
use crate::kernel::Precision;
use crate::package::{Config, Package, Source, Tokenizer};
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"GEMMULEI";

/// Counts up with every change of head or body; an image of another version is made anew.
const VERSION: u32 = 2;

/// Where the body begins: on a page.
const BODY_AT: u64 = 4096;

/// The head of no model is larger.
const HEAD_LIMIT: usize = 64 << 20;

/// A file that an image was made of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Stamp {
    name: String,
    n_bytes: u64,
    modified_ns: u128,
}

/// Everything but the weights and the tokenizer.
#[derive(Encode, Decode)]
struct Head {
    stamps: Vec<Stamp>,
    config: Config,
    prompts: BTreeMap<String, String>,
    widths: Vec<usize>,
    window: usize,
    fingerprint: String,
    layout: Layout,
    report: Report,
    /// Where the tokenizer's image lies in the file, if it has one.
    tokenizer: Option<(u64, u64)>,
}

/// An opened image.
pub(crate) struct Image {
    pub(crate) package: Package,
    pub(crate) weights: Prepared,
    pub(crate) report: Report,
}

/// The fixed part at the start.
struct Start {
    head_at: u64,
    head_bytes: u64,
    head_hash: u64,
    body_bytes: u64,
    body_hash: u64,
}

impl Stamp {
    /// The stamp of each file that is there.
    pub(crate) fn of(paths: &[PathBuf]) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(Stamp {
                name: path.file_name()?.to_string_lossy().into_owned(),
                n_bytes: metadata.len(),
                modified_ns: modified.as_nanos(),
            })
        };
        paths.iter().filter_map(stamp).collect()
    }
}

impl Image {
    /// Opens an image, unless there is none, or none of these files and this version.
    pub(crate) fn open(path: &Path, name: &str, stamps: &[Stamp]) -> Option<Image> {
        let bytes = Bytes::map(path).ok()?;
        let start = Start::parse(bytes.get(..64)?)?;
        let head_at = usize::try_from(start.head_at).ok()?;
        let head = bytes.get(head_at..)?.get(..usize::try_from(start.head_bytes).ok()?)?;
        if xxh3_64(head) != start.head_hash {
            return None;
        }
        let config = bincode::config::standard().with_limit::<HEAD_LIMIT>();
        let (head, n_read): (Head, usize) = bincode::decode_from_slice(head, config).ok()?;
        if n_read as u64 != start.head_bytes || head.stamps != stamps {
            return None;
        }
        let Head { config, prompts, widths, window, fingerprint, layout, report, .. } = head;
        let (at, n_bytes) = head.tokenizer?;
        let at = usize::try_from(at).ok()?;
        let tokenizer = bytes.slice(at..at.checked_add(usize::try_from(n_bytes).ok()?)?)?;
        let tokenizer = Tokenizer::from_image(tokenizer).ok()?;
        let body = bytes.slice(BODY_AT as usize..bytes.len())?;
        let weights = Prepared::new(layout, Body::Mapped(body))?;
        let name = name.to_owned();
        let package = Package { name, config, prompts, widths, window, fingerprint, tokenizer };
        Some(Image { package, weights, report })
    }

    /// Writes an image. `texts`: ids of whole sequences that show how true it is.
    ///
    /// # Errors
    /// [`Error::Io`] names the file that could not be written; else as reading the package.
    pub(crate) fn write(
        path: &Path,
        package: &Package,
        source: &Source,
        stamps: &[Stamp],
        precision: Precision,
        texts: &[Vec<u32>],
    ) -> Result<Report> {
        let failed =
            |source| Error::Io { doing: "write the prepared model", path: path.to_owned(), source };
        let unfinished = Unfinished(path.with_extension(format!("{}.tmp", std::process::id())));
        let file = File::create(&unfinished.0).map_err(failed)?;
        let mut file =
            Hashed { file: BufWriter::with_capacity(1 << 20, file), hash: Xxh3::new(), n_bytes: 0 };
        file.file.write_all(&[0; BODY_AT as usize]).map_err(failed)?;
        let built = build(&package.config, source, precision, texts, &mut file)?;
        let (layout, report) = built.map_err(failed)?;
        let body_bytes = file.n_bytes;
        let body_hash = file.hash.digest();
        let tokenizer = match package.tokenizer.image() {
            None => None,
            Some(image) => {
                let padding = vec![0; (body_bytes.next_multiple_of(4096) - body_bytes) as usize];
                file.write_all(&padding).and_then(|()| file.write_all(image)).map_err(failed)?;
                Some((BODY_AT + body_bytes.next_multiple_of(4096), image.len() as u64))
            }
        };
        let head = Head {
            stamps: stamps.to_vec(),
            config: package.config.clone(),
            prompts: package.prompts.clone(),
            widths: package.widths.clone(),
            window: package.window,
            fingerprint: package.fingerprint.clone(),
            layout,
            report: report.clone(),
            tokenizer,
        };
        let head = bincode::encode_to_vec(&head, bincode::config::standard())
            .unwrap_or_else(|e| unreachable!("a head of plain numbers and texts: {e}"));
        let Hashed { mut file, n_bytes, .. } = file;
        let start = Start {
            head_at: BODY_AT + n_bytes,
            head_bytes: head.len() as u64,
            head_hash: xxh3_64(&head),
            body_bytes,
            body_hash,
        };
        let finish = |mut file: BufWriter<File>| {
            file.write_all(&head)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&start.to_bytes())?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&unfinished.0, path)
        };
        file.flush().and_then(|()| finish(file)).map_err(failed)?;
        Ok(report)
    }

    /// True if the body is what was written.
    pub(crate) fn is_whole(path: &Path) -> io::Result<bool> {
        let bytes = Bytes::map(path)?;
        let Some(start) = bytes.get(..64).and_then(Start::parse) else { return Ok(false) };
        let body =
            bytes.get(BODY_AT as usize..).and_then(|rest| rest.get(..start.body_bytes as usize));
        Ok(body.is_some_and(|body| xxh3_64(body) == start.body_hash))
    }
}

impl Start {
    fn parse(bytes: &[u8]) -> Option<Start> {
        let number =
            |i: usize| Some(u64::from_le_bytes(bytes.get(i * 8..i * 8 + 8)?.try_into().ok()?));
        let is_ours = bytes.get(..8)? == MAGIC && number(1)? == u64::from(VERSION);
        is_ours.then_some(())?;
        Some(Start {
            head_at: number(2)?,
            head_bytes: number(3)?,
            head_hash: number(4)?,
            body_bytes: number(5)?,
            body_hash: number(6)?,
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Start { head_at, head_bytes, head_hash, body_bytes, body_hash } = *self;
        let numbers = [u64::from(VERSION), head_at, head_bytes, head_hash, body_bytes, body_hash];
        MAGIC.into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }
}

/// A file that is gone unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Counts and hashes what is written.
struct Hashed {
    file: BufWriter<File>,
    hash: Xxh3,
    n_bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
