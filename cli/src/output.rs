//! The only way out: results to standard output, all else to standard error.
//!
//! A reader that has seen enough (`gemmule list | head -1`) is no error: writing returns it like any
//! other, and `main` takes [`is_closed_pipe`] for success. Standard error may be closed as well; what
//! cannot be said there is not said.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use gemmule::engine;
use serde_json::Value;

/// Files are read in threads with this name, which catch their own panics.
const EXTRACTOR_THREAD: &str = "extract";

/// Where a command writes.
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    /// JSON was asked for.
    pub(crate) json: bool,
    quiet: bool,
    /// Standard output is a terminal.
    pub(crate) is_terminal: bool,
}

/// Flags that do not go together: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Output {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Output { stdout: BufWriter::new(stdout), json, quiet, is_terminal }
    }

    /// Standard output.
    pub(crate) fn stdout(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> anyhow::Result<()> {
        Ok(writeln!(self.stdout, "{line}")?)
    }

    /// A JSON value on a line of its own.
    pub(crate) fn value(&mut self, value: &Value) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// Results reach their reader before what is said next.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.stdout.flush()?)
    }

    /// Says something beside the results, unless `--quiet`.
    pub(crate) fn note(&self, message: impl fmt::Display) {
        if !self.quiet {
            say(message);
        }
    }

    /// Says what went wrong: the chain of causes on one line.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        // What was found before the error is a result all the same.
        let _ = self.stdout.flush();
        let mut message = String::new();
        for cause in error.chain().map(|cause| cause.to_string()) {
            // Errors of the library name their cause themselves.
            if message.contains(&cause) {
                continue;
            }
            message = if message.is_empty() { cause } else { format!("{message}: {cause}") };
        }
        say(format_args!("gemmule: {}", message.replace('\n', " ")));
    }

    /// True if a progress bar would be seen.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// The text, bold on a terminal that may be coloured.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// The text, dim on a terminal that may be coloured.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled("2", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        let is_plain =
            !self.is_terminal || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        if is_plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
    }
}

/// A line on standard error.
pub(crate) fn say(message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// True if the reader of standard output went away.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    // An error of the library comes from a file, never from standard output.
    !error.is::<gemmule::Error>()
        && !error.is::<engine::Error>()
        && error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Makes a panic one clean line; those of the extractor's threads are caught there and end in the
/// ledger, those over a damaged table end as an error: they are not printed at all.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let is_extractor = thread.name().is_some_and(|name| name.starts_with(EXTRACTOR_THREAD));
        if is_extractor || crate::rows::is_reading() {
            return;
        }
        let what = panic.payload_as_str().unwrap_or("no message").replace('\n', " ");
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        say(format_args!(
            "gemmule: this is a bug, please report it with what you did: {what}{place} (version {})",
            env!("CARGO_PKG_VERSION")
        ));
    }));
}
