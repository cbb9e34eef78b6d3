//! Builds an image from a list of pieces with scores, as GGUF and SentencePiece files hold it.
//!
//! Such a list has no merges. As the converters to `tokenizer.json` do: every way to cut a piece
//! into two others is a merge; merges of a higher score come first, of equal score those with the
//! longer left part, then those of the earlier piece.
//! Reference: `generate_merges` in Hugging Face Transformers.

use std::cmp::Reverse;

use super::normalise::Step;
use super::vocabulary::{Ids, Merge, Vocabulary, Words, refuse};
use crate::Result;

/// What a piece is for: the numbers of `tokenizer.ggml.token_type` and of SentencePiece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// 1: text.
    Normal = 1,
    /// 2: stands for what has no piece.
    Unknown = 2,
    /// 3: a mark such as `<bos>`. Found in a text before the model sees it.
    Control = 3,
    /// 4: text that is found before the model sees it, the longest first.
    UserDefined = 4,
    /// 5: reserved.
    Unused = 5,
    /// 6: one byte, written `<0x0A>`.
    Byte = 6,
}

impl PieceKind {
    /// The kind of a number in a file.
    pub fn from_number(number: u32) -> Option<PieceKind> {
        use PieceKind::{Byte, Control, Normal, Unknown, Unused, UserDefined};
        [Normal, Unknown, Control, UserDefined, Unused, Byte]
            .get(number.checked_sub(1)? as usize)
            .copied()
    }
}

/// The image of a SentencePiece BPE vocabulary: pieces in the order of their ids.
///
/// Spaces become `▁`; nothing is put before a text. `bos` and `eos` are the ids that frame a text.
///
/// # Errors
/// [`crate::Error::Vocabulary`] if a score is not a number, a piece occurs twice, a byte has no
/// piece, or there are more pieces or merges than an image can hold.
pub fn build_from_pieces<'a>(
    pieces: impl IntoIterator<Item = (&'a str, f32, PieceKind)>,
    bos: Option<u32>,
    eos: Option<u32>,
) -> Result<Vec<u8>> {
    let (mut texts, mut scores, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for (text, score, kind) in pieces {
        if score.is_nan() {
            return Err(refuse(format!("the score of {text:?}"), score, "a number"));
        }
        if matches!(kind, PieceKind::Unknown | PieceKind::Control | PieceKind::UserDefined)
            && !text.is_empty()
        {
            added.push(texts.len() as u32);
        }
        texts.push(text);
        scores.push(score);
    }
    for id in [bos, eos].into_iter().flatten() {
        if id as usize >= texts.len() {
            return Err(refuse("bos or eos", id, format!("an id below {}", texts.len())));
        }
    }
    let ids = Ids::new(&texts)?;
    let merges = merges(&texts, &scores, &ids);
    let vocabulary = Vocabulary {
        n_model: texts.len(),
        pieces: texts.clone(),
        added,
        steps: vec![Step::Replace { pattern: " ".to_owned(), content: "▁".to_owned() }],
        words: Words::WholeText,
        before: bos.into_iter().collect(),
        after: eos.into_iter().collect(),
    };
    vocabulary.image(&ids, &merges)
}

/// All merges of the pieces, by rank.
pub(super) fn merges(texts: &[&str], scores: &[f32], ids: &Ids) -> Vec<Merge> {
    let mut ranked = Vec::new();
    for (merged, text) in texts.iter().enumerate() {
        let n_chars = text.chars().count();
        for (n_left, (cut, _)) in text.char_indices().enumerate().skip(1) {
            let (left, right) = text.split_at(cut);
            if let (Some(left), Some(right)) = (ids.get(left, ""), ids.get(right, "")) {
                let merge = Merge { left, right, merged: merged as u32 };
                ranked.push((scores[merged], n_left, n_chars - n_left, merge));
            }
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(Reverse((a.1, a.2)).cmp(&Reverse((b.1, b.2)))));
    ranked.into_iter().map(|(_, _, _, merge)| merge).collect()
}
