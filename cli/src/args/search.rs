//! Arguments of `gemmule search`.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use gemmule::Fusion;

use super::{HowToIndex, at_least_one, filter, share};

/// Find the passages that come closest to a question.
///
/// With --in, a folder is indexed (or refreshed) first, and only passages below it are shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: gemmule search \"who frees this memory?\" -k 3 --in docs/\n         \
                  gemmule search --vector query.npy --collection images\n         \
                  gemmule search \"who frees this memory?\" --filter \"kind = 'pdf' AND page < 10\""
)]
pub(crate) struct Search {
    /// What you would like to know, in your own words.
    #[arg(required_unless_present = "vector")]
    pub(crate) query: Option<String>,
    /// Compare this vector instead of the query's own: an .npy, .fvecs, .jsonl, .parquet or .json file, or -
    /// for a JSON array on standard input, as `embed` writes it. QUERY, if there is one, is then for words.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) vector: Option<PathBuf>,
    /// At most this many hits.
    #[arg(short, value_name = "N", default_value = "10", value_parser = at_least_one())]
    pub(crate) k: usize,
    /// Index or refresh this folder or file first, and show only what lies there.
    #[arg(long = "in", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) within: Option<PathBuf>,
    /// Look by meaning, by words, or by both. In words, "a phrase", prefix*, +must and -not are understood.
    #[arg(long, value_enum, value_name = "MODE", default_value = "hybrid")]
    pub(crate) mode: Mode,
    /// Show only passages that pass this filter, such as "kind = 'pdf' AND page < 10"; `fields` shows
    /// what there is.
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<String>,
    /// Compare the query with every passage instead of walking the graph.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Say how the answer was found, and more of each passage.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Show only the best passage of each document.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) group: Option<Group>,
    /// Show this many chunks before and after each passage too.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) context: u32,
    /// Show no more text than this, in the model's tokens; what does not fit is counted.
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<u64>,
    /// Prefer passages that differ: from 0, the best by score, to 1.
    #[arg(long, value_name = "D", default_value_t = 0.0, hide_default_value = true)]
    #[arg(value_parser = share)]
    pub(crate) diversity: f32,
    #[command(flatten)]
    pub(crate) how: HowToIndex,
}

/// What a search compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Vectors and words.
    Hybrid,
    /// Vectors.
    Vector,
    /// Words.
    Text,
}

impl From<Mode> for Fusion {
    fn from(mode: Mode) -> Fusion {
        match mode {
            Mode::Hybrid => Fusion::default(),
            Mode::Vector => Fusion::VectorOnly,
            Mode::Text => Fusion::TextOnly,
        }
    }
}

/// What makes hits a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Their document.
    Document,
}
