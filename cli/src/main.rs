//! The command line: a user of the library, with no special access to it.
//!
//! `args` gives words a meaning, `command` has one file for each command, `output` is the only way to
//! standard output and standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped.

mod args;
mod command;
mod ids;
mod interrupt;
mod output;
mod progress;
mod rows;
mod text;
mod vector;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::output::Output;

/// How a command that did not fail ended.
enum Done {
    /// All of it.
    Whole,
    /// Part of it could not be done; what and why was said already.
    Part,
    /// The user stopped it.
    Stopped,
}

fn main() -> ExitCode {
    count_threads();
    let args = Args::parse();
    output::quiet_panics();
    let mut output = Output::new(args.global.json, args.global.quiet);
    let done = run(&args, &mut output).and_then(|done| output.flush().map(|()| done));
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Part) => ExitCode::from(1),
        Ok(Done::Stopped) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(if error.is::<output::Usage>() { 2 } else { 1 })
        }
    }
}

fn run(args: &Args, output: &mut Output) -> anyhow::Result<Done> {
    let global = &args.global;
    match &args.command {
        Command::Index(flags) => command::index::run(global, flags, output),
        Command::Search(flags) => command::search::run(global, flags, output),
        Command::Embed(flags) => command::embed::run(flags, output),
        Command::Eval(flags) => command::eval::run(flags, output),
        Command::Train(flags) => command::train::run(flags, output),
        Command::Status => command::status::run(global, output),
        Command::Get(flags) => command::get::run(global, flags, output),
        Command::List(flags) => command::list::run(global, flags, output),
        Command::Fields => command::fields::run(global, output),
        Command::Delete(flags) => command::delete::run(global, flags, output),
        Command::Compact => command::compact::run(global, output),
        Command::Reindex(flags) => command::reindex::run(flags, global, output),
        Command::Reembed(flags) => command::reembed::run(global, flags, output),
        Command::Fsck(flags) => command::fsck::run(global, flags, output),
        Command::Import(flags) => command::import::run(global, flags, output),
        Command::Export(flags) => command::export::run(global, flags, output),
        Command::Backup(flags) => command::backup::run(global, flags, output),
        Command::Restore(flags) => command::restore::run(global, flags, output),
        Command::Tune(flags) => command::tune::run(global, flags, output),
        Command::Model(flags) => command::model::run(flags, output),
        Command::Bench(flags) => command::bench::run(flags, output),
        Command::Completions(flags) => command::completions::run(flags, output),
        Command::Man(flags) => command::man::run(flags, output),
    }
}

/// Tells the thread pools how many processors this process may use: left alone, candle counts the
/// machine's cores and does not see the limits of a container.
#[expect(unsafe_code, reason = "the pools take their size from the environment only")]
fn count_threads() {
    let Ok(n_threads) = std::thread::available_parallelism() else { return };
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: main calls this first, when no other thread exists that could read the
            // environment.
            unsafe { std::env::set_var(name, n_threads.to_string()) };
        }
    }
}
