//! What an image cannot reproduce is refused, and the refusal names the field.

use serde_json::{Value, json};

use super::*;

/// The field that is refused after `change`; "" if the vocabulary is accepted.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut file: Value = serde_json::from_slice(&nano_json()).unwrap();
    change(&mut file);
    match build(&serde_json::to_vec(&file).unwrap()) {
        Err(Error::Vocabulary { field, .. }) => field,
        Err(error) => panic!("{error}"),
        Ok(_) => String::new(),
    }
}

#[test]
fn the_field_at_fault_is_named() {
    assert_eq!(refused(|_| {}), "");
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 20] = [
        ("tokenizer.json", |f| f["model"]["new_field"] = json!(1)),
        ("model.type", |f| f["model"]["type"] = json!("Unigram")),
        ("model.dropout", |f| f["model"]["dropout"] = json!(0.1)),
        ("model.continuing_subword_prefix", |f| {
            f["model"]["continuing_subword_prefix"] = json!("##");
        }),
        ("model.end_of_word_suffix", |f| f["model"]["end_of_word_suffix"] = json!("</w>")),
        ("model.byte_fallback", |f| f["model"]["byte_fallback"] = json!(false)),
        ("model.ignore_merges", |f| f["model"]["ignore_merges"] = json!(true)),
        ("model.vocab", |f| f["model"]["vocab"]["th"] = json!(5)),
        ("model.vocab", |f| f["model"]["vocab"]["new"] = json!(1_000_000)),
        ("model.merges", |f| f["model"]["merges"][0] = json!(["t", "no such"])),
        ("normalizer", |f| f["normalizer"] = json!({"type": "NFD"})),
        ("normalizer", |f| {
            f["normalizer"]["normalizers"][2]["pattern"] = json!({"Regex": " +"});
        }),
        ("pre_tokenizer", |f| f["pre_tokenizer"] = json!({"type": "Whitespace"})),
        ("pre_tokenizer", |f| f["pre_tokenizer"]["behavior"] = json!("Removed")),
        ("pre_tokenizer", |f| f["pre_tokenizer"]["pattern"] = json!({"String": "x"})),
        ("post_processor", |f| f["post_processor"] = json!({"type": "ByteLevel"})),
        ("post_processor", |f| f["post_processor"]["single"] = json!([])),
        ("added_tokens \"<bos>\" lstrip", |f| f["added_tokens"][2]["lstrip"] = json!(true)),
        ("added_tokens \"<bos>\" normalized", |f| {
            f["added_tokens"][2]["normalized"] = json!(true);
        }),
        ("added_tokens \"<bos>\"", |f| f["added_tokens"][2]["id"] = json!(7)),
    ];
    for (field, change) in cases {
        assert_eq!(refused(change), field);
    }
}

#[test]
fn a_missing_byte_and_a_merging_byte_are_refused() {
    let bytes = refused(|file| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let id = vocab.remove("<0x41>").unwrap();
        vocab.insert("other".to_owned(), id);
    });
    assert_eq!(bytes, "model.vocab");
    let merging = refused(|file| {
        let last = file["model"]["vocab"].as_object().unwrap().len();
        file["model"]["vocab"]["<0x41>t"] = json!(last);
        file["model"]["merges"].as_array_mut().unwrap().push(json!(["<0x41>", "t"]));
        file["added_tokens"] = json!([]);
    });
    assert_eq!(merging, "model.merges");
}

#[test]
fn bytes_that_are_no_tokenizer_are_refused() {
    for json in ["", "{}", "[1]", "{\"model\": {\"type\": \"BPE\"}}", "\u{feff}{}"] {
        assert!(build(json.as_bytes()).is_err(), "{json}");
    }
    assert!(Tokenizer::open(Vec::new().into()).is_err());
    assert!(Tokenizer::open(nano_json().into()).is_err());
}
