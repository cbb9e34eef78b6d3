//! Which sets a path stands for.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gemmule::engine::eval::{Beir, Classification, Clustering, Sts};

use crate::output::Usage;

/// A set that was read.
pub(super) enum Set {
    Beir(Beir),
    Sts(Sts),
    Classification(Classification),
    Clustering(Clustering),
}

/// Where a set lies, and of what kind it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetPath {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Beir,
    Sts,
    Classification,
    Clustering,
}

impl SetPath {
    /// Reads the set.
    pub(super) fn read(&self) -> Result<Set, gemmule::engine::Error> {
        Ok(match self.kind {
            Kind::Beir => Set::Beir(Beir::read(&self.path)?),
            Kind::Sts => Set::Sts(Sts::read(&self.path)?),
            Kind::Classification => Set::Classification(Classification::read(&self.path)?),
            Kind::Clustering => Set::Clustering(Clustering::read(&self.path)?),
        })
    }
}

impl fmt::Display for SetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The sets that a path stands for: one, or those in a folder.
pub(super) fn at(path: &Path) -> anyhow::Result<Vec<SetPath>> {
    let reading = || format!("could not read {}", path.display());
    if !path.metadata().with_context(reading)?.is_dir() {
        // Whatever has no name of another kind is taken for sentence pairs.
        let kind = kind_of(path).unwrap_or(Kind::Sts);
        return Ok(vec![SetPath { path: path.to_owned(), kind }]);
    }
    if path.join("corpus.jsonl").exists() {
        return Ok(vec![SetPath { path: path.to_owned(), kind: Kind::Beir }]);
    }
    let mut sets = Vec::new();
    for entry in path.read_dir().with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if let Some(kind) = kind_of(&path) {
            sets.push(SetPath { path, kind });
        }
    }
    sets.sort();
    // A classification set has two files; the test stands first, and either names the set.
    let is_second = |set: &SetPath| {
        let name = set.path.file_name().unwrap_or_default().to_string_lossy();
        let test = name.strip_suffix("_train.jsonl").map(|stem| format!("{stem}_test.jsonl"));
        test.is_some_and(|test| set.path.with_file_name(test).exists())
    };
    sets.retain(|set| set.kind != Kind::Classification || !is_second(set));
    if sets.is_empty() {
        let path = path.display();
        bail!(Usage(format!(
            "{path} is no set: a BEIR folder has corpus.jsonl, an STS set is a .tsv file, classes are in \
             NAME_train.jsonl and NAME_test.jsonl, or in NAME_clustering.jsonl"
        )));
    }
    Ok(sets)
}

/// The kind that a file's name tells.
fn kind_of(path: &Path) -> Option<Kind> {
    if Classification::is_named(path) {
        return Some(Kind::Classification);
    }
    if Clustering::is_named(path) {
        return Some(Kind::Clustering);
    }
    path.extension().is_some_and(|ending| ending == "tsv").then_some(Kind::Sts)
}
