//! The link: a low-rank change of a frozen model's token rows.

pub mod link;

pub use link::Link;
