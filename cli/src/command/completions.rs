//! `gemmule completions`: a script for a shell.

use std::io::Write;

use clap::CommandFactory;

use crate::Done;
use crate::args::{Args, Completions};
use crate::output::Output;

pub(crate) fn run(flags: &Completions, output: &mut Output) -> anyhow::Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Args::command(), "gemmule", &mut script);
    output.stdout().write_all(&script)?;
    Ok(Done::Whole)
}
