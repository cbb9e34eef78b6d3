//! The flags of `gemmule tune`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use gemmule::adalink::Rung;

use super::{GgufForm, at_least_one};

/// Adapt the collection's queries to its documents, from queries whose answers are known.
///
/// Documents are not embedded again. What is learnt is a link: a small file that is kept in the
/// collection. It is installed only if it helps on queries that it was not learnt from; if nothing
/// does, the base stays.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Tune {
    #[command(subcommand)]
    pub(crate) command: TuneCommand,
}

/// What to do with links.
#[derive(Debug, Subcommand)]
pub(crate) enum TuneCommand {
    Run(TuneRun),
    Eval(TuneEval),
    Install(TuneInstall),
    /// Go back to what was active before the active link, or to no link.
    #[command(after_help = "Example: gemmule tune rollback")]
    Rollback,
    Merge(TuneMerge),
    Bake(TuneBake),
}

/// Queries whose answers are known: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Queries {
    /// Pairs: a line {"query": "...", "positive_ids": ["..."]} each; "positive" gives a text instead.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data: Option<PathBuf>,
    /// A BEIR folder: queries.jsonl and qrels/{train,dev,test}.tsv.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) qrels: Option<PathBuf>,
    /// A click log in the order of time: a line {"query", "doc_id", "rank", "clicked"} each result shown.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) clicks: Option<PathBuf>,
}

/// Try ways to adapt, cheapest first, and install the best if it passes the gate.
///
/// It passes if it gains half a point of nDCG@10 beyond chance on queries that were not learnt from, once
/// when it is chosen and once when it is confirmed, and if no stored form of the documents loses.
#[derive(Debug, Args)]
#[command(after_help = "Example: gemmule tune run --clicks clicks.jsonl --budget 10m\n         \
                  gemmule tune run --qrels beir/mine --method head --dry-run")]
pub(crate) struct TuneRun {
    #[command(flatten)]
    pub(crate) queries: Queries,
    /// First add the documents of this BEIR folder's corpus.jsonl to the collection, which may be new.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) add_corpus: Option<PathBuf>,
    /// The name that the link gets.
    #[arg(long, value_name = "NAME", default_value = "tuned")]
    pub(crate) name: String,
    /// What is tried.
    #[arg(long, value_enum, value_name = "METHOD", default_value = "auto")]
    pub(crate) method: Method,
    /// The rank of heads and links; what fits the number of queries if it is not said.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) rank: Option<usize>,
    /// How many random starts are summed.
    #[arg(long, value_name = "N", default_value = "3", value_parser = at_least_one())]
    pub(crate) seeds: usize,
    /// The first of them, and that of the split: the same seed gives the same link.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Test each query once, in turn, instead of holding some back; at least 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(3..))]
    pub(crate) folds: Option<u64>,
    /// Stop learning after this time, such as 90s, 10m or 2h, and judge what there is.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) budget: Option<Duration>,
    /// Install nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the link to a file too, if one is accepted.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// What is tried by `tune run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// All of them, as many as the queries allow.
    Auto,
    /// A matrix behind the model, in closed form.
    Ridge,
    /// A low-rank map behind the model.
    Head,
    /// A low-rank map before the model.
    Link,
    /// A link, and a matrix behind.
    Both,
}

impl Method {
    /// Whether a rung is tried.
    pub(crate) fn allows(self, rung: Rung) -> bool {
        match self {
            Method::Auto => true,
            Method::Ridge => matches!(rung, Rung::Ridge),
            Method::Head => matches!(rung, Rung::Head(_)),
            Method::Link => matches!(rung, Rung::Link(_)),
            Method::Both => matches!(rung, Rung::LinkAndRidge(_)),
        }
    }
}

/// Measure a link on queries whose answers are known.
///
/// On queries that it was learnt from the measure says nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example: gemmule tune eval --data held-out.jsonl")]
pub(crate) struct TuneEval {
    #[command(flatten)]
    pub(crate) queries: Queries,
    /// A link of the collection; the active one if it is not said.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Send the collection's queries through a link: one of its own, a file, or none.
#[derive(Debug, Args)]
#[command(after_help = "Example: gemmule tune install clicks.safetensors --name clicks\n         \
                  gemmule tune install --none")]
pub(crate) struct TuneInstall {
    /// The name of a link of the collection, or a file that `tune run --out` wrote.
    #[arg(value_name = "LINK", required_unless_present = "none", value_hint = ValueHint::FilePath)]
    pub(crate) link: Option<String>,
    /// The name that a file's link gets; that of the file if it is not said.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Through none.
    #[arg(long, conflicts_with = "link")]
    pub(crate) none: bool,
}

/// Add links of the collection up into one, and install it. Nothing is proved: measure it with `tune eval`.
#[derive(Debug, Args)]
#[command(after_help = "Example: gemmule tune merge --into both clicks=0.5 pairs=0.5")]
pub(crate) struct TuneMerge {
    /// Names of links and their weights; 1 over their number if it is not said.
    #[arg(required = true, value_name = "LINK[=WEIGHT]", value_parser = weighted)]
    pub(crate) links: Vec<(String, Option<f32>)>,
    /// The name of the sum.
    #[arg(long, value_name = "NAME")]
    pub(crate) into: String,
}

/// Write the collection's model with a link in its weights, for any runtime: for queries only.
#[derive(Debug, Args)]
#[command(after_help = "Example: gemmule tune bake queries.gguf --to q8_0")]
pub(crate) struct TuneBake {
    /// A file that ends in .gguf, or a folder that does not exist yet.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,
    /// A link of the collection; the active one if it is not said.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The form of the matrices in a GGUF file; f32 if it is not said.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) to: Option<GgufForm>,
}

/// 90s, 10m or 2h.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse::<u64>().ok());
    let seconds = number.and_then(|number| number.checked_mul(unit)).filter(|&seconds| seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "a time is written 90s, 10m or 2h".to_owned())
}

/// NAME or NAME=WEIGHT.
fn weighted(text: &str) -> Result<(String, Option<f32>), String> {
    let Some((name, weight)) = text.split_once('=') else { return Ok((text.to_owned(), None)) };
    match weight.parse::<f32>() {
        Ok(weight) if weight.is_finite() => Ok((name.to_owned(), Some(weight))),
        _ => Err(format!("'{weight}' is not a weight: a number such as 0.5")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_weights_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "s", "10", "0m", "-1m", "1.5h", "10 m", "99999999999999999999h", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(weighted("a"), Ok(("a".to_owned(), None)));
        assert_eq!(weighted("a=-0.5"), Ok(("a".to_owned(), Some(-0.5))));
        assert!(weighted("a=much").is_err() && weighted("a=inf").is_err());
    }
}
