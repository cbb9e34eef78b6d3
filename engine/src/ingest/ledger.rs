//! What became of each file of a run. The ledger adds up: every file that was seen is in it once.

use std::path::PathBuf;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// New or changed: its chunks are in the collection.
    Indexed,
    /// As it was in the run before.
    Unchanged,
    /// Holds nothing for us; the reason says why.
    Skipped,
    /// Should have held text, and we could not get it; the reason says why.
    Failed,
    /// No longer there: its chunks are gone from the collection.
    Removed,
}

impl FileState {
    /// The state as one word.
    pub fn name(self) -> &'static str {
        match self {
            FileState::Indexed => "indexed",
            FileState::Unchanged => "unchanged",
            FileState::Skipped => "skipped",
            FileState::Failed => "failed",
            FileState::Removed => "removed",
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Absolute.
    pub path: PathBuf,
    /// What became of it.
    pub state: FileState,
    /// Why, where it is not plain.
    pub reason: Option<String>,
    /// Chunks it was cut into in this run; 0 for a file that was not cut.
    pub chunks: usize,
    /// Tokens of those chunks, prompts included.
    pub tokens: usize,
}

impl FileReport {
    pub(super) fn new(path: PathBuf, state: FileState) -> FileReport {
        FileReport { path, state, reason: None, chunks: 0, tokens: 0 }
    }
}

/// The whole run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order of the walk, removed ones last.
    pub files: Vec<FileReport>,
    /// Chunks that were embedded in this run; the others were known already.
    pub chunks_embedded: usize,
    /// Tokens that went through the model in this run.
    pub tokens_embedded: usize,
    /// Seconds spent in the model.
    pub seconds_embedding: f64,
    /// What the user should know beside the files.
    pub warnings: Vec<String>,
    /// True if the run was stopped before its end; what it had committed stays.
    pub stopped: bool,
}

impl Ledger {
    /// How many files ended in this state.
    pub fn count(&self, state: FileState) -> usize {
        self.files.iter().filter(|file| file.state == state).count()
    }

    /// How many files were seen: all but the removed ones.
    pub fn n_seen(&self) -> usize {
        self.files.len() - self.count(FileState::Removed)
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are done.
    pub files: usize,
    /// Files that were found.
    pub files_total: usize,
    /// Bytes of the files that are done.
    pub bytes: u64,
    /// Bytes of all files that were found.
    pub bytes_total: u64,
    /// Chunks that went through the model so far.
    pub chunks: usize,
    /// Tokens that went through the model so far.
    pub tokens: usize,
}
