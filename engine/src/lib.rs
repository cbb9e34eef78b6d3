//! Files and text to vectors: ingest, tokenizer, EmbeddingGemma.
//!
//! ```text
//! file --ingest--> chunks --tokenizer--> token ids --model--> vector
//! ```
//!
//! The crate knows files, text and models; it knows nothing of graphs, stores or HTTP.

pub mod adalink;
mod adamw;
mod atomic_file;
mod bytes;
mod embedder;
mod error;
pub mod eval;
pub mod hub;
pub mod ingest;
mod kernel;
mod linear;
pub mod model;
pub mod npy;
pub mod package;
mod prompt;
mod random;
pub mod token;
pub mod train;

pub use embedder::{Embedder, NO_TASK, Tokens};
pub use error::{Error, Result};
pub use kernel::Precision;
