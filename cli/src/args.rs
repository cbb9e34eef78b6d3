//! What can be said on the command line. Each command's help has an example.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

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
    /// Show what the database holds and what it weighs.
    #[command(after_help = "Example: gemmule status --json")]
    Status,
    Get(Get),
    /// List the documents of the collection: one id a line; a terminal also gets chunks and titles.
    #[command(after_help = "Example: gemmule list | wc -l")]
    List,
    Delete(Delete),
    Model(Model),
    Completions(Completions),
    Man(Man),
}

/// Add files to the collection; run it again and only what changed is read and embedded.
///
/// Files that are gone leave the collection. What .gitignore names is left out. Nothing is dropped
/// silently: each file ends as indexed, unchanged, skipped (why) or failed (why).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule index docs/ notes.md")]
pub(crate) struct Index {
    /// Folders or files.
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) how: HowToIndex,
}

/// How files become vectors.
#[derive(Debug, clap::Args)]
pub(crate) struct HowToIndex {
    /// The model of a new collection: a name from `model list`, or the path of a folder.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// The width that vectors of a new collection are searched at; one of the model's.
    #[arg(long, value_name = "N")]
    pub(crate) dims: Option<usize>,
    /// Cut texts into chunks of at most this many tokens.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) chunk_tokens: Option<usize>,
}

/// Find the passages that come closest to a question.
///
/// With --in, a folder is indexed (or refreshed) first, and only passages below it are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule search \"who frees this memory?\" -k 3 --in docs/")]
pub(crate) struct Search {
    /// What you would like to know, in your own words.
    pub(crate) query: String,
    /// At most this many hits.
    #[arg(short, value_name = "N", default_value = "10", value_parser = at_least_one())]
    pub(crate) k: usize,
    /// Index or refresh this folder or file first, and show only what lies there.
    #[arg(long = "in", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) within: Option<PathBuf>,
    /// Compare the query with every passage instead of walking the graph.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Show only the best passage of each document.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) group: Option<Group>,
    /// Show this many chunks before and after each passage too.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) context: u32,
    #[command(flatten)]
    pub(crate) how: HowToIndex,
}

/// What makes hits a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Their document.
    Document,
}

/// Turn texts into vectors: one text a line on standard input, one JSON array a line on standard
/// output.
///
/// An empty line is an empty text. Vectors have unit length. No database is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule embed --task query --dims 128 < questions.txt")]
pub(crate) struct Embed {
    /// A name from `model list`, or the path of a folder.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// The prompt that goes before each text: query, document, none, or another of the model's.
    #[arg(long, value_name = "TASK", default_value = "document")]
    pub(crate) task: String,
    /// Cut vectors to this width, one of the model's.
    #[arg(long, value_name = "N")]
    pub(crate) dims: Option<usize>,
    /// The title of the documents; only with the task document.
    #[arg(long, value_name = "TITLE")]
    pub(crate) title: Option<String>,
    /// Cut texts that are longer than the model's window, and say how many; else they are an error.
    #[arg(long)]
    pub(crate) truncate: bool,
    /// One JSON array a line, or one npy file of float32 with a row a text.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: VectorFormat,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VectorFormat {
    /// One array a line.
    Json,
    /// NumPy's file.
    Npy,
}

/// Measure how well a model finds: BEIR folders and STS files.
///
/// A BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv; each document is one vector, of
/// its first 512 tokens. An STS file (.tsv) has the header score, s1, s2. A folder of .tsv files
/// counts as all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule eval beir/cranfield sts/ --dims 384,128")]
pub(crate) struct Eval {
    /// BEIR folders, STS files, or folders of STS files.
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) sets: Vec<PathBuf>,
    /// A name from `model list`, or the path of a folder.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// The widths to measure; all of the model's if it is not said.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) dims: Vec<usize>,
    /// Compare with every document, or search as a database does.
    #[arg(long, value_enum, value_name = "WAY", value_delimiter = ',', default_value = "exact")]
    pub(crate) through: Vec<Through>,
    /// Cut documents into chunks of at most this many tokens, as `index` does; a document's score is
    /// that of its best chunk. Without it a document is one vector.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) chunk_tokens: Option<usize>,
}

/// How documents are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Through {
    /// Every document's vector, cut to the width, in f32.
    Exact,
    /// A database's graph over int8 codes of the width, the best re-scored at full width.
    Ann,
}

/// Show a document, or one chunk of it (ID#N, as search prints them).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule get docs/guide.md#3")]
pub(crate) struct Get {
    /// A document's id or path, or the id of a chunk.
    pub(crate) id: String,
}

/// Take documents out of the collection; the files themselves are left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule delete docs/old.md")]
pub(crate) struct Delete {
    /// Ids or paths of documents.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Models that can be used.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Model {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List the models that have a name.
    #[command(after_help = "Example: gemmule model list")]
    List,
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
