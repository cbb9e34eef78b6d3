//! Evaluation sets and measures: is a vector any good?
//!
//! A [`Beir`] set asks queries of documents and knows which are relevant; an [`Sts`] set has pairs
//! of sentences with the similarity that people gave them. [`measure`] turns rankings and scores
//! into the numbers that papers print, by the formulas of trec_eval and scipy; `tests/reference`
//! holds values of both. Embedding and searching are left to the caller: the same sets measure an
//! exact scan, a graph and a cut vector.

mod beir;
pub(crate) mod lines;
pub mod measure;
mod sts;

pub use beir::{Beir, BeirDocument};
pub(crate) use beir::{read_qrels, read_queries};
pub use sts::Sts;
