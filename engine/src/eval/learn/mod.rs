//! What is learnt on top of vectors to see what they carry: a linear classifier, and clusters.
//!
//! Both follow MTEB (arXiv 2210.07316), whose numbers people know. What follows from a seed here is
//! not what follows from it in NumPy, so a single number differs from MTEB's by the draw of examples;
//! the learners themselves are checked against scikit-learn (`tests/reference/learners.json`).

mod classify;
mod cluster;
mod kmeans;
mod lbfgs;
mod logistic;

pub use classify::{Classified, classify};
pub use cluster::{Clustered, cluster};
pub use kmeans::kmeans;
pub use logistic::Logistic;

#[cfg(test)]
mod tests;
