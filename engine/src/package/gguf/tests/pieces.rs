//! A BPE tokenizer and the pieces made of it give the same ids: each is run by a naive twin here.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use super::*;
use crate::package::gguf::{Gguf, Piece, pieces_from_tokenizer_json};
use crate::token::PieceKind;

/// Bytes `<0x00>` to `<0x04>` only; id 12 is left out; `abab` has two merges; `zz` has none.
pub(super) const TOKENIZER: &str = r#"{
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                      "behavior": "MergedWithPrevious", "invert": false},
    "added_tokens": [
        {"id": 0, "content": "<pad>", "special": true, "normalized": false},
        {"id": 1, "content": "<eos>", "special": true, "normalized": false},
        {"id": 2, "content": "<bos>", "special": true, "normalized": false},
        {"id": 3, "content": "<unk>", "special": true, "normalized": false},
        {"id": 17, "content": "\u2581\u2581", "special": false, "normalized": false},
        {"id": 19, "content": "<image>", "special": true, "normalized": false}],
    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "ignore_merges": false,
        "vocab": {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<0x00>": 4, "<0x01>": 5,
                  "<0x02>": 6, "<0x03>": 7, "<0x04>": 8, "a": 9, "b": 10, "\u2581": 11,
                  "ab": 13, "aba": 14, "abab": 15, "\u2581a": 16, "\u2581\u2581": 17, "zz": 18},
        "merges": ["\u2581 \u2581", ["a", "b"], "ab ab", ["\u2581", "a"], "ab a", ["aba", "b"]]}}"#;

#[test]
fn scores_are_ranks_and_kinds_are_told_apart() {
    use PieceKind::{Byte, Control, Normal, Unknown, Unused, UserDefined};
    let pieces = pieces_from_tokenizer_json(TOKENIZER.as_bytes()).unwrap();
    assert_eq!(pieces.len(), 20);
    let expected = [
        (0, "<pad>", -6.0, Control),
        (3, "<unk>", -6.0, Unknown),
        (4, "<0x00>", -6.0, Byte),
        (9, "a", -6.0, Normal),
        (12, "[PAD12]", -6.0, Unused),
        (13, "ab", -1.0, Normal),
        (14, "aba", -4.0, Normal),
        (15, "abab", -2.0, Normal),
        (16, "\u{2581}a", -3.0, Normal),
        (17, "\u{2581}\u{2581}", 0.0, UserDefined),
        (18, "zz", -6.0, Unused),
        (19, "<image>", -6.0, Control),
    ];
    for (id, text, score, kind) in expected {
        assert_eq!(pieces[id], Piece { text: text.to_owned(), score, kind }, "id {id}");
    }
}

#[test]
fn pieces_are_written_and_read_back() {
    let gguf = Gguf::parse("tiny", tiny_bytes(Dtype::F32)).unwrap();
    let tokenizer = gguf.tokenizer().unwrap();
    let expected = pieces_from_tokenizer_json(TOKENIZER.as_bytes()).unwrap();
    let read: Vec<Piece> = tokenizer
        .pieces()
        .map(|piece| Piece { text: piece.text.to_owned(), score: piece.score, kind: piece.kind })
        .collect();
    assert_eq!(read[..20], expected);
    // As many as the table has rows.
    assert_eq!((read.len(), tokenizer.len()), (300, 300));
    assert!(read[20..].iter().all(|piece| piece.kind == PieceKind::Unused));
    let ids = (tokenizer.bos, tokenizer.eos, tokenizer.unk, tokenizer.pad);
    assert_eq!(ids, (Some(2), Some(1), Some(3), Some(0)));
    let flags = (tokenizer.add_bos, tokenizer.add_eos, tokenizer.add_space_prefix);
    assert_eq!(flags, (Some(true), Some(true), Some(false)));
    assert_eq!((tokenizer.model, tokenizer.pre), ("llama", Some("default")));
}

#[test]
fn what_pieces_cannot_express_is_refused_by_field() {
    let changes = [
        (r#""content": "\u2581"}"#, r#""content": "_"}"#, "normalizer"),
        (
            r#"{"type": "Split", "pattern": {"String": " "}"#,
            r#"{"type": "Digits""#,
            "pre_tokenizer",
        ),
        (r#""type": "BPE""#, r#""type": "Unigram""#, "model.type"),
        (r#""byte_fallback": true"#, r#""byte_fallback": false"#, "model.byte_fallback"),
        (r#""ignore_merges": false"#, r#""ignore_merges": true"#, "model.ignore_merges"),
        (r#""unk_token""#, r###""end_of_word_suffix": "##", "unk_token""###, "end_of_word_suffix"),
        (r#""special": false,"#, r#""special": false, "lstrip": true,"#, "added_tokens"),
        (r#""zz": 18"#, r#""zz": 4000000000"#, "model.vocab"),
        (r#""merges""#, r#""merge""#, "tokenizer.json"),
    ];
    for (from, to, field) in changes {
        assert!(TOKENIZER.contains(from), "{from}");
        let json = TOKENIZER.replacen(from, to, 1);
        let refused = field_of(pieces_from_tokenizer_json(json.as_bytes()));
        assert!(refused.contains(field), "{field}: {refused}");
    }
}

/// Joins neighbours by score, as SentencePiece does: the naive twin, quadratic.
fn by_score(text: &str, scores: &HashMap<&str, f32>) -> Vec<String> {
    join(text, |pair: &str, _| scores.get(pair).copied())
}

/// Joins neighbours by rank, as BPE does.
fn by_rank(text: &str, ranks: &HashMap<(String, String), usize>) -> Vec<String> {
    join(text, |pair, middle| {
        let halves = (pair[..middle].to_owned(), pair[middle..].to_owned());
        ranks.get(&halves).map(|rank| -(*rank as f32))
    })
}

/// Joins the best pair, the leftmost of equals, until no pair is any good.
fn join(text: &str, good: impl Fn(&str, usize) -> Option<f32>) -> Vec<String> {
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for i in 1..parts.len() {
            let pair = format!("{}{}", parts[i - 1], parts[i]);
            if let Some(score) = good(&pair, parts[i - 1].len())
                && best.is_none_or(|(highest, _)| score > highest)
            {
                best = Some((score, i));
            }
        }
        let Some((_, i)) = best else { return parts };
        let right = parts.remove(i);
        parts[i - 1].push_str(&right);
    }
}

#[test]
fn joining_by_score_gives_what_joining_by_rank_does() {
    let pieces = pieces_from_tokenizer_json(TOKENIZER.as_bytes()).unwrap();
    let scores = pieces.iter().map(|piece| (&*piece.text, piece.score)).collect();
    let json: serde_json::Value = serde_json::from_str(TOKENIZER).unwrap();
    let ranks = ranks_of(&json);
    // All texts of up to 7 of these letters.
    let mut texts = vec![String::new()];
    for n in 0..7 {
        let longer: Vec<String> = texts
            .iter()
            .filter(|text| text.chars().count() == n)
            .flat_map(|text| ["a", "b", "\u{2581}"].map(|letter| format!("{text}{letter}")))
            .collect();
        texts.extend(longer);
    }
    assert_eq!(texts.len(), 3280);
    for text in texts {
        assert_eq!(by_score(&text, &scores), by_rank(&text, &ranks), "{text}");
    }
}

fn ranks_of(json: &serde_json::Value) -> HashMap<(String, String), usize> {
    let merges = json["model"]["merges"].as_array().unwrap();
    let pair = |merge: &serde_json::Value| match merge.as_str() {
        Some(joined) => joined.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap(),
        None => {
            let half = |i: usize| merge[i].as_str().unwrap().to_owned();
            (half(0), half(1))
        }
    };
    merges.iter().enumerate().map(|(rank, merge)| (pair(merge), rank)).collect()
}

/// Gemma's vocabulary against ids that other programs published, where the files are there.
#[test]
fn pieces_of_gemma_give_the_published_ids() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/tokenizer");
    let Ok(packed) = std::fs::read(shared.join("gemma_tokenizer.json.gz")) else {
        println!("skipped: no {}", shared.display());
        return;
    };
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(&*packed).read_to_end(&mut json).unwrap();
    let pieces = pieces_from_tokenizer_json(&json).unwrap();
    assert_eq!(pieces.len(), 262_144);
    let n_bytes = pieces.iter().filter(|piece| piece.kind == PieceKind::Byte).count();
    assert_eq!(n_bytes, 256);
    let scores = pieces.iter().map(|piece| (&*piece.text, piece.score)).collect();
    let ids: HashMap<&str, usize> =
        pieces.iter().enumerate().map(|(id, piece)| (&*piece.text, id)).collect();
    let vectors = std::fs::read(shared.join("gemma3_vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_slice(&vectors).unwrap();
    let mut n_compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = vector["text"].as_str().unwrap().replace(' ', "\u{2581}");
        // Special tokens are found by other code, before pieces are joined.
        if text.contains('<') {
            continue;
        }
        let mut expected: Vec<usize> = vector["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as usize)
            .collect();
        expected.retain(|id| ![0, 1, 2].contains(id));
        let found = by_score(&text, &scores);
        let found: Vec<usize> = found
            .iter()
            .flat_map(|part| match ids.get(&**part) {
                Some(id) => vec![*id],
                None => part.bytes().map(|b| ids[&*format!("<0x{b:02X}>")]).collect(),
            })
            .collect();
        assert_eq!(found, expected, "{text}");
        n_compared += 1;
    }
    assert!(n_compared > 10, "{n_compared}");
}
