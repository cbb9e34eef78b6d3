//! The real binary, run as its users run it: files and flags in, exit code and output out.
//!
//! `CARGO_BIN_EXE_*` exists only for binaries of the tests' own package, and the command line is a
//! package of its own. So the first test that runs asks Cargo, once, to build it with the profile of
//! these tests, beside them; Cargo knows whether there is anything to do. To test another binary,
//! name it in the variable `GEMMULE_BINARY`.

mod bench;
mod beside;
mod care;
mod disk;
mod embed;
mod eval;
mod exchange;
mod filter;
mod index;
mod model;
mod parquet;
mod process;
mod reembed;
mod search;
mod train;
mod tune;
mod unusual;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use reembed::other_model;

/// The binary, built if need be.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("GEMMULE_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/main-HASH
    let test = std::env::current_exe().expect("a test has a path");
    let profile_dir = test.ancestors().nth(2).expect("tests lie in TARGET/PROFILE/deps");
    let target_dir = profile_dir.parent().expect("a profile lies in the target directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => "release",
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the command line does not build");
    profile_dir.join(format!("gemmule{}", std::env::consts::EXE_SUFFIX))
}

/// A folder of its own for each test, in which the binary runs.
struct Place {
    folder: TempDir,
}

/// What came of a run.
#[derive(Debug)]
struct Ran {
    /// None if a signal ended it.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("there is a folder for temporary files") }
    }

    /// A folder of small documents on different subjects, in every format that is easy to write.
    fn with_documents() -> Place {
        let place = Place::new();
        place.write(
            "docs/ownership.md",
            "# Rust\n\n## Ownership\n\nEach value has one owner. When the owner goes out of scope, \
             the memory of the value is freed.\n",
        );
        place.write(
            "docs/apple-pie.txt",
            "Peel the apples, slice them thinly and bake the pie for forty minutes until the \
             crust is golden.\n",
        );
        place.write(
            "docs/volcano.html",
            "<html><head><title>Volcanoes</title></head><body><h1>Volcanoes</h1><p>Lava is molten \
             rock that flows from an erupting volcano.</p></body></html>\n",
        );
        place.write(
            "docs/settings.json",
            "{\"printer\": {\"name\": \"office laser printer\", \"paper\": \"A4\"}}\n",
        );
        place.write(
            "docs/code/sort.py",
            "def bubble_sort(numbers):\n    \"\"\"Sort a list of numbers by swapping neighbours.\"\"\"\n    \
             return sorted(numbers)\n",
        );
        place
    }

    fn path(&self) -> PathBuf {
        // As the database has it: on some systems the temporary folder is a link.
        self.folder.path().canonicalize().expect("the folder is there")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("a file of text")
    }

    /// The absolute path of a file as a string: the id of its document.
    fn id(&self, name: &str) -> String {
        self.path().join(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the binary runs"))
    }

    /// Runs the binary with this on its standard input.
    fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        Ran::of(self.output_with_input(args, input))
    }

    fn output_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        // A file, not a pipe: no thread is needed to fill it while the answers are read.
        let path = self.path().join(".input");
        fs::write(&path, input).expect("a file");
        let stdin = fs::File::open(path).expect("the file");
        self.command(args).stdin(stdin).output().expect("the binary runs")
    }

    /// Runs the binary with `--json`, expects success and returns the value.
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }

    /// Expects that the words were no command.
    fn expect_usage(&self) {
        assert_eq!((self.code, &*self.stdout), (Some(2), ""), "{self:?}");
    }

    /// Expects this exit code, nothing on standard output and one line of message with all of these.
    fn expect_error(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("gemmule: "), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no '{part}' in {self:?}");
        }
    }
}

/// The state and the reason of the file of this name in the answer of `index --json`.
fn file_state<'a>(answer: &'a Value, name: &str) -> (&'a str, &'a str) {
    let files = answer["files"].as_array().expect("files is an array");
    let is_it = |file: &&Value| Path::new(file["path"].as_str().unwrap_or("")).ends_with(name);
    let file = files.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not in {answer}"));
    (file["state"].as_str().unwrap_or(""), file["reason"].as_str().unwrap_or(""))
}

/// Expects that the totals of `index --json` count the files, and returns some of them.
fn totals<const N: usize>(answer: &Value, names: [&str; N]) -> [u64; N] {
    let total = |name: &str| {
        answer["totals"][name].as_u64().unwrap_or_else(|| panic!("no total {name} in {answer}"))
    };
    let files = answer["files"].as_array().expect("files is an array");
    let parts = ["indexed", "unchanged", "skipped", "failed"];
    assert_eq!(total("seen"), parts.map(total).iter().sum::<u64>(), "{answer}");
    for state in [&parts[..], &["removed"]].concat() {
        let n_files = files.iter().filter(|file| file["state"] == state).count();
        assert_eq!(total(state), n_files as u64, "{state} in {answer}");
    }
    names.map(total)
}

/// The ids of the hits of `search --json`, best first.
fn hit_ids(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().expect("hits is an array");
    hits.iter().map(|hit| hit["id"].as_str().expect("an id is a string")).collect()
}
