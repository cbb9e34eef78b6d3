//! Evaluation sets and measures: is a vector any good?
//!
//! A [`Beir`] set asks queries of documents and knows which are relevant; an [`Sts`] set has pairs
//! of sentences with the similarity that people gave them; a [`Classification`] or [`Clustering`] set has
//! texts with their classes, and [`learn`] what is learnt of these. [`measure`] turns rankings, scores
//! and classes into the numbers that papers print, by the formulas of trec_eval, scipy and scikit-learn,
//! and says what chance may have done to them; `tests/reference` holds values of all three. Embedding
//! and searching are left to the caller: the same sets measure an exact scan, a graph and a cut vector.

mod beir;
mod labelled;
pub mod learn;
pub(crate) mod lines;
pub mod measure;
mod sts;

pub use beir::{Beir, BeirDocument};
pub(crate) use beir::{read_qrels, read_queries};
pub use labelled::{Classification, Clustering, Labelled};
pub use sts::Sts;
