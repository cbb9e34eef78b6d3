//! The tokenizer inside a GGUF file: pieces with scores and kinds, as SentencePiece has them.
//!
//! Such a tokenizer joins, again and again, the two neighbours whose joint piece scores highest,
//! the leftmost of equals. A BPE tokenizer joins the pair whose merge ranks first. Both do the same
//! where each piece's score is minus the rank of the first merge that makes it, which is how
//! [`pieces_from_tokenizer_json`] derives scores. What it cannot express is refused: a normalizer
//! beyond space to U+2581, a pre-tokenizer that cuts, a vocabulary without bytes to fall back on.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::reader::named;
use super::value::{Array, Value};
use super::{Gguf, Refusal, refuse};
use crate::Result;
use crate::token::PieceKind;

/// A piece in a file; its id is its position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PieceRef<'a> {
    /// U+2581 stands for a space.
    pub text: &'a str,
    /// Higher is joined first.
    pub score: f32,
    /// What it is for.
    pub kind: PieceKind,
}

/// A piece; its id is its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// U+2581 stands for a space.
    pub text: String,
    /// Higher is joined first.
    pub score: f32,
    /// What it is for.
    pub kind: PieceKind,
}

/// The tokenizer's part of a file's metadata. What a file does not say is `None`.
#[derive(Clone, Debug)]
pub struct Tokenizer<'a> {
    /// `llama` for SentencePiece.
    pub model: &'a str,
    /// How texts are cut first; `default` for this model.
    pub pre: Option<&'a str>,
    /// Whether a text is opened by `bos`.
    pub add_bos: Option<bool>,
    /// Whether a text is closed by `eos`.
    pub add_eos: Option<bool>,
    /// Whether a space is put before a text.
    pub add_space_prefix: Option<bool>,
    /// Opens a text.
    pub bos: Option<u32>,
    /// Closes a text.
    pub eos: Option<u32>,
    /// Stands for what cannot be expressed.
    pub unk: Option<u32>,
    /// Fills up shorter texts.
    pub pad: Option<u32>,
    /// The whole `tokenizer.json`, in files that carry it.
    pub huggingface_json: Option<&'a str>,
    /// Pairs to join in order of rank, `a b` each, in files of BPE tokenizers.
    pub merges: Option<Array<'a>>,
    tokens: Option<Array<'a>>,
    scores: Option<Array<'a>>,
    kinds: Option<Array<'a>>,
}

impl<B: AsRef<[u8]>> Gguf<B> {
    /// The tokenizer inside the file.
    ///
    /// # Errors
    /// [`crate::Error::Package`] if a key is missing or of the wrong type, or the lists of pieces,
    /// scores and kinds differ in length.
    pub fn tokenizer(&self) -> Result<Tokenizer<'_>> {
        const MODEL: &str = "tokenizer.ggml.model";
        let Some(model) = self.typed(MODEL, "a text", Value::as_str)? else {
            return Err(self.refused(refuse(MODEL, "absent", "llama, as in EmbeddingGemma")));
        };
        let text = |key: &str| self.typed(key, "a text", Value::as_str);
        let flag = |key: &str| self.typed(key, "yes or no", Value::as_bool);
        let list = |key: &str| self.typed(key, "a list", Value::as_array);
        let id = |key: &str| {
            let id = |value: Value<'_>| value.as_u64().and_then(|id| u32::try_from(id).ok());
            self.typed(key, "a token's id", id)
        };
        let tokenizer = Tokenizer {
            model,
            pre: text("tokenizer.ggml.pre")?,
            add_bos: flag("tokenizer.ggml.add_bos_token")?,
            add_eos: flag("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: flag("tokenizer.ggml.add_space_prefix")?,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            unk: id("tokenizer.ggml.unknown_token_id")?,
            pad: id("tokenizer.ggml.padding_token_id")?,
            huggingface_json: text("tokenizer.huggingface.json")?,
            merges: list("tokenizer.ggml.merges")?,
            tokens: list("tokenizer.ggml.tokens")?,
            scores: list("tokenizer.ggml.scores")?,
            kinds: list("tokenizer.ggml.token_type")?,
        };
        let n_tokens = tokenizer.len();
        for (key, list) in [("scores", tokenizer.scores), ("token_type", tokenizer.kinds)] {
            if let Some(list) = list
                && list.len() != n_tokens
            {
                let field = format!("tokenizer.ggml.{key}");
                let expected = format!("as many as tokenizer.ggml.tokens, {n_tokens}");
                return Err(self.refused(refuse(field, Value::Array(list), expected)));
            }
        }
        match tokenizer.pieces().count() {
            n if n == n_tokens => Ok(tokenizer),
            n => {
                let expected = "a text with a score and a kind of 1 to 6";
                let field = "tokenizer.ggml.tokens, scores, token_type";
                Err(self.refused(refuse(field, format!("damaged at piece {n}"), expected)))
            }
        }
    }
}

impl<'a> Tokenizer<'a> {
    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.tokens.map_or(0, |tokens| tokens.len())
    }

    /// Whether there are none, as in files that carry a `tokenizer.json` instead.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order of their ids. Scores are 0 and kinds normal where the file has none.
    pub fn pieces(&self) -> impl Iterator<Item = PieceRef<'a>> + use<'a> {
        let values = |list: Option<Array<'a>>| list.map(|list| list.iter());
        let mut scores = values(self.scores);
        let mut kinds = values(self.kinds);
        values(self.tokens).into_iter().flatten().map_while(move |text| {
            let score = match &mut scores {
                Some(scores) => scores.next()?.as_f64()? as f32,
                None => 0.0,
            };
            let kind = match &mut kinds {
                Some(kinds) => {
                    PieceKind::from_number(u32::try_from(kinds.next()?.as_u64()?).ok()?)?
                }
                None => PieceKind::Normal,
            };
            Some(PieceRef { text: text.as_str()?, score, kind })
        })
    }
}

#[derive(Deserialize)]
struct TokenizerJson {
    normalizer: Option<Json>,
    pre_tokenizer: Option<Json>,
    added_tokens: Vec<AddedToken>,
    model: Bpe,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// Both spellings: `"a b"`, and `["a", "b"]` of newer files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

impl Merge {
    /// The piece it makes.
    fn product(&self) -> String {
        match self {
            Merge::Joined(pair) => pair.replacen(' ', "", 1),
            Merge::Pair(left, right) => format!("{left}{right}"),
        }
    }
}

/// A hostile file might name the last id of four billion.
const MOST_PIECES: u32 = 1 << 22;

const FILE: &str = "tokenizer.json";

/// Turns a BPE tokenizer into the pieces of a SentencePiece one that gives the same ids.
///
/// Ids that the file leaves out become unused pieces `[PAD7]`.
///
/// # Errors
/// [`crate::Error::Package`] names what pieces cannot express.
pub fn pieces_from_tokenizer_json(json: &[u8]) -> Result<Vec<Piece>> {
    read_pieces(json).map_err(|refusal| named(FILE, refusal))
}

fn read_pieces(json: &[u8]) -> Result<Vec<Piece>, Refusal> {
    let tokenizer: TokenizerJson = serde_json::from_slice(json)
        .map_err(|e| refuse(FILE, e, "a BPE tokenizer with its vocabulary and merges"))?;
    check_expressible(&tokenizer)?;
    let TokenizerJson { added_tokens, model, .. } = tokenizer;

    let mut first_rank: HashMap<String, usize> = HashMap::new();
    for (rank, merge) in model.merges.iter().enumerate() {
        first_rank.entry(merge.product()).or_insert(rank);
    }
    // Pieces that no merge makes are never joined, so where they rank does not matter.
    let last = -(model.merges.len() as f32);
    let ids = model.vocab.values().chain(added_tokens.iter().map(|added| &added.id));
    let largest = ids.copied().max().unwrap_or(0);
    if largest >= MOST_PIECES {
        return Err(refuse("model.vocab", format!("id {largest}"), format!("below {MOST_PIECES}")));
    }
    let filler = |id| Piece { text: format!("[PAD{id}]"), score: last, kind: PieceKind::Unused };
    let mut pieces: Vec<Piece> = (0..=largest).map(filler).collect();
    let score = |text: &str| first_rank.get(text).map_or(last, |rank| -(*rank as f32));
    let mut put = |id: u32, piece: Piece| {
        if let Some(place) = pieces.get_mut(id as usize) {
            *place = piece;
        }
    };
    for (text, id) in model.vocab {
        let kind = match text.chars().count() {
            _ if is_byte(&text) => PieceKind::Byte,
            2.. if !first_rank.contains_key(&text) => PieceKind::Unused,
            _ => PieceKind::Normal,
        };
        put(id, Piece { score: score(&text), text, kind });
    }
    for added in added_tokens {
        let kind = match added.special {
            _ if Some(&added.content) == model.unk_token.as_ref() => PieceKind::Unknown,
            true => PieceKind::Control,
            false => PieceKind::UserDefined,
        };
        // A run of spaces is looked for as it is written, U+2581 and all, so in most texts it is
        // still made by joining: it keeps its rank.
        put(added.id, Piece { score: score(&added.content), text: added.content, kind });
    }
    Ok(pieces)
}

/// `<0x0A>`
fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn check_expressible(tokenizer: &TokenizerJson) -> Result<(), Refusal> {
    let space_to_mark =
        serde_json::json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    if tokenizer.normalizer.as_ref() != Some(&space_to_mark) {
        let expected = "space to U+2581 and nothing else, for pieces to give the same ids";
        return Err(refuse("normalizer", kind_of(tokenizer.normalizer.as_ref()), expected));
    }
    // Gemma's cuts at spaces, of which the normalizer has left none.
    let cuts = tokenizer.pre_tokenizer.as_ref().is_some_and(|pre| {
        pre["type"] != "Split" || pre["pattern"] != serde_json::json!({"String": " "})
    });
    if cuts {
        let expected = "none, or a split at spaces, for pieces to give the same ids";
        return Err(refuse("pre_tokenizer", kind_of(tokenizer.pre_tokenizer.as_ref()), expected));
    }
    let model = &tokenizer.model;
    let kind = model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(refuse("model.type", kind, "BPE"));
    }
    if !model.byte_fallback {
        return Err(refuse("model.byte_fallback", "false", "true: pieces fall back on bytes"));
    }
    if model.ignore_merges {
        return Err(refuse("model.ignore_merges", "true", "false"));
    }
    for (field, affix) in [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(refuse(field, format!("{affix:?}"), "none"));
        }
    }
    let strips = |added: &&AddedToken| added.lstrip || added.rstrip || added.single_word;
    match tokenizer.added_tokens.iter().find(strips) {
        None => Ok(()),
        Some(added) => {
            let found = format!("{:?} with lstrip, rstrip or single_word", added.content);
            Err(refuse("added_tokens", found, "tokens that are found as they are written"))
        }
    }
}

fn kind_of(part: Option<&Json>) -> String {
    let kind = part.and_then(|part| part["type"].as_str());
    kind.unwrap_or("none").to_owned()
}
