//! The log of a run: one JSON object a step.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::Step;
use super::checkpoint::failed_to_write;
use crate::Result;

/// A log that is being written.
pub(super) struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    last: Instant,
}

impl Log {
    /// Opens a log, or makes one. Steps after `position`, which a run that was killed made before its
    /// next checkpoint, are taken out: they will be made again.
    ///
    /// `position`: stage, mixture, steps done.
    pub(super) fn open(path: &Path, position: (usize, usize, usize)) -> Result<Log> {
        let failed = |source| failed_to_write(path, source);
        let old = fs::read_to_string(path).unwrap_or_default();
        let is_done = |line: &&str| {
            let Ok(value) = serde_json::from_str::<Value>(line) else { return false };
            let number = |name: &str| value[name].as_u64().unwrap_or(u64::MAX) as usize;
            (number("stage"), number("mixture"), number("step")) <= position
        };
        let kept: String = old.lines().filter(is_done).flat_map(|line| [line, "\n"]).collect();
        fs::write(path, kept).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Log { path: path.to_owned(), file: BufWriter::new(file), last: Instant::now() })
    }

    /// Adds a step; on return a reader of the file sees it.
    pub(super) fn write(&mut self, (stage, mixture): (usize, usize), step: &Step) -> Result<()> {
        let [contrastive, spread_out, matching, similarity] = step.terms;
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let line = json!({
            "stage": stage,
            "mixture": mixture,
            "step": step.step,
            "sets": step.sets,
            "loss": step.loss,
            "contrastive": contrastive,
            "spread_out": spread_out,
            "matching": matching,
            "similarity": similarity,
            "norm": step.norm,
            "rate": step.rate,
            "tokens": step.n_tokens,
            "seconds": seconds,
        });
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.flush())
            .map_err(|source| failed_to_write(&self.path, source))
    }
}
