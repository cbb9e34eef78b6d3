//! Where a package's files come from: a folder, or this crate itself.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The files of one package, by their path inside it.
pub(super) enum Files {
    Folder(PathBuf),
    BuiltIn(&'static [(&'static str, &'static [u8])]),
}

macro_rules! nano {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../assets/nano/", $name)))),*]
    };
}

static NANO_FILES: &[(&str, &[u8])] = nano![
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "model.safetensors",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_Dense/config.json",
    "3_Dense/model.safetensors",
];

impl Files {
    pub(super) fn nano() -> Files {
        Files::BuiltIn(NANO_FILES)
    }

    pub(super) fn folder(path: &Path) -> Files {
        Files::Folder(path.to_owned())
    }

    /// Reads one file whole.
    pub(super) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        let (path, read) = match self {
            Files::Folder(folder) => {
                let path = folder.join(name);
                (path.clone(), std::fs::read(path).map(Cow::Owned))
            }
            Files::BuiltIn(files) => {
                let found = files.iter().find(|(known, _)| *known == name);
                let bytes = found.map(|(_, bytes)| Cow::Borrowed(*bytes));
                (PathBuf::from(name), bytes.ok_or(io::ErrorKind::NotFound.into()))
            }
        };
        read.map_err(|source| Error::Io { doing: "read the model's", path, source })
    }
}
