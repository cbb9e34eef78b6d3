//! A recipe: everything that decides what a run makes, in one JSON file. `RECIPE.md` has each field.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data::DataSet;
use super::loss::Terms;
use super::mine::Mining;
use super::optimise::Optimiser;
use super::start::Start;
use crate::package::export::Dtype;
use crate::{Error, Precision, Result};

/// What to train, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Decides every random choice.
    pub seed: u64,
    /// The weights before the first step.
    pub start: Start,
    /// The widths that vectors may be cut to, widest first; those of the start if they are not said.
    #[serde(default)]
    pub widths: Option<Vec<usize>>,
    /// Longer texts lose their end.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// The arithmetic of the pass.
    #[serde(default)]
    pub arithmetic: Arithmetic,
    /// Whose vectors are learned from.
    #[serde(default)]
    pub teacher: Option<TeacherSource>,
    /// Steps between two checkpoints.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: usize,
    /// One after the other.
    pub stages: Vec<Stage>,
}

fn max_tokens() -> usize {
    256
}

fn checkpoint_every() -> usize {
    100
}

/// In what products are computed; sums, weights and gradients are f32.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// Numbers rounded to bf16.
    #[default]
    Bf16,
    /// f32.
    F32,
}

impl From<Arithmetic> for Precision {
    fn from(arithmetic: Arithmetic) -> Precision {
        match arithmetic {
            Arithmetic::Bf16 => Precision::Bf16,
            Arithmetic::F32 => Precision::F32,
        }
    }
}

/// Where a teacher's vectors come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherSource {
    /// A folder with `vectors.npy` and `texts.jsonl`, from the data folder; or
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// a model, by name or path, which embeds the texts when the run begins.
    #[serde(default)]
    pub model: Option<String>,
    /// How its vectors are turned.
    #[serde(default)]
    pub turn: Turn,
    /// Leave out pairs of which it has no vectors; else they are an error.
    #[serde(default)]
    pub leave_out_missing: bool,
}

/// A turn of the teacher's vectors, which changes no cosine between them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// To their principal axes: for a student that knows nothing yet.
    #[default]
    Axes,
    /// Towards the student's own vectors before the stage: for one that has learnt from this teacher, or
    /// from another, in some turn of its own.
    Student,
    /// As they are.
    None,
}

/// A part of a run, with one loss and one schedule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What the log calls it.
    pub name: String,
    /// What it is trained on.
    pub data: Vec<DataSet>,
    /// Pairs in a batch, all of one data set.
    pub batch: usize,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Batches whose gradients make one step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Hard negatives of a pair in a batch, at most.
    #[serde(default = "one")]
    pub hard_negatives: usize,
    /// Hard negatives that the model itself finds before the stage begins.
    #[serde(default)]
    pub mining: Option<Mining>,
    /// What is made small.
    pub loss: Terms,
    /// How.
    #[serde(default)]
    pub optimiser: Optimiser,
    /// The rates of the data sets, once for each time that the stage is run, always from the same
    /// weights; the uniform average of the results goes on. One run with the data sets' own rates if
    /// there are none.
    #[serde(default)]
    pub mixtures: Vec<Vec<f64>>,
    /// Round matrices to these blocks in the pass, so that weights learn to be rounded.
    #[serde(default)]
    pub quantise: Option<Blocks>,
    /// The table of token vectors to these; as the other matrices if it is not said.
    #[serde(default)]
    pub quantise_table: Option<Blocks>,
}

fn one() -> usize {
    1
}

/// Formats of 32 numbers with one scale.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// Eight bits a number.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// Four bits a number.
    #[serde(rename = "q4_0")]
    Q4_0,
}

impl From<Blocks> for Dtype {
    fn from(blocks: Blocks) -> Dtype {
        match blocks {
            Blocks::Q8_0 => Dtype::Q8_0,
            Blocks::Q4_0 => Dtype::Q4_0,
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] with what is wrong in it.
    pub fn read(path: &Path) -> Result<Recipe> {
        let doing = "read the recipe";
        let failed = |source| Error::Io { doing, path: path.to_owned(), source };
        let json = std::fs::read(path).map_err(failed)?;
        let wrong = |line, problem| Error::File { path: path.to_owned(), line, problem };
        let recipe: Recipe = serde_json::from_slice(&json)
            .map_err(|e| wrong(Some(e.line() as u64), format!("{e}; see RECIPE.md")))?;
        match recipe.fault() {
            Some(problem) => Err(wrong(None, problem)),
            None => Ok(recipe),
        }
    }

    /// What is wrong with it, if something is.
    pub(super) fn fault(&self) -> Option<String> {
        if self.max_tokens < 2 {
            return Some(
                "max_tokens is less than 2: <bos> and <eos> alone need as many".to_owned(),
            );
        }
        if self.checkpoint_every == 0 {
            return Some("checkpoint_every is 0, expected 1 or more".to_owned());
        }
        if let Some(TeacherSource { folder, model, .. }) = &self.teacher
            && folder.is_some() == model.is_some()
        {
            return Some("teacher: give either a folder or a model".to_owned());
        }
        self.stages.iter().find_map(|stage| {
            let fault = stage.fault(self.teacher.is_some())?;
            Some(format!("stage '{}': {fault}", stage.name))
        })
    }
}

impl Stage {
    fn fault(&self, has_teacher: bool) -> Option<String> {
        let counts =
            [("batch", self.batch), ("steps", self.steps), ("accumulate", self.accumulate)];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Some(format!("{name} is 0, expected 1 or more"));
        }
        if self.data.is_empty() {
            return Some("data is empty, expected at least one file of pairs".to_owned());
        }
        let n_rated = self.data.iter().filter(|set| set.rate.is_some()).count();
        if n_rated != 0 && n_rated != self.data.len() {
            return Some("some data sets have a rate and some have none".to_owned());
        }
        let own = self.data.iter().map(|set| set.rate.unwrap_or(1.0)).collect();
        for rates in self.mixtures.iter().chain([&own]) {
            let is_rate = |rate: &f64| rate.is_finite() && *rate >= 0.0;
            if rates.len() != self.data.len() || !rates.iter().all(is_rate) {
                return Some(format!(
                    "the rates {rates:?} are not one of 0 or more for each data set"
                ));
            }
            if rates.iter().sum::<f64>() <= 0.0 {
                return Some("all rates are 0".to_owned());
            }
        }
        if self.loss.need_teacher() && !has_teacher {
            return Some("its loss learns from a teacher, but the recipe has none".to_owned());
        }
        self.loss.fault().or_else(|| self.optimiser.fault())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn recipe() -> Value {
        json!({
            "seed": 1,
            "start": { "packages": ["nano"] },
            "stages": [{
                "name": "pairs", "batch": 8, "steps": 10,
                "data": [{ "file": "a.jsonl" }],
                "loss": { "contrastive": {} },
            }],
        })
    }

    fn read(value: &Value) -> Result<Recipe> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.json");
        std::fs::write(&path, value.to_string()).unwrap();
        Recipe::read(&path)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let recipe = read(&recipe()).unwrap();
        let stage = &recipe.stages[0];
        assert_eq!((recipe.max_tokens, stage.accumulate, stage.hard_negatives), (256, 1, 1));
        assert_eq!(stage.data[0].query, "query");
        assert_eq!(stage.loss.contrastive.as_ref().unwrap().hardness, 5.0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(&str, Value, &str); 8] = [
            ("/stages/0/steps", json!(0), "steps is 0"),
            ("/stages/0/loss", json!({}), "nothing to learn"),
            ("/stages/0/loss", json!({ "matching": {} }), "the recipe has none"),
            ("/stages/0/loss", json!({ "contrastive": { "temperature": 0 } }), "temperature is 0"),
            ("/stages/0/loss", json!({ "contrastiv": {} }), "unknown field `contrastiv`"),
            ("/stages/0/data", json!([]), "data is empty"),
            ("/stages/0/data/0", json!({ "file": "a", "rate": -1 }), "rates"),
            ("/start", json!({ "package": "nano" }), "unknown variant"),
        ];
        for (place, value, expected) in cases {
            let mut wrong = recipe();
            *wrong.pointer_mut(place).unwrap() = value;
            let message = read(&wrong).unwrap_err().to_string();
            assert!(message.contains(expected), "{place}: {message}");
        }
    }
}
