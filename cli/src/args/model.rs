//! Arguments of the commands that are about a model.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum, ValueHint};
use gemmule::engine::package::export::Dtype;

use super::{PrecisionName, size};

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
