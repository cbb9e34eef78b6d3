//! Reads `tokenizer.json`: the parts that an image can reproduce, and a refusal for the rest.
//!
//! Truncation, padding and the decoder are not read: they change no id of a text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::normalise::Step;
use super::split::PATTERN;
use super::vocabulary::{Ids, Merge, Vocabulary, Words, refuse};
use crate::Result;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Without the field, the library's default depends on `special`: so it must be there.
    normalized: bool,
}

/// A field more than these could change ids.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<'a> {
    r#type: String,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default, rename = "unk_token")]
    _unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    /// Nothing is unknown where every byte is a piece.
    #[serde(default, rename = "fuse_unk")]
    _fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(borrow)]
    vocab: Pieces<'a>,
    #[serde(borrow)]
    merges: Vec<Pair<'a>>,
}

/// A string that is borrowed from the JSON where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The vocabulary in the order of the file.
struct Pieces<'a>(Vec<(Text<'a>, u32)>);

/// A merge, written `["a", "b"]` or `"a b"`.
struct Pair<'a>(Cow<'a, str>, Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Pieces<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Vec<(Text<'de>, u32)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of ids by piece")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pieces = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    pieces.push(entry);
                }
                Ok(pieces)
            }
        }
        deserializer.deserialize_map(Read).map(Pieces)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pair<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Pair<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge as [left, right] or \"left right\"")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let left: Option<Text<'de>> = seq.next_element()?;
                let right: Option<Text<'de>> = seq.next_element()?;
                match (left, right, seq.next_element::<Value>()?) {
                    (Some(left), Some(right), None) => Ok(Pair(left.0, right.0)),
                    _ => Err(A::Error::custom("a merge that is not of two pieces")),
                }
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Pair(left.to_owned().into(), right.to_owned().into()))
                    }
                    _ => Err(E::custom("a merge that is not of two pieces")),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// The image of a `tokenizer.json`.
pub(super) fn image(json: &[u8]) -> Result<Vec<u8>> {
    let file: File = serde_json::from_slice(json)
        .map_err(|e| refuse("tokenizer.json", e, "a tokenizer of one BPE model"))?;
    check_model(&file.model)?;
    let steps = steps(&file.normalizer)?;
    let words = words(&file.pre_tokenizer, &steps)?;
    let n_model = file.model.vocab.0.len();
    let mut pieces = vec![None; n_model];
    for (piece, id) in &file.model.vocab.0 {
        match pieces.get_mut(*id as usize) {
            Some(slot @ None) => *slot = Some(piece.0.as_ref()),
            _ => {
                let expected = format!("ids 0 to {}, each once", n_model - 1);
                return Err(refuse("model.vocab", format!("{:?}: {id}", piece.0), expected));
            }
        }
    }
    let mut pieces: Vec<&str> = pieces.into_iter().flatten().collect();
    let added = added(&file.added_tokens, &mut pieces)?;
    let ids = Ids::new(&pieces)?;
    let merges = merges(&file.model.merges, &ids, n_model)?;
    let (before, after) = frame(&file.post_processor, &ids)?;
    let vocabulary =
        Vocabulary { pieces: pieces.clone(), n_model, added, steps, words, before, after };
    vocabulary.image(&ids, &merges)
}

fn check_model(model: &Model) -> Result<()> {
    if model.r#type != "BPE" {
        return Err(refuse("model.type", &model.r#type, "BPE"));
    }
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return Err(refuse("model.dropout", dropout, "none"));
    }
    let affixes = [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (field, affix) in affixes {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(refuse(field, affix, "none"));
        }
    }
    if !model.byte_fallback {
        return Err(refuse("model.byte_fallback", false, true));
    }
    if model.ignore_merges {
        return Err(refuse("model.ignore_merges", true, false));
    }
    Ok(())
}

fn steps(normalizer: &Value) -> Result<Vec<Step>> {
    const EXPECTED: &str = "none, NFKC, Lowercase, Replace of a literal, or a Sequence of them";
    let refused = || refuse("normalizer", normalizer, EXPECTED);
    if normalizer.is_null() {
        return Ok(Vec::new());
    }
    match normalizer["type"].as_str() {
        Some("NFKC") => Ok(vec![Step::Nfkc]),
        Some("Lowercase") => Ok(vec![Step::Lowercase]),
        Some("Replace") => {
            let pattern = normalizer["pattern"]["String"].as_str().filter(|p| !p.is_empty());
            let content = normalizer["content"].as_str();
            let (Some(pattern), Some(content)) = (pattern, content) else { return Err(refused()) };
            Ok(vec![Step::Replace { pattern: pattern.to_owned(), content: content.to_owned() }])
        }
        Some("Sequence") => {
            let parts = normalizer["normalizers"].as_array().ok_or_else(refused)?;
            Ok(parts.iter().map(steps).collect::<Result<Vec<_>>>()?.concat())
        }
        _ => Err(refused()),
    }
}

fn words(pre_tokenizer: &Value, steps: &[Step]) -> Result<Words> {
    const EXPECTED: &str = "none, a Split at a literal that the last normaliser replaces, \
                            or a Split, Isolated, by the one known pattern";
    if pre_tokenizer.is_null() {
        return Ok(Words::WholeText);
    }
    let pattern = &pre_tokenizer["pattern"];
    if pre_tokenizer["type"] == "Split" && pre_tokenizer["invert"] == false {
        if let (Some(literal), Some(Step::Replace { pattern, content })) =
            (pattern["String"].as_str(), steps.last())
            // One character, so that no new occurrence can arise across what was replaced.
            && literal == pattern
            && literal.chars().count() == 1
            && !content.contains(literal)
        {
            return Ok(Words::WholeText);
        }
        if pattern["Regex"] == PATTERN && pre_tokenizer["behavior"] == "Isolated" {
            return Ok(Words::Pattern);
        }
    }
    Err(refuse("pre_tokenizer", pre_tokenizer, EXPECTED))
}

/// Ids of the added tokens; those that are no piece of the model are appended to `pieces`.
fn added<'a>(tokens: &'a [AddedToken], pieces: &mut Vec<&'a str>) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for token in tokens.iter().filter(|token| !token.content.is_empty()) {
        let field = format!("added_tokens {:?}", token.content);
        let fields = [
            ("single_word", token.single_word),
            ("lstrip", token.lstrip),
            ("rstrip", token.rstrip),
            ("normalized", token.normalized),
        ];
        if let Some((name, _)) = fields.iter().find(|(_, set)| *set) {
            return Err(refuse(format!("{field} {name}"), true, false));
        }
        if token.id as usize == pieces.len() {
            pieces.push(&token.content);
        } else if pieces.get(token.id as usize) != Some(&token.content.as_str()) {
            let expected = format!("the id of an equal piece, or {}", pieces.len());
            return Err(refuse(field, token.id, expected));
        }
        ids.push(token.id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn merges(pairs: &[Pair], ids: &Ids, n_model: usize) -> Result<Vec<Merge>> {
    let id = |pair: &Pair, head: &str, tail: &str| {
        ids.get(head, tail).filter(|id| (*id as usize) < n_model).ok_or_else(|| {
            let found = format!("{:?} + {:?}", pair.0, pair.1);
            refuse("model.merges", found, "pieces of the vocabulary, also when joined")
        })
    };
    pairs
        .iter()
        .map(|pair| {
            let (left, right) = (id(pair, &pair.0, "")?, id(pair, &pair.1, "")?);
            Ok(Merge { left, right, merged: id(pair, &pair.0, &pair.1)? })
        })
        .collect()
}

/// The ids that the post-processor puts before and after a single text.
fn frame(post_processor: &Value, ids: &Ids) -> Result<(Vec<u32>, Vec<u32>)> {
    const EXPECTED: &str = "none, or a TemplateProcessing with one $A and special tokens";
    let refused = || refuse("post_processor", post_processor, EXPECTED);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    if post_processor.is_null() {
        return Ok((before, after));
    }
    if post_processor["type"] != "TemplateProcessing" {
        return Err(refused());
    }
    let mut seen = false;
    for part in post_processor["single"].as_array().ok_or_else(refused)? {
        if part["Sequence"]["id"] == "A" && !seen {
            seen = true;
            continue;
        }
        let name = part["SpecialToken"]["id"].as_str().ok_or_else(refused)?;
        let known = &post_processor["special_tokens"][name]["ids"];
        for id in known.as_array().ok_or_else(refused)? {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(refused)?;
            if ids.text(id).is_none() {
                return Err(refused());
            }
            if seen { &mut after } else { &mut before }.push(id);
        }
    }
    if seen { Ok((before, after)) } else { Err(refused()) }
}
