//! The power goes before some call: what was not synced is lost, or torn.
//!
//! The shim keeps what each file held when it was last synced, and what each directory named. After the cut two
//! databases are made of that, and both must hold all that was acknowledged:
//!
//! - *synced*: exactly what was synced. A file that never was is empty, a name whose directory never was is not there.
//! - *torn*: each page of a file, its length, and the names of a directory are, at random, those last synced or those at
//!   the cut. So later writes may be there and earlier ones not.
//!
//! Then the script goes on in one of them, until the power goes again.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use storage::Store;

use super::{
    Bench, Fault, Tally, copy_all, model_of, rounds, seed, shim, spread, state_of, without_fault,
};
use crate::content::{NOTES, Numbers};
use crate::crash::{check_copies, check_reader};

const PAGE_BYTES: usize = 4096;

/// What a power cut left.
struct Remains<'a> {
    shadow: &'a Path,
    /// Where the files and directories were at the cut, by inode.
    at_cut: HashMap<u64, PathBuf>,
    /// What is lost at random; if there are none, all that was not synced.
    numbers: Option<Numbers>,
}

impl<'a> Remains<'a> {
    fn of(live: &Path, shadow: &'a Path, numbers: Option<Numbers>) -> Remains<'a> {
        let mut at_cut = HashMap::new();
        let mut dirs = vec![live.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                at_cut.insert(fs::metadata(&path).unwrap().ino(), path.clone());
                if path.is_dir() {
                    dirs.push(path);
                }
            }
        }
        at_cut.insert(fs::metadata(live).unwrap().ino(), live.to_owned());
        Remains { shadow, at_cut, numbers }
    }

    fn tossed(&mut self) -> bool {
        self.numbers.as_mut().is_some_and(|numbers| numbers.below(2) == 0)
    }

    /// The entries of a directory.
    fn entries(&mut self, inode: u64) -> Vec<(u64, String)> {
        if self.tossed()
            && let Some(path) = self.at_cut.get(&inode)
        {
            let entries = fs::read_dir(path).unwrap().map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (entry.metadata().unwrap().ino(), name)
            });
            return entries.collect();
        }
        let listing = fs::read_to_string(self.shadow.join(format!("d{inode}"))).unwrap_or_default();
        let entries = listing.lines().map(|line| {
            let (inode, name) = line.split_once(' ').unwrap();
            (inode.parse().unwrap(), name.to_owned())
        });
        entries.collect()
    }

    /// The bytes of a file.
    fn bytes(&mut self, inode: u64) -> Vec<u8> {
        let synced = fs::read(self.shadow.join(format!("f{inode}"))).unwrap_or_default();
        if self.numbers.is_none() {
            return synced;
        }
        // An unlinked file is still there if it ever was synced.
        let kept = self.shadow.join(format!("k{inode}"));
        let at_cut = fs::read(self.at_cut.get(&inode).unwrap_or(&kept)).unwrap_or_default();
        let len = if self.tossed() { synced.len() } else { at_cut.len() };
        let mut bytes = vec![0; len];
        for (idx, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            let from = if self.tossed() { &synced } else { &at_cut };
            let from = from.get(idx * PAGE_BYTES..).unwrap_or_default();
            let n_bytes = page.len().min(from.len());
            page[..n_bytes].copy_from_slice(&from[..n_bytes]);
        }
        bytes
    }

    /// Writes a directory as it is after the cut.
    fn write(&mut self, inode: u64, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for (inode, name) in self.entries(inode) {
            let is_dir = self.shadow.join(format!("d{inode}")).exists()
                || self.at_cut.get(&inode).is_some_and(|path| path.is_dir());
            if is_dir {
                self.write(inode, &to.join(name));
            } else {
                fs::write(to.join(name), self.bytes(inode)).unwrap();
            }
        }
    }
}

/// Checks one database that a cut left.
fn check(tally: &mut Tally, db: &Path, acked: u64, story: &dyn Fn(&str) -> String) {
    let body = AssertUnwindSafe(|| {
        // Nothing was acknowledged, not even that there is a database.
        if !db.exists() && acked == 0 {
            return;
        }
        check_reader(db);
        let store = match Store::open(db) {
            Ok(store) => store,
            Err(error) => {
                tally.unopened += 1;
                tally.stories.push(story(&format!("not opened: {error}")));
                return;
            }
        };
        if store.space(NOTES).unwrap().is_none() && acked == 0 {
            return;
        }
        match state_of(&store, acked) {
            Some(n_operations) => model_of(n_operations).check(&store),
            None => {
                tally.losses += 1;
                tally.stories.push(story("lost"));
            }
        }
        assert_eq!(store.check(false).unwrap(), []);
        check_copies(db, &model_of);
    });
    if catch_unwind(body).is_err() {
        tally.wrong += 1;
        tally.stories.push(story("what was opened again is not right: see the panic above"));
    }
}

/// One cut before call `at`, of the database in `bench` after `acked` operations. Goes on in `bench`; returns the
/// operations acknowledged.
fn cut(tallies: &mut [Tally; 2], shim: &Path, bench: &mut Bench, at: u64, acked: u64) -> u64 {
    let shadow = bench.path("shadow");
    fs::create_dir(&shadow).unwrap();
    let fault = Fault { kind: "cut", at, lasting: false, maintenance: at % 2 == 1 };
    let child = bench.run(shim, fault, acked, Some(&shadow));
    for tally in &mut *tallies {
        tally.rounds += 1;
        tally.critical += u64::from(child.met.is_some() && !child.doing.is_empty());
        if child.panic.is_some() || child.hung || !child.errors.is_empty() {
            tally.panics += 1;
            tally.stories.push(child.story("it ended badly"));
        }
    }
    let live = bench.path("live");
    let inode = fs::metadata(&live).unwrap().ino();
    let next = Bench::new();
    for (idx, tally) in tallies.iter_mut().enumerate() {
        let numbers = (idx == 1).then(|| Numbers(seed() ^ (at << 32)));
        let after = next.path(&format!("after {idx}"));
        Remains::of(&live, &shadow, numbers).write(inode, &after);
        // Checked in a copy, so that the script goes on in what the cut left.
        let checked = next.path(&format!("checked {idx}"));
        copy_all(&after, &checked);
        let story = |what: &str| child.story(&format!("call {at}: {what}"));
        check(tally, &checked.join("db"), child.acked, &story);
    }
    let (from, to) = (next.path(&format!("after {}", at % 2)), next.path("live"));
    fs::remove_dir(&to).unwrap();
    fs::rename(from, to).unwrap();
    *bench = next;
    child.acked
}

#[test]
fn what_was_acknowledged_before_the_power_went_is_there_after_it() {
    let Some(shim) = shim() else { return };
    let mut tallies = [Tally::default(), Tally::default()];
    for at in spread(&without_fault(shim).calls, rounds(6)) {
        let mut bench = Bench::new();
        let acked = cut(&mut tallies, shim, &mut bench, at, 0);
        // Once more, soon: in the opening of what the first cut left, or a little later.
        cut(&mut tallies, shim, &mut bench, 1 + at * 7 % 60, acked);
    }
    let [synced, torn] = tallies;
    synced.finish("power cut, all lost that was not synced");
    // sled writes over parts of its log that it has written again elsewhere, without a sync in between. If a disk keeps the
    // later write and not the earlier one, sled says at the next opening that its log is damaged.
    torn.finish_opened("power cut, torn pages and names");
}
