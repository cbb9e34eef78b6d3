//! How a database is opened: by one process to write, beside it by others to read, after whatever happened.

pub(crate) mod access;
pub(crate) mod lock;
pub(crate) mod recover;
mod refill;
