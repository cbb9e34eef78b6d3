//! Training: the pass forward and back over a model's weights.

pub mod pass;

pub use pass::{Pass, Tape};
