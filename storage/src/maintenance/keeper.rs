//! The thread: does what is due, collection by collection, and says when it wants to look again.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Maintenance, is_due};
use crate::collection::Collection;
use crate::disk::{self, Need};
use crate::error::Result;
use crate::segments::merge::{self, sweep};
use crate::segments::seal;
use crate::store::Store;

/// Time between two looks at a mutex that somebody else holds.
const POLL: Duration = Duration::from_millis(20);
/// Time between two looks at files that searches still read.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What a step came to.
enum Next {
    /// Something was done; there may be more.
    Again,
    /// There is nothing to do.
    Nothing,
    /// There is, but not before so long.
    Later(Duration),
}

/// Runs until the store ends it.
pub(super) fn run(store: Store, how: Maintenance) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(how.threads)
        .thread_name(|idx| format!("gemmule maintenance {idx}"))
        .build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            store.warn(format!("there is no maintenance in the background: {error}"));
            return;
        }
    };
    let mut keeper = Keeper { store, how, merges: HashMap::new() };
    let mut pause = None;
    while keeper.store.maintenance().sleep(pause) {
        pause = pool.install(|| keeper.round());
    }
}

struct Keeper {
    /// A handle: this thread ends before the store does.
    store: Store,
    how: Maintenance,
    /// When merging may begin, by the number of the collection.
    merges: HashMap<u32, Instant>,
}

impl Keeper {
    /// Does all that can be done now; returns when to look again, if not only when woken.
    fn round(&mut self) -> Option<Duration> {
        let mut pause: Option<Duration> = None;
        let mut wait = |next: Duration| pause = Some(pause.map_or(next, |pause| pause.min(next)));
        for collection in self.store.all() {
            loop {
                match self.step(&collection) {
                    Next::Again => {}
                    Next::Nothing => break,
                    Next::Later(pause) => {
                        wait(pause);
                        break;
                    }
                }
            }
        }
        let mut writer = self.store.writer();
        sweep(&self.store, &mut writer);
        if !writer.retired.is_empty() {
            wait(SWEEP_PAUSE);
        }
        pause
    }

    /// Does one thing in a collection, and notes it if that fails.
    fn step(&mut self, collection: &Collection) -> Next {
        let name = &collection.name;
        if let Some(pause) = self.store.maintenance().pause(name) {
            return Next::Later(pause);
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.work(collection)));
        let problem = match done {
            Ok(Ok(Next::Again)) => {
                self.store.maintenance().forget(name);
                return Next::Again;
            }
            Ok(Ok(next)) => return next,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => said(&*panic),
        };
        let problem = format!(
            "collection {name} is not sealed or merged in the background, which is tried again: {problem}"
        );
        Next::Later(self.store.maintenance().note(name, problem))
    }

    fn work(&mut self, collection: &Collection) -> Result<Next> {
        if !is_due(&self.how, collection) {
            self.merges.remove(&collection.number);
            return Ok(Next::Nothing);
        }
        if collection.view().n_unsealed() >= self.how.seal_rows {
            return self.seal(collection);
        }
        let delay = self.how.delay;
        let begins =
            *self.merges.entry(collection.number).or_insert_with(|| Instant::now() + delay);
        match begins.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Next::Later(left)),
            _ => self.merge(collection),
        }
    }

    fn seal(&self, collection: &Collection) -> Result<Next> {
        let Some(_sealing) = self.store.try_sealing() else { return Ok(Next::Later(POLL)) };
        let unsealed = collection.view().unsealed().to_vec();
        self.require(seal::needed_bytes(collection, &unsealed))?;
        drop(unsealed);
        let cancelled = || self.store.maintenance().gives_way();
        let done = seal::seal(&self.store, collection, &cancelled)?;
        Ok(if done { Next::Again } else { Next::Later(POLL) })
    }

    fn merge(&mut self, collection: &Collection) -> Result<Next> {
        let Some(_merging) = self.store.try_merging() else { return Ok(Next::Later(POLL)) };
        let Some(sources) = merge::due(&self.store, collection) else {
            // Between its segments lies one that could not be opened.
            return Ok(Next::Nothing);
        };
        self.require(merge::needed_bytes(collection, &sources))?;
        let cancelled = || self.store.maintenance().gives_way();
        let done = merge::merge(&self.store, collection, &sources, &cancelled)?;
        drop(sources);
        sweep(&self.store, &mut self.store.writer());
        if !done {
            return Ok(Next::Later(POLL));
        }
        self.merges.remove(&collection.number);
        Ok(Next::Again)
    }

    /// Refuses what would leave less of the disk free than is to be left.
    fn require(&self, n_bytes: u64) -> Result<()> {
        disk::require(self.store.dir(), Need::File(n_bytes.saturating_add(self.how.free_bytes)))
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it ended in a panic: {}", text.unwrap_or("no message"))
}
