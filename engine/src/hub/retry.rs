//! What is worth another attempt, and when.

use std::thread::sleep;
use std::time::Duration;

use super::settings::Settings;
use super::{Reporter, Stage};
use crate::{Error, Result};

/// Waits are cut into slices of this length, so that a pull can be cancelled.
const SLICE: Duration = Duration::from_millis(100);

/// Why a request gave nothing.
pub(super) enum Failure {
    /// The next attempt may do better.
    Passing {
        problem: String,
        /// The wait that the server asked for.
        after: Option<Duration>,
    },
    /// It will not.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// The attempts that one request has.
pub(super) struct Retries<'a> {
    settings: &'a Settings,
    used: u32,
}

impl<'a> Retries<'a> {
    pub(super) fn new(settings: &'a Settings) -> Retries<'a> {
        Retries { settings, used: 0 }
    }

    /// Repeats `request` until it succeeds, fails for good, or has used its attempts up.
    pub(super) fn run<T>(
        mut self,
        url: &str,
        reporter: &mut Reporter,
        mut request: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T> {
        loop {
            match request() {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.wait(failure, url, reporter)?,
            }
        }
    }

    /// Gives all attempts back: the request has moved on.
    pub(super) fn refill(&mut self) {
        self.used = 0;
    }

    /// Waits before the next attempt, or returns the error that ends them.
    pub(super) fn wait(
        &mut self,
        failure: Failure,
        url: &str,
        reporter: &mut Reporter,
    ) -> Result<()> {
        let Settings { retries, backoff, backoff_max, retry_after_max, .. } = *self.settings;
        let (problem, after) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { problem, after } => (problem, after),
        };
        let given_up = |why: String| Error::Network {
            url: url.to_owned(),
            problem: format!("{problem}{why}"),
        };
        if self.used >= retries {
            return Err(given_up(format!(", at the last of {} attempts", retries + 1)));
        }
        let wait = match after {
            Some(after) if after > retry_after_max => {
                let why = format!("; the server asks for a wait of {} s", after.as_secs());
                return Err(given_up(why));
            }
            Some(after) => after,
            None => backoff.saturating_mul(1 << self.used.min(16)).min(backoff_max),
        };
        self.used += 1;
        let mut left = wait;
        loop {
            reporter.report(Stage::Retrying { wait })?;
            if left.is_zero() {
                return Ok(());
            }
            let slice = left.min(SLICE);
            sleep(slice);
            left -= slice;
        }
    }
}
