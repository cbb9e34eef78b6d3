//! `gemmule man`: the manual page.

use std::io::Write;

use anyhow::bail;
use clap::CommandFactory;

use crate::Done;
use crate::args::{Args, Man};
use crate::output::{Output, Usage};

pub(crate) fn run(flags: &Man, output: &mut Output) -> anyhow::Result<Done> {
    let mut command = Args::command();
    // Global flags belong to each command only once it is built.
    command.build();
    if let Some(name) = &flags.command {
        let Some(found) = command.find_subcommand(name) else {
            bail!(Usage(format!("there is no command '{name}'; `gemmule --help` lists them")));
        };
        command = found.clone();
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    output.stdout().write_all(&page)?;
    Ok(Done::Whole)
}
