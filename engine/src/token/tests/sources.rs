//! Other ways to the same vocabulary: merges as text, pieces with scores, tokens that are added.

use serde_json::{Value, json};

use super::texts::{Random, random_text};
use super::*;

const PROSE: &str =
    "Pieces with scores,\n\n\n\tone by one; 東京都に住んでいます。 größer </table> ";

/// Checks random texts against an oracle of a changed file.
fn check_changed(json: &[u8], change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_slice(json).unwrap();
    change(&mut file);
    let both = Both::new(serde_json::to_vec(&file).unwrap());
    let mut random = Random(11);
    (0..500).for_each(|_| both.check(&random_text(&mut random, &both.ours, PROSE)));
}

#[test]
fn merges_may_be_written_as_text() {
    check_changed(&nano_json(), |file| {
        for merge in file["model"]["merges"].as_array_mut().unwrap() {
            *merge =
                json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
        }
    });
}

#[test]
fn nano_without_its_pattern_or_its_normaliser() {
    check_changed(&nano_json(), |file| file["pre_tokenizer"] = Value::Null);
    check_changed(&nano_json(), |file| file["normalizer"] = json!({"type": "NFKC"}));
    check_changed(&nano_json(), |file| {
        file["normalizer"] = json!({"type": "Sequence", "normalizers": [
            {"type": "Lowercase"},
            {"type": "Replace", "pattern": {"String": "aa"}, "content": "b"},
            {"type": "Replace", "pattern": {"String": "-"}, "content": ""},
            {"type": "NFKC"},
        ]});
    });
}

#[test]
fn thousands_of_added_tokens_with_common_beginnings() {
    check_changed(&nano_json(), |file| {
        let n_model = file["model"]["vocab"].as_object().unwrap().len();
        let runs = (2..32).flat_map(|n| ["\n".repeat(n), "\t".repeat(n), "a".repeat(n)]);
        let unused = (0..2_000).map(|n| format!("<unused{n}>"));
        let others = ["é", "éé", "<", "<<", "İ", "fi", "日本"].map(str::to_owned);
        file["added_tokens"] = runs
            .chain(unused)
            .chain(others)
            .filter(|content| file["model"]["vocab"].get(content).is_none())
            .enumerate()
            .map(|(n, content)| {
                json!({"id": n_model + n, "content": content, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false, "special": n % 2 == 0})
            })
            .collect();
    });
}

#[test]
fn an_added_character_is_no_piece_of_the_model() {
    let mut file: Value = serde_json::from_slice(&nano_json()).unwrap();
    let id = file["model"]["vocab"].as_object().unwrap().len();
    assert!(file["model"]["vocab"].get("ꙁ").is_none());
    file["added_tokens"] = json!([{"id": id, "content": "ꙁ", "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false, "special": false}]);
    let both = Both::new(serde_json::to_vec(&file).unwrap());
    // The capital becomes the added character only after added tokens were looked for.
    both.check("ꙁ Ꙁ ꙁꙀ");
}

/// Pieces of Gemma with scores that give back its merges: a piece's score is minus the rank of its
/// first merge; pieces whose merges lie among each other, as those of runs do, share a score.
fn scored(file: &Value) -> Vec<(String, f32, PieceKind)> {
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let mut pieces = vec![(String::new(), f32::MIN, PieceKind::Normal); vocab.len()];
    for (piece, id) in vocab {
        pieces[id.as_u64().unwrap() as usize].0 = piece.clone();
    }
    let id = |text: &str| vocab[text].as_u64().unwrap() as usize;
    let made: Vec<usize> = file["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| id(&[m[0].as_str().unwrap(), m[1].as_str().unwrap()].concat()))
        .collect();
    let mut last = vec![0; pieces.len()];
    made.iter().enumerate().for_each(|(rank, id)| last[*id] = rank);
    let mut start = 0;
    while start < made.len() {
        let mut end = start;
        let mut rank = start;
        while rank <= end {
            end = end.max(last[made[rank]]);
            rank += 1;
        }
        made[start..=end].iter().for_each(|id| pieces[*id].1 = -(start as f32));
        start = end + 1;
    }
    for token in file["added_tokens"].as_array().unwrap() {
        let kind =
            if token["special"] == true { PieceKind::Control } else { PieceKind::UserDefined };
        pieces[token["id"].as_u64().unwrap() as usize].2 = kind;
    }
    for (piece, _, kind) in &mut pieces {
        if piece.len() == 6 && piece.starts_with("<0x") && piece.ends_with('>') {
            *kind = PieceKind::Byte;
        }
    }
    pieces
}

#[test]
fn pieces_with_scores_give_the_image_of_the_file() {
    let Some(json) = gemma_json() else { return };
    let mut file: Value = serde_json::from_slice(&json).unwrap();
    let pieces = scored(&file);
    let given = || pieces.iter().map(|(text, score, kind)| (text.as_str(), *score, *kind));
    // Byte for byte: the same merges at the same ranks, the same added tokens, the same frame.
    assert!(build_from_pieces(given(), Some(2), Some(1)).unwrap() == build(&json).unwrap());

    // Runs of newlines as user-defined pieces are the added tokens of other files of Gemma.
    let mut runs = pieces.clone();
    let mut tokens = file["added_tokens"].as_array().unwrap().clone();
    for (id, (text, _, kind)) in runs.iter_mut().enumerate() {
        if !text.is_empty() && text.chars().all(|c| c == '\n') {
            *kind = PieceKind::UserDefined;
            tokens.push(json!({"id": id, "content": text, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": false}));
        }
    }
    assert_eq!(tokens.len(), 16 + 31);
    file["added_tokens"] = tokens.into();
    let from_file = build(&serde_json::to_vec(&file).unwrap()).unwrap();
    let given = runs.iter().map(|(text, score, kind)| (text.as_str(), *score, *kind));
    assert!(build_from_pieces(given, Some(2), Some(1)).unwrap() == from_file);
}

#[test]
fn unusable_pieces_are_refused() {
    let bytes: Vec<String> = (0..256).map(|b| format!("<0x{b:02X}>")).collect();
    let with = |more: &[(&'static str, f32)]| {
        let pieces = bytes
            .iter()
            .map(|b| (b.as_str(), 0.0, PieceKind::Byte))
            .chain(more.iter().map(|(text, score)| (*text, *score, PieceKind::Normal)));
        build_from_pieces(pieces, Some(0), None)
    };
    let image = with(&[("a", -1.0), ("b", -2.0), ("ab", -3.0)]).unwrap();
    let tokenizer = Tokenizer::open(image.into()).unwrap();
    let mut ids = Vec::new();
    tokenizer.encode_framed("abaAb", &mut ids);
    assert_eq!(ids, [0, 258, 256, 65, 257]);
    assert!(with(&[("a", -1.0), ("a", -2.0)]).is_err());
    assert!(with(&[("a", f32::NAN)]).is_err());
    assert!(build_from_pieces([("a", 0.0, PieceKind::Normal)], None, None).is_err());
    assert!(build_from_pieces([], Some(1), None).is_err());
    assert_eq!(PieceKind::from_number(6), Some(PieceKind::Byte));
    assert_eq!(PieceKind::from_number(0), None);
    assert_eq!(PieceKind::from_number(7), None);
}

#[test]
fn a_piece_that_its_merges_never_reach_is_not_given() {
    let bytes: Vec<String> = (0..256).map(|b| format!("<0x{b:02X}>")).collect();
    let more = [("a", 0.), ("b", 0.), ("c", 0.), ("d", 0.), ("bc", -1.), ("ab", -2.), ("cd", -3.)];
    let image = build_from_pieces(
        bytes.iter().map(|b| (b.as_str(), 0.0, PieceKind::Byte)).chain(
            more.iter()
                .chain(&[("abcd", -4.0)])
                .map(|(text, score)| (*text, *score, PieceKind::Normal)),
        ),
        None,
        None,
    );
    let tokenizer = Tokenizer::open(image.unwrap().into()).unwrap();
    let mut ids = Vec::new();
    // `bc` comes first and leaves nothing that makes `abcd`; a space is three bytes here.
    tokenizer.encode("abcd ab", &mut ids);
    assert_eq!(ids, [256, 260, 259, 0xe2, 0x96, 0x81, 261]);
}
