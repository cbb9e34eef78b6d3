//! How views are published and files removed, under a model checker: the code that does it in the store, compiled here with
//! locks that let the checker choose which thread goes on at each step.
//!
//! - `cell`: what searches read and writers replace that searches read and writers replace, alone; in all orders that two threads can take.
//! - `collection`: puts, seals, merges and searches of a small collection around it; in many random orders. Faults that are
//!   planted are found, so the properties can fail.
//!
//! `GEMMULE_INTERLEAVE_ROUNDS` sets the number of random orders:
//!
//! ```text
//! GEMMULE_INTERLEAVE_ROUNDS=1000000 cargo test --release -p gemmule-storage --test interleave
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

mod sync {
    pub(crate) use shuttle::sync::{Arc, Mutex, RwLock, atomic};
    pub(crate) use std::sync::{PoisonError, TryLockError};
}

#[path = "../../src/search/current.rs"]
mod current;
#[path = "../../src/segments/retired.rs"]
mod retired;
#[path = "../../src/segments/taken.rs"]
mod taken;

mod cell;
mod collection;

/// Random orders that each property is tried in.
fn rounds(few: usize) -> usize {
    match std::env::var("GEMMULE_INTERLEAVE_ROUNDS") {
        Ok(value) => value.parse().expect("GEMMULE_INTERLEAVE_ROUNDS is a number"),
        Err(_) => few,
    }
}

/// True if some order of `run` panics.
fn fails(run: impl Fn() + Send + Sync + 'static, rounds: usize) -> bool {
    catch_unwind(AssertUnwindSafe(|| shuttle::check_random(run, rounds))).is_err()
}
