//! One extraction on a thread of its own, within a time and whatever it does.
//!
//! A file is a stranger's: its reader may panic, never end, or nest so deep that a small stack is not
//! enough. So each extraction gets a thread with a large stack, its panics end with the thread, and its
//! caller waits for a limited time. A thread cannot be killed: one that ran out of time is left behind
//! and told so by [`Watch`]; all our loops, and the PDF interpreter whenever it draws something, look at
//! it and stop. Readers that never come back to us hold their thread until they end by themselves.
//!
//! A panic goes through the process's panic hook before it gets here, and the default hook prints. A
//! library must not change the hook; a program that wants silence installs one that asks
//! [`on_extracting_thread`].

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Extracted, Failure, Limits};

const THREAD_NAME: &str = "gemmule-extract";

/// Only touched pages of it cost memory.
const STACK_BYTES: usize = 64 << 20;

/// What a reader looks at while it works: its limits, and whether anybody still waits for it.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) limits: Limits,
    abandoned: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new(limits: &Limits) -> Watch {
        Watch { limits: *limits, abandoned: Arc::default() }
    }

    /// Fails once the time is over; long loops call it now and then.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.abandoned.load(Ordering::Relaxed) {
            true => Err(out_of_time(self.limits.time)),
            false => Ok(()),
        }
    }

    /// Fails if a text has grown beyond its limit, or the time is over.
    pub(super) fn check_text(&self, n_bytes: usize) -> Result<(), Failure> {
        self.check()?;
        match n_bytes > self.limits.text_bytes {
            true => Err(text_too_long(self.limits.text_bytes)),
            false => Ok(()),
        }
    }
}

/// Whether the calling thread is one that reads a stranger's file, where a panic is an outcome and no bug.
///
/// For a program's panic hook: the result of the panic is reported as a [`Failure`] anyway.
pub fn on_extracting_thread() -> bool {
    thread::current().name() == Some(THREAD_NAME)
}

/// Runs a reader, waits for it as long as the limits say.
pub(super) fn guarded(
    watch: &Watch,
    reader: impl FnOnce(&Watch) -> Result<Extracted, Failure> + Send + 'static,
) -> Result<Extracted, Failure> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let within = watch.clone();
    let spawned = thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| reader(&within)));
            // Nobody listens any more when the time was over.
            let _ = sender.send(outcome.unwrap_or_else(|payload| Err(broken(payload))));
        });
    if let Err(error) = spawned {
        return Err(Failure::Failed(format!("could not start a thread to read it: {error}")));
    }
    match receiver.recv_timeout(watch.limits.time) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            watch.abandoned.store(true, Ordering::Relaxed);
            Err(out_of_time(watch.limits.time))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(Failure::Failed("its reader ended without a result".to_owned()))
        }
    }
}

/// Leaves a library's callback that cannot return an error. Unlike a panic, this prints nothing.
pub(super) fn unwind_with(failure: Failure) -> ! {
    panic::resume_unwind(Box::new(failure))
}

fn broken(payload: Box<dyn std::any::Any + Send>) -> Failure {
    let payload = match payload.downcast::<Failure>() {
        Ok(failure) => return *failure,
        Err(payload) => payload,
    };
    let said = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    let said: String = said.chars().take(200).collect();
    Failure::Failed(format!("broken in a way its reader did not expect: {said}"))
}

fn out_of_time(limit: Duration) -> Failure {
    Failure::Failed(format!("took longer than {} s", limit.as_secs_f64()))
}

pub(super) fn text_too_long(limit: usize) -> Failure {
    Failure::Skipped(format!("too large: its text is longer than {}", size(limit as u64)))
}

/// A number of bytes for people.
pub(super) fn size(n_bytes: u64) -> String {
    match n_bytes {
        0..=9_999 => format!("{n_bytes} bytes"),
        10_000..=0x9f_ffff => format!("{} KiB", n_bytes >> 10),
        _ => format!("{} MiB", n_bytes >> 20),
    }
}
