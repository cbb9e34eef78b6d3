//! Maintenance in the background: a thread of the open store that seals and merges when it is worth it.
//!
//! A change that leaves something to do wakes the thread, and starts it if there is none; the store ends it when it is
//! dropped. It works in a pool of its own, of [`Maintenance::threads`], so that searches keep theirs, and for others it
//! stops: what somebody asks for (a seal, a merge, a compaction, a check) interrupts what goes on here, and closing does
//! too. A `keeper` is what the thread runs.
//!
//! `put` never waits for a merge. Puts that come faster than their rows are sealed are held back: who finds twice as
//! many unsealed rows as [`Maintenance::seal_at`] waits for the seal at work, or seals in its own time; so there are never
//! more than that and one batch. Without maintenance, `put` seals in its own time at once the limit.
//!
//! What fails is told by [`Store::status`](crate::Store::status) until it succeeds, and is tried again after a pause that
//! doubles each time.

mod keeper;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::collection::Collection;
use crate::error::Result;
use crate::segments::merge::sizes;
use crate::segments::plan::plan;
use crate::segments::seal;
use crate::store::Store;

/// Unsealed rows at which they are sealed.
const SEAL_ROWS: usize = 32 * 1024;
/// Puts wait at so many times the rows at which sealing begins.
const HELD_BACK_AT: usize = 2;
/// The pause after a first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What may be done in the background, and with how much of the machine. `true` and `false` are [`Maintenance::default`]
/// and none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    is_on: bool,
    threads: usize,
    free_bytes: u64,
    seal_rows: usize,
    delay: Duration,
}

impl Default for Maintenance {
    fn default() -> Self {
        Maintenance {
            is_on: true,
            threads: 1,
            free_bytes: 256 << 20,
            seal_rows: SEAL_ROWS,
            delay: Duration::from_secs(1),
        }
    }
}

impl From<bool> for Maintenance {
    fn from(is_on: bool) -> Self {
        Maintenance { is_on, ..Maintenance::default() }
    }
}

impl Maintenance {
    /// Processor threads that build segments; 1 at first, and at least 1. The thread that waits for work, and two that
    /// write the lexicon after a seal, come on top.
    pub fn threads(self, threads: usize) -> Self {
        Maintenance { threads: threads.max(1), ..self }
    }

    /// Bytes that must stay free on the disk: what would leave less is not begun. 256 MiB at first.
    pub fn leave_free(self, free_bytes: u64) -> Self {
        Maintenance { free_bytes, ..self }
    }

    /// Unsealed rows of a collection at which they are sealed; 32 Ki at first, and at least 1. Holds for puts too where
    /// there is no maintenance.
    pub fn seal_at(self, seal_rows: usize) -> Self {
        Maintenance { seal_rows: seal_rows.max(1), ..self }
    }

    /// How long merging waits after it was found worth doing; a second at first, so that a program that ends soon does
    /// not begin what it cannot finish.
    pub fn delay(self, delay: Duration) -> Self {
        Maintenance { delay, ..self }
    }

    /// Unsealed rows at which a put waits for their sealing.
    fn most_unsealed(&self) -> usize {
        self.seal_rows.saturating_mul(if self.is_on { HELD_BACK_AT } else { 1 })
    }
}

/// What the threads of a store tell each other about maintenance.
#[derive(Default)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    woken: Condvar,
    /// How many wait for what the background may be at work on.
    n_asking: AtomicUsize,
    /// The thread is to end.
    ends: AtomicBool,
}

#[derive(Default)]
struct State {
    how: Maintenance,
    thread: Option<JoinHandle<()>>,
    is_woken: bool,
    /// What fails, by collection.
    troubles: BTreeMap<String, Trouble>,
}

/// What fails in a collection, and when it is tried again.
struct Trouble {
    problem: String,
    n_failures: u32,
    not_before: Instant,
}

impl Upkeep {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn how(&self) -> Maintenance {
        self.state().how.clone()
    }

    /// Unsealed rows at which they are sealed.
    pub(crate) fn seal_rows(&self) -> usize {
        self.state().how.seal_rows
    }

    /// Makes the background give way until this is dropped.
    pub(crate) fn ask(&self) -> Asking<'_> {
        self.n_asking.fetch_add(1, Ordering::SeqCst);
        Asking(self)
    }

    /// True if what goes on in the background is to stop.
    pub(crate) fn gives_way(&self) -> bool {
        self.ends.load(Ordering::Relaxed) || self.n_asking.load(Ordering::Relaxed) > 0
    }

    /// Forgets what failed in a collection: it was done, or what was wrong was repaired.
    pub(crate) fn forget(&self, collection: &str) {
        self.state().troubles.remove(collection);
    }

    pub(crate) fn forget_all(&self) {
        self.state().troubles.clear();
    }

    /// What fails.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state().troubles.values().map(|trouble| trouble.problem.clone()).collect()
    }

    /// Notes a failure; returns the pause until it is tried again.
    fn note(&self, collection: &str, problem: String) -> Duration {
        let mut state = self.state();
        let n_failures = state.troubles.get(collection).map_or(1, |known| known.n_failures + 1);
        let pause = pause_after(n_failures);
        let trouble = Trouble { problem, n_failures, not_before: Instant::now() + pause };
        state.troubles.insert(collection.to_owned(), trouble);
        pause
    }

    /// How long nothing is to be tried in a collection that failed.
    fn pause(&self, collection: &str) -> Option<Duration> {
        let state = self.state();
        let left = |trouble: &Trouble| trouble.not_before.checked_duration_since(Instant::now());
        state.troubles.get(collection).and_then(left).filter(|left| !left.is_zero())
    }

    /// Waits until there may be something to do, `pause` at most if there is one; false if the thread is to end.
    fn sleep(&self, pause: Option<Duration>) -> bool {
        let until = pause.map(|pause| Instant::now() + pause);
        let mut state = self.state();
        loop {
            if self.ends.load(Ordering::SeqCst) {
                return false;
            }
            if std::mem::take(&mut state.is_woken) {
                return true;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return true,
                Some(left) => {
                    let waited = self.woken.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Ends the thread, and returns once it has ended; another one may be started then.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        let thread = self.state().thread.take();
        self.woken.notify_all();
        if let Some(thread) = thread {
            // What it had to say of a failure it has noted.
            let _ = thread.join();
        }
        self.ends.store(false, Ordering::SeqCst);
    }
}

/// The pause after so many failures, the first of which is 1.
fn pause_after(n_failures: u32) -> Duration {
    let times = 1_u32.checked_shl(n_failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(times).min(LONGEST_PAUSE)
}

/// Somebody waits for what the background may be at work on.
pub(crate) struct Asking<'a>(&'a Upkeep);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.n_asking.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store {
    /// Changes what is done in the background. What is at work is stopped first; the next change that leaves something
    /// to do begins it again.
    pub fn maintain(&self, how: impl Into<Maintenance>) {
        self.maintenance().end();
        self.maintenance().state().how = how.into();
    }

    /// Wakes the thread if a collection needs it, after a change. False if there is no maintenance.
    pub(crate) fn look_after(&self, collection: &Collection) -> bool {
        let mut state = self.maintenance().state();
        if !state.how.is_on || !is_due(&state.how, collection) {
            return state.how.is_on;
        }
        state.is_woken = true;
        self.maintenance().woken.notify_all();
        let ends = self.maintenance().ends.load(Ordering::SeqCst);
        if ends || state.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return true;
        }
        let (store, how) = (self.handle(), state.how.clone());
        let run = move || keeper::run(store, how);
        match thread::Builder::new().name("gemmule maintenance".to_owned()).spawn(run) {
            Ok(thread) => state.thread = Some(thread),
            Err(error) => {
                drop(state);
                let problem = format!("no thread could be started for maintenance: {error}");
                self.maintenance().note(&collection.name, problem);
            }
        }
        true
    }

    /// Holds a put back while too many rows are unsealed: waits for the seal at work, else seals. The caller does not hold
    /// the writer's mutex.
    pub(crate) fn make_room(&self, collection: &Collection) -> Result<()> {
        let n_most = self.maintenance().how().most_unsealed();
        if collection.view().n_unsealed() < n_most {
            return Ok(());
        }
        let _sealing = self.wait_for_seal();
        // It may be done by now.
        if collection.view().n_unsealed() >= n_most {
            seal::seal(self, collection, &|| false)?;
        }
        Ok(())
    }
}

/// True if there is something to do in a collection.
fn is_due(how: &Maintenance, collection: &Collection) -> bool {
    let view = collection.view();
    view.n_unsealed() >= how.seal_rows || !plan(&sizes(view.sealed())).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..12).map(|n| pause_after(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
