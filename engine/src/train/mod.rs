//! Training: from pairs of texts to a model package.

pub mod loss;
pub mod pass;

pub use pass::{Pass, Tape};

#[cfg(test)]
mod reference;
