//! `model pull`: the only code of this project that uses the network.
//!
//! A model is fetched once into the cache that other tools of the ecosystem use as well, checked
//! against a SHA-256, and used from there. [`find`] looks into the cache and opens no socket; nor
//! does [`pull`] when all is there. What another tool has fetched is found, and the other way round.
//!
//! Trust: the files of EmbeddingGemma 300M are pinned by hash in this crate. Files of other models
//! are checked against what the server announces for files in large-file storage, and their hash is
//! recorded when they are first pulled; at the same commit other bytes are refused from then on.
//! Nothing that a server sends chooses a path: file names come from a list here or from the user,
//! a commit is 40 hex digits, an etag is one plain name.
//!
//! ```text
//! name --published--> repository, files --cache--> there? else --http--> commit, etags
//!                                                         --download--> blobs --> snapshot
//! ```
//!
//! ```
//! use engine::hub::{Settings, find};
//!
//! let settings = Settings { cache: "no/such/cache".into(), ..Settings::from_env()? };
//! assert_eq!(find("embeddinggemma-300m", &settings)?, None);
//! # Ok::<(), engine::Error>(())
//! ```

mod cache;
mod download;
mod http;
mod published;
mod retry;
mod settings;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use published::{Published, published};
pub use settings::Settings;

use crate::{Error, Result};
use cache::{OWN_LOCK, Repo, Sums, beside, hash, hex};
use http::{Client, Listing};
use published::Wanted;
use retry::Retries;

/// What [`pull`] is doing.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file, or the repository while its files are not known.
    pub file: &'a str,
    /// What is being done to it.
    pub stage: Stage,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes that it has; 0 while unknown.
    pub total: u64,
}

/// What is being done to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    /// Another process is pulling it; this one waits.
    Locked,
    /// Its bytes on the disk are hashed.
    Verifying,
    /// It arrives.
    Downloading {
        /// Bytes that an earlier pull had left.
        resumed: u64,
    },
    /// A request did not succeed and is made again after a wait.
    Retrying {
        /// The whole wait.
        wait: Duration,
    },
}

/// A model in the cache.
#[derive(Debug)]
pub struct Pulled {
    /// The folder, or the one file of a GGUF model.
    pub path: PathBuf,
    /// The repository that it comes from, `ORG/NAME`.
    pub repo: String,
    /// The commit of that repository.
    pub commit: String,
    /// Its files, all checked.
    pub files: Vec<PulledFile>,
}

/// A checked file of a model.
#[derive(Debug)]
pub struct PulledFile {
    /// Its path in the repository.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
    /// Who vouches for it.
    pub trust: Trust,
}

/// Who vouches for a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trust {
    /// This crate knows their hash.
    Pinned,
    /// They are the bytes that were there when the commit was first pulled.
    Recorded,
}

/// Finds a model in the cache: its folder, or its file for GGUF. Opens no socket.
///
/// `name` is a short name of [`published`], `ORG/NAME` or `ORG/NAME/FILE.gguf`; each may end in
/// `@REVISION`. A short name is found in its mirror too. Bytes are not checked here: [`pull`] does.
///
/// # Errors
/// [`Error::ModelName`] if it is none of these.
pub fn find(name: &str, settings: &Settings) -> Result<Option<PathBuf>> {
    let found = Found::search(&Wanted::parse(name)?, settings)?;
    Ok(found.map(|found| found.path()))
}

/// Brings a model into the cache, unless it is there, and checks all its bytes.
///
/// `progress` is called often; when it returns `false` the pull ends in [`Error::Cancelled`], and
/// the next one goes on where it stopped. A branch that was pulled before is not asked for again.
///
/// # Errors
/// [`Error::Offline`], [`Error::Gated`], [`Error::NotPublished`], [`Error::Network`],
/// [`Error::Checksum`], [`Error::DiskFull`], [`Error::Io`]; [`Error::ModelName`] and
/// [`Error::Setting`] for what was asked.
pub fn pull(
    name: &str,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Pulled> {
    let wanted = Wanted::parse(name)?;
    let mut reporter = Reporter { progress, file: wanted.repo.clone(), done: 0, total: 0 };
    if let Some(found) = Found::search(&wanted, settings)? {
        return found.verify(&mut reporter);
    }
    if settings.offline {
        return Err(Error::Offline { name: name.into(), cache: settings.cache.clone() });
    }
    let repo = Repo::new(&settings.cache, &wanted.repo);
    let lock = repo.lock(OWN_LOCK, &mut reporter)?;
    // The process that held the lock may have pulled what this one wants.
    if let Some(found) = Found::search(&wanted, settings)? {
        drop(lock);
        return found.verify(&mut reporter);
    }

    let client = Client::new(settings, &wanted);
    let url = client.listing_url();
    let listing = Retries::new(settings).run(&url, &mut reporter, || client.listing())?;
    let sums = repo.sums()?;
    let mut announced = Vec::new();
    let mut needed = 0u64;
    for name in wanted_files(&wanted, &listing)? {
        let url = client.url(&listing.commit, &name);
        let file = Retries::new(settings).run(&url, &mut reporter, || client.announced(&url))?;
        needed = needed.saturating_add(missing_bytes(&repo.blob(&file.etag), file.bytes));
        announced.push((name, url, file));
    }
    download::check_room(&repo.blob(""), needed)?;

    let commit = listing.commit;
    let mut files = Vec::new();
    for (name, url, file) in announced {
        reporter.begin(&name, file.bytes);
        let expected = Expected::new(&wanted, &commit, &name, &sums, Some(&file.etag));
        let sha256 =
            download::fetch(&client, settings, &repo, &url, &file, &expected, &mut reporter)?;
        repo.place(&commit, &name, &file.etag)?;
        files.push(PulledFile { trust: trust(&wanted, &name), name, bytes: file.bytes, sha256 });
    }
    repo.record(&commit, sums_of(&files), &lock)?;
    repo.write_reference(&wanted, &commit)?;
    let path = model_path(&repo, &commit, &wanted);
    Ok(Pulled { path, repo: wanted.repo, commit, files })
}

/// A model that is whole in the cache.
struct Found {
    wanted: Wanted,
    repo: Repo,
    commit: String,
    files: Vec<String>,
    sums: Sums,
}

impl Found {
    fn search(wanted: &Wanted, settings: &Settings) -> Result<Option<Found>> {
        for wanted in wanted.with_mirror() {
            let repo = Repo::new(&settings.cache, &wanted.repo);
            let Some(commit) = repo.commit(&wanted) else { continue };
            let sums = repo.sums()?;
            if let Some(files) = repo.whole(&wanted, &commit, &sums) {
                return Ok(Some(Found { wanted, repo, commit, files, sums }));
            }
        }
        Ok(None)
    }

    fn path(&self) -> PathBuf {
        model_path(&self.repo, &self.commit, &self.wanted)
    }

    /// Hashes and checks all files, and records what is seen for the first time.
    fn verify(self, reporter: &mut Reporter) -> Result<Pulled> {
        let Found { wanted, repo, commit, files: names, sums } = &self;
        let mut files = Vec::new();
        for name in names {
            let path = repo.snapshot(commit).join(name);
            let bytes = fs::metadata(&path).map_err(cache::io_error("read", &path))?.len();
            reporter.begin(name, bytes);
            let sha256 = hex(hash(&path, bytes, reporter)?);
            let etag = fs::read_link(&path).ok();
            let etag = etag.as_deref().and_then(Path::file_name).and_then(|etag| etag.to_str());
            Expected::new(wanted, commit, name, sums, etag).check(&sha256, Some(&path))?;
            let trust = trust(wanted, name);
            files.push(PulledFile { name: name.clone(), bytes, sha256, trust });
        }
        if files.iter().any(|file| sums.get(commit, &file.name).is_none()) {
            let lock = repo.lock(OWN_LOCK, reporter);
            match lock.and_then(|lock| repo.record(commit, sums_of(&files), &lock)) {
                // A cache that others may not write to serves all the same.
                Err(Error::Io { source, .. }) if is_read_only(&source) => {}
                recorded => recorded?,
            }
        }
        Ok(Pulled { path: self.path(), repo: self.wanted.repo, commit: self.commit, files })
    }
}

/// The sums that a file must have, each with who says so.
struct Expected<'a> {
    wanted: &'a Wanted,
    file: &'a str,
    sums: Vec<(&'static str, &'a str)>,
}

impl<'a> Expected<'a> {
    fn new(
        wanted: &'a Wanted,
        commit: &str,
        file: &'a str,
        sums: &'a Sums,
        etag: Option<&'a str>,
    ) -> Expected<'a> {
        // Outside large-file storage an etag is shorter, and no SHA-256.
        let is_sha256 =
            |etag: &&str| etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit());
        let known = [
            ("this program pins", wanted.pin(file)),
            ("at its first pull it was", sums.get(commit, file)),
            ("the server announced", etag.filter(is_sha256)),
        ];
        let sums = known.into_iter().filter_map(|(says, sum)| Some((says, sum?)));
        Expected { wanted, file, sums: sums.collect() }
    }

    /// `kept`: the file, if it was there before this pull and stays.
    fn check(&self, found: &str, kept: Option<&Path>) -> Result<()> {
        match self.sums.iter().find(|(_, sum)| !sum.eq_ignore_ascii_case(found)) {
            None => Ok(()),
            Some(&(says, sum)) => Err(Error::Checksum {
                file: format!("{} of {}", self.file, self.wanted.repo),
                found: found.to_owned(),
                expected: sum.to_owned(),
                says,
                kept: kept.map(Path::to_owned),
            }),
        }
    }
}

/// The caller's callback, and what it is told.
struct Reporter<'a> {
    progress: &'a mut dyn FnMut(Progress) -> bool,
    file: String,
    done: u64,
    total: u64,
}

impl Reporter<'_> {
    fn begin(&mut self, file: &str, bytes: u64) {
        (self.file, self.done, self.total) = (file.to_owned(), 0, bytes);
    }

    fn report(&mut self, stage: Stage) -> Result<()> {
        let Reporter { file, done, total, .. } = self;
        match (self.progress)(Progress { file, stage, done: *done, total: *total }) {
            true => Ok(()),
            false => Err(Error::Cancelled),
        }
    }
}

/// The wanted files that the repository has, small ones first.
fn wanted_files(wanted: &Wanted, listing: &Listing) -> Result<Vec<String>> {
    let has = |name: &str| listing.files.iter().any(|file| file == name);
    if let Some(missing) = wanted.required().into_iter().find(|name| !has(name)) {
        let gguf = listing.files.iter().filter(|name| name.ends_with(".gguf"));
        let gguf: Vec<&str> = gguf.map(String::as_str).take(20).collect();
        let problem = match gguf.as_slice() {
            [] => "the repository is not a sentence-transformers model of this layout".to_owned(),
            files => format!("add one of its GGUF files to the name: {}", files.join(", ")),
        };
        let what = format!("{missing} in {} at {}", wanted.repo, listing.commit);
        return Err(Error::NotPublished { what, problem });
    }
    let optional = wanted.optional().iter().copied().filter(|name| has(name));
    Ok(optional.chain(wanted.required()).map(str::to_owned).collect())
}

/// Bytes that a blob still needs on the disk.
fn missing_bytes(blob: &Path, bytes: u64) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length(blob) == bytes {
        0
    } else {
        bytes.saturating_sub(length(&beside(blob, "incomplete")))
    }
}

fn model_path(repo: &Repo, commit: &str, wanted: &Wanted) -> PathBuf {
    let folder = repo.snapshot(commit);
    wanted.file.as_ref().map_or(folder.clone(), |file| folder.join(file))
}

fn trust(wanted: &Wanted, file: &str) -> Trust {
    if wanted.pin(file).is_some() { Trust::Pinned } else { Trust::Recorded }
}

fn sums_of(files: &[PulledFile]) -> impl Iterator<Item = (&str, &str)> {
    files.iter().map(|file| (file.name.as_str(), file.sha256.as_str()))
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests;
