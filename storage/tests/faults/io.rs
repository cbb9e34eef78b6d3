//! Calls that fail: writing, syncing, renaming, creating and the others, each call of the script once.
//!
//! An operation that failed is done whole or not at all. Its error says what was being done to which file, reading goes
//! on, and the database opens again as soon as the disk lets it, in the same process and in the next.

use std::panic::{AssertUnwindSafe, catch_unwind};

use storage::Store;

use super::{Bench, Fault, Tally, model_of, rounds, shim, spread, state_of, without_fault};
use crate::content::NOTES;
use crate::crash::{check_copies, check_reader};

fn tally(kind: &str, lasting: bool, few: u64) -> Option<Tally> {
    let shim = shim()?;
    let mut tally = Tally::default();
    for (number, at) in (0..).zip(spread(&without_fault(shim).calls, rounds(few))) {
        round(&mut tally, shim, Fault { kind, at, lasting, maintenance: number % 2 == 1 });
    }
    Some(tally)
}

fn round(tally: &mut Tally, shim: &std::path::Path, fault: Fault<'_>) {
    let bench = Bench::new();
    let child = bench.run(shim, fault, 0, None);
    let mut wrong = child.wrong.clone();
    tally.rounds += 1;
    tally.critical += u64::from(child.met.is_some() && !child.doing.is_empty());
    if child.panic.is_some() || child.hung {
        tally.panics += 1;
        tally.stories.push(child.story("it ended badly"));
    }
    let live = bench.path("live");
    for error in &child.errors {
        let names_it = error.contains(live.to_str().unwrap()) || error.contains("segment ");
        if !names_it || !error.starts_with("cannot ") {
            wrong.push(format!("an error names no file: {error}"));
        }
    }
    let check = AssertUnwindSafe(|| {
        if let Err(error) = catch_unwind(|| check_reader(&bench.db())) {
            wrong.push(format!("a reader: {error:?}"));
        }
        let store = match Store::open(&bench.db()) {
            Ok(store) => store,
            Err(error) => {
                tally.unopened += 1;
                tally.stories.push(child.story(&format!("not opened: {error}")));
                return;
            }
        };
        if store.space(NOTES).unwrap().is_none() {
            tally.losses += u64::from(child.acked > 0);
            return;
        }
        match state_of(&store, child.acked) {
            None => {
                tally.losses += 1;
                tally.stories.push(child.story("lost"));
            }
            Some(n_operations) => model_of(n_operations).check(&store),
        }
        let roots = store.roots(NOTES).unwrap();
        if let Some(root) = child.roots.iter().find(|root| !roots.contains(root)) {
            tally.losses += 1;
            tally.stories.push(child.story(&format!("lost root {root}")));
        }
        let findings = store.check(false).unwrap();
        if !findings.is_empty() {
            wrong.push(format!("a check finds {findings:?}"));
        }
        check_copies(&bench.db(), &model_of);
    });
    if catch_unwind(check).is_err() {
        wrong.push("what was opened again is not right: see the panic above".to_owned());
    }
    tally.wrong += u64::from(!wrong.is_empty());
    tally.stories.extend(wrong.into_iter().map(|wrong| child.story(&wrong)));
}

#[test]
fn a_call_that_fails_once_is_an_error_and_nothing_acknowledged_is_lost() {
    let Some(tally) = tally("EIO", false, 12) else { return };
    tally.finish("EIO, one call");
}

#[test]
fn a_disk_that_fails_from_one_call_on_loses_nothing_acknowledged() {
    let Some(tally) = tally("EIO", true, 6) else { return };
    tally.finish("EIO, all calls from one on");
}

#[test]
fn a_disk_that_is_full_from_one_call_on_loses_nothing_acknowledged() {
    let Some(tally) = tally("ENOSPC", true, 6) else { return };
    tally.finish("ENOSPC, all calls from one on");
}

#[test]
fn a_disk_that_is_full_for_one_call_loses_nothing_acknowledged() {
    let Some(tally) = tally("ENOSPC", false, 6) else { return };
    tally.finish("ENOSPC, one call");
}

#[test]
fn a_write_that_is_cut_short_loses_nothing_acknowledged() {
    let Some(tally) = tally("short", false, 6) else { return };
    tally.finish("short write, then ENOSPC");
}

/// Those that once lost something, hung or panicked, whatever the number of rounds.
#[test]
fn calls_on_which_much_depends_may_fail() {
    let Some(shim) = shim() else { return };
    let calls = without_fault(shim).calls;
    let live = Bench::new().path("live").to_str().unwrap().len();
    // Each call without the directory of its bench.
    let name = |call: &String| {
        let (call, path) = call.split_once(' ').unwrap();
        format!("{call} {}", &path[live..])
    };
    let names: Vec<String> = calls.iter().map(name).collect();
    let after = |first: &str, then: &str| {
        let from = names.iter().position(|name| name == first).unwrap();
        let call = names[from..].iter().position(|name| name == then).unwrap();
        (from + call + 1) as u64
    };
    let mut tally = Tally::default();
    let fault = Fault { kind: "EIO", ..Fault::default() };
    // sled written anew has its name, and that may not last: nothing may be written to the old one.
    let at = after("rename /db/sled.part", "fsync /db");
    round(&mut tally, shim, Fault { at, ..fault });
    // sled is open, and cannot be closed without a panic of its own.
    let at = after("fsync /db/sled/conf", "fsync /db/sled");
    round(&mut tally, shim, Fault { at, lasting: true, ..fault });
    // A thread of sled's writes, and this one waits for it.
    let is_flush = |name: &String| name == "sync_file_range /db/sled/db";
    let flushes = (1..).zip(&names).filter(|(_, name)| is_flush(name)).map(|(at, _)| at);
    for at in flushes.step_by(12) {
        round(&mut tally, shim, Fault { at, ..fault });
    }
    tally.finish("EIO at calls on which much depends");
}
