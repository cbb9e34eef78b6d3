//! The house rules that a text search can see.

use std::path::{Path, PathBuf};

/// Lines of a source file beyond which it is to be split.
const MOST_LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the project: its path from the root, and its text.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    for folder in ["engine", "index", "storage", "cli", "tests", "benches"] {
        collect(&root().join(folder), &mut found);
    }
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        (name, std::fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

/// The crates of this workspace that a crate's `[dependencies]` name.
fn edges(folder: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    let ours = ["gemmule", "engine", "index", "storage"];
    names.filter(|name| ours.contains(name)).map(str::to_owned).collect()
}

#[test]
fn crates_depend_on_each_other_only_as_drawn() {
    assert_eq!(edges("."), ["engine", "storage"]);
    assert_eq!(edges("cli"), ["gemmule"]);
    assert_eq!(edges("storage"), ["index"]);
    assert!(edges("engine").is_empty() && edges("index").is_empty());
}

#[test]
fn every_dependency_has_its_reason() {
    for folder in [".", "engine", "index", "storage", "cli"] {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        for section in manifest.split("\n[").filter(|s| s.contains("dependencies]\n")) {
            if section.starts_with("workspace.dependencies") {
                continue;
            }
            for line in section.lines().skip(1).filter(|line| line.contains('=')) {
                assert!(line.contains(" # "), "{folder}/Cargo.toml: no reason for {line}");
            }
        }
    }
}

#[test]
fn unsafe_code_is_where_it_belongs() {
    let homes = [
        "engine/src/bytes.rs",
        "engine/src/kernel/",
        "index/src/score/",
        "storage/src/disk/map.rs",
        "cli/src/main.rs",
    ];
    for (name, text) in sources() {
        let is_home = homes.iter().any(|home| name.starts_with(home)) || name == "tests/tidy.rs";
        let is_unsafe = |line: &str| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        };
        assert!(is_home || !text.lines().any(is_unsafe), "{name} has unsafe code");
    }
}

#[test]
fn only_one_file_knows_sled() {
    for (name, text) in sources() {
        if name != "storage/src/records/tree.rs" && name != "tests/tidy.rs" {
            assert!(!text.contains("sled::"), "{name} names sled");
        }
    }
}

#[test]
fn libraries_print_nothing() {
    for (name, text) in sources() {
        let is_library = !name.contains('/')
            || ["engine/src", "index/src", "storage/src"].iter().any(|part| name.starts_with(part));
        // Tests print what they skip and measure.
        if is_library && !name.contains("tests") && name != "storage/src/repair/damage.rs" {
            let code = text.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let prints = ["println!", "eprintln!", "dbg!", "print!("];
                assert!(!prints.iter().any(|word| line.contains(word)), "{name}: {line}");
            }
        }
    }
}

#[test]
fn files_say_what_they_are_and_stay_readable() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} does not say what it is");
        assert!(text.lines().count() <= MOST_LINES, "{name} is to be split");
    }
}

#[test]
fn the_formats_pages_that_are_named_exist() {
    let format = std::fs::read_to_string(root().join("FORMAT.md")).unwrap();
    for page in ["storage/STORE.md", "index/SEGMENT.md"] {
        assert!(format.contains(page) && root().join(page).is_file(), "{page}");
    }
}
