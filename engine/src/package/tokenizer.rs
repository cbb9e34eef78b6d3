//! A package's tokenizer: our own over an image, or the library for what an image cannot do.

use std::panic;

use serde::de::IgnoredAny;
use tokenizers::Tokenizer as Library;

use super::gguf::Gguf;
use super::{Config, Refusal, refuse};
use crate::bytes::Bytes;
use crate::token;
use crate::{Error, Result};

/// Text to ids, without truncation or padding.
pub enum Tokenizer {
    /// Ours: opened in no time, linear in the text.
    Image(Box<token::Tokenizer>),
    /// Whatever `tokenizer.json` may hold.
    Library(Box<Library>),
}

impl Tokenizer {
    /// Builds the image of a `tokenizer.json`; what it cannot reproduce is left to the library.
    pub(super) fn from_json(json: &[u8], config: &Config) -> Result<Tokenizer, Refusal> {
        let tokenizer = match token::build(json) {
            Ok(image) => Tokenizer::from_image(image.into())
                .map_err(|e| refuse("tokenizer.json", e, "a tokenizer"))?,
            Err(_) => Tokenizer::Library(Box::new(library(json)?)),
        };
        tokenizer.check(config)?;
        Ok(tokenizer)
    }

    /// Builds the image of the tokenizer inside a GGUF file.
    pub(super) fn from_gguf(gguf: &Gguf<Bytes>, config: &Config) -> Result<Tokenizer> {
        let inside = gguf.tokenizer()?;
        let refused = |refusal: Refusal| refusal.of(gguf.name());
        if let Some(json) = inside.huggingface_json {
            return Tokenizer::from_json(json.as_bytes(), config).map_err(refused);
        }
        if inside.model != "llama" {
            let expected = "llama (pieces with scores), as in EmbeddingGemma";
            return Err(refused(refuse("tokenizer.ggml.model", inside.model, expected)));
        }
        if inside.add_space_prefix == Some(true) {
            return Err(refused(refuse("tokenizer.ggml.add_space_prefix", "true", "false")));
        }
        let pieces = inside.pieces().map(|piece| (piece.text, piece.score, piece.kind));
        let image = token::build_from_pieces(pieces, Some(config.bos), Some(config.eos))?;
        let tokenizer = Tokenizer::from_image(image.into())?;
        tokenizer.check(config).map_err(refused)?;
        Ok(tokenizer)
    }

    /// Opens an image that was built before.
    pub(crate) fn from_image(bytes: Bytes) -> Result<Tokenizer> {
        token::Tokenizer::open(bytes).map(|tokenizer| Tokenizer::Image(Box::new(tokenizer)))
    }

    /// The image, if it is one.
    pub(crate) fn image(&self) -> Option<&[u8]> {
        match self {
            Tokenizer::Image(tokenizer) => Some(tokenizer.bytes()),
            Tokenizer::Library(_) => None,
        }
    }

    /// The ids of a text between `<bos>` and `<eos>`.
    ///
    /// # Errors
    /// [`Error::Tokenize`], of the library only.
    pub(crate) fn framed(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Tokenizer::Image(tokenizer) => {
                let mut ids = Vec::with_capacity(text.len() / 3 + 2);
                tokenizer.encode_framed(text, &mut ids);
                Ok(ids)
            }
            Tokenizer::Library(library) => {
                Ok(library.encode_fast(text, true).map_err(Error::Tokenize)?.get_ids().to_vec())
            }
        }
    }

    /// How many tokens a text has, `<bos>` and `<eos>` not counted.
    ///
    /// # Errors
    /// As [`framed`](Tokenizer::framed).
    pub(crate) fn count(&self, text: &str) -> Result<usize> {
        match self {
            Tokenizer::Image(tokenizer) => Ok(tokenizer.count(text)),
            Tokenizer::Library(library) => {
                Ok(library.encode_fast(text, false).map_err(Error::Tokenize)?.len())
            }
        }
    }

    /// Appends the byte offset in `text` at which each token begins.
    ///
    /// # Errors
    /// As [`framed`](Tokenizer::framed).
    pub(crate) fn starts(&self, text: &str, starts: &mut Vec<u32>) -> Result<()> {
        match self {
            Tokenizer::Image(tokenizer) => {
                let mut tokens = Vec::with_capacity(text.len() / 3);
                tokenizer.encode_with_offsets(text, &mut tokens);
                starts.extend(tokens.into_iter().map(|(_, start)| start));
            }
            Tokenizer::Library(library) => {
                let encoding = library.encode(text, false).map_err(Error::Tokenize)?;
                starts.extend(encoding.get_offsets().iter().map(|&(start, _)| start as u32));
            }
        }
        Ok(())
    }

    /// Checks that it frames a text with this model's `<bos>` and `<eos>`, and stays in its table.
    fn check(&self, config: &Config) -> Result<(), Refusal> {
        const EXPECTED: &str = "a tokenizer that opens with <bos> and closes with <eos>";
        let empty = self.framed("").map_err(|e| refuse("tokenizer.json", e, EXPECTED))?;
        if empty != [config.bos, config.eos] {
            let found = format!("a tokenizer that turns an empty text into {empty:?}");
            return Err(refuse("tokenizer.json post_processor", found, EXPECTED));
        }
        // Added tokens may lie outside the table (Gemma has one, for images): a text that uses one
        // fails by name. A piece of the vocabulary itself outside means that the files do not match.
        let n_pieces = match self {
            Tokenizer::Image(tokenizer) => tokenizer.vocab_size(),
            Tokenizer::Library(library) => {
                library.get_vocab(false).into_values().max().map_or(0, |id| id as usize + 1)
            }
        };
        if n_pieces > config.vocab_size {
            let expected = format!("ids below vocab_size {}", config.vocab_size);
            let found = format!("id {}", n_pieces - 1);
            return Err(refuse("tokenizer.json vocabulary", found, expected));
        }
        Ok(())
    }
}

/// How many ids a tokenizer has, added tokens included.
pub(super) fn n_tokens(json: &[u8]) -> Result<usize, Refusal> {
    Ok(library(json)?.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1))
}

/// Reads a `tokenizer.json` with the library, which panics over some that are wrong: over a decoder that is cut short,
/// over a table of characters that is none.
fn library(json: &[u8]) -> Result<Library, Refusal> {
    const EXPECTED: &str = "a tokenizer";
    let refused = |found: tokenizers::Error| refuse("tokenizer.json", found, EXPECTED);
    // Most of what is wrong is no JSON, and ends here without the library's word on it.
    serde_json::from_slice::<IgnoredAny>(json)
        .map_err(|found| refuse("tokenizer.json", found, EXPECTED))?;
    let read = panic::catch_unwind(|| Library::from_bytes(json));
    let broken = |_| refuse("tokenizer.json", "one that the library breaks over", EXPECTED);
    let mut tokenizer = read.map_err(broken)?.map_err(refused)?;
    tokenizer.with_truncation(None).map_err(refused)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
