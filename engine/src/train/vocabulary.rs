//! A new vocabulary for a new model: pieces and merges learned from the texts that it will be trained on.
//!
//! What is not learned (normalisation, how text is cut into words, special tokens, the bytes that stand in
//! for unknown characters, prompts that are one token) is that of the model it is like.

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainerBuilder;
use tokenizers::{AddedToken, Tokenizer};

use crate::{Error, Result};

/// Learns `vocab_size` pieces from texts, by byte-pair encoding.
///
/// `like`: the `tokenizer.json` of a model, with byte fallback. Returns one of the same kind; special tokens and
/// bytes keep their ids, tokens that are no special ones come last.
///
/// # Errors
/// [`Error::Package`] if `like` is not of this kind or `vocab_size` leaves no room; [`Error::Tokenize`].
pub fn learn<'a>(
    like: &[u8],
    texts: impl Iterator<Item = &'a str> + Send,
    vocab_size: usize,
) -> Result<Vec<u8>> {
    let mut whole: Value = serde_json::from_slice(like)
        .map_err(|e| refused("tokenizer.json", e.to_string(), "a tokenizer"))?;
    let added = whole["added_tokens"].as_array().cloned().unwrap_or_default();
    let (special, plain): (Vec<Value>, Vec<Value>) =
        added.into_iter().partition(|token| token["special"] == true);
    let first = first_pieces(&whole, &special)?;
    let n_learned = vocab_size.saturating_sub(first.len() + plain.len());
    if n_learned == 0 {
        let expected = format!("more than {}", first.len() + plain.len());
        return Err(refused("vocab_size", vocab_size.to_string(), &expected));
    }
    // The prompts are no text to learn from, and they would take the first ids.
    whole["added_tokens"] = json!([]);
    whole["post_processor"].take();
    let mut tokenizer: Tokenizer =
        serde_json::from_value(whole.clone()).map_err(|e| Error::Tokenize(e.into()))?;
    let tokens = first.iter().map(|piece| AddedToken::from(piece.clone(), true)).collect();
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab_size - plain.len())
        .special_tokens(tokens)
        .limit_alphabet((n_learned / 2).max(1))
        .show_progress(false)
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, texts).map_err(Error::Tokenize)?;
    let learned = serde_json::to_value(&tokenizer).map_err(|e| Error::Tokenize(e.into()))?;

    let mut result: Value = serde_json::from_slice(like)
        .map_err(|e| refused("tokenizer.json", e.to_string(), "a tokenizer"))?;
    result["model"]["vocab"] = learned["model"]["vocab"].clone();
    result["model"]["merges"] = learned["model"]["merges"].clone();
    let n_pieces = learned["model"]["vocab"].as_object().map_or(0, serde_json::Map::len);
    let mut added = special;
    for (i, mut token) in plain.into_iter().enumerate() {
        token["id"] = json!(n_pieces + i);
        added.push(token);
    }
    result["added_tokens"] = Value::Array(added);
    Ok(result.to_string().into_bytes())
}

/// Special tokens and byte pieces in the order of their ids, which must be the first.
fn first_pieces(whole: &Value, special: &[Value]) -> Result<Vec<String>> {
    const EXPECTED: &str =
        "a BPE model with byte fallback whose special tokens and bytes come first";
    let vocab = whole["model"]["vocab"].as_object();
    let vocab =
        vocab.ok_or_else(|| refused("tokenizer.json model", "no BPE".to_owned(), EXPECTED))?;
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let special = special.iter().filter_map(|token| token["content"].as_str().map(str::to_owned));
    let mut first = Vec::new();
    for piece in special.chain(bytes) {
        let id = vocab.get(&piece).and_then(Value::as_u64);
        let id =
            id.ok_or_else(|| refused("tokenizer.json", format!("no piece {piece}"), EXPECTED))?;
        first.push((id, piece));
    }
    first.sort();
    if let Some((i, (id, piece))) = first.iter().enumerate().find(|(i, (id, _))| *i as u64 != *id) {
        let found = format!("{piece} with id {id} at place {i}");
        return Err(refused("tokenizer.json vocab", found, EXPECTED));
    }
    Ok(first.into_iter().map(|(_, piece)| piece).collect())
}

fn refused(field: &str, found: String, expected: &str) -> Error {
    Error::Package {
        package: "the model that a new vocabulary is to be like".to_owned(),
        field: field.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Location;

    fn like() -> Vec<u8> {
        Location::BuiltIn.tokenizer_json().unwrap()
    }

    #[test]
    fn words_that_are_frequent_become_pieces() {
        let texts =
            ["the sponge survives the winter", "a sponge is an animal", "Sponge and sponge"];
        let json = learn(&like(), texts.into_iter().cycle().take(90), 400).unwrap();
        assert_eq!(json, learn(&like(), texts.into_iter().cycle().take(90), 400).unwrap());
        let tokenizer = Tokenizer::from_bytes(&json).unwrap();
        let pieces = |text: &str| tokenizer.encode(text, true).unwrap().get_tokens().to_vec();
        assert_eq!(pieces("the Sponge"), ["<bos>", "the", "\u{2581}sponge", "<eos>"]);
        // One token for a prompt, bytes for what no text had.
        let prompt = "task: search result | query:";
        assert_eq!(pieces(&format!("{prompt} the"))[1], prompt);
        assert!(pieces("\u{4e2d}").contains(&"<0xE4>".to_owned()));
        let vocab = tokenizer.get_vocab(true);
        assert_eq!(vocab.len(), vocab.values().max().map_or(0, |id| *id as usize + 1));
        assert!(vocab.len() <= 400, "{}", vocab.len());
        // Our own tokenizer reads it.
        assert!(crate::token::build(&json).is_ok());
    }

    #[test]
    fn a_size_without_room_is_refused() {
        let error = learn(&like(), ["a text"].into_iter(), 200).unwrap_err().to_string();
        assert!(error.contains("vocab_size is 200, expected more than 272"), "{error}");
    }
}
