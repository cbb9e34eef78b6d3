//! How far an index run has come, as a bar on the terminal; nothing where there is none.

use std::path::Path;
use std::time::{Duration, Instant};

use gemmule::Progress;
use gemmule::engine::train::Progress as TrainProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::text;

/// What is being done, a bar, and numbers: those that do not fit the terminal are cut.
const TEMPLATE: &str = "{prefix} [{bar:20}] {wide_msg}";

/// Columns of the text before the bar.
const WHAT_COLUMNS: usize = 24;

/// A bar, or nothing if nobody would see it.
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    /// A bar for the files of this folder.
    pub(crate) fn of_files(output: &Output, path: &Path) -> Bar {
        let bar = Bar::new(output, &text::relative(&path.display().to_string()));
        bar.bar.set_message("looking");
        bar
    }

    /// A bar for a number of texts.
    pub(crate) fn of_texts(output: &Output, what: &str, n_texts: usize) -> Bar {
        let bar = Bar::new(output, what);
        bar.bar.set_length(n_texts as u64);
        bar
    }

    /// A bar for the steps of a training run.
    pub(crate) fn of_steps(output: &Output) -> Bar {
        Bar::new(output, "reading")
    }

    /// Shows how far the steps of a stage are.
    pub(crate) fn show_step(&self, progress: &TrainProgress<'_>) {
        let (mixture, n_mixtures) = progress.mixture;
        let mut what = progress.stage.to_owned();
        if n_mixtures > 1 {
            what += &format!(" {} of {n_mixtures}", mixture + 1);
        }
        self.bar.set_prefix(text::shortened(&what, WHAT_COLUMNS));
        self.bar.set_length(progress.n_steps as u64);
        self.bar.set_position(progress.step.step as u64);
        self.bar.set_message(format!(
            "step {} of {}, loss {:.4}, rate {:.1e}, {} tokens/s, {} left",
            text::grouped(progress.step.step),
            text::grouped(progress.n_steps),
            progress.step.loss,
            progress.step.rate,
            text::grouped(progress.tokens_per_s as usize),
            text::duration(progress.seconds_left)
        ));
    }

    /// A bar for a number of bytes.
    pub(crate) fn of_bytes(output: &Output, what: &str) -> Bar {
        Bar::new(output, what)
    }

    /// Shows how far the bytes are.
    pub(crate) fn show_bytes(&self, done: u64, total: u64, message: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
    }

    fn new(output: &Output, what: &str) -> Bar {
        let target = match output.shows_progress() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is ours");
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(text::shortened(what, WHAT_COLUMNS));
        Bar { bar, began: Instant::now() }
    }

    /// Shows how far the files are.
    pub(crate) fn show_files(&self, progress: &Progress) {
        let Progress { files, files_total, bytes, bytes_total, tokens, .. } = *progress;
        self.bar.set_length(bytes_total);
        self.bar.set_position(bytes);
        let mut message =
            format!("{} of {} files", text::grouped(files), text::grouped(files_total));
        message += &self.rate(tokens, bytes as f64, bytes_total as f64);
        self.bar.set_message(message);
    }

    /// Shows how far the texts are.
    pub(crate) fn show_texts(&self, n_texts: usize, n_tokens: usize) {
        let total = self.bar.length().unwrap_or(0);
        self.bar.set_position(n_texts as u64);
        let mut message =
            format!("{} of {} texts", text::grouped(n_texts), text::grouped(total as usize));
        message += &self.rate(n_tokens, n_texts as f64, total as f64);
        self.bar.set_message(message);
    }

    /// The same for a number of texts that is known only now.
    pub(crate) fn show_part(&self, n_texts: usize, total: usize, n_tokens: usize) {
        self.bar.set_length(total as u64);
        self.show_texts(n_texts, n_tokens);
    }

    fn rate(&self, n_tokens: usize, done: f64, total: f64) -> String {
        let elapsed = self.began.elapsed();
        let mut message = String::new();
        if n_tokens > 0 {
            let rate = n_tokens as f64 / elapsed.as_secs_f64();
            message += &format!(", {} tokens/s", text::grouped(rate as usize));
        }
        if done > 0.0 && elapsed > Duration::from_secs(1) {
            let left = elapsed.as_secs_f64() * (total - done) / done;
            message += &format!(", {} left", text::duration(left));
        }
        message
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
