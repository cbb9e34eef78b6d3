//! From a `request` to an answer: `view` is what searches read, `current` how it is replaced as a whole; `fuse` puts the hits of vectors and
//! those of words together; `passages` shapes what is answered.

pub(crate) mod current;
pub(crate) mod fuse;
pub(crate) mod passages;
pub(crate) mod request;
pub(crate) mod view;
