//! Texts that are kept, prepared for another model than the one they were cut for.
//!
//! Chunks stay as they were cut, each in its place: files need not be there, and a run over them finds them unchanged.
//! Only a chunk that the other model cannot read at once, since its tokens are others or its window is smaller, is cut
//! anew.

use rayon::prelude::*;

use super::examine::PreparedChunk;
use super::fit::{Piece, fit};
use crate::Result;
use crate::embedder::Embedder;

/// The chunks of a document as `embedder` reads them, with the hashes that they would have had from the start; and how many
/// of those given had to be cut.
///
/// # Errors
/// [`TooLong`](crate::Error::TooLong) if the model's window has no room for a single character; as [`Embedder::tokenize`].
pub fn again(
    embedder: &Embedder,
    title: Option<&str>,
    chunks: Vec<Piece>,
) -> Result<(Vec<PreparedChunk>, usize)> {
    let fitted = chunks.into_par_iter().map(|chunk| fit(embedder, title, chunk));
    let fitted: Vec<Vec<PreparedChunk>> = fitted.collect::<Result<_>>()?;
    let n_cut = fitted.iter().filter(|pieces| pieces.len() > 1).count();
    Ok((fitted.into_iter().flatten().collect(), n_cut))
}

#[cfg(test)]
mod tests {
    use super::super::chunk::ChunkOptions;
    use super::super::examine::prepare;
    use super::super::extract::Extracted;
    use super::*;

    fn kept(prepared: &PreparedChunk) -> Piece {
        let PreparedChunk { text, range, page, headings, .. } = prepared.clone();
        Piece { text, range, page, headings }
    }

    fn tiny() -> Embedder {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/tiny/gqa");
        Embedder::open(path).unwrap()
    }

    #[test]
    fn chunks_that_fit_are_prepared_as_they_were_at_first() {
        let embedder = Embedder::open("nano").unwrap();
        let text = "The owner frees the memory. ".repeat(100);
        let first = Extracted::plain(text, Some("Ownership".to_owned()));
        let first = prepare(&first, &embedder, &ChunkOptions { tokens: 60 }).unwrap();
        assert!(first.len() > 5);
        let kept = first.iter().map(kept).collect();
        let (again, n_cut) = again(&embedder, Some("Ownership"), kept).unwrap();
        assert_eq!(n_cut, 0);
        for (first, again) in first.iter().zip(&again) {
            assert_eq!((&first.hash, &first.tokens), (&again.hash, &again.tokens));
            assert_eq!((&first.text, &first.range), (&again.text, &again.range));
        }
        assert_eq!(first.len(), again.len());
    }

    #[test]
    fn a_chunk_that_does_not_fit_is_cut_and_every_word_is_kept() {
        // Of another tokenizer, in which nearly every character is a token of its own.
        let embedder = tiny();
        let text: String = (0..400).map(|n| format!("word {n} of a text. ")).collect();
        let long = Piece {
            range: 1_000..1_000 + text.len() as u64,
            text: text.clone(),
            page: Some(3),
            headings: vec!["a heading that is long ".repeat(40)],
        };
        let short = Piece { text: "short".to_owned(), range: 0..5, ..long.clone() };
        let chunks = vec![short.clone(), long, short];
        let (prepared, n_cut) = again(&embedder, Some("Title"), chunks).unwrap();
        assert_eq!(n_cut, 1);
        assert_eq!((&*prepared[0].text, &*prepared[prepared.len() - 1].text), ("short", "short"));
        let pieces = &prepared[1..prepared.len() - 1];
        assert!(pieces.len() > 1);
        let mut end = 1_000;
        for piece in pieces {
            let PreparedChunk { text: of_piece, range, page, tokens, .. } = piece;
            let [from, to] = [range.start, range.end].map(|at| at as usize - 1_000);
            assert_eq!((&text[from..to], *page), (of_piece.as_str(), Some(3)));
            assert!(text[end - 1_000..from].trim().is_empty(), "nothing is left out");
            assert!(tokens.ids.len() <= embedder.package().window && tokens.n_dropped == 0);
            end = range.end as usize;
        }
        assert!(text[end - 1_000..].trim().is_empty());
    }
}
