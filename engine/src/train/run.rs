//! A run: stage by stage, step by step, until there is a package.
//!
//! ```text
//! OUT/lock                  empty; who writes holds its lock
//! OUT/recipe.json           what is trained; a run goes on only with the same
//! OUT/data-S.json           what became of the data of stage S
//! OUT/mined-S.json          the hard negatives that it found
//! OUT/log.jsonl             one object a step
//! OUT/checkpoint.safetensors
//! OUT/tokenizer.json        a new vocabulary, if the recipe asks for one
//! OUT/teacher/              a model's vectors of all texts, if the teacher is a model
//! OUT/S-M.safetensors       the weights after stage S with mixture M, from 0
//! OUT/model/                the package, when all is done
//! ```
//!
//! A stage begins with the average of what the stage before made, so what is done is known by which
//! files are there. The same recipe, data and number of threads make the same bytes, stopped in between
//! or not.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::checkpoint::{Position, State, failed_to_write, read_weights, write_weights};
use super::data::{Choice, Corpus, HeldOut, SetReport, mixed};
use super::embed::units;
use super::log::Log;
use super::optimise::AdamW;
use super::recipe::{Recipe, Stage, Turn};
use super::soup::soup;
use super::start::Beginning;
use super::stepper::Stepper;
use super::teacher::Teacher;
use super::{Step, mine, prepare};
use crate::atomic_file::AtomicFile;
use crate::package::{Package, Weights, export};
use crate::{Error, Result};

const CHECKPOINT: &str = "checkpoint.safetensors";
const LOCK: &str = "lock";
const RECIPE: &str = "recipe.json";
const MODEL: &str = "model";

/// Texts that say where a student stands, when its teacher turns to it.
const TURN_TEXTS: usize = 4096;

/// Where a run reads and writes.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The files of pairs lie here.
    pub data: PathBuf,
    /// The teacher's folder, if not where the recipe says.
    pub teacher: Option<PathBuf>,
    /// Evaluation sets: their texts are left out of the data.
    pub held_out: Option<PathBuf>,
    /// The run's own; made by it.
    pub out: PathBuf,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The stage's name.
    pub stage: &'a str,
    /// Which of its mixtures, from 0, and how many there are.
    pub mixture: (usize, usize),
    /// The step that was just done.
    pub step: &'a Step,
    /// Steps of the stage.
    pub n_steps: usize,
    /// Tokens that were trained on in a second, since the run began or went on.
    pub tokens_per_s: f64,
    /// For all that is still to do, at this pace.
    pub seconds_left: f64,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The package's folder.
    pub model: PathBuf,
    /// Tokens that were trained on since the run began or went on.
    pub n_tokens: u64,
    /// What became of the data, for each stage that was run.
    pub data: Vec<Vec<SetReport>>,
}

/// Trains a model. After each step `watch` is told how far it is; when it returns false, a checkpoint is
/// written and the work stops.
///
/// # Errors
/// [`Error::File`] for a recipe, data, or a folder that does not fit or that another run writes to; those of the start and of the teacher;
/// [`Error::Diverged`] if a loss or a gradient is not finite; [`Error::Cancelled`] when `watch` says so.
pub fn train(
    recipe: &Recipe,
    folders: &Folders,
    resume: bool,
    watch: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Trained> {
    if let Some(problem) = recipe.fault() {
        return Err(Error::File { path: folders.out.join(RECIPE), line: None, problem });
    }
    // Held to the end.
    let _lock = lock(&folders.out)?;
    open_folder(recipe, &folders.out, resume)?;
    let held_out = folders.held_out.as_deref().map(HeldOut::read).transpose()?;
    let vocabulary = prepare::vocabulary(recipe, folders, held_out.as_ref())?;
    let teacher = prepare::teacher(recipe, folders, vocabulary.as_deref())?;
    let mut beginning = recipe.start.open(recipe.seed, vocabulary, teacher.as_ref())?;
    set_widths(recipe, &mut beginning.package)?;
    let mut run = Run { recipe, folders, beginning, teacher, held_out };
    let mut trained = Trained { model: folders.out.join(MODEL), n_tokens: 0, data: Vec::new() };
    for stage_idx in 0..recipe.stages.len() {
        run.stage(stage_idx, &mut trained, watch)?;
    }
    let weights = run.result(recipe.stages.len())?;
    run.write_package(&weights, &trained.model)?;
    Ok(trained)
}

/// Makes the run's folder and takes its lock, which goes with the process: two runs would write over each other.
fn lock(out: &Path) -> Result<File> {
    let path = out.join(LOCK);
    let failed = |source| failed_to_write(&path, source);
    fs::create_dir_all(out).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(source)) => Err(failed(source)),
        Err(TryLockError::WouldBlock) => {
            let problem =
                "another run writes to this folder; wait for it or stop it, or use another folder";
            Err(Error::File { path: out.to_owned(), line: None, problem: problem.to_owned() })
        }
    }
}

/// Writes the recipe into the run's folder, or checks that it is the one that is there.
fn open_folder(recipe: &Recipe, out: &Path, resume: bool) -> Result<()> {
    let path = out.join(RECIPE);
    let wrong = |problem: &str| {
        Err(Error::File { path: path.clone(), line: None, problem: problem.to_owned() })
    };
    let failed = |source| failed_to_write(&path, source);
    let value = serde_json::to_value(recipe).map_err(|e| failed(e.into()))?;
    match fs::read(&path) {
        Ok(_) if !resume => {
            wrong("a run is there already; let it go on with --resume, or use another folder")
        }
        Ok(json) => match serde_json::from_slice::<serde_json::Value>(&json) {
            Ok(known) if known == value => Ok(()),
            Ok(_) => {
                wrong("it is another recipe than the one given; a run goes on only with its own")
            }
            Err(_) => wrong("damaged; begin the run in another folder"),
        },
        Err(_) => write_file(&path, format!("{value:#}\n").as_bytes()),
    }
}

fn set_widths(recipe: &Recipe, package: &mut Package) -> Result<()> {
    let Some(widths) = &recipe.widths else { return Ok(()) };
    let full_width = package.widths[0];
    let falls = widths.is_sorted_by(|a, b| a > b) && widths.last().is_some_and(|&last| last > 0);
    if !falls || widths[0] != full_width {
        return Err(Error::Package {
            package: package.name.clone(),
            field: "widths of the recipe".to_owned(),
            found: format!("{widths:?}"),
            expected: format!("{full_width} and below, widest first"),
        });
    }
    package.widths.clone_from(widths);
    Ok(())
}

/// Writes a small file so that it is whole or not there.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let file = AtomicFile::create(path)?;
        file.file().write_all(bytes)?;
        file.commit()
    };
    write().map_err(|source| failed_to_write(path, source))
}

/// What stays the same during a run.
struct Run<'a> {
    recipe: &'a Recipe,
    folders: &'a Folders,
    beginning: Beginning,
    teacher: Option<Teacher>,
    held_out: Option<HeldOut>,
}

impl Run<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folders.out.join(name)
    }

    /// The file of a stage's result with one mixture.
    fn result_path(&self, stage_idx: usize, mixture: usize) -> PathBuf {
        self.path(&format!("{stage_idx}-{mixture}.safetensors"))
    }

    /// The weights before a stage: what the stage before made, or the start.
    fn result(&self, stage_idx: usize) -> Result<Weights> {
        let Some(before) = stage_idx.checked_sub(1) else {
            return Ok(self.beginning.weights.clone());
        };
        let mixtures = 0..self.recipe.stages[before].mixtures.len().max(1);
        let read = |mixture| {
            let path = self.result_path(before, mixture);
            read_weights(&path, &self.beginning.package.config, &self.beginning.weights)
        };
        Ok(soup(&mixtures.map(read).collect::<Result<Vec<_>>>()?))
    }

    fn stage(
        &mut self,
        stage_idx: usize,
        trained: &mut Trained,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<()> {
        let recipe = self.recipe;
        let stage = &recipe.stages[stage_idx];
        let n_mixtures = stage.mixtures.len().max(1);
        let is_todo = |mixture: &usize| !self.result_path(stage_idx, *mixture).exists();
        let todo: Vec<usize> = (0..n_mixtures).filter(is_todo).collect();
        if todo.is_empty() {
            return Ok(());
        }
        let corpus = self.read_corpus(stage_idx, stage)?;
        trained.data.push(corpus.reports.clone());
        let reports =
            serde_json::to_vec_pretty(&json!({ "stage": stage.name, "sets": corpus.reports }));
        let reports = reports.unwrap_or_else(|_| unreachable!("numbers and strings are JSON"));
        write_file(&self.path(&format!("data-{stage_idx}.json")), &reports)?;
        let start = self.result(stage_idx)?;
        self.turn_teacher(&corpus, &start)?;
        let mined = self.mined(stage_idx, stage, &corpus, &start)?;
        for mixture in todo {
            let stepper = Stepper::new(self.recipe, stage, mixture, &corpus, mined.as_deref());
            let weights = self.mixture((stage_idx, mixture), stepper, &start, trained, watch)?;
            let path = self.result_path(stage_idx, mixture);
            write_weights(&path, &self.beginning.package.config, &weights)?;
        }
        Ok(())
    }

    /// Turns the teacher to the student as it is before a stage, if the recipe asks for it.
    fn turn_teacher(&mut self, corpus: &Corpus, start: &Weights) -> Result<()> {
        let asked = self.recipe.teacher.as_ref().is_some_and(|source| source.turn == Turn::Student);
        let Some(teacher) = self.teacher.as_mut().filter(|_| asked) else { return Ok(()) };
        let config = &self.beginning.package.config;
        let pass = super::Pass::new(config, start.clone(), self.recipe.arithmetic.into());
        let every = corpus.texts.len().div_ceil(TURN_TEXTS).max(1);
        let sample = (0..corpus.texts.len() as u32).step_by(every);
        let sample: Vec<u32> = sample.filter(|&i| teacher.knows(corpus.texts.hash(i))).collect();
        let hashes: Vec<u64> = sample.iter().map(|&i| corpus.texts.hash(i)).collect();
        teacher.turn_to(&hashes, &units(&pass, &corpus.texts, &sample))
    }

    fn read_corpus(&self, stage_idx: usize, stage: &Stage) -> Result<Corpus> {
        let teacher = self.teacher.as_ref().filter(|_| stage.loss.need_teacher());
        let leaves_out = self.recipe.teacher.as_ref().is_some_and(|t| t.leave_out_missing);
        let choice =
            Choice { held_out: self.held_out.as_ref(), taught_by: teacher.filter(|_| leaves_out) };
        let corpus = Corpus::read(
            &stage.data,
            &self.folders.data,
            &self.beginning.package,
            self.recipe.max_tokens,
            mixed(&[self.recipe.seed, stage_idx as u64]),
            choice,
        )?;
        if let Some(teacher) = teacher {
            let n_texts = corpus.texts.len();
            let is_missing = |i: &u32| !teacher.knows(corpus.texts.hash(*i));
            let missing = (0..n_texts as u32).filter(is_missing).count();
            if missing > 0 {
                let problem = format!(
                    "the teacher has no vectors of {missing} of {n_texts} texts of stage '{}'; let it \
                     embed the texts of all its files, byte by byte as they are there, or set \
                     leave_out_missing",
                    stage.name
                );
                return Err(Error::File { path: self.path(RECIPE), line: None, problem });
            }
        }
        Ok(corpus)
    }

    /// The hard negatives that the weights before the stage find; kept, since a run that goes on has other
    /// weights.
    fn mined(
        &self,
        stage_idx: usize,
        stage: &Stage,
        corpus: &Corpus,
        start: &Weights,
    ) -> Result<Option<Vec<Vec<Vec<u32>>>>> {
        let Some(mining) = &stage.mining else { return Ok(None) };
        let path = self.path(&format!("mined-{stage_idx}.json"));
        let fingerprint = corpus.fingerprint();
        if let Ok(json) = fs::read(&path)
            && let Ok((known, mined)) = serde_json::from_slice::<(String, _)>(&json)
            && known == fingerprint
        {
            return Ok(Some(mined));
        }
        let config = &self.beginning.package.config;
        let pass = super::Pass::new(config, start.clone(), self.recipe.arithmetic.into());
        let mined = mine::mine(&pass, mining, corpus)?;
        let json = serde_json::to_vec(&(fingerprint, &mined));
        let json = json.unwrap_or_else(|_| unreachable!("numbers are JSON"));
        write_file(&path, &json)?;
        Ok(Some(mined))
    }

    /// All steps of a stage with one mixture, from a checkpoint if there is one. Returns the weights.
    fn mixture(
        &self,
        (stage_idx, mixture): (usize, usize),
        mut stepper: Stepper<'_>,
        start: &Weights,
        trained: &mut Trained,
        watch: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<Weights> {
        let stage = &self.recipe.stages[stage_idx];
        let config = &self.beginning.package.config;
        let path = self.path(CHECKPOINT);
        let mut state = self.state((stage_idx, mixture), &stepper, start)?;
        let mut log =
            Log::open(&self.path("log.jsonl"), (stage_idx, mixture, state.position.step))?;
        state.write(&path, config)?;
        let mut pass = stepper.pass(config, &state.weights);
        let (began, mut n_steps, mut n_tokens) = (Instant::now(), 0_u32, 0);
        while state.position.step < stage.steps {
            let step = stepper.step(
                &mut pass,
                &mut state,
                self.teacher.as_ref(),
                &self.beginning.package.widths,
            )?;
            if let Some(what) = step.fault() {
                return Err(Error::Diverged {
                    what,
                    stage: stage.name.clone(),
                    step: step.step,
                    checkpoint: path,
                });
            }
            log.write((stage_idx, mixture), &step)?;
            trained.n_tokens += step.n_tokens;
            (n_steps, n_tokens) = (n_steps + 1, n_tokens + step.n_tokens);
            let seconds = began.elapsed().as_secs_f64();
            let n_left = self.steps_left(stage_idx, mixture, state.position.step);
            let n_mixtures = stage.mixtures.len().max(1);
            let progress = Progress {
                stage: &stage.name,
                mixture: (mixture, n_mixtures),
                step: &step,
                n_steps: stage.steps,
                tokens_per_s: n_tokens as f64 / seconds,
                seconds_left: seconds / f64::from(n_steps) * n_left as f64,
            };
            let goes_on = watch(&progress);
            let is_due = state.position.step.is_multiple_of(self.recipe.checkpoint_every);
            if is_due || !goes_on {
                state.write(&path, config)?;
            }
            if !goes_on {
                return Err(Error::Cancelled);
            }
        }
        Ok(if stage.optimiser.average > 0.0 { state.average } else { state.weights })
    }

    /// The state to go on from: the checkpoint's, or that before the first step.
    fn state(
        &self,
        (stage_idx, mixture): (usize, usize),
        stepper: &Stepper<'_>,
        start: &Weights,
    ) -> Result<State> {
        let path = self.path(CHECKPOINT);
        let package = &self.beginning.package;
        let of_start = format!("{} {}", package.fingerprint, stepper.fingerprint());
        let run = blake3::hash(of_start.as_bytes()).to_hex()[..32].to_owned();
        if path.exists() {
            let state = State::read(&path, &package.config, start)?;
            let Position { stage, mixture: of, .. } = state.position;
            if (stage, of) == (stage_idx, mixture) {
                if state.position.run != run {
                    let problem =
                        "it is of other data or of another start; begin in another folder";
                    return Err(Error::File { path, line: None, problem: problem.to_owned() });
                }
                return Ok(state);
            }
        }
        let n_sets = self.recipe.stages[stage_idx].data.len();
        let position = Position {
            run,
            stage: stage_idx,
            mixture,
            step: 0,
            draws: vec![0; n_sets],
            n_tokens: 0,
        };
        Ok(State {
            position,
            adamw: AdamW::new(start),
            average: start.clone(),
            weights: start.clone(),
        })
    }

    fn steps_left(&self, stage_idx: usize, mixture: usize, step: usize) -> usize {
        let stages = self.recipe.stages[stage_idx..].iter();
        let all: usize = stages.map(|stage| stage.steps * stage.mixtures.len().max(1)).sum();
        all - mixture * self.recipe.stages[stage_idx].steps - step
    }

    /// The package, under another name until it is whole.
    fn write_package(&self, weights: &Weights, path: &Path) -> Result<()> {
        let unfinished = path.with_extension("unfinished");
        for folder in [&unfinished, &path.to_owned()] {
            if folder.exists() {
                fs::remove_dir_all(folder).map_err(|source| failed_to_write(folder, source))?;
            }
        }
        let Beginning { package, tokenizer_json, .. } = &self.beginning;
        export::weights_to_folder(package, tokenizer_json, weights, &unfinished)?;
        fs::rename(&unfinished, path).map_err(|source| failed_to_write(path, source))
    }
}

#[cfg(test)]
mod tests;
