//! What can be said on the command line. Each command's help has an example.

pub(crate) mod tune;

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use gemmule::engine::package::export::Dtype;
use gemmule::{Filter, Fusion, Metric, Precision};

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
    /// Cut texts into chunks of at most this many tokens.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(crate) chunk_tokens: Option<usize>,
    /// The model's arithmetic; the fastest that is true enough to f32 if it is not said. Vectors of
    /// all precisions can be compared.
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionName>,
}

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

/// Turn texts into vectors: one text a line on standard input, one JSON array a line on standard
/// output.
///
/// An empty line is an empty text. Vectors have unit length. No database is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule embed --task query --dims 128 < questions.txt")]
pub(crate) struct Embed {
    /// A name from `model list`, or the path of a folder or GGUF file.
    #[arg(long, value_name = "MODEL", default_value = "nano")]
    pub(crate) model: String,
    /// The prompt that goes before each text: query, document, none, or another of the model's.
    #[arg(long, value_name = "TASK", default_value = "document")]
    pub(crate) task: String,
    /// Cut vectors to this width, one of the model's.
    #[arg(long, value_name = "N")]
    pub(crate) dims: Option<usize>,
    /// The arithmetic; the fastest that is true enough to f32 if it is not said.
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionName>,
    /// Use about this much memory beside the model's weights, such as 200M; longer texts than that
    /// allows run one by one.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
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

/// Train a model by a recipe: from pairs of texts to a package that all commands run.
///
/// RECIPE.md has every field of a recipe. Ctrl-C writes a checkpoint; with --resume the run goes on from
/// the last one, to the same bytes as if it had not been stopped. OUT/model is the package, OUT/log.jsonl
/// has one object a step.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule train recipe.json --data pairs/ --out run/\n         \
                  gemmule train recipe.json --data pairs/ --out run/ --resume")]
pub(crate) struct Train {
    /// The recipe: a JSON file.
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: PathBuf,
    /// The folder of the run: new, or with --resume that of the run that goes on.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// The folder from which the recipe names its files.
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// The teacher's folder (vectors.npy, texts.jsonl), if not where the recipe says.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) teacher: Option<PathBuf>,
    /// Leave out pairs whose texts are in the evaluation sets below this folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) held_out: Option<PathBuf>,
    /// Go on with the run in --out.
    #[arg(long)]
    pub(crate) resume: bool,
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
    /// Bring a published model to this machine: the only command that uses the network.
    ///
    /// It goes into the cache that other tools use too (HF_HOME), its bytes are checked, and a broken
    /// download goes on where it stopped. MODEL is a name of `model list`, ORG/NAME, or
    /// ORG/NAME/FILE.gguf; each may end in @REVISION.
    #[command(after_help = "Example: gemmule model pull embeddinggemma-300m")]
    Pull(ModelName),
    /// Print where a model lies.
    #[command(after_help = "Example: gemmule model path embeddinggemma-300m")]
    Path(ModelName),
    Verify(Verify),
    Convert(Convert),
}

/// A model.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelName {
    /// A name from `model list`.
    pub(crate) model: String,
}

/// Hold each precision of a model against f32, on texts that are built in.
///
/// The texts are short and long, prose and code, in several scripts. Exits with 1 if a precision
/// misses its bound.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule model verify nano --precision int8,int4")]
pub(crate) struct Verify {
    /// A name from `model list`, or the path of a folder or GGUF file.
    pub(crate) model: String,
    /// The precisions; all if it is not said.
    #[arg(long, value_enum, value_name = "P,P", value_delimiter = ',')]
    pub(crate) precision: Vec<PrecisionName>,
}

/// Write a model in another form: a GGUF file, or a sentence-transformers folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gemmule model convert models/mine mine.gguf --to q8_0")]
pub(crate) struct Convert {
    /// A name from `model list`, or the path of a folder or GGUF file.
    pub(crate) model: String,
    /// A file that ends in .gguf, or a folder that does not exist yet.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,
    /// The form of the matrices in a GGUF file; f32 if it is not said.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) to: Option<GgufForm>,
    /// That of the table of token vectors, more than half of a small model; as --to if it is not said.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) table: Option<GgufForm>,
}

/// The form of numbers in a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GgufForm {
    /// Four bytes a number.
    F32,
    /// Two bytes.
    F16,
    /// Two bytes.
    Bf16,
    /// Eight and a half bits.
    #[value(name = "q8_0")]
    Q8_0,
    /// Six and a half bits.
    #[value(name = "q6_k")]
    Q6K,
    /// Four and a half bits.
    #[value(name = "q4_0")]
    Q4_0,
}

impl From<GgufForm> for Dtype {
    fn from(form: GgufForm) -> Dtype {
        match form {
            GgufForm::F32 => Dtype::F32,
            GgufForm::F16 => Dtype::F16,
            GgufForm::Bf16 => Dtype::Bf16,
            GgufForm::Q8_0 => Dtype::Q8_0,
            GgufForm::Q6K => Dtype::Q6K,
            GgufForm::Q4_0 => Dtype::Q4_0,
        }
    }
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
