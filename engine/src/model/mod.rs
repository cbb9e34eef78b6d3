//! Token ids to vectors: the forward pass of EmbeddingGemma, twice.
//!
//! [`mod@reference`] is the definition: small, in f32, from tensor operations that carry gradients, so
//! that one graph is the oracle of the other pass and of the one that trains. `fast` is what runs: the
//! same numbers from flat buffers and kernels. The first is tested against transformers, the second
//! against the first.
//!
//! In both, sequences are packed end to end, never padded: the rows of all sequences go through the
//! linear layers together, attention runs inside each.

mod check;
mod fast;
mod image;
mod open;
mod prepared;
pub mod reference;

pub(crate) use fast::Fast;
pub(crate) use fast::rope::Ropes;
pub(crate) use image::{Image, Stamp};
pub(crate) use open::{Opened, open};
pub use open::{Verified, bound, verify};
pub(crate) use prepared::Prepared;
pub use prepared::{Balance, Report};
pub use reference::Reference;

#[cfg(test)]
mod tests;
