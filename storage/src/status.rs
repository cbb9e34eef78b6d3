//! What a database holds, for people: counts, sizes, warnings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use index::SegmentStats;
use index::mrl::Quant;

use crate::collection::Collection;
use crate::disk;
use crate::error::Result;
use crate::open::recover::{ENGINE_DIR, FORMAT};
use crate::records::key::{self, Tag};
use crate::segments::sealed::Sealed;
use crate::space::Space;
use crate::store::Store;
use crate::successor::SuccessorStatus;

/// The state of a database.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its directory.
    pub path: PathBuf,
    /// The version of its format.
    pub format: u32,
    /// Its collections, ordered by name.
    pub collections: Vec<CollectionStatus>,
    /// Bytes that sled has on disk.
    pub engine_bytes: u64,
    /// What was found damaged when it was opened and since, lexicons that cannot be written, and what fails in the
    /// background; all else works.
    pub warnings: Vec<String>,
}

/// The state of a collection.
#[derive(Clone, Debug)]
pub struct CollectionStatus {
    /// Its name.
    pub name: String,
    /// Its space.
    pub space: Space,
    /// The link that queries go through, if any.
    pub link: Option<String>,
    /// Documents stored.
    pub documents: usize,
    /// Rows that searches can find.
    pub chunks: usize,
    /// Those of them that are not yet in a segment.
    pub unsealed: usize,
    /// Rows in segments that were replaced or deleted.
    pub dead: usize,
    /// Its segments, in the order of their rows.
    pub segments: Vec<SegmentStatus>,
    /// Bytes of its lexicon, which finds rows by their words.
    pub lexicon_bytes: u64,
    /// What is built of it in another space; only the process that writes knows.
    pub successor: Option<SuccessorStatus>,
}

/// The state of a segment.
#[derive(Clone, Debug)]
pub struct SegmentStatus {
    /// The name of its file.
    pub name: String,
    /// Its rows, dead ones too.
    pub rows: usize,
    /// Those that were replaced or deleted.
    pub dead: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// The width of its codes.
    pub dims: usize,
    /// The kind of its codes.
    pub quant: Quant,
    /// How many of its rows were made in each precision of the model; those that were given have the name "".
    pub precisions: BTreeMap<String, u64>,
    /// What its graph looks like.
    pub stats: SegmentStats,
}

impl Store {
    /// What the database holds.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn status(&self) -> Result<Status> {
        let mut warnings = self.warnings();
        warnings.extend(self.maintenance().problems());
        let mut collections = Vec::new();
        for collection in self.all() {
            let n_documents = self.tree().count(&key::prefix(collection.number, Tag::Document))?;
            let mut status = of(&collection, n_documents, &mut warnings);
            status.successor = self.successor_status(&collection)?;
            collections.push(status);
        }
        Ok(Status {
            path: self.dir().to_owned(),
            format: FORMAT,
            collections,
            engine_bytes: disk::files_bytes(&self.dir().join(ENGINE_DIR)),
            warnings,
        })
    }
}

/// The state of one collection; graphs that a search has found damaged add a warning.
pub(crate) fn of(
    collection: &Collection,
    n_documents: usize,
    warnings: &mut Vec<String>,
) -> CollectionStatus {
    let view = collection.view();
    for sealed in view.sealed() {
        if let Some(problem) = sealed.segment().noticed() {
            warnings.push(format!(
                "searches of segment {} of collection {} compare all its rows, which is slow: {problem}; \
                 a check that repairs builds its graph anew",
                sealed.name(),
                collection.name
            ));
        }
    }
    if let Some(problem) = view.lexicon().problem() {
        let name = &collection.name;
        warnings.push(format!("the lexicon of collection {name} is kept in memory: {problem}"));
    }
    let mut precisions = |sealed: &Sealed| {
        sealed.made().unwrap_or_else(|problem| {
            warnings.push(problem.to_string());
            BTreeMap::new()
        })
    };
    let segments = view.sealed().iter().map(|sealed| SegmentStatus {
        precisions: precisions(sealed),
        name: sealed.name().to_owned(),
        rows: sealed.n_rows(),
        dead: sealed.n_dead(),
        bytes: sealed.n_bytes(),
        dims: sealed.dims(),
        quant: sealed.segment().quant(),
        stats: sealed.stats(),
    });
    let segments: Vec<SegmentStatus> = segments.collect();
    let unsealed = view.n_unsealed();
    let live = |segment: &SegmentStatus| segment.rows - segment.dead;
    CollectionStatus {
        name: collection.name.clone(),
        space: collection.space().as_ref().clone(),
        link: collection.link().map(|link| link.name.clone()),
        documents: n_documents,
        chunks: unsealed + segments.iter().map(live).sum::<usize>(),
        unsealed,
        dead: segments.iter().map(|segment| segment.dead).sum(),
        segments,
        lexicon_bytes: view.lexicon().n_bytes(),
        successor: None,
    }
}
