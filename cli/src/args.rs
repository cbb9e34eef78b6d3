//! What can be said on the command line. Each command's help has an example.

mod collection;
mod measure;
mod model;
mod search;
pub(crate) mod tune;

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use gemmule::{Filter, Precision};

pub(crate) use self::collection::*;
pub(crate) use self::measure::*;
pub(crate) use self::model::*;
pub(crate) use self::search::*;

/// Finds passages in your files by what they mean. One binary: no server, no network.
#[derive(Debug, Parser)]
#[command(
    name = "gemmule",
    version,
    max_term_width = 100,
    after_help = "Example: gemmule search \"who frees this memory?\" --in docs/\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of all commands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The directory of the database.
    #[arg(long, global = true, value_name = "DIR", default_value = ".gemmule")]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) db: PathBuf,
    /// The collection in it; each has one model.
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub(crate) collection: String,
    /// Print JSON and nothing else on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

/// One of these.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Index(Index),
    Search(Search),
    Embed(Embed),
    Eval(Eval),
    Train(Train),
    /// Show what the database holds and what it weighs.
    #[command(after_help = "Example: gemmule status --json")]
    Status,
    Get(Get),
    List(List),
    /// Show what the collection can be filtered by: fields, their types, how many values, and some of them.
    #[command(after_help = "Example: gemmule fields")]
    Fields,
    Delete(Delete),
    /// Make one segment of the collection, drop what was deleted or replaced, and give its space back.
    ///
    /// Nothing is lost by stopping it. It needs room for the new segment beside the old ones.
    #[command(after_help = "Example: gemmule compact")]
    Compact,
    Reindex(Reindex),
    Reembed(Reembed),
    Fsck(Fsck),
    Import(Import),
    Export(Export),
    Backup(Backup),
    Restore(Restore),
    Tune(tune::Tune),
    Model(Model),
    Bench(Bench),
    Completions(Completions),
    Man(Man),
}

/// The form of weights and arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// As trained.
    F32,
    /// Half the memory, cosine to f32 at least 0.9995.
    Bf16,
    /// A quarter, at least 0.995.
    Int8,
    /// An eighth, at least 0.97.
    Int4,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Precision {
        match name {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
            PrecisionName::Int8 => Precision::Int8,
            PrecisionName::Int4 => Precision::Int4,
        }
    }
}

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: gemmule completions bash > ~/.local/share/bash-completion/completions/gemmule"
)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: Shell,
}

/// Print the manual page, of the whole or of one command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule man | man -l -")]
pub(crate) struct Man {
    /// A command.
    pub(crate) command: Option<String>,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// The text of a filter, once it is known to be one.
fn filter(text: &str) -> Result<String, String> {
    match text.parse::<Filter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let place = error.caret().map(|caret| format!("\n\n{caret}")).unwrap_or_default();
            Err(format!("{error}{place}"))
        }
    }
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    let share = text.parse::<f32>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is a number from 0 to 1".to_owned())
}

/// A number of bytes: 500, 64K, 200M, 2G.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((last, 'k' | 'K')) => (&text[..last], 1 << 10),
        Some((last, 'm' | 'M')) => (&text[..last], 1 << 20),
        Some((last, 'g' | 'G')) => (&text[..last], 1 << 30),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| "a size is written 500M or 2G".to_owned())
}
