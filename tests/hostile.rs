//! Each reader of bytes meets its seeds cut short at every byte and changed at random: the fuzzer's share of every run.
//!
//! A reader that panics fails its test, with the number of the round that shows it. `GEMMULE_FUZZ_ROUNDS=N` runs more of
//! them; `tests/fuzz/run` looks for what chance does not find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fuzz::{self, Target};

/// Rounds of a target unless the variable says more.
const ROUNDS: u64 = 300;

/// Places at which a seed is cut; longer ones are not cut at every byte.
const CUTS: usize = 1500;

/// Values that lengths, counts and offsets go wrong with.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// A stream of numbers that follows from its seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Some changes of a seed; everything follows from the number of the round.
fn changed(seeds: &[Vec<u8>], round: u64) -> Vec<u8> {
    let mut numbers = Numbers(round);
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..1 + numbers.below(6) {
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = numbers.next() as u8,
            2 => {
                let edge = EDGES[numbers.below(EDGES.len())].to_le_bytes();
                let n_bytes = [1, 2, 4, 8][numbers.below(4)].min(bytes.len() - at);
                bytes[at..at + n_bytes].copy_from_slice(&edge[..n_bytes]);
            }
            3 => drop(bytes.drain(at..(at + 1 + numbers.below(8)).min(bytes.len()))),
            4 => {
                let copied = bytes[at..(at + numbers.below(64)).min(bytes.len())].to_vec();
                bytes.splice(at..at, copied);
            }
            5 => {
                let other = &seeds[numbers.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[numbers.below(other.len())..]);
            }
            _ => bytes.insert(at, numbers.next() as u8),
        }
    }
    bytes
}

fn try_all(name: &str) {
    let target: Target = fuzz::all().into_iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    let meet = |bytes: &[u8], what: &dyn Fn() -> String| {
        let met = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
        assert!(met.is_ok(), "{name}: a panic at {}", what());
    };
    for (number, seed) in seeds.iter().enumerate() {
        for end in (0..=seed.len()).step_by(1 + seed.len() / CUTS) {
            meet(&seed[..end], &|| format!("seed {number} cut to {end} bytes"));
        }
    }
    let rounds = std::env::var("GEMMULE_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok());
    for round in 0..rounds.unwrap_or(ROUNDS) {
        meet(&changed(&seeds, round), &|| format!("round {round}"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                try_all(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_met() {
            let names: Vec<&str> = fuzz::all().iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    segment database filter extract npy fvecs jsonl parquet gguf package tokenizer link
}
