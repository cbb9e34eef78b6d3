//! One file from the network into the cache: whole and checked, or not there.
//!
//! Bytes go to `blobs/ETAG.incomplete` and are hashed as they come. A part that an earlier attempt
//! or process left is hashed again and continued. Only a file with the right number of bytes and
//! the right hash gets its name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::header::CONTENT_RANGE;

use super::cache::{Repo, beside, create_folder, hash, hex, io_error, sync_folder};
use super::http::{Announced, Client, text};
use super::retry::{Failure, Retries};
use super::settings::Settings;
use super::{Expected, Reporter, Stage};
use crate::{Error, Result};

const BUFFER_BYTES: usize = 128 << 10;
/// A connection that brought this much before it broke is worth new attempts.
const REFILL_BYTES: u64 = 1 << 20;

/// Fetches the blob of a file unless it is there; returns its SHA-256 in hex.
pub(super) fn fetch(
    client: &Client,
    settings: &Settings,
    repo: &Repo,
    url: &str,
    announced: &Announced,
    expected: &Expected,
    reporter: &mut Reporter,
) -> Result<String> {
    let blob = repo.blob(&announced.etag);
    let folder = blob.parent().unwrap_or(&blob);
    create_folder(folder)?;
    let _lock = repo.lock(&announced.etag, reporter)?;
    reporter.total = announced.bytes;
    // A blob of another length is damaged, and replaced below.
    if fs::metadata(&blob).is_ok_and(|blob| blob.len() == announced.bytes) {
        let sum = hex(hash(&blob, announced.bytes, reporter)?);
        expected.check(&sum, Some(&blob))?;
        return Ok(sum);
    }
    let path = beside(&blob, "incomplete");
    if expected.sums.is_empty() && path.exists() {
        // Nothing could tell whether a part that was there belongs to this file: they are small.
        fs::remove_file(&path).map_err(io_error("delete an old part", &path))?;
    }
    let mut may_start_over = true;
    loop {
        let mut part = Part::open(&path, announced.bytes, reporter)?;
        part.complete(client, settings, url, reporter)?;
        let sum = hex(part.hasher);
        let Err(error) = expected.check(&sum, None) else {
            fs::rename(&path, &blob).map_err(io_error("name the download", &blob))?;
            sync_folder(folder)?;
            return Ok(sum);
        };
        fs::remove_file(&path).map_err(io_error("delete the refused download", &path))?;
        // What was there before may have been another file's, or damaged on the disk.
        if part.resumed == 0 || !may_start_over {
            return Err(error);
        }
        may_start_over = false;
    }
}

/// A file that is arriving.
struct Part {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes that are there.
    have: u64,
    /// Bytes that were there before this process came.
    resumed: u64,
    /// Bytes that the whole file has.
    bytes: u64,
}

impl Part {
    fn open(path: &Path, bytes: u64, reporter: &mut Reporter) -> Result<Part> {
        let failed = io_error("open the download", path);
        let file = File::options().create(true).append(true).open(path).map_err(&failed)?;
        let mut have = file.metadata().map_err(&failed)?.len();
        if have > bytes {
            file.set_len(0).map_err(&failed)?;
            have = 0;
        }
        let hasher = hash(path, have, reporter)?;
        Ok(Part { path: path.to_owned(), file, hasher, have, resumed: have, bytes })
    }

    /// Asks for what is missing until nothing is.
    fn complete(
        &mut self,
        client: &Client,
        settings: &Settings,
        url: &str,
        reporter: &mut Reporter,
    ) -> Result<()> {
        let mut retries = Retries::new(settings);
        while self.have < self.bytes {
            let before = self.have;
            let Err(failure) = self.receive(client, url, reporter) else { break };
            if self.have >= before.saturating_add(REFILL_BYTES) {
                retries.refill();
            }
            if self.have < self.bytes || matches!(failure, Failure::Final(_)) {
                retries.wait(failure, url, reporter)?;
            }
        }
        self.file.sync_all().map_err(|error| self.write_error(error))
    }

    /// One request: appends what it brings.
    fn receive(
        &mut self,
        client: &Client,
        url: &str,
        reporter: &mut Reporter,
    ) -> Result<(), Failure> {
        let unlike =
            |problem: String| Failure::Final(Error::Network { url: url.to_owned(), problem });
        let mut response = client.body(url, self.have)?;
        let range = text(response.headers(), CONTENT_RANGE.as_str());
        let start = match response.status().as_u16() {
            200 => 0, // also from a server that knows no ranges
            206 if self.have > 0 && range.as_deref().is_some_and(|r| self.continues(r)) => {
                self.have
            }
            206 => return Err(unlike(format!("it sent the range {range:?}"))),
            416 if self.have > 0 => {
                self.restart()?;
                let problem = "it has no such range of the file".to_owned();
                return Err(Failure::Passing { problem, after: Some(Duration::ZERO) });
            }
            status => return Err(unlike(format!("status {status} in place of a file"))),
        };
        let wanted = self.bytes - start;
        if let Some(length) = response.body().content_length().filter(|&n| n != wanted) {
            return Err(unlike(format!("it sends {length} bytes where {wanted} were announced")));
        }
        if start < self.have {
            self.restart()?;
        }
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n = body.read(&mut buffer).map_err(|error| Failure::Passing {
                problem: format!("{error}, after {} of {} bytes", self.have, self.bytes),
                after: None,
            })?;
            let bytes = buffer.get(..n).unwrap_or_default();
            if bytes.is_empty() && self.have < self.bytes {
                let problem = format!("it ended after {} of {} bytes", self.have, self.bytes);
                return Err(Failure::Passing { problem, after: None });
            } else if bytes.is_empty() {
                return Ok(());
            } else if n as u64 > self.bytes - self.have {
                self.restart()?;
                return Err(unlike(format!("it sends more than {} bytes", self.bytes)));
            }
            self.file.write_all(bytes).map_err(|error| self.write_error(error))?;
            self.hasher.update(bytes);
            self.have += n as u64;
            reporter.done = self.have;
            reporter.report(Stage::Downloading { resumed: self.resumed })?;
        }
    }

    /// Whether a `Content-Range` begins where this part ends and runs to the end of the file.
    fn continues(&self, range: &str) -> bool {
        let expected = format!("bytes {}-{}/", self.have, self.bytes - 1);
        let total = range.strip_prefix(&expected);
        total.is_some_and(|total| total == "*" || total.parse() == Ok(self.bytes))
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(io_error("empty the download", &self.path))?;
        (self.have, self.resumed, self.hasher) = (0, 0, Sha256::new());
        Ok(())
    }

    fn write_error(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                path: self.path.clone(),
                needed: self.bytes - self.have,
                free: None,
            },
            _ => io_error("write the download", &self.path)(error),
        }
    }
}

/// Fails if the disk has no room for what is still to come. A system that does not say passes.
pub(super) fn check_room(folder: &Path, needed: u64) -> Result<()> {
    create_folder(folder)?;
    match free_bytes(folder) {
        Some(free) if free < needed => {
            Err(Error::DiskFull { path: folder.to_owned(), needed, free: Some(free) })
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
