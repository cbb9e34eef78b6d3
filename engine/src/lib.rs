//! Files and text to vectors: ingest, tokenizer, EmbeddingGemma.
//!
//! ```text
//! file --ingest--> chunks --tokenizer--> token ids --model--> vector
//! ```
//!
//! The crate knows files, text and models; it knows nothing of graphs, stores or HTTP.

mod error;
pub mod eval;
pub mod ingest;
pub mod package;
mod prompt;

pub use error::{Error, Result};
