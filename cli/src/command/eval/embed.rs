//! Texts of a set to vectors, with what was cut.

use gemmule::Embedder;
use gemmule::engine::{Error, Tokens};
use rayon::prelude::*;

use crate::output::Output;
use crate::progress::Bar;
use crate::{interrupt, text};

/// Tokens of a document, sentence or labelled text that count, prompt and special tokens included.
pub(super) const TEXT_TOKENS: usize = 512;

/// Says how many texts were cut.
pub(super) fn note_cut(set: &str, n_cut: usize, n_tokens_max: usize, output: &Output) {
    if n_cut > 0 {
        output.note(format_args!(
            "{set}: {} cut to {n_tokens_max} tokens",
            text::counted(n_cut, "text")
        ));
    }
}

/// Vectors of full width of prompts and texts, and how many texts were cut.
pub(super) fn embed(
    embedder: &Embedder,
    texts: &[(String, &str)],
    n_tokens_max: usize,
    set: &str,
    output: &Output,
) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let tokenize = |(prompt, text): &(String, &str)| {
        let mut tokens = embedder.tokenize_truncated(prompt, text)?;
        let n_over = tokens.ids.len().saturating_sub(n_tokens_max);
        if n_over > 0 {
            // The last token closes the text.
            let end = tokens.ids[tokens.ids.len() - 1];
            tokens.ids.truncate(n_tokens_max - 1);
            tokens.ids.push(end);
            tokens.n_dropped += n_over;
        }
        Ok(tokens)
    };
    let tokens: Vec<Tokens> = texts.par_iter().map(tokenize).collect::<Result<_, Error>>()?;
    let vectors = embed_tokens(embedder, &tokens, set, output)?;
    Ok((vectors, tokens.iter().filter(|tokens| tokens.n_dropped > 0).count()))
}

pub(super) fn embed_tokens(
    embedder: &Embedder,
    tokens: &[Tokens],
    set: &str,
    output: &Output,
) -> Result<Vec<Vec<f32>>, Error> {
    let bar = Bar::of_texts(output, set, tokens.len());
    embedder.embed(tokens, |n_texts, n_tokens| {
        bar.show_texts(n_texts, n_tokens);
        !interrupt::is_asked()
    })
}
