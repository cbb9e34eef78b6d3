//! What can go wrong between a file and a vector.
//!
//! One enum for the crate, named by what was being read: a file, a model package, a text. Fields
//! instead of prose, so that callers can branch; `Display` says what was found and how to fix it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// The operating system refused something.
    Io {
        /// What was being done, as a verb phrase ("read the model's config").
        doing: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// A data file was readable, but not what it should be.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where known.
        line: Option<u64>,
        /// What is wrong with it.
        problem: String,
    },
    /// A model package that this engine must refuse.
    Package {
        /// The package: a path, or the name of a built-in model.
        package: String,
        /// The field or tensor at fault, with its file.
        field: String,
        /// What was found there.
        found: String,
        /// What an EmbeddingGemma package has there.
        expected: String,
    },
    /// No model has this name.
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// The package has no prompt of this name.
    UnknownTask {
        /// What was asked for.
        task: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The package was not trained for this width.
    UnknownWidth {
        /// What was asked for.
        dims: usize,
        /// The widths that exist, widest first.
        known: Vec<usize>,
    },
    /// A text is longer than the model's window.
    TooLong {
        /// Tokens in the text, prompt and special tokens included.
        n_tokens: usize,
        /// Tokens that fit.
        window: usize,
    },
    /// A token has no row in the model's embedding table.
    TokenOutsideTable {
        /// The token's id.
        id: u32,
        /// Rows in the table.
        vocab_size: usize,
    },
    /// The tokenizer failed on a text.
    Tokenize(tokenizers::Error),
    /// A tensor operation failed: a fault of this crate, or no memory.
    Tensor(candle_core::Error),
    /// The work was cancelled by its caller.
    Cancelled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, path, source } => {
                write!(f, "could not {doing} {}: {source}", path.display())
            }
            Error::File { path, line: Some(line), problem } => {
                write!(f, "{}, line {line}: {problem}", path.display())
            }
            Error::File { path, line: None, problem } => {
                write!(f, "{}: {problem}", path.display())
            }
            Error::Package { package, field, found, expected } => write!(
                f,
                "model package {package} cannot be used: {field} is {found}, expected {expected}"
            ),
            Error::UnknownModel { name } => write!(
                f,
                "no model is called '{name}' and no folder is there; \
                 built in: nano (or give the path of a sentence-transformers folder)"
            ),
            Error::UnknownTask { task, known } => {
                write!(f, "the model has no prompt '{task}'; it has: {}", known.join(", "))
            }
            Error::UnknownWidth { dims, known } => {
                let known: Vec<String> = known.iter().map(usize::to_string).collect();
                write!(f, "the model has no width {dims}; it has: {}", known.join(", "))
            }
            Error::TooLong { n_tokens, window } => write!(
                f,
                "the text has {n_tokens} tokens with its prompt, the model's window is {window}; \
                 split the text, or ask for it to be truncated"
            ),
            Error::TokenOutsideTable { id, vocab_size } => write!(
                f,
                "token {id} is outside the model's embedding table of {vocab_size} rows; \
                 the tokenizer does not belong to these weights"
            ),
            Error::Tokenize(source) => write!(f, "could not tokenize a text: {source}"),
            Error::Tensor(source) => write!(f, "could not run the model: {source}"),
            Error::Cancelled => write!(f, "cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Tensor(source) => Some(source),
            _ => None,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Error::Tensor(source)
    }
}
