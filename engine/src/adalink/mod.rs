//! AdaLink: adapts a frozen model to one collection, from queries whose answers are known.

mod algebra;
mod head;
pub(crate) mod linear;
mod link;
pub(crate) mod random;

#[cfg(test)]
mod reference;

pub use head::{Head, ridge};
pub use link::Link;
