//! The value that readers see now: read by many without waiting, replaced as a whole.
//!
//! Two slots, of which readers look into one. The next value is put into the other one, readers are sent there, and the
//! first is emptied, so that nothing holds what was replaced but those who read it. A reader only ever tries a slot: it
//! finds it locked or empty only if it was sent elsewhere since, and then looks again. So it waits for nobody, not even
//! for a writer that stopped half-way, and looks at most once more for each value published meanwhile.
//!
//! `tests/interleave` compiles this file with the locks of a model checker.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

/// A value, shared and replaced as a whole.
pub(crate) struct Current<T> {
    slots: [RwLock<Option<Arc<T>>>; 2],
    /// The slot that readers look into.
    at: AtomicUsize,
    /// Held from reading a value to publishing the one made of it, so that none is lost.
    changing: Mutex<()>,
}

impl<T> Current<T> {
    pub(crate) fn new(first: T) -> Current<T> {
        Current {
            slots: [RwLock::new(Some(Arc::new(first))), RwLock::new(None)],
            at: AtomicUsize::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The current value; it stays as it is while it is held.
    pub(crate) fn load(&self) -> Arc<T> {
        loop {
            if let Some(found) = self.look() {
                return found;
            }
        }
    }

    /// The current value, or nothing if another one was published between two steps of this.
    pub(crate) fn look(&self) -> Option<Arc<T>> {
        let slot = match self.slots[self.at.load(Ordering::SeqCst)].try_read() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        slot.clone()
    }

    /// Publishes what `next` makes of the current value. Others who publish wait, readers do not.
    pub(crate) fn update(&self, next: impl FnOnce(&T) -> T) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(next(&self.load()));
        let from = self.at.load(Ordering::SeqCst);
        *self.slots[1 - from].write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        self.at.store(1 - from, Ordering::SeqCst);
        let before = self.slots[from].write().unwrap_or_else(PoisonError::into_inner).take();
        drop(changing);
        // May free or unmap much: under no lock.
        drop(before);
    }
}
