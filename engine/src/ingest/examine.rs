//! One file against what is known of it: unchanged, touched, fresh, or left out.
//!
//! A file is taken for unchanged without being read only if its stamp is the one on record *and* the
//! stamp was old enough when it was recorded: an edit that follows within the clock's grain, of the
//! same size, leaves the stamp as it is, so a young stamp proves nothing and the content is read
//! (git calls such an entry racy). One that was recorded at a time that is still to come proves nothing
//! either: the clock went back since, and may give the same time twice. Content is compared by its
//! blake3 hash.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::chunk::{Chunk, ChunkOptions, chunk};
use super::extract::{Extracted, Failure, Kind, Limits, extract, read};
use super::fit::{Piece, fit};
use super::walk::Found;
use crate::Result;
use crate::embedder::{Embedder, Tokens};

/// A stamp is proof only if it was this old when it was recorded: coarse clocks tick every 2 s.
const GRAIN_NS: i64 = 2_000_000_000;

/// Goes up when the same bytes give another text or other chunks than before.
const EXTRACTOR_VERSION: u32 = 0;

/// How files are read and cut.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// How texts are cut.
    pub chunk: ChunkOptions,
    /// What one file may cost.
    pub limits: Limits,
}

/// What is on record about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub len: u64,
    /// As [`Found::mtime_ns`].
    pub mtime_ns: i64,
    /// As [`Found::ctime_ns`].
    pub ctime_ns: i64,
    /// As [`Found::inode`].
    pub inode: u64,
    /// When the file was looked at, in nanoseconds since 1970.
    pub seen_ns: i64,
    /// blake3 of the content.
    pub content: [u8; 32],
    /// As [`settings`].
    pub settings: [u8; 16],
}

/// What became of a file.
#[derive(Debug)]
pub enum Outcome {
    /// As on record, stamp and all.
    Unchanged,
    /// The same content under a new stamp.
    Touched(Stamp),
    /// New, or changed.
    Fresh(Box<Prepared>),
    /// No text for us in there, or we could not get it.
    Left(Failure),
}

/// A file's text, cut and tokenised: all that is missing is vectors.
#[derive(Debug)]
pub struct Prepared {
    /// For the record.
    pub stamp: Stamp,
    /// What the file was taken for.
    pub kind: Kind,
    /// The title the file gives itself.
    pub title: Option<String>,
    /// What the file says about itself.
    pub meta: Map<String, Value>,
    /// In the order of the text.
    pub chunks: Vec<PreparedChunk>,
}

/// A piece of a text, ready to be embedded.
#[derive(Clone, Debug)]
pub struct PreparedChunk {
    /// The piece itself.
    pub text: String,
    /// Its bytes in the file, or in the extracted text where the file holds text in another form.
    pub range: std::ops::Range<u64>,
    /// The page it begins on, from 1, where the file has pages.
    pub page: Option<u32>,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Equal for pieces that are embedded alike: hash of prompt, title and text.
    pub hash: [u8; 16],
    /// What the model reads.
    pub tokens: Tokens,
}

/// Equal for runs that would cut the same content alike.
pub fn settings(options: &IngestOptions) -> [u8; 16] {
    let text = format!("{EXTRACTOR_VERSION}|{:?}", options.chunk);
    truncated(blake3::hash(text.as_bytes()))
}

/// Looks at one file and, if it is new or changed, reads, cuts and tokenises it.
///
/// # Errors
/// Only if the model cannot tokenise; what is wrong with the file itself is an [`Outcome::Left`].
pub fn examine(
    found: &Found,
    known: Option<&Stamp>,
    embedder: &Embedder,
    options: &IngestOptions,
) -> Result<Outcome> {
    let seen_ns = now_ns();
    let settings = settings(options);
    if let Some(known) = known
        && known.settings == settings
        && is_same(found, known)
        && is_proof(known, seen_ns)
    {
        return Ok(Outcome::Unchanged);
    }
    let bytes = match read(&found.path, &options.limits) {
        Ok(bytes) => bytes,
        Err(failure) => return Ok(Outcome::Left(failure)),
    };
    let content = *blake3::hash(&bytes).as_bytes();
    let stamp = Stamp {
        len: found.len,
        mtime_ns: found.mtime_ns,
        ctime_ns: found.ctime_ns,
        inode: found.inode,
        seen_ns,
        content,
        settings,
    };
    if known.is_some_and(|known| known.content == content && known.settings == settings) {
        return Ok(Outcome::Touched(stamp));
    }
    match extract(&found.path, bytes, &options.limits) {
        Err(failure) => Ok(Outcome::Left(failure)),
        Ok(extracted) => {
            let chunks = prepare(&extracted, embedder, &options.chunk)?;
            let Extracted { kind, title, meta, .. } = extracted;
            Ok(Outcome::Fresh(Box::new(Prepared { stamp, kind, title, meta, chunks })))
        }
    }
}

/// Cuts a text and tokenises each piece in its prompt; one that the model cannot read at once is cut again.
///
/// # Errors
/// As [`Embedder::tokenize`].
pub fn prepare(
    extracted: &Extracted,
    embedder: &Embedder,
    options: &ChunkOptions,
) -> Result<Vec<PreparedChunk>> {
    let title = extracted.title.as_deref();
    let pieces = chunk(extracted, &embedder.package().tokenizer, options)?;
    let mut prepared = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Chunk { range, page, headings, .. } = piece;
        let text = extracted.text[range.clone()].to_owned();
        let range = range.start as u64..range.end as u64;
        prepared.extend(fit(embedder, title, Piece { text, range, page, headings })?);
    }
    Ok(prepared)
}

/// Equal for texts that the model reads alike.
pub fn chunk_hash(prompt: &str, text: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(prompt.len() as u64).to_le_bytes());
    hasher.update(prompt.as_bytes());
    hasher.update(text.as_bytes());
    truncated(hasher.finalize())
}

fn truncated(hash: blake3::Hash) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

fn is_same(found: &Found, known: &Stamp) -> bool {
    (found.len, found.mtime_ns, found.ctime_ns, found.inode)
        == (known.len, known.mtime_ns, known.ctime_ns, known.inode)
}

fn is_proof(known: &Stamp, now_ns: i64) -> bool {
    let changed_ns = known.mtime_ns.max(known.ctime_ns);
    changed_ns.saturating_add(GRAIN_NS) < known.seen_ns && known.seen_ns <= now_ns
}

/// Nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_proof_only_if_it_was_old_and_its_record_is_not_of_the_future() {
        const S: i64 = 1_000_000_000;
        let stamp = |mtime_ns, ctime_ns, seen_ns| Stamp {
            len: 1,
            mtime_ns,
            ctime_ns,
            inode: 1,
            seen_ns,
            content: [0; 32],
            settings: [0; 16],
        };
        let ten_years = 10 * 365 * 24 * 3600 * S;
        for (known, now_ns, expected) in [
            (stamp(100 * S, 100 * S, 103 * S), 200 * S, true),
            (stamp(100 * S, 100 * S, 102 * S), 200 * S, false),
            (stamp(1, 100 * S, 102 * S), 200 * S, false),
            // The clock went back after it was recorded, or was ahead then.
            (stamp(100 * S, 100 * S, 103 * S), 102 * S, false),
            (stamp(100 * S, 100 * S, ten_years), 200 * S, false),
            // A file from the future, seen now, then ten years ahead, then at the end of time.
            (stamp(ten_years, 100 * S, 200 * S), 300 * S, false),
            (stamp(ten_years, 100 * S, 2 * ten_years), 300 * S, false),
            (stamp(i64::MAX, i64::MAX, i64::MAX), i64::MAX, false),
            (stamp(i64::MIN, 0, 3 * S), i64::MAX, true),
        ] {
            assert_eq!(is_proof(&known, now_ns), expected, "{known:?} at {now_ns}");
        }
    }
}
