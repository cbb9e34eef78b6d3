//! The weights before the first step: those of packages, of one with more pieces, or random ones.

mod grown;
mod random;

use serde::{Deserialize, Serialize};

pub use grown::GrownStart;
pub use random::RandomStart;

use super::soup::soup;
use super::teacher::Teacher;
use crate::package::{Location, Package, Weights};
use crate::{Error, Result};

/// Where a run begins, as a recipe says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// The weights of a model, by name or path; of several, which must be alike, the uniform average.
    Packages(Vec<String>),
    /// The weights of a model, with more pieces in its vocabulary.
    Grown(GrownStart),
    /// Random weights.
    Random(RandomStart),
}

/// A model that is about to be trained.
pub(super) struct Beginning {
    pub(super) package: Package,
    pub(super) tokenizer_json: Vec<u8>,
    pub(super) weights: Weights,
}

impl Start {
    /// Reads or makes the weights. `vocabulary`: a new `tokenizer.json`, if there is one.
    ///
    /// # Errors
    /// As [`Package::open`]; [`Error::Package`] if packages are not alike, or a shape is none.
    pub(super) fn open(
        &self,
        seed: u64,
        vocabulary: Option<Vec<u8>>,
        teacher: Option<&Teacher>,
    ) -> Result<Beginning> {
        match self {
            Start::Packages(names) => of_packages(names),
            Start::Grown(grown) => grown.open(vocabulary, teacher),
            Start::Random(random) => random.open(seed, vocabulary, teacher),
        }
    }

    /// The model whose tokenizer and prompts are used.
    pub(super) fn model(&self) -> &str {
        match self {
            Start::Packages(names) => names.first().map_or("", String::as_str),
            Start::Grown(grown) => &grown.package,
            Start::Random(random) => &random.like,
        }
    }

    /// Pieces of a vocabulary that is to be learnt first, if one is.
    pub(super) fn vocab_size(&self) -> Option<usize> {
        match self {
            Start::Packages(_) => None,
            Start::Grown(grown) => Some(grown.vocab_size),
            Start::Random(random) => random.vocab_size,
        }
    }
}

fn of_packages(names: &[String]) -> Result<Beginning> {
    let mut weights = Vec::new();
    let mut first: Option<(Package, Vec<u8>)> = None;
    for name in names {
        let location = Location::find(name)?;
        let (package, source) = location.load()?;
        let tokenizer_json = location.tokenizer_json()?;
        weights.push(source.weights()?);
        let Some((of_first, _)) = &first else {
            first = Some((package, tokenizer_json));
            continue;
        };
        if of_first.config != package.config || of_first.widths != package.widths {
            return Err(Error::Package {
                package: name.clone(),
                field: "its shape".to_owned(),
                found: "another".to_owned(),
                expected: format!("that of {}, to be averaged with it", names[0]),
            });
        }
    }
    let Some((package, tokenizer_json)) = first else {
        return Err(Error::UnknownModel { name: String::new() });
    };
    Ok(Beginning { package, tokenizer_json, weights: soup(&weights) })
}

/// The strings of a tokenizer's pieces: spaces for `▁`, trimmed.
pub(super) fn token_texts(tokenizer_json: &[u8]) -> Result<Vec<(u32, String)>> {
    let library = tokenizers::Tokenizer::from_bytes(tokenizer_json).map_err(Error::Tokenize)?;
    let mut texts: Vec<(u32, String)> = (library.get_vocab(true).into_iter())
        .map(|(piece, id)| (id, piece.replace('\u{2581}', " ").trim().to_owned()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    texts.sort_unstable();
    Ok(texts)
}
