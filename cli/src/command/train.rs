//! `gemmule train`: a recipe and pairs of texts to a model package.

use gemmule::engine::Error;
use gemmule::engine::train::data::SetReport;
use gemmule::engine::train::{Folders, Recipe, train};
use serde_json::{Value, json};

use crate::args::Train;
use crate::output::Output;
use crate::progress::Bar;
use crate::{Done, interrupt, text};

/// Steps between two lines where there is no bar.
const STEPS_PER_LINE: usize = 50;

pub(crate) fn run(flags: &Train, output: &mut Output) -> anyhow::Result<Done> {
    let recipe = Recipe::read(&flags.recipe)?;
    let folders = Folders {
        data: flags.data.clone(),
        teacher: flags.teacher.clone(),
        held_out: flags.held_out.clone(),
        out: flags.out.clone(),
    };
    interrupt::listen()?;
    let bar = Bar::of_steps(output);
    let mut last_loss = None;
    let trained = train(&recipe, &folders, flags.resume, &mut |progress| {
        bar.show_step(progress);
        let step = progress.step;
        if !output.shows_progress() && step.step.is_multiple_of(STEPS_PER_LINE) {
            output.note(format_args!(
                "{}: step {} of {}, loss {:.4}, {} tokens/s, {} left",
                progress.stage,
                step.step,
                progress.n_steps,
                step.loss,
                text::grouped(progress.tokens_per_s as usize),
                text::duration(progress.seconds_left)
            ));
        }
        last_loss = Some(step.loss);
        !interrupt::is_asked()
    });
    drop(bar);
    let trained = match trained {
        Err(Error::Cancelled) => {
            output.note(format_args!(
                "stopped; the same command with --resume goes on from {}",
                flags.out.display()
            ));
            return Ok(Done::Stopped);
        }
        trained => trained?,
    };
    for report in trained.data.iter().flatten() {
        note_data(report, output);
    }
    if output.json {
        let data: Vec<Vec<Value>> =
            trained.data.iter().map(|sets| sets.iter().map(to_json).collect()).collect();
        output.value(&json!({
            "model": trained.model,
            "tokens": trained.n_tokens,
            "loss": last_loss,
            "data": data,
        }))?;
    } else {
        output.line(trained.model.display())?;
    }
    Ok(Done::Whole)
}

/// Says what was left out of a data set, if anything was.
fn note_data(report: &SetReport, output: &Output) {
    let parts = [
        (report.n_repeated, "repeated"),
        (report.n_held_out, "held out"),
        (report.n_untaught, "without a teacher's vector"),
        (report.n_over, "more than asked for"),
    ];
    let left_out: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if !left_out.is_empty() {
        output.note(format_args!(
            "{}: {} of {} pairs used ({})",
            text::printable(&report.file.display().to_string()),
            report.n_used,
            report.n_read,
            left_out.join(", ")
        ));
    }
}

fn to_json(report: &SetReport) -> Value {
    json!({
        "file": report.file,
        "read": report.n_read,
        "used": report.n_used,
        "repeated": report.n_repeated,
        "held_out": report.n_held_out,
        "over": report.n_over,
        "untaught": report.n_untaught,
        "negatives_left_out": report.n_negatives_left_out,
        "cut": report.n_cut,
        "examples": report.examples,
    })
}
