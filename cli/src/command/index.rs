//! `gemmule index`: bring folders and their collection into step, and give account of every file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use gemmule::engine::ingest::{ChunkOptions, FileReport, FileState};
use gemmule::{Collection, Database, IngestOptions, Ledger};
use serde_json::{Value, json};

use crate::Done;
use crate::args::{Global, HowToIndex, Index};
use crate::interrupt;
use crate::output::Output;
use crate::progress::Bar;
use crate::text;

/// More skipped files than these are summed up by reason.
const SKIPPED_LINES_MAX: usize = 10;

pub(crate) fn run(global: &Global, flags: &Index, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let began = Instant::now();
    let (_db, collection) = prepare(global, &flags.paths, &flags.how)?;
    let ledger = sync(&collection, &flags.paths, &flags.how, output)?;
    let seconds = began.elapsed().as_secs_f64();
    if output.json {
        output.value(&to_json(&ledger, seconds))?;
    } else {
        report(&ledger, seconds, output);
    }
    Ok(if ledger.stopped { stopped(output) } else { Done::Whole })
}

/// Opens or creates database and collection, if there is something to index.
pub(super) fn prepare(
    global: &Global,
    paths: &[PathBuf],
    how: &HowToIndex,
) -> anyhow::Result<(Database, Collection)> {
    for path in paths {
        // Before anything is created: a typing error must not leave a database behind.
        fs::metadata(path).with_context(|| format!("could not index {}", path.display()))?;
    }
    let db = Database::open(&global.db)?.with_precision(how.precision.map(Into::into));
    let (model, quant) = (how.model.as_deref(), how.quant.map(Into::into));
    let collection = db.collection_with(&global.collection, model, how.dims, quant)?;
    Ok((db, collection))
}

/// Indexes one path after the other; their ledgers are joined.
pub(super) fn sync(
    collection: &Collection,
    paths: &[PathBuf],
    how: &HowToIndex,
    output: &Output,
) -> anyhow::Result<Ledger> {
    let mut options = IngestOptions::default();
    if let Some(n_tokens) = how.chunk_tokens {
        options.chunk = ChunkOptions { tokens: n_tokens };
    }
    let mut whole = Ledger::default();
    for path in paths {
        let bar = Bar::of_files(output, path);
        let ledger = collection.sync_with(path, &options, &mut |progress| {
            bar.show_files(progress);
            !interrupt::is_asked()
        })?;
        drop(bar);
        whole.files.extend(ledger.files);
        whole.chunks_embedded += ledger.chunks_embedded;
        whole.tokens_embedded += ledger.tokens_embedded;
        whole.seconds_embedding += ledger.seconds_embedding;
        whole.warnings.extend(ledger.warnings);
        whole.stopped = ledger.stopped;
        if whole.stopped {
            break;
        }
    }
    Ok(whole)
}

/// Says that the run was stopped, and what that means.
pub(super) fn stopped(output: &Output) -> Done {
    output.note("gemmule: stopped; what was finished is kept, run the same command again to go on");
    Done::Stopped
}

/// The account for people.
pub(super) fn report(ledger: &Ledger, seconds: f64, output: &Output) {
    report_left_out(ledger, output);
    let count = |state| text::grouped(ledger.count(state));
    output.note(format_args!(
        "{} seen: {} indexed, {} unchanged, {} skipped, {} failed; {} removed",
        text::counted(ledger.n_seen(), "file"),
        count(FileState::Indexed),
        count(FileState::Unchanged),
        count(FileState::Skipped),
        count(FileState::Failed),
        count(FileState::Removed),
    ));
    let time = text::duration(seconds);
    if ledger.tokens_embedded == 0 {
        return output.note(format_args!("nothing new to embed, {time}"));
    }
    output.note(format_args!(
        "{} embedded, {} in {time} ({} tokens/s)",
        text::counted(ledger.chunks_embedded, "chunk"),
        text::counted(ledger.tokens_embedded, "token"),
        text::grouped((ledger.tokens_embedded as f64 / seconds) as usize),
    ));
}

/// A line for each file that holds no text for us or could not be read, and for each warning.
pub(super) fn report_left_out(ledger: &Ledger, output: &Output) {
    let of_state = |state| ledger.files.iter().filter(move |file| file.state == state);
    let skipped: Vec<&FileReport> = of_state(FileState::Skipped).collect();
    if skipped.len() <= SKIPPED_LINES_MAX {
        skipped.iter().for_each(|file| report_file(file, output));
    } else {
        let mut by_reason: BTreeMap<&str, Vec<&FileReport>> = BTreeMap::new();
        for file in skipped {
            by_reason.entry(file.reason.as_deref().unwrap_or_default()).or_default().push(file);
        }
        let mut by_reason: Vec<_> = by_reason.into_iter().collect();
        by_reason.sort_by_key(|(_, files)| std::cmp::Reverse(files.len()));
        for (reason, files) in by_reason {
            match &files[..] {
                [file] => report_file(file, output),
                files => output.note(format_args!(
                    "skipped  {}: {}",
                    text::counted(files.len(), "file"),
                    text::printable(reason)
                )),
            }
        }
    }
    of_state(FileState::Failed).for_each(|file| report_file(file, output));
    for warning in &ledger.warnings {
        output.note(format_args!("warning  {}", text::printable(warning)));
    }
}

fn report_file(file: &FileReport, output: &Output) {
    output.note(format_args!(
        "{:<8} {}: {}",
        file.state.name(),
        text::relative(&file.path.to_string_lossy()),
        text::printable(file.reason.as_deref().unwrap_or("no reason known"))
    ));
}

fn to_json(ledger: &Ledger, seconds: f64) -> Value {
    let files: Vec<Value> = ledger.files.iter().map(file_to_json).collect();
    let sum = |of: fn(&FileReport) -> usize| ledger.files.iter().map(of).sum::<usize>();
    json!({
        "files": files,
        "totals": {
            "seen": ledger.n_seen(),
            "indexed": ledger.count(FileState::Indexed),
            "unchanged": ledger.count(FileState::Unchanged),
            "skipped": ledger.count(FileState::Skipped),
            "failed": ledger.count(FileState::Failed),
            "removed": ledger.count(FileState::Removed),
            "chunks": sum(|file| file.chunks),
            "tokens": sum(|file| file.tokens),
        },
        "embedded": {
            "chunks": ledger.chunks_embedded,
            "tokens": ledger.tokens_embedded,
            "seconds": ledger.seconds_embedding,
        },
        "warnings": ledger.warnings,
        "stopped": ledger.stopped,
        "seconds": seconds,
        "tokens_per_s": ledger.tokens_embedded as f64 / seconds,
    })
}

fn file_to_json(file: &FileReport) -> Value {
    json!({
        "path": file.path.to_string_lossy(),
        "state": file.state.name(),
        "reason": file.reason,
        "chunks": file.chunks,
        "tokens": file.tokens,
    })
}
