//! Walks over folders made here.

use std::fs;
use std::path::Path;

use super::*;

/// The walk as lines: `path` for what was found, `path: reason` for what was refused.
fn listed(root: &Path) -> Vec<String> {
    let base = fs::canonicalize(root).expect("root");
    let shown = |path: &Path| {
        path.strip_prefix(&base).expect("below the root").to_string_lossy().into_owned()
    };
    walk(root)
        .expect("walk")
        .map(|entry| match entry {
            Ok(found) => shown(&found.path),
            Err(refused) => format!("{}: {}", shown(&refused.path), refused.why.reason()),
        })
        .collect()
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::write(path, text).expect("file");
}

#[test]
fn files_come_sorted_and_with_their_stamps() {
    let folder = tempfile::tempdir().expect("folder");
    for name in ["b.md", "a/z.md", "a/y/x.md", "c.md"] {
        write(folder.path(), name, name);
    }
    assert_eq!(listed(folder.path()), ["a/y/x.md", "a/z.md", "b.md", "c.md"]);
    let found =
        walk(&folder.path().join("b.md")).expect("walk").next().expect("one").expect("found");
    assert_eq!(found.len, 4);
    assert!(found.path.is_absolute());
    assert!(found.mtime_ns > 1_600_000_000_000_000_000, "{found:?}");
}

#[test]
fn ignored_hidden_and_own_files_are_left_out_without_a_git_repository() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), ".gitignore", "target/\n*.tmp\n");
    write(folder.path(), "sub/.gitignore", "private.md\n");
    for name in [
        "kept.md",
        "target/out.md",
        "x.tmp",
        ".hidden.md",
        "sub/private.md",
        "sub/open.md",
        "notes.gemmule/sled/db",
        "private.md",
    ] {
        write(folder.path(), name, "text");
    }
    assert_eq!(listed(folder.path()), ["kept.md", "private.md", "sub/open.md"]);
}

#[test]
fn what_lies_above_the_root_does_not_decide() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), ".gitignore", "*\n");
    write(folder.path(), "inner/a.md", "text");
    assert_eq!(listed(&folder.path().join("inner")), ["a.md"]);
}

#[test]
fn a_root_that_is_not_there_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = folder.path().join("missing");
    let error = walk(&missing).expect_err("no such folder").to_string();
    assert!(error.starts_with("could not walk the folder"), "{error}");
    assert!(error.contains("missing"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_pipes_and_sockets_are_refused_and_not_opened() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    let folder = tempfile::tempdir().expect("folder");
    let outside = tempfile::tempdir().expect("folder");
    write(outside.path(), "secret.md", "secret");
    write(folder.path(), "a.md", "text");
    symlink("a.md", folder.path().join("b.md")).expect("link");
    symlink(outside.path(), folder.path().join("c")).expect("link");
    symlink("../..", folder.path().join("d")).expect("link");
    symlink("nowhere", folder.path().join("e")).expect("link");
    symlink(".", folder.path().join("f")).expect("link");
    let pipe = folder.path().join("g.md");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("pipe");
    let _socket = UnixListener::bind(folder.path().join("h")).expect("socket");
    let outside = outside.path().display();
    let suffix = "links are not followed";
    assert_eq!(
        listed(folder.path()),
        [
            "a.md".to_owned(),
            format!("b.md: symbolic link to a.md; {suffix}"),
            format!("c: symbolic link to {outside}, possibly out of the folder; {suffix}"),
            format!("d: symbolic link to ../.., possibly out of the folder; {suffix}"),
            format!("e: symbolic link to nowhere; {suffix}"),
            format!("f: symbolic link to .; {suffix}"),
            "g.md: a named pipe, not a file".to_owned(),
            "h: a socket, not a file".to_owned(),
        ]
    );
    let alone = walk(&pipe).expect("walk").next().expect("one").expect_err("refused");
    assert_eq!(alone.why.reason(), "a named pipe, not a file");
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_read_is_reported_and_the_rest_is_found() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), "closed/a.md", "text");
    write(folder.path(), "open.md", "text");
    let closed = folder.path().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("permissions");
    if fs::read_dir(&closed).is_ok() {
        eprintln!("skipped: this user may read every folder");
        return;
    }
    let listed = listed(folder.path());
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed[0].starts_with("closed: folder could not be read"), "{listed:?}");
}

#[test]
fn a_folder_that_vanishes_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let gone = folder.path().join("gone");
    let error = fs::read_dir(&gone).expect_err("not there");
    let error = ignore::Error::WithPath { path: gone.clone(), err: Box::new(error.into()) };
    let refused = unreadable(folder.path(), &error);
    assert_eq!(refused.path, gone);
    assert_eq!(refused.why.reason(), "vanished while the folder was read");

    write(folder.path(), "file", "text");
    let kind = fs::metadata(folder.path().join("file")).expect("metadata").file_type();
    let refused = stamp(&gone, &kind, || fs::symlink_metadata(&gone)).expect_err("refused");
    assert_eq!(refused.why.reason(), "vanished while the folder was read");
}
