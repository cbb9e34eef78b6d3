//! Arguments of `gemmule eval` and `gemmule bench`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum, ValueHint};

use super::{CodeQuant, MetricName, PrecisionName, at_least_one};

/// Measure how good a model's vectors are: on BEIR folders, STS files, and texts with labels.
///
/// A BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv; each document is one vector, of
/// its first 512 tokens. An STS file (.tsv) has the header score, s1, s2. Labelled texts have an object a
/// line with text and label: NAME_train.jsonl and NAME_test.jsonl are classified (10 times with 8 examples
/// of each label), NAME_clustering.jsonl is clustered, both as in MTEB. A folder of files counts as all of
/// them. low and high bound the first measure with 95 % confidence.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule eval beir/cranfield sts/ --dims 384,128\n         \
                        gemmule eval beir/* --quant f32,int8,binary --model ./mine --against nano")]
pub(crate) struct Eval {
    /// BEIR folders, STS files, files of labelled texts, or folders of such files.
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) sets: Vec<PathBuf>,
    /// A name from `model list`, or the path of a folder or GGUF file.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// Measure this model too, and say for each row how much MODEL is better, and how likely chance
    /// alone makes such a difference (p).
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<String>,
    /// The widths to measure; all of the model's if it is not said.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) dims: Vec<usize>,
    /// The precisions of the model's arithmetic; the fastest that is true enough to f32 if it is not
    /// said.
    #[arg(long, value_enum, value_name = "P,P", value_delimiter = ',')]
    pub(crate) precision: Vec<PrecisionName>,
    /// What is kept of each number of a vector; in a database the codes, which are never f32: int8 unless
    /// binary is among these.
    #[arg(long, value_enum, value_name = "Q,Q", value_delimiter = ',', default_value = "f32")]
    pub(crate) quant: Vec<Quant>,
    /// Compare with every document, or search as a database does.
    #[arg(long, value_enum, value_name = "WAY", value_delimiter = ',', default_value = "exact")]
    pub(crate) through: Vec<Through>,
    /// Cut documents into chunks of at most this many tokens, as `index` does; a document's score is
    /// that of its best chunk. Without it a document is one vector.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) chunk_tokens: Option<usize>,
}

/// What is kept of each number of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Quant {
    /// All of it.
    F32,
    /// One of 255 steps, up to the row's largest number.
    Int8,
    /// Whether it is above the mean of the set's documents.
    Binary,
}

/// How documents are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Through {
    /// Every document's vector, cut to the width, as --quant keeps it.
    Exact,
    /// A database's graph over int8 codes of the width, the best re-scored at full width.
    Ann,
    /// A database's full-text search, of titles and texts.
    Text,
    /// Both together, as `search` does it.
    Hybrid,
}

/// Measure the speed of this machine.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Embed(BenchEmbed),
    Search(BenchSearch),
    Train(BenchTrain),
}

/// Embed texts of random tokens again and again; the median counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule bench embed --model nano --batch 8 --tokens 256")]
pub(crate) struct BenchEmbed {
    /// A name from `model list`, or the path of a folder or GGUF file.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// Texts at once.
    #[arg(long, value_name = "N", default_value = "8", value_parser = at_least_one())]
    pub(crate) batch: usize,
    /// Tokens of each text.
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one())]
    pub(crate) tokens: usize,
    /// Texts of 16 to --tokens tokens.
    #[arg(long)]
    pub(crate) mixed: bool,
    /// The arithmetic; the fastest that is true enough to f32 if it is not said.
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionName>,
    /// Threads; all processors if it is not said.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) threads: Option<usize>,
}

/// Train on random tokens, forward and back again and again, without a loss or an optimiser; the median counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule bench train --model nano --batch 256 --tokens 32")]
pub(crate) struct BenchTrain {
    /// A name from `model list`, or the path of a folder or GGUF file.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// Sequences at once.
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one())]
    pub(crate) batch: usize,
    /// Tokens of each sequence.
    #[arg(long, value_name = "N", default_value = "32", value_parser = at_least_one())]
    pub(crate) tokens: usize,
    /// The arithmetic of products: f32 or bf16.
    #[arg(long, value_enum, value_name = "PRECISION", default_value = "bf16")]
    pub(crate) precision: PrecisionName,
    /// Threads; all processors if it is not said.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) threads: Option<usize>,
}

/// Build one graph over a file of vectors and search it; recall is against an exact search at full width.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: gemmule bench search --base rows.npy --queries questions.npy --dims 128"
)]
pub(crate) struct BenchSearch {
    /// The rows: an npy file of float32 or float16 with a unit vector a row, or with --metric any vector.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) base: PathBuf,
    /// The queries, in the same form.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) queries: PathBuf,
    /// Keep the rows in float32 as they are and compare them so; without it they are kept in float16.
    #[arg(long, value_enum, value_name = "METRIC")]
    pub(crate) metric: Option<MetricName>,
    /// The width that codes are cut to; the full width if it is not said.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) dims: Option<usize>,
    /// What codes keep of each number; each is built and measured by itself.
    #[arg(long, value_enum, value_name = "Q,Q", value_delimiter = ',', default_value = "int8")]
    pub(crate) quant: Vec<CodeQuant>,
    /// How many candidates a walk keeps: one point of the curve each.
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = at_least_one())]
    #[arg(default_value = "16,32,64,128,256")]
    pub(crate) ef: Vec<usize>,
    /// Use the first N rows only.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) rows: Option<usize>,
    /// Threads that build, and that search at once; all processors if it is not said.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) threads: Option<usize>,
}
