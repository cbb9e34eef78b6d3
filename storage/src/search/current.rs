//! The value that readers see now: read by many without waiting, replaced as a whole.
//!
//! Two slots, which take turns. The next value is put into the one whose turn it is not, then it is its turn, and the other
//! one is emptied, so that nothing holds what was replaced but those who read it. A reader only ever tries a slot, and takes
//! what it finds only if it was put there for this turn: a reader that is late may meet a value whose turn is still to come.
//! It finds the slot locked, empty or of another turn only if the turn has passed since it looked, and then looks again. So
//! it waits for nobody, not even for a writer that stopped half-way, and looks at most once more for each value published
//! meanwhile.
//!
//! `tests/interleave` compiles this file with the locks of a model checker.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

/// A value and its turn.
type Slot<T> = RwLock<Option<(usize, Arc<T>)>>;

/// A value, shared and replaced as a whole.
pub(crate) struct Current<T> {
    /// Where the value of a turn is: in slot `turn % 2`.
    slots: [Slot<T>; 2],
    /// Whose turn it is: how many values were published.
    turn: AtomicUsize,
    /// Held from reading a value to publishing the one made of it, so that none is lost.
    changing: Mutex<()>,
}

impl<T> Current<T> {
    pub(crate) fn new(first: T) -> Current<T> {
        Current {
            slots: [RwLock::new(Some((0, Arc::new(first)))), RwLock::new(None)],
            turn: AtomicUsize::new(0),
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

    /// The current value, or nothing if its turn has passed between two steps of this.
    pub(crate) fn look(&self) -> Option<Arc<T>> {
        let turn = self.turn.load(Ordering::SeqCst);
        let slot = match self.slots[turn % 2].try_read() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        slot.as_ref().filter(|(of, _)| *of == turn).map(|(_, value)| Arc::clone(value))
    }

    /// Publishes what `next` makes of the current value. Others who publish wait, readers do not.
    pub(crate) fn update(&self, next: impl FnOnce(&T) -> T) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(next(&self.load()));
        let turn = self.turn.load(Ordering::SeqCst);
        let slot =
            |turn: usize| self.slots[turn % 2].write().unwrap_or_else(PoisonError::into_inner);
        *slot(turn + 1) = Some((turn + 1, next));
        self.turn.store(turn + 1, Ordering::SeqCst);
        let before = slot(turn).take();
        drop(changing);
        // May free or unmap much: under no lock.
        drop(before);
    }
}
