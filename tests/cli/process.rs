//! What the shell sees: exit codes, closed pipes, signals, two processes at once.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, totals};

#[test]
fn wrong_usage_is_two_and_help_is_zero() {
    let place = Place::new();
    let wrong: [&[&str]; 9] = [
        &[],
        &["nonsense"],
        &["index"],
        &["search"],
        &["search", "x", "--group", "nonsense"],
        &["search", "x", "--model", "nano"],
        &["completions", "nonsense"],
        &["backup"],
        &["restore"],
    ];
    for args in wrong {
        let ran = place.run(args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["index", "--help"], &["--version"]] {
        let ran = place.run(args);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{args:?}: {ran:?}");
    }
    let commands = [
        "index", "search", "embed", "eval", "status", "get", "list", "fields", "delete", "compact",
        "reindex", "reembed", "fsck", "backup", "restore", "man",
    ];
    for command in commands {
        let help = place.run(&[command, "--help"]).stdout;
        assert!(help.contains("Example: gemmule "), "{help}");
    }
}

#[test]
fn a_closed_pipe_is_success() {
    let place = Place::new();
    // More than any pipe holds, so that writing must fail.
    let texts: String = (0..200).map(|n| format!("text number {n}\n")).collect();
    place.write("texts", texts);
    let mut child = place
        .command(&["embed"])
        .stdin(std::fs::File::open(place.path().join("texts")).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    assert!(first.starts_with('['), "{first}");
    assert_success_in_silence(child);

    let mut command = place.command(&["man"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_success_in_silence(child);
}

fn assert_success_in_silence(child: Child) {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let place = Place::with_documents();
    let db = gemmule::Database::open(place.path().join(".gemmule")).unwrap();
    let pid = std::process::id().to_string();
    place.run(&["index", "docs"]).expect_error(1, &[".gemmule", &pid]);
    place.run(&["search", "apples", "--in", "docs"]).expect_error(1, &[&pid]);
    drop(db);
    place.json(&["index", "docs"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_done_and_the_next_run_goes_on() {
    let place = Place::new();
    let n_files = 600;
    for file in 0..n_files {
        let text: String = (0..40)
            .map(|line| format!("File {file} says {line} times {}. ", file * line))
            .collect();
        place.write(&format!("docs/{file}.txt"), text);
    }
    let child = place
        .command(&["index", "docs", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| bytes_below(&place.path().join(".gemmule/sled")) > 2 << 20);
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("run the same command again to go on"), "{stderr}");
    let stopped: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stopped["stopped"], true);
    let [indexed] = totals(&stopped, ["indexed"]);
    assert!((1..n_files).contains(&indexed), "{indexed} files were indexed before the signal");

    let second = place.json(&["index", "docs"]);
    assert_eq!(
        totals(&second, ["seen", "indexed", "unchanged"]),
        [n_files, n_files - indexed, indexed]
    );
}

/// Waits for a condition, a minute at most.
#[cfg(unix)]
pub(super) fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not happen in a minute");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[cfg(unix)]
pub(super) fn bytes_below(folder: &std::path::Path) -> u64 {
    let Ok(entries) = folder.read_dir() else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(unix)]
#[test]
fn embed_answers_line_by_line() {
    use std::io::Write;
    let place = Place::new();
    let mut child = place
        .command(&["embed", "--dims", "64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        stdin.write_all(b"one text\n").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.ends_with("]\n"), "{line:?}");
    }
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}
