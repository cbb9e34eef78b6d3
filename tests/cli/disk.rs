//! What trains and tunes, on a disk that is full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{train, tune};

/// A small file system in memory, below a place.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, size: &str) -> Option<Mount> {
        fs::create_dir(&path).unwrap();
        if !mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &path) {
            eprintln!("skipped: this user may not mount a file system");
            return None;
        }
        Some(Mount(path))
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &[&str], dir: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(options).arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_run_that_filled_the_disk_goes_on_once_there_is_room() {
    let place = train::with_recipe();
    let Some(disk) = Mount::new(place.path().join("small"), "4m") else { return };
    let args = ["train", "recipe.json", "--data", "data", "--out"];
    let ran = place.run(&[&args[..], &["small/run"]].concat());
    ran.expect_error(1, &["small/run", "checkpoint", "disk is full"]);
    disk.resize("1g");
    let resumed = place.run(&[&args[..], &["small/run", "--resume"]].concat());
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let whole = place.run(&[&args[..], &["whole"]].concat());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let model =
        |out: &str| fs::read(place.path().join(out).join("model/model.safetensors")).unwrap();
    assert_eq!(model("small/run"), model("whole"));
}

#[test]
fn a_link_that_finds_no_room_is_not_installed() {
    let place = tune::with_planted_words();
    let run = ["tune", "run", "--data", "pairs.jsonl", "--add-corpus", "set", "--method", "link"];
    place.json(&[&run[..], &["--out", "planted.safetensors"]].concat());
    place.run(&["tune", "install", "--none"]);
    let Some(_disk) = Mount::new(place.path().join("small"), "64m") else { return };
    place.json(&["backup", "small/db"]);
    let query = ["search", "the zorvex of Chile", "--mode", "vector", "--db", "small/db"];
    let before = place.json(&query);
    fill(&place.path().join("small/filler"));
    let install = ["tune", "install", "planted.safetensors", "--name", "late", "--db", "small/db"];
    place.run(&install).expect_error(1, &["small/db"]);
    fs::remove_file(place.path().join("small/filler")).unwrap();
    assert!(place.json(&["status", "--db", "small/db"])["collections"][0]["link"].is_null());
    assert_eq!(place.json(&query)["hits"], before["hits"]);
    place.json(&install);
    assert_ne!(place.json(&query)["hits"], before["hits"]);
}

/// Takes all free space.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[1; 1 << 14]).is_ok() {}
}
