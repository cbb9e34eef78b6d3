//! A chunk in its prompt, within the model's window.
//!
//! What does not fit is cut anew by the model's tokens. Nothing of a text is left out.

use super::chunk::{ChunkOptions, chunk};
use super::examine::{PreparedChunk, chunk_hash};
use super::extract::Extracted;
use crate::embedder::Embedder;
use crate::{Error, Result};

/// A chunk before it is in its prompt: as it was cut, or as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Its bytes in the document.
    pub range: std::ops::Range<u64>,
    /// The page it begins on, if there are pages.
    pub page: Option<u32>,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
}

/// The chunk as the model reads it, or the pieces that it had to be cut into.
///
/// # Errors
/// [`Error::TooLong`] if the window has no room for a single character; as [`Embedder::tokenize`].
pub(super) fn fit(
    embedder: &Embedder,
    title: Option<&str>,
    whole: Piece,
) -> Result<Vec<PreparedChunk>> {
    match in_prompt(embedder, title, whole.clone()) {
        Ok(fitting) => Ok(vec![fitting]),
        Err(Error::TooLong { .. }) => cut(embedder, title, &whole),
        Err(error) => Err(error),
    }
}

/// Tokenises a chunk under its heading path. A path so long that the two do not fit the window
/// together loses its outer headings; the text itself is never cut.
fn in_prompt(embedder: &Embedder, title: Option<&str>, chunk: Piece) -> Result<PreparedChunk> {
    let Piece { text, range, page, headings } = chunk;
    let mut path: Vec<&str> =
        title.into_iter().chain(headings.iter().map(String::as_str)).collect();
    path.dedup();
    loop {
        let prompt = embedder.document_prompt(Some(&path.join(" > ")))?;
        match embedder.tokenize(&prompt, &text) {
            Ok(tokens) => {
                let hash = chunk_hash(&prompt, &text);
                return Ok(PreparedChunk { text, range, page, headings, hash, tokens });
            }
            Err(Error::TooLong { .. }) if !path.is_empty() => drop(path.remove(0)),
            Err(error) => return Err(error),
        }
    }
}

/// Cuts a chunk into the longest pieces that fit, tried from half the window down.
fn cut(embedder: &Embedder, title: Option<&str>, whole: &Piece) -> Result<Vec<PreparedChunk>> {
    let Piece { text, range, page, headings } = whole;
    let plain = Extracted::plain(text.as_str(), None);
    let mut most = embedder.package().window / 2;
    loop {
        let pieces = chunk(&plain, &embedder.package().tokenizer, &ChunkOptions { tokens: most })?;
        let prepared = pieces.into_iter().map(|piece| {
            let at = |offset: usize| range.start + offset as u64;
            let (text, headings) = (plain.text[piece.range.clone()].to_owned(), headings.clone());
            let range = at(piece.range.start)..at(piece.range.end);
            in_prompt(embedder, title, Piece { text, range, page: *page, headings })
        });
        match prepared.collect() {
            Err(Error::TooLong { .. }) if most > 1 => most /= 2,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examine::prepare;
    use super::*;

    #[test]
    fn chunks_longer_than_a_small_window_are_cut_and_every_word_is_kept() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/tiny/gqa");
        let embedder = Embedder::open(path).unwrap();
        let window = embedder.package().window;
        let text: String = (0..400).map(|n| format!("word {n} of a text. ")).collect();
        let plain = Extracted::plain(text.as_str(), Some("Title".to_owned()));
        let prepared = prepare(&plain, &embedder, &ChunkOptions { tokens: 10 * window }).unwrap();
        assert!(prepared.len() > 1);
        let mut end = 0;
        for PreparedChunk { text: piece, range, tokens, .. } in &prepared {
            let [from, to] = [range.start, range.end].map(|at| at as usize);
            assert_eq!(&text[from..to], piece);
            assert!(text[end..from].trim().is_empty(), "nothing is left out");
            assert!(tokens.ids.len() <= window && tokens.n_dropped == 0);
            end = to;
        }
        assert!(text[end..].trim().is_empty());
    }
}
