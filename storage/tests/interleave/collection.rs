//! A small collection around the cell, changed as the store changes its own: `Change::commit`, `seal`, `merge`, `sweep`.
//!
//! Rows are numbered by the puts that made them, and put `n` replaces what put `n - N_DOCUMENTS` made. So the rows that are
//! live after so many puts are known, and a search knows whether it saw one moment.

use std::collections::BTreeSet;

use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use crate::current::Current;
use crate::retired::Retired;
use crate::sync::{Arc, Mutex};
use crate::taken::Taken;
use crate::{fails, rounds};

const N_DOCUMENTS: u64 = 2;

/// What is wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A seal publishes its segment first, and without its rows then.
    SwapInTwoSteps,
    /// A put makes its view of one that it has loaded before it was its turn.
    StaleView,
    /// Rows that were replaced while their segment was made are live in it.
    ForgottenDeaths,
    /// A merge publishes the rows as they were when it began.
    MergeForgetsDeaths,
    /// Files are removed as soon as they are replaced.
    RemovedAtOnce,
    /// The words of rows are published after the rows.
    WordsLater,
}

/// A segment: its file's name and its rows.
struct File {
    name: String,
    rows: Vec<u64>,
}

#[derive(Clone)]
struct Sealed {
    file: Arc<File>,
    dead: BTreeSet<u64>,
}

impl Sealed {
    fn live(&self) -> impl Iterator<Item = u64> {
        self.file.rows.iter().copied().filter(|row| !self.dead.contains(row))
    }
}

#[derive(Clone, Default)]
struct View {
    sealed: Vec<Sealed>,
    unsealed: Vec<u64>,
    words: BTreeSet<u64>,
}

impl View {
    fn live(&self) -> Vec<u64> {
        let sealed = self.sealed.iter().flat_map(|sealed| sealed.live());
        let mut live: Vec<u64> = sealed.chain(self.unsealed.iter().copied()).collect();
        live.sort();
        live
    }

    /// With put `row` done: what it replaces is dropped, or dead.
    fn after_put(&self, row: u64) -> View {
        let mut next = self.clone();
        if let Some(old) = row.checked_sub(N_DOCUMENTS) {
            next.unsealed.retain(|unsealed| *unsealed != old);
            for sealed in next.sealed.iter_mut().filter(|sealed| sealed.file.rows.contains(&old)) {
                sealed.dead.insert(old);
            }
        }
        next.unsealed.push(row);
        next.words.insert(row);
        next
    }
}

#[derive(Default)]
struct Writer {
    next_row: u64,
    retired: Retired<File>,
}

struct Collection {
    view: Current<View>,
    writer: Mutex<Writer>,
    /// Names in the folder of segments.
    folder: Mutex<BTreeSet<String>>,
    /// Puts that have begun, and that have returned.
    begun: AtomicU64,
    acked: AtomicU64,
    fault: Fault,
}

impl Collection {
    fn new(fault: Fault) -> Arc<Collection> {
        Arc::new(Collection {
            view: Current::new(View::default()),
            writer: Mutex::default(),
            folder: Mutex::default(),
            begun: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            fault,
        })
    }

    fn put(&self) {
        let early = (self.fault == Fault::StaleView).then(|| self.view.load());
        let mut writer = self.writer.lock().unwrap();
        self.begun.fetch_add(1, Ordering::SeqCst);
        let row = writer.next_row;
        writer.next_row += 1;
        match early {
            Some(early) => self.view.update(|_| early.after_put(row)),
            None if self.fault == Fault::WordsLater => {
                self.view.update(|view| View { words: view.words.clone(), ..view.after_put(row) });
                self.view.update(|view| {
                    let words = view.words.iter().copied().chain([row]).collect();
                    View { words, ..view.clone() }
                });
            }
            None => self.view.update(|view| view.after_put(row)),
        }
        self.acked.fetch_add(1, Ordering::SeqCst);
    }

    /// Writes a file.
    fn write(&self, name: String, rows: Vec<u64>) -> Arc<File> {
        self.folder.lock().unwrap().insert(name.clone());
        Arc::new(File { name, rows })
    }

    fn seal(&self) {
        let taken = self.view.load().unsealed.clone();
        let Some(first) = taken.first() else { return };
        let file = self.write(format!("sealed {first}"), taken.clone());
        let _writer = self.writer.lock().unwrap();
        let Taken { moved, gone, left } =
            Taken::sort(&taken, &self.view.load().unsealed, |row| *row);
        if moved.is_empty() {
            self.folder.lock().unwrap().remove(&file.name);
            return;
        }
        let dead = gone.into_iter().filter(|_| self.fault != Fault::ForgottenDeaths).collect();
        let sealed = Sealed { file, dead };
        let with_segment = |view: &View| {
            let sealed = view.sealed.iter().cloned().chain([sealed.clone()]).collect();
            View { sealed, ..view.clone() }
        };
        if self.fault == Fault::SwapInTwoSteps {
            self.view.update(with_segment);
            self.view.update(|view| View { unsealed: left.clone(), ..view.clone() });
        } else {
            self.view.update(|view| View { unsealed: left.clone(), ..with_segment(view) });
        }
    }

    fn merge(&self) {
        let sources = self.view.load().sealed.clone();
        let names: Vec<String> = sources.iter().map(|source| source.file.name.clone()).collect();
        if names.len() < 2 {
            return;
        }
        let rows = sources.iter().flat_map(|source| source.live()).collect();
        drop(sources);
        let file = self.write(names.join(" and "), rows);
        let mut writer = self.writer.lock().unwrap();
        let view = self.view.load();
        let is_source = |each: &&Sealed| names.contains(&each.file.name);
        let (old, kept): (Vec<&Sealed>, Vec<&Sealed>) = view.sealed.iter().partition(is_source);
        assert_eq!(old.len(), names.len(), "there is one merge at a time");
        let died = old.iter().flat_map(|each| each.dead.iter().copied());
        let dead = died.filter(|_| self.fault != Fault::MergeForgetsDeaths);
        let made = Sealed { dead: dead.filter(|row| file.rows.contains(row)).collect(), file };
        let sealed: Vec<Sealed> = [made].into_iter().chain(kept.into_iter().cloned()).collect();
        self.view.update(|view| View { sealed: sealed.clone(), ..view.clone() });
        if self.fault == Fault::RemovedAtOnce {
            names.iter().for_each(|name| assert!(self.folder.lock().unwrap().remove(name)));
            return;
        }
        old.iter().for_each(|each| writer.retired.add(&each.file.name, Arc::clone(&each.file)));
        drop(view);
        self.sweep(&mut writer);
    }

    fn sweep(&self, writer: &mut Writer) {
        writer.retired.sweep(|name| {
            assert!(self.folder.lock().unwrap().remove(name), "it is removed once");
        });
    }

    /// A search: its view is one moment's, not before what had returned, and its files are there as long as it is held.
    fn search(&self) {
        let n_acked = self.acked.load(Ordering::SeqCst);
        let view = self.view.load();
        let n_begun = self.begun.load(Ordering::SeqCst);
        let live = view.live();
        let n_puts = live.last().map_or(0, |last| last + 1);
        assert!(live.iter().copied().eq(n_puts.saturating_sub(N_DOCUMENTS)..n_puts), "{live:?}");
        assert!((n_acked..=n_begun).contains(&n_puts), "{n_acked} {n_puts} {n_begun}");
        assert!(live.iter().all(|row| view.words.contains(row)), "every live row has its words");
        for sealed in &view.sealed {
            assert!(self.folder.lock().unwrap().contains(&sealed.file.name), "a file is gone");
        }
    }
}

/// A writer, who seals too, the background, which seals and merges, and two who search.
fn run(fault: Fault) {
    let collection = Collection::new(fault);
    let start = |work: fn(&Collection)| {
        let collection = Arc::clone(&collection);
        thread::spawn(move || work(&collection))
    };
    // One seal at a time, as the store's mutex of seals has it: the writer's are before the background begins.
    (0..2).for_each(|_| {
        collection.put();
        collection.seal();
    });
    let threads = [
        start(|it| (0..4).for_each(|_| it.put())),
        start(|it| {
            it.seal();
            it.merge();
            it.seal();
        }),
        start(|it| (0..2).for_each(|_| it.search())),
        start(|it| (0..2).for_each(|_| it.search())),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    collection.search();
    let mut writer = collection.writer.lock().unwrap();
    collection.sweep(&mut writer);
    let left: Vec<&str> = writer.retired.names().collect();
    assert!(writer.retired.is_empty(), "nobody searches any more: {left:?}");
    let named = collection.view.load().sealed.iter().map(|each| each.file.name.clone()).collect();
    assert_eq!(*collection.folder.lock().unwrap(), named, "no file is left behind");
}

#[test]
fn a_search_sees_one_moment_and_its_files_are_there() {
    shuttle::check_random(|| run(Fault::Nothing), rounds(20_000));
    shuttle::check_pct(|| run(Fault::Nothing), rounds(20_000), 3);
}

#[test]
fn planted_faults_are_found() {
    use Fault::*;
    let faults =
        [SwapInTwoSteps, StaleView, ForgottenDeaths, MergeForgetsDeaths, RemovedAtOnce, WordsLater];
    for (number, fault) in faults.into_iter().enumerate() {
        assert!(fails(move || run(fault), 100_000), "fault {number} is not found");
    }
}
