//! The models that have a short name, and the names by which any other can be pulled.

use crate::{Error, Result};

/// A published model that has a short name.
#[derive(Debug)]
pub struct Published {
    /// What it is called here.
    pub name: &'static str,
    /// The repository, `ORG/NAME`.
    pub repo: &'static str,
    /// The file in it, for a model of one GGUF file; else a sentence-transformers folder.
    pub file: Option<&'static str>,
    /// Whether its files are given only to those who accepted its licence.
    pub gated: bool,
    /// A repository with the same bytes that is not gated.
    pub mirror: Option<&'static str>,
    /// SHA-256 in hex by file name; files not in the list are recorded when first pulled.
    pub pins: &'static [(&'static str, &'static str)],
}

/// All models that have a short name.
pub fn published() -> &'static [Published] {
    PUBLISHED
}

const PUBLISHED: &[Published] = &[
    Published {
        name: "embeddinggemma-300m",
        repo: "google/embeddinggemma-300m",
        file: None,
        gated: true,
        mirror: Some("unsloth/embeddinggemma-300m"),
        pins: EMBEDDINGGEMMA_300M,
    },
    Published {
        name: "embeddinggemma-300m-qat-q4_0-unquantized",
        repo: "google/embeddinggemma-300m-qat-q4_0-unquantized",
        file: None,
        gated: true,
        mirror: None,
        pins: &[],
    },
    Published {
        name: "embeddinggemma-300m-qat-q8_0-unquantized",
        repo: "google/embeddinggemma-300m-qat-q8_0-unquantized",
        file: None,
        gated: true,
        mirror: None,
        pins: &[],
    },
    Published {
        name: "embeddinggemma-300m-gguf",
        repo: "ggml-org/embeddinggemma-300M-GGUF",
        file: Some("embeddinggemma-300M-Q8_0.gguf"),
        gated: false,
        mirror: None,
        pins: &[],
    },
];

/// Published at google/embeddinggemma-300m, commit 57c266a740f537b4dc058e1b0cda161fd15afa75.
const EMBEDDINGGEMMA_300M: &[(&str, &str)] = &[
    ("model.safetensors", "cbf5a78393b6a033e0b8a63a57549964f7ed5c6fbeb4ba0694214f36123f2fd2"),
    (
        "2_Dense/model.safetensors",
        "c327f2acb00149676ade24a75e11eb6ebbd367f9ee050267ba56829d2979f702",
    ),
    (
        "3_Dense/model.safetensors",
        "ffb6cc5162e11e2ce6bc2367e121ee3bbbc4e82e1ee26826bd7573d4948d81b8",
    ),
    ("tokenizer.json", "6852f8d561078cc0cebe70ca03c5bfdd0d60a45f9d2e0e1e4cc05b68e9ec329e"),
    ("config.json", "8f863f76e2d9c710cc833dc92efa898c9adfd41031c786507cc6b0e49c2e3e68"),
    ("modules.json", "5b5649645fb756dad1a8e2efe7872d3bb32bc00b93c95f276dd17f474eedccdc"),
    (
        "sentence_bert_config.json",
        "5ea26221ce733ace29a3897360e7c6ac8816b2ca0f7306657d69e594fece7325",
    ),
    ("1_Pooling/config.json", "35bbd47d7fdf1e378db6130bcc668b09d1aa67a7bbf7c8f89a9c71f4cc8ebcc6"),
    ("2_Dense/config.json", "0661e5e0b67b8f8408ab31ab5d073a78972fc1dc24a49992a64796557e4f9e53"),
    ("3_Dense/config.json", "8c4575c49353d63fb907878856ba94384635c3b2711fd5b7439e7f71888c66fc"),
];

/// The files of a sentence-transformers folder without which there is no model.
const REQUIRED: &[&str] = &[
    "config.json",
    "modules.json",
    "tokenizer.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "3_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_Dense/model.safetensors",
    "model.safetensors",
];

/// Files that a repository may lack; a model without them has the architecture's own values.
const OPTIONAL: &[&str] = &["sentence_bert_config.json", "config_sentence_transformers.json"];

/// What a name asks for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `ORG/NAME`.
    pub(super) repo: String,
    /// The one file, for GGUF; else a sentence-transformers folder.
    pub(super) file: Option<String>,
    /// A branch, tag or commit.
    pub(super) revision: String,
    /// The table's entry, where the repository is one of it or its mirror.
    pub(super) published: Option<&'static Published>,
}

impl Wanted {
    /// Reads a short name, `ORG/NAME` or `ORG/NAME/FILE.gguf`, each with or without `@REVISION`.
    pub(super) fn parse(name: &str) -> Result<Wanted> {
        let refused =
            |problem: &str| Error::ModelName { name: name.into(), problem: problem.into() };
        let (model, revision) = name.rsplit_once('@').unwrap_or((name, "main"));
        if !is_plain_path(revision) {
            return Err(refused("its revision is not a branch, tag or commit"));
        }
        let of = |repo: &str, file: Option<&str>, published| Wanted {
            repo: repo.into(),
            file: file.map(str::to_owned),
            revision: revision.into(),
            published,
        };
        if let Some(entry) = PUBLISHED.iter().find(|entry| entry.name == model) {
            return Ok(of(entry.repo, entry.file, Some(entry)));
        }
        if !is_plain_path(model) {
            return Err(refused("it has characters that no repository's name has"));
        }
        let mut parts = model.splitn(3, '/');
        let (Some(org), Some(repo), file) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused("no published model has this short name"));
        };
        // The cache's folders are named ORG--NAME: with more dashes two names could be one folder.
        if org.contains("--") || repo.contains("--") {
            return Err(refused("no repository's name has two dashes in a row"));
        }
        if file.is_some_and(|file| !file.ends_with(".gguf")) {
            return Err(refused("only a .gguf file can be pulled alone"));
        }
        let repo = format!("{org}/{repo}");
        let same = |other: &str| other.eq_ignore_ascii_case(&repo);
        let published = PUBLISHED.iter().find(|p| same(p.repo) || p.mirror.is_some_and(same));
        Ok(of(&repo, file, published))
    }

    /// This and, for a short name, the same from its mirror.
    pub(super) fn with_mirror(&self) -> impl Iterator<Item = Wanted> {
        let entry = self.published.filter(|entry| entry.repo == self.repo);
        let mirror = entry.and_then(|entry| entry.mirror);
        let mirrored = mirror.map(|repo| Wanted { repo: repo.into(), ..self.clone() });
        std::iter::once(self.clone()).chain(mirrored)
    }

    /// The files that must be there.
    pub(super) fn required(&self) -> Vec<&str> {
        self.file.as_deref().map_or(REQUIRED.to_vec(), |file| vec![file])
    }

    /// The files that are taken if they are there.
    pub(super) fn optional(&self) -> &'static [&'static str] {
        if self.file.is_some() { &[] } else { OPTIONAL }
    }

    /// The SHA-256 that this project knows for a file, in hex.
    pub(super) fn pin(&self, file: &str) -> Option<&'static str> {
        let pins = self.published.map_or(&[][..], |entry| entry.pins);
        pins.iter().find(|(name, _)| *name == file).map(|(_, sum)| *sum)
    }

    /// The revision, if it is a commit already.
    pub(super) fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(self.revision.as_str())
    }
}

/// Whether `text` is a commit's full name.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `text` is one name that is safe in a path and in an address, on every system.
pub(super) fn is_plain_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=200).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.')
}

/// Whether `text` is such names joined by `/`: a path that stays inside its folder.
pub(super) fn is_plain_path(text: &str) -> bool {
    text.split('/').all(is_plain_name)
}
