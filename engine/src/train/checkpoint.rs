//! The state of a run on the disk: one safetensors file, written beside the old one and renamed.
//!
//! A run that goes on from it makes the same bytes as one that never stopped, so everything that a
//! step depends on is in it, or follows from the recipe: weights, both means of AdamW, the moving
//! average, and how far each data set is.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::optimise::AdamW;
use crate::atomic_file::AtomicFile;
use crate::package::{Config, Weights};
use crate::{Error, Result};

/// The key of [`Position`] in the file's header.
const POSITION: &str = "gemmule";

/// Where a run is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// What the run is of: recipe, start, data.
    pub(super) run: String,
    /// Which stage, from 0.
    pub(super) stage: usize,
    /// Which of the stage's mixtures, from 0.
    pub(super) mixture: usize,
    /// Steps done.
    pub(super) step: usize,
    /// Batches that each data set has given.
    pub(super) draws: Vec<u64>,
    /// Tokens that were trained on.
    pub(super) n_tokens: u64,
}

/// All that a step changes.
pub(super) struct State {
    pub(super) position: Position,
    pub(super) weights: Weights,
    pub(super) adamw: AdamW,
    pub(super) average: Weights,
}

impl State {
    fn parts(&self) -> [(&'static str, &Weights); 4] {
        [
            ("weights", &self.weights),
            ("means", &self.adamw.means),
            ("squares", &self.adamw.squares),
            ("average", &self.average),
        ]
    }

    /// # Errors
    /// [`Error::Io`] or [`Error::DiskFull`]; the file that was there stays.
    pub(super) fn write(&self, path: &Path, config: &Config) -> Result<()> {
        let position = serde_json::to_string(&self.position)
            .unwrap_or_else(|_| unreachable!("numbers and strings are JSON"));
        write(path, config, &self.parts(), Some(position))
    }

    /// Reads a state whose weights have the shapes of `like`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] if it is no whole state of these shapes.
    pub(super) fn read(path: &Path, config: &Config, like: &Weights) -> Result<State> {
        let bytes = bytes(path)?;
        let wrong = |problem: String| Error::File { path: path.to_owned(), line: None, problem };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(e.to_string()))?;
        let position = header.metadata().as_ref().and_then(|metadata| metadata.get(POSITION));
        let position = position.ok_or_else(|| wrong("it is no checkpoint of a run".to_owned()))?;
        let position: Position =
            serde_json::from_str(position).map_err(|e| wrong(format!("its position: {e}")))?;
        let part = |part: &str| read(&bytes, path, part, config, like);
        let adamw = AdamW {
            n_steps: position.step as u64,
            means: part("means")?,
            squares: part("squares")?,
        };
        Ok(State { weights: part("weights")?, average: part("average")?, adamw, position })
    }
}

/// Writes weights alone.
pub(super) fn write_weights(path: &Path, config: &Config, weights: &Weights) -> Result<()> {
    write(path, config, &[("weights", weights)], None)
}

/// Reads what [`write_weights`] wrote.
pub(super) fn read_weights(path: &Path, config: &Config, like: &Weights) -> Result<Weights> {
    read(&bytes(path)?, path, "weights", config, like)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let doing = "read the checkpoint";
    std::fs::read(path).map_err(|source| Error::Io { doing, path: path.to_owned(), source })
}

fn write(
    path: &Path,
    config: &Config,
    parts: &[(&str, &Weights)],
    position: Option<String>,
) -> Result<()> {
    let failed = |source: std::io::Error| failed_to_write(path, source);
    let names = Weights::names(config);
    let mut tensors = Vec::new();
    for (part, weights) in parts {
        for (name, matrix) in names.iter().zip(weights.all()) {
            let bytes: Vec<u8> = matrix.values.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.push((format!("{part}/{name}"), vec![matrix.n_rows, matrix.n_cols], bytes));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
            .unwrap_or_else(|_| unreachable!("a matrix has as many numbers as its shape says"));
        (name.clone(), view)
    });
    let metadata = position.map(|position| HashMap::from([(POSITION.to_owned(), position)]));
    let bytes = safetensors::serialize(views, metadata)
        .map_err(|e| failed(std::io::Error::other(e.to_string())))?;
    let file = AtomicFile::create(path).map_err(failed)?;
    file.file().write_all(&bytes).map_err(failed)?;
    file.commit().map_err(failed)
}

/// A full disk says how much is missing; other errors are the system's.
pub(super) fn failed_to_write(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull => {
            Error::DiskFull { path: path.to_owned(), needed: 0, free: None }
        }
        _ => Error::Io { doing: "write the training run's", path: path.to_owned(), source },
    }
}

fn read(bytes: &[u8], path: &Path, part: &str, config: &Config, like: &Weights) -> Result<Weights> {
    let wrong = |problem: String| Error::File { path: path.to_owned(), line: None, problem };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
    let mut weights = like.zeros();
    for (name, matrix) in Weights::names(config).iter().zip(weights.all_mut()) {
        let name = format!("{part}/{name}");
        let view = tensors.tensor(&name).map_err(|e| wrong(format!("{name}: {e}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != [matrix.n_rows, matrix.n_cols] {
            let found = format!("{:?} {:?}", view.dtype(), view.shape());
            let expected = format!("F32 [{}, {}]", matrix.n_rows, matrix.n_cols);
            return Err(wrong(format!("{name} is {found}, expected {expected}")));
        }
        let numbers = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        matrix.values.iter_mut().zip(numbers).for_each(|(to, x)| *to = x);
    }
    Ok(weights)
}
