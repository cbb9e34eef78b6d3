//! The image against the `tokenizers` crate, which is the definition of a text's ids.
//!
//! `nano` is always there. The Gemma vocabulary lies in the folder `shared` beside the repository
//! (or where `GEMMULE_SHARED` says); without it those tests say so and pass.

mod damage;
mod equality;
mod refusal;
mod sources;
mod texts;

use std::io::Read;
use std::path::{Path, PathBuf};

use super::*;
use crate::package::Location;

/// A vocabulary, as its file, its image and its oracle.
struct Both {
    ours: Tokenizer,
    oracle: tokenizers::Tokenizer,
}

impl Both {
    fn new(json: Vec<u8>) -> Both {
        let ours = Tokenizer::open(build(&json).unwrap().into()).unwrap();
        let oracle = tokenizers::Tokenizer::from_bytes(&json).unwrap();
        Both { ours, oracle }
    }

    /// Fails unless ids, places and count of a text are the oracle's.
    #[track_caller]
    fn check(&self, text: &str) {
        let expected = self.oracle.encode(text, false).unwrap();
        let expected: Vec<(u32, u32)> = expected
            .get_ids()
            .iter()
            .zip(expected.get_offsets())
            .map(|(id, offsets)| (*id, offsets.0 as u32))
            .collect();
        let mut found = Vec::new();
        self.ours.encode_with_offsets(text, &mut found);
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            panic!(
                "token {at} of {text:?}: found {:?}, expected {:?}",
                &found[at..found.len().min(at + 5)],
                &expected[at..expected.len().min(at + 5)]
            );
        }
        let mut ids = Vec::new();
        self.ours.encode(text, &mut ids);
        assert!(ids.iter().eq(expected.iter().map(|(id, _)| id)), "without places: {text:?}");
    }
}

fn shared() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    std::env::var_os("GEMMULE_SHARED").map_or(beside, PathBuf::from)
}

fn nano_json() -> Vec<u8> {
    Location::BuiltIn.tokenizer_json().unwrap()
}

fn gemma_json() -> Option<Vec<u8>> {
    let path = shared().join("data/tokenizer/gemma_tokenizer.json.gz");
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: the Gemma vocabulary is not there");
        return None;
    };
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut json).unwrap();
    Some(json)
}
