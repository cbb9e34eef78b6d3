//! Token ids to vectors: the forward pass of EmbeddingGemma.
//!
//! [`reference`] is the definition: small, in f32, from tensor operations that carry gradients, so
//! that one graph serves as oracle and for training. Sequences are packed end to end, never padded:
//! the rows of all sequences go through the linear layers together, attention runs inside each.

pub mod reference;

pub use reference::Reference;
