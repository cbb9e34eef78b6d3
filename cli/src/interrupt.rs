//! Ctrl-C, `kill` and a closed terminal: the first asks a command to stop, the second ends it.
//!
//! Only commands that have something to finish listen; the others are ended by the system.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::output;

/// The exit code of a command that was stopped: 128 and the number of SIGINT, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on a first Ctrl-C is a request: see [`is_asked`].
pub(crate) fn listen() -> anyhow::Result<()> {
    let handler = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        output::say(
            "gemmule: stopping, as soon as what is under way is safe (again: stop at once)",
        );
    };
    ctrlc::set_handler(handler).context("could not listen for Ctrl-C")
}

/// True if the user asked to stop.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
