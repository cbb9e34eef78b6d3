//! A second opener learns who has the database, at once, whatever the owner's file says.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use storage::{Error, Store};
use tempfile::TempDir;

const DIR_VARIABLE: &str = "GEMMULE_TEST_LOCK_DIR";

/// Not a test of its own: the owner process of the tests below, which start it with a directory.
#[test]
fn lock_child() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let _store = Store::open(Path::new(&dir)).unwrap();
    println!("\nopen");
    std::io::stdout().flush().unwrap();
    // Until the parent kills it or closes its end.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn start_owner(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::lock_child", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "open"), "the child opened it");
    child
}

#[test]
fn a_second_process_is_told_the_owner_and_may_open_once_the_owner_is_gone() {
    let dir = TempDir::new().unwrap();
    let mut owner = start_owner(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == owner.id()), "{error}");
    assert!(error.to_string().contains(&owner.id().to_string()));

    let path = dir.path().join("owner.json");
    let whole = std::fs::read(&path).unwrap();
    for n_bytes in 0..whole.len() {
        std::fs::write(&path, &whole[..n_bytes]).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{n_bytes} bytes: {error}");
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn one_process_cannot_open_a_database_twice_and_can_open_it_again() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn what_an_earlier_owner_left_does_no_harm() {
    let dir = TempDir::new().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let path = dir.path().join("owner.json");
    let whole = std::fs::read(&path).unwrap();
    for n_bytes in 0..=whole.len() {
        std::fs::write(&path, &whole[..n_bytes]).unwrap();
        drop(Store::open(dir.path()).unwrap());
    }
}
