//! Text to token ids, over an image of the vocabulary that is mapped, not loaded.
//!
//! A `tokenizer.json` of 262,144 pieces takes a general tokenizer over a second and hundreds of
//! megabytes to load. Here it is turned once into an *image*: one block of bytes with a table from
//! text to piece and one from pairs of pieces to the rank of their merge. Opening an image reads its
//! header; a text touches only the lines of the tables that its own words need.
//!
//! A text takes four steps, and each gives exactly what the `tokenizers` crate gives:
//! 1. tokens that are matched as they stand are found (`added`), leftmost, then longest;
//! 2. what lies between them is normalised (`normalise`);
//! 3. that is cut into words that cannot influence each other (`split`);
//! 4. a word that is one piece is looked up, any other is merged (`merge`).
//!
//! What an image cannot reproduce is refused when it is built (`json`, `pieces`), with the field's
//! name: the caller then falls back to the general tokenizer. The bytes are described in `layout`.

mod added;
mod json;
mod layout;
mod merge;
mod normalise;
mod pieces;
mod split;
mod tables;
mod vocabulary;

pub use pieces::{PieceKind, build_from_pieces};

use crate::bytes::Bytes;
use crate::{Error, Result};
use added::Finder;
use layout::{Header, u32_at};
use merge::Merger;
use normalise::{Normalised, Step};
use split::Cut;
use tables::View;

/// Builds the image of a `tokenizer.json`. Its truncation and padding are left to the caller.
///
/// # Errors
/// [`Error::Vocabulary`] names the field that an image cannot reproduce exactly.
pub fn build(tokenizer_json: &[u8]) -> Result<Vec<u8>> {
    json::image(tokenizer_json)
}

/// Text to ids. Cheap to open and to clone; threads may share one.
///
/// A text may have at most 4 GiB. A damaged image, which only [`Tokenizer::verify`] finds for
/// certain, gives wrong ids but does not panic.
#[derive(Clone)]
pub struct Tokenizer {
    bytes: Bytes,
    header: Header,
    steps: Vec<Step>,
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Tokenizer {
    /// Opens an image that [`build`] or [`build_from_pieces`] made. Reads little but its header.
    ///
    /// # Errors
    /// [`Error::TokenizerImage`] if the bytes are no image of this version, or cut off.
    pub(crate) fn open(bytes: Bytes) -> Result<Tokenizer> {
        let header = Header::read(&bytes)?;
        let view = header.view(&bytes);
        let damaged = |field, expected: &str| Error::TokenizerImage {
            field,
            found: "something else".to_owned(),
            expected: expected.to_owned(),
        };
        let steps = Step::read(view.steps).ok_or_else(|| damaged("normaliser", "known steps"))?;
        let frame: Vec<u32> =
            (0..view.frame.len() / 4).map_while(|i| u32_at(view.frame, i)).collect();
        let (before, after) = frame
            .split_first()
            .and_then(|(n_before, ids)| ids.split_at_checked(*n_before as usize))
            .map(|(before, after)| (before.to_vec(), after.to_vec()))
            .ok_or_else(|| damaged("frame", "a count and that many ids"))?;
        Ok(Tokenizer { bytes, header, steps, before, after })
    }

    /// The image.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Compares the checksum of the whole image, which reads all of it.
    ///
    /// # Errors
    /// [`Error::TokenizerImage`] if a byte has changed.
    pub fn verify(&self) -> Result<()> {
        layout::verify(&self.bytes)
    }

    /// Appends the ids of `text`, without the frame. A token such as `<bos>` that stands in the
    /// text literally becomes its id, as in the general tokenizer.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        self.run(text, false, |id, _| ids.push(id));
    }

    /// Appends the ids of `text` between those that frame a text, such as `<bos>` and `<eos>`.
    pub fn encode_framed(&self, text: &str, ids: &mut Vec<u32>) {
        ids.extend(&self.before);
        self.encode(text, ids);
        ids.extend(&self.after);
    }

    /// Appends the ids of `text`, each with the byte of `text` at which it begins.
    ///
    /// Positions do not go back, but tokens can share one: those of one character's bytes, or of
    /// one character that the normaliser made into several.
    pub fn encode_with_offsets(&self, text: &str, tokens: &mut Vec<(u32, u32)>) {
        self.run(text, true, |id, start| tokens.push((id, start)));
    }

    /// The number of ids of `text`, without the frame.
    pub fn count(&self, text: &str) -> usize {
        let mut n_tokens = 0;
        self.run(text, false, |_, _| n_tokens += 1);
        n_tokens
    }

    /// The ids before and after a framed text.
    pub fn frame(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }

    /// The number of the model's pieces; their ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.header.vocab_size as usize
    }

    /// The largest id that a text can get. Added tokens may lie above the model's pieces.
    pub fn largest_id(&self) -> u32 {
        (self.view().n_ids() as u32).saturating_sub(1)
    }

    /// The text of a piece or added token.
    pub fn piece(&self, id: u32) -> Option<&str> {
        std::str::from_utf8(self.view().text(id)?).ok()
    }

    /// The id of a piece or added token.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.view().id(piece)
    }

    fn view(&self) -> View<'_> {
        self.header.view(&self.bytes)
    }

    /// Gives each id with its place in `text`; the place counts only if `with_starts`.
    fn run(&self, text: &str, with_starts: bool, mut give: impl FnMut(u32, u32)) {
        let view = self.view();
        let cut = Cut::new(self.header.cut, view.cuts);
        let mut normalised = Normalised::new(with_starts);
        let mut merger = Merger::default();
        let finder = Finder::new(view);
        let mut done = 0;
        loop {
            let found = finder.find(text, done);
            let end = found.map_or(text.len(), |found| found.start);
            normalised.run(&self.steps, &text[done..end], done);
            let mut at = 0;
            while at < normalised.text.len() {
                let rest = &normalised.text[at..];
                let word = &rest[..cut.first_word(rest)];
                match view.whole(word) {
                    Some(id) => give(id, normalised.start(at)),
                    None => merger.merge(&view, word, |id, start| {
                        give(id, normalised.start(at + start));
                    }),
                }
                at += word.len();
            }
            let Some(found) = found else { return };
            give(found.id, found.start as u32);
            done = found.end;
        }
    }
}

#[cfg(test)]
mod tests;
