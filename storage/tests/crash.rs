//! A child process is killed at random moments, again and again; what it acknowledged is there.
//!
//! The child is this test binary started again. It runs a fixed stream of operations (puts that add and replace,
//! deletes, seals, merges, compactions, reembeddings, backups), with maintenance at work all the time, and prints a line
//! before and after each. After `n` acknowledged operations
//! and a kill, the database holds exactly the state after `n` or after `n + 1` operations: nothing lost, nothing half
//! there. The next child checks that itself, on the database just as the kill left it, and that a full check finds
//! nothing. A reader can open what the kill left, and a backup is there whole or not at all.
//!
//! `GEMMULE_FAULT_ROUNDS` sets the number of kills, `GEMMULE_FAULT_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use storage::{Document, Finished, Reader, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES, Numbers};
use crate::faults;
use crate::model::{Model, N_NUMBERS};

const DIR_VARIABLE: &str = "GEMMULE_TEST_CRASH_DIR";
const SEED_VARIABLE: &str = "GEMMULE_TEST_CRASH_CHILD_SEED";
const ACKED_VARIABLE: &str = "GEMMULE_TEST_CRASH_ACKED";

/// Kills in one database before a fresh one is taken.
const ROUNDS_EACH: u64 = 20;

/// A change, or what keeps changes in order.
pub(crate) enum Operation {
    /// Number and version of each document.
    Put(Vec<(u64, u64)>),
    Delete(Vec<u64>),
    Seal,
    Merge,
    Compact,
    /// To the space that it is not in.
    Reembed,
    Backup,
}

impl Operation {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Operation::Put(_) => "put",
            Operation::Delete(_) => "delete",
            Operation::Seal => "seal",
            Operation::Merge => "merge",
            Operation::Compact => "compact",
            Operation::Reembed => "reembed",
            Operation::Backup => "backup",
        }
    }

    /// What must be there for the operation to do all that it can.
    pub(crate) fn prepare(&self, store: &Store) -> storage::Result<()> {
        if !matches!(self, Operation::Compact) {
            return Ok(());
        }
        // sled is written anew only if much in it is dead: filled and emptied by another collection.
        store.create(OTHER, &content::space())?;
        let bulky: Vec<_> = (0..60).map(bulky).collect();
        store.put(OTHER, &bulky)?;
        let ids: Vec<String> = bulky.into_iter().map(|document| document.id).collect();
        store.delete(OTHER, &ids).map(drop)
    }

    /// Does it to the database in `dir`, as number `idx` of a stream.
    pub(crate) fn perform(&self, store: &Store, dir: &Path, idx: u64) -> storage::Result<()> {
        match self {
            Operation::Put(documents) => {
                let documents =
                    documents.iter().map(|(n, version)| content::document(*n, *version));
                let documents = documents.map(|document| content::in_space_of(store, document));
                store.put(NOTES, &documents.collect::<Vec<_>>())
            }
            Operation::Delete(numbers) => {
                let ids: Vec<String> = numbers.iter().map(|number| content::id(*number)).collect();
                store.delete(NOTES, &ids).map(drop)
            }
            Operation::Seal => store.seal(NOTES, &|| false).map(drop),
            Operation::Merge => {
                while store.merge(NOTES, &|| false)? {}
                Ok(())
            }
            Operation::Compact => store.compact(NOTES, &|| false).map(drop),
            Operation::Reembed => {
                let (successor, _) = content::reembed(store, usize::MAX)?;
                let finished = successor.finish(&|| false)?;
                assert!(matches!(finished, Finished::Swapped { .. }), "{finished:?}");
                Ok(())
            }
            Operation::Backup => store.backup(&dir.with_file_name(format!("copy {idx}"))),
        }
    }

    fn model(self, model: &mut Model) {
        match self {
            Operation::Put(documents) => documents.into_iter().for_each(|(number, version)| {
                model.put(model.in_space(content::document(number, version)));
            }),
            Operation::Reembed => model.reembed(),
            Operation::Delete(numbers) => numbers.iter().for_each(|number| {
                model.delete(&content::id(*number));
            }),
            Operation::Seal | Operation::Merge | Operation::Compact | Operation::Backup => {}
        }
    }
}

/// What a database holds after some operations.
pub(crate) fn model_after(operations: impl Iterator<Item = Operation>) -> Model {
    let mut model = Model::default();
    operations.for_each(|operation| operation.model(&mut model));
    model
}

/// A collection that the model does not know of.
const OTHER: &str = "other";

fn bulky(number: u64) -> Document {
    let mut document = content::document(number, 1);
    document.meta.insert("bulk".to_owned(), "many words ".repeat(3_000).into());
    document
}

/// Operation number `idx` of the stream.
fn operation(seed: u64, idx: u64) -> Operation {
    let mut numbers = Numbers(seed ^ (idx << 20));
    let mut some = |n: u64| (0..=numbers.below(n)).map(|_| numbers.below(N_NUMBERS)).collect();
    let few: Vec<u64> = some(3);
    let mut many: Vec<u64> = some(6);
    match numbers.below(16) {
        0..=2 => Operation::Seal,
        3 | 4 => Operation::Delete(few),
        5 | 6 => Operation::Merge,
        7 => Operation::Compact,
        8 => Operation::Backup,
        9 => Operation::Reembed,
        _ => {
            many.sort();
            many.dedup();
            Operation::Put(many.into_iter().map(|number| (number, idx)).collect())
        }
    }
}

fn model_of(seed: u64, n_operations: u64) -> Model {
    model_after((0..n_operations).map(|idx| operation(seed, idx)))
}

/// Checks that a database holds the state after `acked` or one more operation, and says which.
fn check(store: &Store, seed: u64, acked: u64) -> u64 {
    for n_operations in [acked + 1, acked] {
        let model = model_of(seed, n_operations);
        if model.holds(store) {
            model.check(store);
            return n_operations;
        }
    }
    panic!("seed {seed}: the state is neither that after {acked} operations nor one more");
}

/// Tells the parent process.
pub(crate) fn say(line: &str) {
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
    store.maintain(content::busy());
    if store.space(NOTES).unwrap().is_none() {
        store.create(NOTES, &content::space()).unwrap();
    }
    say("starts check");
    let first = check(&store, seed, acked);
    assert_eq!(store.check(false).unwrap(), []);
    say(&format!("done {first}"));
    for idx in first.. {
        let operation = operation(seed, idx);
        operation.prepare(&store).unwrap();
        say(&format!("starts {}", operation.name()));
        operation.perform(&store, Path::new(&dir), idx).unwrap();
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

/// Names of the segments that readers are told of.
fn named_files(dir: &Path) -> BTreeSet<String> {
    let Ok(reader) = Reader::open(dir) else { return BTreeSet::new() };
    let collections = reader.status().unwrap().collections.into_iter();
    collections.flat_map(|each| each.segments).map(|segment| segment.name).collect()
}

/// Names in the folder of segments, whole and half written.
fn segment_files(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("segments")) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Checks the backups beside a database and removes them; returns how many there were, and how many half written. `model`
/// says what holds after so many operations.
pub(crate) fn check_copies(dir: &Path, model: &dyn Fn(u64) -> Model) -> (u64, u64) {
    let (mut n_whole, mut n_half_written) = (0, 0);
    for entry in std::fs::read_dir(dir.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(idx) = name.strip_prefix("copy ") else { continue };
        match idx.parse() {
            Ok(idx) => {
                let copy = Store::open(&path).unwrap();
                model(idx).check(&copy);
                assert_eq!(copy.check(false).unwrap(), []);
                n_whole += 1;
            }
            Err(_) => n_half_written += 1,
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    (n_whole, n_half_written)
}

/// Checks that what a kill left can be read by another process, if there is anything yet.
pub(crate) fn check_reader(dir: &Path) {
    if !dir.join("MANIFEST").exists() {
        return;
    }
    let reader = Reader::open(dir).unwrap();
    assert_eq!(reader.status().unwrap().warnings, Vec::<String>::new());
    for (name, _) in reader.collections().unwrap() {
        for info in reader.documents(&name).unwrap() {
            let chunks = reader.chunks(&name, &info.id, 0..u32::MAX).unwrap();
            assert_eq!(chunks.len() as u32, info.n_chunks);
        }
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let n_rounds = faults::rounds(6);
    let first_seed = faults::seed();
    let mut kills: BTreeMap<String, u64> = BTreeMap::new();
    let (mut n_acked, mut n_half_written, mut n_unnamed, mut n_swapping) = (0, 0, 0, 0);
    let (mut n_copies, mut n_half_copies) = (0, 0);
    for start in (0..n_rounds).step_by(ROUNDS_EACH as usize) {
        let seed = first_seed + start;
        let mut numbers = Numbers(seed);
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("db");
        std::fs::create_dir(&dir).unwrap();
        let mut acked = 0;
        for _ in start..n_rounds.min(start + ROUNDS_EACH) {
            let (now_acked, doing) = round(&dir, seed, acked, &mut numbers);
            acked = now_acked;
            *kills.entry(doing).or_default() += 1;
            let now = segment_files(&dir);
            n_half_written += u64::from(now.iter().any(|name| name.ends_with(".part")));
            n_swapping +=
                u64::from(dir.join("sled.part").exists() || dir.join("sled.new").exists());
            check_reader(&dir);
            let (n_whole, n_half) = check_copies(&dir, &|n| model_of(seed, n));
            (n_copies, n_half_copies) = (n_copies + n_whole, n_half_copies + n_half);
            let named = named_files(&dir);
            n_unnamed +=
                u64::from(now.iter().any(|name| name.ends_with(".seg") && !named.contains(name)));
        }
        let store = Store::open(&dir).unwrap();
        if acked > 0 || store.space(NOTES).unwrap().is_some() {
            check(&store, seed, acked);
        }
        n_acked += acked;
    }
    println!(
        "{n_rounds} kills while the child was in: {kills:?}; {n_half_written} left a segment half \
         written, {n_unnamed} one that the manifest does not name (not yet, or no more), {n_swapping} a \
         rewriting of sled, {n_half_copies} a half-written copy beside {n_copies} whole ones; {n_acked} \
         operations acknowledged"
    );
}
