//! Which files a folder holds, in an order that does not change from run to run.
//!
//! `.gitignore` and `.ignore` files are honoured, with or without a git repository around them; hidden
//! files and folders are left out, and so are databases of our own (folders named `*.gemmule`). What
//! those rules leave out is not reported: it was said beforehand. Everything else is either [`Found`]
//! or [`Refused`] with a reason. No symbolic link is followed and nothing but folders is opened, so a
//! walk cannot leave the root, run in circles or wait on a pipe.
//!
//! The whole listing is made first: a refresh compares it with what is known, and needs all of it.

use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};

use super::extract::Failure;
use crate::error::{Error, Result};

/// A regular file below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Absolute, without `.` and `..`; below the root no symbolic link is resolved.
    pub path: PathBuf,
    /// Size in bytes.
    pub len: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of content or attributes, in nanoseconds since 1970; 0 where there is no such time.
    pub ctime_ns: i64,
    /// The file's number within its file system; 0 where there is none.
    pub inode: u64,
}

/// A path that was seen but is not handed on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Absolute, like [`Found::path`].
    pub path: PathBuf,
    /// Skipped (a link, a device) or failed (unreadable).
    pub why: Failure,
}

/// The walk itself: an iterator over what was found and what was refused, ordered by path.
#[derive(Debug)]
pub struct Walk {
    entries: std::vec::IntoIter<Result<Found, Refused>>,
}

impl Iterator for Walk {
    type Item = Result<Found, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

/// Walks a folder, or visits the one file that was named.
///
/// The root itself is taken as named: it may be hidden, ignored, or a symbolic link to a folder or a
/// file; the paths that come out lie below what it points to.
///
/// # Errors
/// If the root cannot be seen at all: it does not exist, or may not be read.
pub fn walk(root: &Path) -> Result<Walk> {
    let failed = |source| Error::Io { doing: "walk the folder", path: root.to_owned(), source };
    let root = fs::canonicalize(root).map_err(failed)?;
    let metadata = fs::metadata(&root).map_err(failed)?;
    if !metadata.is_dir() {
        let entry = stamp(&root, &metadata.file_type(), || Ok(metadata.clone()));
        return Ok(Walk { entries: vec![entry].into_iter() });
    }
    fs::read_dir(&root).map_err(failed)?;
    let mut entries: Vec<_> = entries(&root).collect();
    entries.sort_by(|a, b| path_of(a).cmp(path_of(b)));
    Ok(Walk { entries: entries.into_iter() })
}

/// Everything below a folder that exists, in the order of `ignore`'s own walk.
fn entries(root: &Path) -> impl Iterator<Item = Result<Found, Refused>> {
    let mut builder = WalkBuilder::new(root);
    builder
        .follow_links(false)
        .require_git(false)
        // What a folder yields must not depend on the user's own git settings or on folders above.
        .git_global(false)
        .git_exclude(false)
        .parents(false)
        .filter_entry(|entry| entry.depth() == 0 || !is_database(entry));
    let owner = root.to_owned();
    builder.build().filter_map(move |entry| match entry {
        Ok(entry) => visit(&entry),
        Err(error) => Some(Err(unreadable(&owner, &error))),
    })
}

/// Whether an entry is a database of our own.
fn is_database(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
        && entry.path().extension().is_some_and(|extension| extension == "gemmule")
}

/// One entry of the walk; `None` for folders, which are only passed through.
fn visit(entry: &DirEntry) -> Option<Result<Found, Refused>> {
    let kind = entry.file_type()?;
    if kind.is_dir() {
        return None;
    }
    Some(stamp(entry.path(), &kind, || fs::symlink_metadata(entry.path())))
}

/// A file with its stamps, or why it is not one.
fn stamp(
    path: &Path,
    kind: &FileType,
    metadata: impl FnOnce() -> io::Result<Metadata>,
) -> Result<Found, Refused> {
    let refused = |why| Refused { path: path.to_owned(), why };
    if let Some(reason) = irregular(path, kind) {
        return Err(refused(Failure::Skipped(reason)));
    }
    let metadata = metadata().map_err(|error| {
        refused(Failure::Failed(match error.kind() {
            io::ErrorKind::NotFound => "vanished while the folder was read".to_owned(),
            _ => format!("could not be looked at: {error}"),
        }))
    })?;
    // Between the listing and this look the file may have become something else.
    if let Some(reason) = irregular(path, &metadata.file_type()) {
        return Err(refused(Failure::Skipped(reason)));
    }
    Ok(found(path, &metadata))
}

/// Why something that is not a regular file is left alone.
fn irregular(path: &Path, kind: &FileType) -> Option<String> {
    if kind.is_file() {
        return None;
    }
    if kind.is_symlink() {
        return Some(describe_link(path));
    }
    Some(special(kind).to_owned())
}

#[cfg(unix)]
fn special(kind: &FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a named pipe, not a file"
    } else if kind.is_socket() {
        "a socket, not a file"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device, not a file"
    } else {
        "not a regular file"
    }
}

#[cfg(not(unix))]
fn special(_: &FileType) -> &'static str {
    "not a regular file"
}

/// Says where a link points, as it is written. The target is not looked at.
fn describe_link(path: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => {
            let leaves = target.is_absolute()
                || target.components().any(|part| matches!(part, Component::ParentDir));
            let whither = if leaves { ", possibly out of the folder" } else { "" };
            format!("symbolic link to {}{whither}; links are not followed", target.display())
        }
        Err(_) => "symbolic link; links are not followed".to_owned(),
    }
}

#[cfg(unix)]
fn found(path: &Path, metadata: &Metadata) -> Found {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds =
        |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Found {
        path: path.to_owned(),
        len: metadata.len(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

#[cfg(not(unix))]
fn found(path: &Path, metadata: &Metadata) -> Found {
    let since_1970 = metadata.modified().ok().and_then(|time| {
        time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_nanos())
    });
    Found {
        path: path.to_owned(),
        len: metadata.len(),
        mtime_ns: since_1970.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(0),
        ctime_ns: 0,
        inode: 0,
    }
}

/// An entry that the walk itself could not pass: most often a folder that may not be read.
fn unreadable(root: &Path, error: &ignore::Error) -> Refused {
    let path = path_in(error).unwrap_or(root).to_owned();
    let why = match error.io_error() {
        Some(io) if io.kind() == io::ErrorKind::NotFound => {
            "vanished while the folder was read".to_owned()
        }
        Some(io) => format!("folder could not be read: {io}"),
        None => format!("could not be walked: {error}"),
    };
    Refused { path, why: Failure::Failed(why) }
}

/// The path an error of the walk is about, if it names one.
fn path_in(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_in(err)
        }
        ignore::Error::Loop { child, .. } => Some(child),
        ignore::Error::Partial(errors) => errors.first().and_then(path_in),
        _ => None,
    }
}

fn path_of(entry: &Result<Found, Refused>) -> &Path {
    match entry {
        Ok(found) => &found.path,
        Err(refused) => &refused.path,
    }
}

#[cfg(test)]
mod tests;
