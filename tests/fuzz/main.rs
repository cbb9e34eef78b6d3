//! The fuzzer's entry: the target that `GEMMULE_FUZZ` names meets the bytes that libFuzzer makes.
//!
//! `GEMMULE_FUZZ_SEEDS=FOLDER` writes the target's seeds there, and nothing else is done.

#![no_main]

mod targets;

use std::sync::OnceLock;
use std::{env, fs, panic, process};

use libfuzzer_sys::fuzz_target;
use targets::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: begin(), |bytes: &[u8]| (TARGET.get().expect("it was begun").run)(bytes));

fn begin() {
    let name = env::var("GEMMULE_FUZZ").expect("GEMMULE_FUZZ names a target");
    let target = targets::all().into_iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no target {name}"));
    if let Some(folder) = env::var_os("GEMMULE_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(std::path::Path::new(&folder).join(format!("seed-{number}")), seed)
                .expect("the folder takes a seed");
        }
        process::exit(0);
    }
    // The fuzzer's own hook ends the process.
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !targets::is_caught(info) {
            abort(info);
        }
    }));
    let _ = TARGET.set(target);
}
