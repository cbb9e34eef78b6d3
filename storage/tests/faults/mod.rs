//! Faults of the disk, one by one: what was acknowledged is there after each, and nothing else is.
//!
//! A child process, this test binary started again, does a fixed script of operations on a fresh database and prints a line
//! before and after each. `shim.c`, built by `cc` and loaded before the C library, gives it one fault at call number `n`:
//!
//! - `io`: the call fails, once or for ever; or a write is cut short.
//! - `power`: the power goes, and what was not synced is lost or torn.
//!
//! `GEMMULE_FAULT_ROUNDS` sets how many faults of each kind are tried, spread evenly over the calls of the script (as many
//! as it has calls tries each call), `GEMMULE_FAULT_SEED` which. Each test prints its lines of a table:
//!
//! ```text
//! GEMMULE_FAULT_ROUNDS=300 cargo test --release -p gemmule-storage --test storage -- \
//!     --nocapture --test-threads 1 | grep '^|'
//! ```

mod io;
mod power;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use storage::{Maintenance, Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES};
use crate::crash::{Operation, model_after, say};
use crate::model::Model;

const DIR_VARIABLE: &str = "GEMMULE_TEST_FAULTS_DIR";
const ACKED_VARIABLE: &str = "GEMMULE_TEST_FAULTS_ACKED";
const MAINTENANCE_VARIABLE: &str = "GEMMULE_TEST_FAULTS_MAINTENANCE";

/// A child that says nothing for so long hangs. Far above what any operation takes.
const HANGS_AFTER: Duration = Duration::from_secs(60);

fn setting(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")),
        Err(_) => default,
    }
}

/// Rounds of each fault; `few` unless the environment says otherwise.
pub(crate) fn rounds(few: u64) -> u64 {
    setting("GEMMULE_FAULT_ROUNDS", few)
}

/// The seed of what is chosen at random.
pub(crate) fn seed() -> u64 {
    setting("GEMMULE_FAULT_SEED", 1)
}

/// A line of the table of faults.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    /// Rounds in which the fault fell into an operation, and not between two.
    pub(crate) critical: u64,
    /// Rounds after which something acknowledged was gone.
    pub(crate) losses: u64,
    /// Rounds after which the database did not open.
    pub(crate) unopened: u64,
    /// Rounds with a panic, a process that ended by a signal, or one that hung.
    pub(crate) panics: u64,
    /// Rounds in which something was found that should not be.
    pub(crate) wrong: u64,
    /// What went wrong, for the message.
    pub(crate) stories: Vec<String>,
}

impl Tally {
    /// Prints the line, and fails if anything went wrong.
    pub(crate) fn finish(self, fault: &str) {
        let (unopened, stories) = (self.unopened, self.stories.clone());
        self.finish_opened(fault);
        assert!(unopened == 0, "{fault}: {stories:#?}");
    }

    /// The same where it is known that some databases do not open, with an error that says why.
    pub(crate) fn finish_opened(self, fault: &str) {
        static HEAD: OnceLock<()> = OnceLock::new();
        HEAD.get_or_init(|| {
            println!(
                "\n| fault | rounds | in an operation | lost | not opened | panics, hangs | wrong |"
            );
            println!("|---|---:|---:|---:|---:|---:|---:|");
        });
        let Tally { rounds, critical, losses, unopened, panics, wrong, stories } = self;
        println!(
            "\n| {fault} | {rounds} | {critical} | {losses} | {unopened} | {panics} | {wrong} |"
        );
        assert!(rounds > 0 && losses + panics + wrong == 0, "{fault}: {stories:#?}");
    }
}

/// The operations that a fault falls into.
fn script() -> Vec<Operation> {
    let put = |numbers: std::ops::Range<u64>, version: u64| {
        Operation::Put(numbers.map(|number| (number, version)).collect())
    };
    vec![
        put(0..6, 1),
        Operation::Seal,
        put(3..9, 2),
        Operation::Delete(vec![1, 4]),
        Operation::Seal,
        put(6..12, 3),
        Operation::Merge,
        put(0..2, 4),
        Operation::Seal,
        Operation::Delete(vec![0, 8]),
        Operation::Compact,
        put(4..5, 5),
        Operation::Reembed,
        put(5..7, 6),
        Operation::Backup,
        Operation::Delete(vec![4]),
    ]
}

fn model_of(n_operations: u64) -> Model {
    model_after(script().into_iter().take(n_operations as usize))
}

/// After how many operations a database is: those acknowledged, or one more. `None` if it is as after neither.
fn state_of(store: &Store, acked: u64) -> Option<u64> {
    [acked + 1, acked].into_iter().find(|n| model_of(*n).holds(store))
}

/// Says after which operation `store` is, does those that are left, and says whatever fails.
fn go_on(store: &Store, dir: &Path, acked: &mut u64) -> storage::Result<()> {
    if store.space(NOTES)?.is_none() {
        store.create(NOTES, &content::space())?;
    }
    match state_of(store, *acked) {
        Some(n_operations) => *acked = n_operations,
        None => say(&format!("wrong after {acked} operations, opened again")),
    }
    say(&format!("done {acked}"));
    for operation in script().into_iter().skip(*acked as usize) {
        operation.prepare(store)?;
        say(&format!("starts {}", operation.name()));
        operation.perform(store, dir, *acked)?;
        *acked += 1;
        say(&format!("done {acked}"));
    }
    Ok(())
}

/// After an error searches still answer, or say why not, and never with something else.
fn look(store: &Store, acked: u64) {
    let query = content::unit_vector(7);
    if let Ok(answer) = store.search(NOTES, &Request::new(query.clone(), 1_000).exact())
        && [acked, acked + 1].iter().all(|n| model_of(*n).hits(&query, 1_000) != answer.hits)
    {
        say(&format!("wrong hits after {acked} operations and an error"));
    }
    // What is acknowledged now counts too.
    let root = format!("/after {acked}");
    if store.space(NOTES).ok().flatten().is_some() && store.add_root(NOTES, &root).is_ok() {
        say(&format!("root {root}"));
    }
}

/// Not a test of its own: the process that meets a fault. It opens the database again after an error, a few times.
#[test]
fn faults_child() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let mut acked = setting(ACKED_VARIABLE, 0);
    for _ in 0..3 {
        say("starts open");
        let store = match Store::open(Path::new(&dir)) {
            Ok(store) => store,
            Err(error) => {
                say(&format!("error {error}"));
                continue;
            }
        };
        store.maintain(match setting(MAINTENANCE_VARIABLE, 0) {
            0 => Maintenance::from(false),
            _ => content::busy(),
        });
        match go_on(&store, Path::new(&dir), &mut acked) {
            Ok(()) => break,
            Err(error) => {
                say(&format!("error {error}"));
                look(&store, acked);
            }
        }
        say("starts close");
    }
    say("ends");
}

/// The shim, built; `None`, with a word about it, where there is no compiler for it.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = SHIM.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            println!("skipped: the failing disk needs Linux");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let to = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&to).arg(source).args(["-ldl", "-lpthread"]);
        match cc.status() {
            Ok(status) => assert!(status.success(), "cc cannot build shim.c"),
            Err(error) => {
                println!("skipped: no cc to build the failing disk with ({error})");
                return None;
            }
        }
        Some((dir, to))
    });
    built.as_ref().map(|(_, path)| path.as_path())
}

/// What a child is given.
#[derive(Clone, Copy, Default)]
struct Fault<'a> {
    /// As the shim knows it.
    kind: &'a str,
    /// The call that meets it, from 1; 0 for none.
    at: u64,
    lasting: bool,
    /// With maintenance at work, so that it may meet the fault; and then no two runs are the same.
    maintenance: bool,
}

/// What a child does without a fault.
fn without_fault(shim: &Path) -> Child {
    let whole = Bench::new().run(shim, Fault::default(), 0, None);
    assert!(whole.ended && whole.errors.is_empty(), "{whole:?}");
    whole
}

/// What a child did.
#[derive(Debug, Default)]
struct Child {
    acked: u64,
    /// What it was doing last when it met the fault, if it said so.
    doing: String,
    errors: Vec<String>,
    roots: Vec<String>,
    wrong: Vec<String>,
    /// True if it came to its end.
    ended: bool,
    hung: bool,
    /// The call that met the fault, and its path.
    met: Option<String>,
    /// All calls that were counted, each with its path.
    calls: Vec<String>,
    panic: Option<String>,
}

/// A directory with a database `live/db`, and what the shim keeps beside `live`.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("live")).unwrap();
        Bench { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("live/db")
    }

    /// Runs a child that meets a fault.
    fn run(&self, shim: &Path, fault: Fault<'_>, acked: u64, shadow: Option<&Path>) -> Child {
        let log = self.path("log");
        let _ = fs::remove_file(&log);
        let errors = fs::File::create(self.path("stderr")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "faults::faults_child", "--nocapture"])
            .env(DIR_VARIABLE, self.db())
            .env(ACKED_VARIABLE, acked.to_string())
            .env("LD_PRELOAD", shim)
            .env("GEMMULE_SHIM_ROOT", self.path("live"))
            .env("GEMMULE_SHIM_LOG", &log)
            .env("GEMMULE_SHIM_AT", fault.at.to_string())
            .env("GEMMULE_SHIM_FAULT", fault.kind)
            .stdout(Stdio::piped())
            .stderr(errors);
        if fault.lasting {
            command.env("GEMMULE_SHIM_LASTING", "1");
        }
        command.env(MAINTENANCE_VARIABLE, u64::from(fault.maintenance).to_string());
        if let Some(shadow) = shadow {
            command.env("GEMMULE_SHIM_SHADOW", shadow);
        }
        let mut process = command.spawn().unwrap();
        let stdout = process.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut child = Child { acked, ..Child::default() };
        loop {
            match lines.recv_timeout(HANGS_AFTER) {
                Ok(line) => child.hear(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.hung = true;
                    process.kill().unwrap();
                    break;
                }
            }
        }
        let status = process.wait().unwrap();
        let log = fs::read_to_string(&log).unwrap_or_default();
        child.met = log.lines().find_map(|line| line.strip_prefix("at ")).map(str::to_owned);
        let calls = log.lines().filter_map(|line| line.strip_prefix("call "));
        child.calls = calls.map(str::to_owned).collect();
        let is_cut = fault.kind == "cut" && status.code() == Some(9);
        if !(status.success() && child.ended || is_cut || child.hung) {
            let said = fs::read_to_string(self.path("stderr")).unwrap();
            child.panic = Some(format!("{status}: {said}"));
        }
        child
    }
}

impl Child {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("done", n)) => {
                self.acked = n.parse().unwrap();
                if self.errors.is_empty() {
                    self.doing.clear();
                }
            }
            Some(("starts", doing)) if self.errors.is_empty() => self.doing = doing.to_owned(),
            Some(("error", error)) => self.errors.push(error.to_owned()),
            Some(("root", root)) => self.roots.push(root.to_owned()),
            Some(("wrong", _)) => self.wrong.push(line.to_owned()),
            None if line == "ends" => self.ended = true,
            _ => {}
        }
    }

    fn story(&self, what: &str) -> String {
        let Child { acked, doing, errors, met, panic, hung, .. } = self;
        format!(
            "{what}; fault at {met:?} while in {doing:?} after {acked}; errors {errors:?}; hung: {hung}; {panic:?}"
        )
    }
}

/// The calls, from 1, that `n_rounds` rounds choose: each once, or spread evenly.
fn spread(calls: &[String], n_rounds: u64) -> impl Iterator<Item = u64> {
    let n_calls = calls.len() as u64;
    let n_rounds = n_rounds.clamp(1, n_calls);
    let shift = seed() % (n_calls / n_rounds).max(1);
    (0..n_rounds).map(move |round| 1 + (round * n_calls / n_rounds + shift) % n_calls)
}

/// Copies a directory with all in it.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}
