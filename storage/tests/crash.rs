//! A child process is killed at random moments, again and again; what it acknowledged is there.
//!
//! The child is this test binary started again. It runs a fixed stream of operations (puts that add and replace,
//! deletes, seals) and prints a line before and after each. After `n` acknowledged operations and a kill, the database
//! holds exactly the state after `n` or after `n + 1` operations: nothing lost, nothing half there. The next child
//! checks that itself, on the database just as the kill left it.
//!
//! `GEMMULE_CRASH_ROUNDS` sets the number of kills, `GEMMULE_CRASH_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use storage::Store;
use tempfile::TempDir;

use crate::content::{self, NOTES, Numbers};
use crate::model::{Model, N_NUMBERS};

const DIR_VARIABLE: &str = "GEMMULE_TEST_CRASH_DIR";
const SEED_VARIABLE: &str = "GEMMULE_TEST_CRASH_CHILD_SEED";
const ACKED_VARIABLE: &str = "GEMMULE_TEST_CRASH_ACKED";

/// Kills in one database before a fresh one is taken.
const ROUNDS_EACH: u64 = 20;

enum Operation {
    Put(Vec<(u64, u64)>),
    Delete(Vec<u64>),
    Seal,
}

/// Operation number `idx` of the stream.
fn operation(seed: u64, idx: u64) -> Operation {
    let mut numbers = Numbers(seed ^ (idx << 20));
    let mut some = |n: u64| (0..=numbers.below(n)).map(|_| numbers.below(N_NUMBERS)).collect();
    let few: Vec<u64> = some(3);
    let mut many: Vec<u64> = some(6);
    match numbers.below(10) {
        0 | 1 => Operation::Seal,
        2 | 3 => Operation::Delete(few),
        _ => {
            many.sort();
            many.dedup();
            Operation::Put(many.into_iter().map(|number| (number, idx)).collect())
        }
    }
}

fn model_after(seed: u64, n_operations: u64) -> Model {
    let mut model = Model::default();
    for idx in 0..n_operations {
        match operation(seed, idx) {
            Operation::Put(documents) => documents
                .into_iter()
                .for_each(|(number, version)| model.put(content::document(number, version))),
            Operation::Delete(numbers) => numbers.iter().for_each(|number| {
                model.delete(&content::id(*number));
            }),
            Operation::Seal => {}
        }
    }
    model
}

/// Checks that a database holds the state after `acked` or one more operation, and says which.
fn check(store: &Store, seed: u64, acked: u64) -> u64 {
    for n_operations in [acked + 1, acked] {
        let model = model_after(seed, n_operations);
        if model.holds(store) {
            model.check(store);
            return n_operations;
        }
    }
    panic!("seed {seed}: the state is neither that after {acked} operations nor one more");
}

fn say(line: &str) {
    // Rust's test harness writes to the same stream without ending its line.
    println!("\n{line}");
    std::io::stdout().flush().unwrap();
}

/// Not a test of its own: the process that is killed.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let number = |variable| std::env::var(variable).unwrap().parse::<u64>().unwrap();
    let (seed, acked) = (number(SEED_VARIABLE), number(ACKED_VARIABLE));
    say("starts open");
    let store = Store::open(Path::new(&dir)).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    say("starts check");
    let first = check(&store, seed, acked);
    say(&format!("done {first}"));
    for idx in first.. {
        match operation(seed, idx) {
            Operation::Put(documents) => {
                let documents: Vec<_> =
                    documents.iter().map(|(n, version)| content::document(*n, *version)).collect();
                say("starts put");
                store.put(NOTES, &documents).unwrap();
            }
            Operation::Delete(numbers) => {
                let ids: Vec<String> = numbers.iter().map(|number| content::id(*number)).collect();
                say("starts delete");
                store.delete(NOTES, &ids).unwrap();
            }
            Operation::Seal => {
                say("starts seal");
                store.seal(NOTES, &|| false).unwrap();
            }
        }
        say(&format!("done {}", idx + 1));
    }
}

fn start(dir: &Path, seed: u64, acked: u64) -> (Child, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::crash_child", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .env(SEED_VARIABLE, seed.to_string())
        .env(ACKED_VARIABLE, acked.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with("starts ") || line.starts_with("done ") {
                let _ = sender.send(line);
            }
        }
    });
    (child, receiver)
}

/// One kill. Returns the operations acknowledged, and what the child was doing.
fn round(dir: &Path, seed: u64, acked: u64, numbers: &mut Numbers) -> (u64, String) {
    let (mut child, lines) = start(dir, seed, acked);
    let n_lines = if numbers.below(4) == 0 { 1 + numbers.below(3) } else { numbers.below(90) };
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..n_lines {
        // Ends early only if the child does.
        match lines.recv() {
            Ok(line) => seen.push(line),
            Err(_) => break,
        }
    }
    let until = Instant::now() + Duration::from_micros(numbers.below(6_000));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        seen.extend(lines.recv_timeout(left));
    }
    assert!(child.try_wait().unwrap().is_none(), "seed {seed}: the child ended: {seen:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    seen.extend(lines.iter());
    let done = |line: &String| line.strip_prefix("done ").map(|n| n.parse::<u64>().unwrap());
    let last_acked = seen.iter().rev().find_map(done).unwrap_or(acked);
    let doing = seen.last().and_then(|line| line.strip_prefix("starts ")).unwrap_or("between");
    (last_acked, if seen.is_empty() { "start".to_owned() } else { doing.to_owned() })
}

/// Names in the folder of segments, whole and half written.
fn segment_files(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("segments")) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn setting(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")),
        Err(_) => default,
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let n_rounds = setting("GEMMULE_CRASH_ROUNDS", 6);
    let first_seed = setting("GEMMULE_CRASH_SEED", 1);
    let mut kills: BTreeMap<String, u64> = BTreeMap::new();
    let (mut n_acked, mut n_half_written, mut n_unnamed) = (0, 0, 0);
    for start in (0..n_rounds).step_by(ROUNDS_EACH as usize) {
        let seed = first_seed + start;
        let mut numbers = Numbers(seed);
        let dir = TempDir::new().unwrap();
        let mut acked = 0;
        let mut left = BTreeSet::new();
        for _ in start..n_rounds.min(start + ROUNDS_EACH) {
            let (now_acked, doing) = round(dir.path(), seed, acked, &mut numbers);
            acked = now_acked;
            *kills.entry(doing).or_default() += 1;
            let now = segment_files(dir.path());
            n_half_written += u64::from(now.iter().any(|name| name.ends_with(".part")));
            // Only an opening removes a segment's file, and only one that no record names.
            let is_gone = |name: &&String| name.ends_with(".seg") && !now.contains(*name);
            n_unnamed += u64::from(left.iter().any(|name| is_gone(&name)));
            left = now;
        }
        let store = Store::open(dir.path()).unwrap();
        if acked > 0 || store.space(NOTES).unwrap().is_some() {
            check(&store, seed, acked);
        }
        n_acked += acked;
    }
    println!(
        "{n_rounds} kills while the child was in: {kills:?}; {n_half_written} left a segment half \
         written, {n_unnamed} fell between its renaming and the record that names it; {n_acked} \
         operations acknowledged"
    );
}
