//! `gemmule bench`: how fast this machine is, as anyone can repeat it.

mod embed;
mod search;
mod train;

use std::time::{Duration, Instant};

use crate::Done;
use crate::args::{Bench, BenchCommand};
use crate::output::Output;

pub(crate) fn run(flags: &Bench, output: &mut Output) -> anyhow::Result<Done> {
    match &flags.command {
        BenchCommand::Embed(flags) => embed::run(flags, output),
        BenchCommand::Search(flags) => search::run(flags, output),
        BenchCommand::Train(flags) => train::run(flags, output),
    }
}

/// The most memory this process ever had, mapped pages counted; none where it is not told.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Measurements are repeated at least so often.
const LEAST_RUNS: usize = 5;

/// The median time of `run`, which is repeated for at least `least`.
fn median(
    least: Duration,
    mut run: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < LEAST_RUNS || began.elapsed() < least {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Numbers at random, the same in each run (xorshift).
fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
