//! Recall of whole segments, larger than what the tests beside the code build.
//!
//! - `recall`: a walk against the exact answer.
//! - `growth`: a graph grown by merging against one built at once.
//! - `clustered`: rows and queries for both.

mod clustered;
mod growth;
mod recall;
