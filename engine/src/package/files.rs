//! The files of a package in a folder.

use std::path::{Path, PathBuf};

use crate::bytes::Bytes;
use crate::{Error, Result};

/// The files that decide what a package is, but for those of its modules.
pub(super) const NAMES: [&str; 6] = [
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "model.safetensors",
];

/// The files in the folder of a module; pooling has no weights.
pub(super) const OF_MODULE: [&str; 2] = ["config.json", "model.safetensors"];

/// A folder, whose files are known by their path inside it.
pub(super) struct Files<'a>(pub(super) &'a Path);

impl Files<'_> {
    /// One file, whose pages come when they are read.
    pub(super) fn bytes(&self, name: &str) -> Result<Bytes> {
        let path = self.0.join(name);
        Bytes::map(&path).map_err(|source| failed(path, source))
    }

    /// Reads one small file whole.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.0.join(name);
        std::fs::read(&path).map_err(|source| failed(path, source))
    }
}

fn failed(path: PathBuf, source: std::io::Error) -> Error {
    Error::Io { doing: "read the model's", path, source }
}
