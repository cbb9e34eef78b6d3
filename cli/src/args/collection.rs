//! Arguments of the commands that change or copy a collection, or show what is in it.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use gemmule::Metric;

use super::{PrecisionName, at_least_one, filter};

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
    /// What the codes that a new collection is searched by keep of each number; int8 if it is not said.
    #[arg(long, value_enum, value_name = "QUANT")]
    pub(crate) quant: Option<CodeQuant>,
    /// Cut texts into chunks of at most this many tokens, and of no more than the model reads at once.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) chunk_tokens: Option<usize>,
    /// The model's arithmetic; the fastest that is true enough to f32 if it is not said. Vectors of
    /// all precisions can be compared.
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionName>,
}

/// Show a document, or one chunk of it (ID#N, as search prints them).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule get docs/guide.md#3")]
pub(crate) struct Get {
    /// A document's id or path, or the id of a chunk.
    pub(crate) id: String,
}

/// List the documents of the collection: one id a line; a terminal also gets chunks and titles.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule list --filter \"kind = 'pdf'\" | wc -l")]
pub(crate) struct List {
    /// List only documents that pass this filter; `fields` shows what there is.
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<String>,
}

/// Take documents out of the collection; the files themselves are left alone.
///
/// Nothing is asked: `list` with the same filter shows what would be deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule delete docs/old.md\n         \
                  gemmule delete --filter \"path LIKE 'docs/drafts/%'\"")]
pub(crate) struct Delete {
    /// Ids or paths of documents.
    #[arg(required_unless_present = "filter", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Delete all documents that pass this filter.
    #[arg(long, value_name = "EXPR", value_parser = filter, conflicts_with = "ids")]
    pub(crate) filter: Option<String>,
}

/// Search the collection by codes of another width or kind. Nothing is embedded: full-width vectors are kept.
///
/// Makes one segment of it, as `compact`. If it is stopped, searches use the old codes where they must, and the
/// same command goes on. Binary codes take a seventh of the memory and compare more rows for the same hits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule reindex --dims 256 --quant binary")]
#[command(group(clap::ArgGroup::new("codes").required(true).multiple(true)))]
pub(crate) struct Reindex {
    /// One of the model's widths; as it is, if it is not said.
    #[arg(long, value_name = "N", group = "codes")]
    pub(crate) dims: Option<usize>,
    /// What codes keep of each number; as it is, if it is not said.
    #[arg(long, value_enum, value_name = "QUANT", group = "codes")]
    pub(crate) quant: Option<CodeQuant>,
}

/// What is kept of each number in the codes of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodeQuant {
    /// A byte.
    Int8,
    /// A bit; at least 64 numbers.
    Binary,
}

impl From<CodeQuant> for gemmule::Quant {
    fn from(quant: CodeQuant) -> gemmule::Quant {
        match quant {
            CodeQuant::Int8 => gemmule::Quant::Int8,
            CodeQuant::Binary => gemmule::Quant::Binary,
        }
    }
}

/// Bring the collection to another model: embed all its texts again, beside the old vectors, then swap.
///
/// Until the swap, searches answer from the old vectors. If it is stopped or killed, the same command goes on; with
/// another model, or with --abandon, what was built is given up. It needs room for the collection's vectors and texts a
/// second time. No file is read; `index` then finds all files unchanged. Links that were tuned for the old model are dropped.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: gemmule reembed --model embeddinggemma-300m --dims 256\n         \
                  gemmule reembed --abandon"
)]
pub(crate) struct Reembed {
    /// A name from `model list`, or the path of a folder or GGUF file.
    #[arg(long, value_name = "MODEL", required_unless_present = "abandon")]
    pub(crate) model: Option<String>,
    /// The width that vectors are searched at, one of the model's; its full width if it is not said.
    #[arg(long, value_name = "N", requires = "model")]
    pub(crate) dims: Option<usize>,
    /// The model's arithmetic; the fastest that is true enough to f32 if it is not said.
    #[arg(long, value_enum, value_name = "PRECISION", requires = "model")]
    pub(crate) precision: Option<PrecisionName>,
    /// Give up what an unfinished run has built, and its room on the disk.
    #[arg(long, conflicts_with = "model")]
    pub(crate) abandon: bool,
}

/// Check every byte of the database; exits with 1 if something is wrong and was not repaired.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule fsck --repair")]
pub(crate) struct Fsck {
    /// Repair what can be. What cannot be read is removed: a backup that has it is better.
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Add vectors from a file to a collection without a model; its first rows make it.
///
/// .jsonl has an object a line: id, vector, and if there are any text, title and meta. .parquet has columns of
/// these names: id a text or a whole number, vector a list of float or double, meta a text with a JSON
/// object. .npy is a matrix of float16, float32 or float64, .fvecs has the width before each row; their ids
/// are in FILE.ids, one a line, or are the numbers of the rows. Vectors are scaled to unit length and kept in
/// float16. Nothing is added if a row is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule import images.npy --collection images\n         \
                        gemmule search --vector query.npy --collection images")]
pub(crate) struct Import {
    /// A file of vectors.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// How vectors are compared: what a score is. Higher is closer with each of them.
    #[arg(long, value_enum, value_name = "METRIC", default_value = "cosine")]
    pub(crate) metric: MetricName,
}

/// Write the vectors of a collection to a file, in the order in which they were added.
///
/// .jsonl has an object a row: id, vector, text, title, meta; .parquet has columns of these names, meta as
/// JSON. .npy and .fvecs have float32; the ids are written to FILE.ids. A document of several chunks has a row for each, named ID#N.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule export notes.jsonl")]
pub(crate) struct Export {
    /// The file to write; one that is there is replaced.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// Copy the database to a new or empty folder; on the same file system that takes little space.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule backup ../notes-backup")]
pub(crate) struct Backup {
    /// Where the copy goes: a folder that does not exist or is empty.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: PathBuf,
}

/// Make the database of --db, which must not exist or be empty, from a copy that `backup` made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule restore ../notes-backup --db .gemmule")]
pub(crate) struct Restore {
    /// The copy; it stays as it is.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) from: PathBuf,
}

/// How given vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricName {
    /// The cosine of the angle between both.
    Cosine,
    /// Their dot product.
    Dot,
    /// Minus their Euclidean distance.
    L2,
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Metric {
        match name {
            MetricName::Cosine => Metric::Cosine,
            MetricName::Dot => Metric::Dot,
            MetricName::L2 => Metric::L2,
        }
    }
}
