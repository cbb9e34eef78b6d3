//! Equal ids and places, on random texts and on real ones.

use std::path::Path;

use super::texts::{Random, random_text};
use super::{Both, gemma_json, nano_json, shared};

const PROSE: &str = "The Übermensch's naïve café cost £3.50 (50% off!) in 1999\u{2013}2001; \
    fn main() { println!(\"{:?}\", vec![1, 2, 3]); } // größer als 10⁻³\n\n\tИван пошёл домой. \
    東京都に住んでいます。 我们今天去北京。 안녕하세요 세계. नमस्ते दुनिया। مرحبا بالعالم";

fn check_random(both: &Both, n_texts: usize) {
    let mut random = Random(0x5eed);
    for _ in 0..n_texts {
        both.check(&random_text(&mut random, &both.ours, PROSE));
    }
}

#[test]
fn nano_gives_the_ids_of_the_oracle() {
    check_random(&Both::new(nano_json()), 3_000);
}

#[test]
fn gemma_gives_the_ids_of_the_oracle() {
    if let Some(json) = gemma_json() {
        check_random(&Both::new(json), 3_000);
    }
}

#[test]
#[ignore = "minutes: 100,000 texts for each vocabulary"]
fn a_hundred_thousand_texts_give_the_ids_of_the_oracle() {
    check_random(&Both::new(nano_json()), 100_000);
    if let Some(json) = gemma_json() {
        check_random(&Both::new(json), 100_000);
    }
}

/// Every file below a folder that is UTF-8, in pieces that the oracle can take.
fn check_folder(both: &Both, folder: &Path, n_left: &mut usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            check_folder(both, &path, n_left);
        } else if *n_left > 0
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            *n_left -= 1;
            text.split_inclusive("\n\n").for_each(|part| both.check(part));
        }
    }
}

#[test]
fn real_files_give_the_ids_of_the_oracle() {
    let docs = shared().join("data/docs");
    if !docs.is_dir() {
        println!("skipped: the documents are not there");
        return;
    }
    let n_files = if std::env::var_os("GEMMULE_SLOW").is_some() { usize::MAX } else { 40 };
    for json in [Some(nano_json()), gemma_json()].into_iter().flatten() {
        let mut n_left = n_files;
        check_folder(&Both::new(json), &docs, &mut n_left);
        assert!(n_left < n_files);
    }
}

#[test]
fn long_words_give_the_ids_of_the_oracle() {
    let mut random = Random(7);
    let letters: String = (0..20_000).map(|_| (b'a' + random.below(26) as u8) as char).collect();
    let han: String =
        (0..6_000).filter_map(|_| char::from_u32(0x4e00 + random.below(0x800) as u32)).collect();
    for json in [Some(nano_json()), gemma_json()].into_iter().flatten() {
        let both = Both::new(json);
        for text in [&letters, &han, &"a".repeat(5_000), &" ".repeat(5_000), &"\n".repeat(333)] {
            both.check(text);
        }
    }
}

#[test]
fn every_piece_alone_gives_the_ids_of_the_oracle() {
    for json in [Some(nano_json()), gemma_json()].into_iter().flatten() {
        let both = Both::new(json);
        for id in 0..=both.ours.largest_id() {
            both.check(&both.ours.piece(id).unwrap().replace('▁', " "));
        }
    }
}

#[test]
fn published_vectors_of_gemma() {
    let Some(json) = gemma_json() else { return };
    let both = Both::new(json);
    let file = std::fs::read(shared().join("data/tokenizer/gemma3_vectors.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let mut n_equal = 0;
    for vector in vectors {
        let text = vector["text"].as_str().unwrap();
        let mut found = Vec::new();
        let (bos, eos) = both.ours.frame();
        let bos = if vector["add_bos"] == true { bos } else { &[] };
        let eos = if vector["add_eos"] == true { eos } else { &[] };
        found.extend(bos);
        both.ours.encode(text, &mut found);
        found.extend(eos);
        let expected: Vec<u32> = serde_json::from_value(vector["ids"].clone()).unwrap();
        n_equal += usize::from(found == expected);
        both.check(text);
    }
    // One vector was made by a program that does not look for `<bos>` in a text.
    assert_eq!(n_equal, vectors.len() - 1);
}

#[test]
fn framed_counted_and_looked_up() {
    let both = Both::new(nano_json());
    let text = "Who frees this memory?";
    let mut ids = Vec::new();
    both.ours.encode_framed(text, &mut ids);
    assert_eq!(ids, both.oracle.encode(text, true).unwrap().get_ids());
    assert_eq!(both.ours.count(text), ids.len() - 2);
    assert_eq!(both.ours.vocab_size(), both.oracle.get_vocab_size(false));
    assert_eq!(both.ours.largest_id() as usize, both.oracle.get_vocab_size(true) - 1);
    for id in 0..=both.ours.largest_id() {
        let piece = both.oracle.id_to_token(id).unwrap();
        assert_eq!(both.ours.piece(id), Some(piece.as_str()));
        assert_eq!(both.ours.id(&piece), Some(id));
    }
    assert_eq!(both.ours.piece(both.ours.largest_id() + 1), None);
    assert_eq!(both.ours.id("no such piece"), None);
}
