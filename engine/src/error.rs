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
    /// A vocabulary that the engine's own tokenizer cannot reproduce exactly.
    Vocabulary {
        /// The field at fault, as a path into `tokenizer.json`, or a property of the piece list.
        field: String,
        /// What was found there.
        found: String,
        /// What can be reproduced.
        expected: String,
    },
    /// The bytes are not a sound tokenizer image of this version.
    TokenizerImage {
        /// The part at fault.
        field: &'static str,
        /// What was found there.
        found: String,
        /// What a sound image has there.
        expected: String,
    },
    /// Bytes that are no adapter of this version.
    Adapter {
        /// What is wrong with them.
        problem: String,
    },
    /// No model has this name.
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// A published model that is not on this machine.
    NotPulled {
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
    /// This is not the name of a model that can be pulled.
    ModelName {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting of the environment cannot be used. Its value is not shown: it may be a secret.
    Setting {
        /// The variable or field.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A model is not in the cache, and the network must not be used.
    Offline {
        /// What was asked for.
        name: String,
        /// The cache that was searched.
        cache: PathBuf,
    },
    /// A server did not answer, or not as it should.
    Network {
        /// The address that was asked.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The server has no such repository, revision or file.
    NotPublished {
        /// What was asked for.
        what: String,
        /// What the server said, and what may be the cause.
        problem: String,
    },
    /// The repository gives its files only to those who accepted its licence.
    Gated {
        /// The repository.
        repo: String,
        /// The page on which its licence is accepted.
        page: String,
        /// Whether a token was sent.
        token_sent: bool,
        /// A name that pulls the same bytes without a token.
        mirror: Option<&'static str>,
    },
    /// The bytes of a model's file are not those that belong there.
    Checksum {
        /// The file and its repository.
        file: String,
        /// SHA-256 of what was found, in hex.
        found: String,
        /// SHA-256 of what belongs there, in hex.
        expected: String,
        /// Who says so.
        says: &'static str,
        /// The refused file where it was there before; a download is deleted.
        kept: Option<PathBuf>,
    },
    /// The disk has no room for a file.
    DiskFull {
        /// Where it was to go.
        path: PathBuf,
        /// Bytes that were still to come; 0 if that is not known.
        needed: u64,
        /// Bytes that are free, where the system says.
        free: Option<u64>,
    },
    /// Training came to numbers that are not finite.
    Diverged {
        /// What is not finite.
        what: &'static str,
        /// The recipe's stage.
        stage: String,
        /// The step, from 1.
        step: usize,
        /// The last good state.
        checkpoint: PathBuf,
    },
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
            Error::Vocabulary { field, found, expected } => write!(
                f,
                "could not build a tokenizer image: {field} is {found}, expected {expected}"
            ),
            Error::TokenizerImage { field, found, expected } => write!(
                f,
                "could not open the tokenizer image: {field} is {found}, expected {expected}; \
                 delete the prepared model, it is made again"
            ),
            Error::Adapter { problem } => write!(
                f,
                "this is no link that this version can use: {problem}; make it anew with `tune run`"
            ),
            Error::UnknownModel { name } => write!(
                f,
                "no model is called '{name}' and no file or folder is there; built in: nano (others: \
                 `gemmule model list`, or give the path of a sentence-transformers folder or a GGUF file)"
            ),
            Error::NotPulled { name } => {
                write!(f, "model {name} is not on this machine: `gemmule model pull {name}`")
            }
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
            Error::ModelName { name, problem } => write!(
                f,
                "'{name}' is not a model that can be pulled: {problem}; give a name of \
                 `model list`, or ORG/NAME, or ORG/NAME/FILE.gguf, each with @REVISION if wanted"
            ),
            Error::Setting { name, problem } => write!(f, "{name} cannot be used: {problem}"),
            Error::Offline { name, cache } => write!(
                f,
                "model {name} is not whole in {}, and HF_HUB_OFFLINE forbids the network; \
                 unset it and pull once, or copy the model's folder there",
                cache.display()
            ),
            Error::Network { url, problem } => write!(
                f,
                "could not fetch {url}: {problem}; pull again, and if it stays so check the \
                 connection, HF_ENDPOINT and the proxy variables"
            ),
            Error::NotPublished { what, problem } => write!(f, "could not find {what}: {problem}"),
            Error::Gated { repo, page, token_sent, mirror } => {
                write!(
                    f,
                    "{repo} is gated: accept its licence on {page}, make a token there that may \
                     read gated repositories, and put it into HF_TOKEN"
                )?;
                if *token_sent {
                    write!(f, " (a token was sent, but it does not open this repository)")?;
                }
                match mirror {
                    Some(mirror) => write!(f, "; or pull {mirror}: the same bytes, no token"),
                    None => Ok(()),
                }
            }
            Error::Checksum { file, found, expected, says, kept } => {
                write!(f, "{file} is refused: its SHA-256 is {found}, {says} {expected}")?;
                match kept {
                    Some(path) => write!(f, "; delete {} and pull again", path.display()),
                    None => write!(
                        f,
                        "; the download was deleted: pull again, and if it stays so, the file was \
                         changed where it is published: name the commit you trust with @COMMIT"
                    ),
                }
            }
            Error::DiskFull { path, needed, free } => {
                write!(f, "the disk is full: {} ", path.display())?;
                match needed {
                    0 => write!(f, "could not be written")?,
                    needed => write!(f, "needs {needed} bytes more")?,
                }
                if let Some(free) = free {
                    write!(f, ", {free} are free")?;
                }
                write!(f, "; free some and run this again, or use a folder on another disk")
            }
            Error::Tokenize(source) => write!(f, "could not tokenize a text: {source}"),
            Error::Tensor(source) => write!(f, "could not run the model: {source}"),
            Error::Diverged { what, stage, step, checkpoint } => write!(
                f,
                "{what} of step {step} of stage '{stage}' is not finite, so the run stopped; {} is the \
                 last good state: begin another run with a lower rate or a smaller clip",
                checkpoint.display()
            ),
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
