//! The locks of what `tests/interleave` compiles with those of a model checker in their place.

pub(crate) use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError, atomic};
