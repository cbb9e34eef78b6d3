//! What can go wrong with a database, each with what to do about it.
//!
//! Errors are for the world: files, users, disks. A broken promise inside this crate is an assertion instead.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use index::{BINARY_DIMS_MIN, Metric, SegmentError};

use crate::space::Space;

/// The result of an operation on a database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a database was refused or could not finish.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// Another process (or another `Store` of this one) has the database open for writing.
    Locked {
        /// The database.
        dir: PathBuf,
        /// The owner, if it has written its name already.
        pid: Option<u32>,
    },
    /// The path is a file, or a directory that holds other things.
    NotADatabase {
        /// The path.
        dir: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A copy cannot be written to this path.
    Target {
        /// The path.
        dir: PathBuf,
        /// What is there.
        found: String,
    },
    /// What readers need is missing or damaged; all else may be well.
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The database was written by another version of this program.
    Format {
        /// The database.
        dir: PathBuf,
        /// The version found there.
        found: u32,
        /// The version that this program reads and writes.
        expected: u32,
    },
    /// The directory or its file system does not let us write.
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too little free space for the next write to be safe; nothing was written.
    DiskFull {
        /// The database.
        dir: PathBuf,
        /// Bytes free now.
        free: u64,
        /// Bytes that the write needs, the reserve included.
        needed: u64,
    },
    /// The operating system refused something else.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record or a small file does not hold what was written.
    Corrupt {
        /// Which one.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A segment file does not hold what was written.
    Segment {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        source: SegmentError,
    },
    /// A row lies in a segment that could not be opened.
    Unreachable {
        /// The collection.
        collection: String,
        /// The row.
        row: u64,
    },
    /// The key-value engine failed in a way it should not.
    Engine {
        /// What was being done.
        doing: &'static str,
        /// The database's engine directory.
        dir: PathBuf,
        /// What the engine said.
        problem: String,
    },
    /// An earlier write failed half-way, so what is on disk is not known; open the database again.
    Broken {
        /// The database's engine directory.
        dir: PathBuf,
    },
    /// There is no such collection.
    NoCollection {
        /// The name asked for.
        name: String,
    },
    /// The name cannot be a collection's or a link's.
    Name {
        /// The name asked for.
        name: String,
    },
    /// A link was made for another space than the collection's.
    LinkSpace {
        /// The link.
        link: String,
        /// The collection.
        collection: String,
        /// The space it was made for.
        made_for: Box<Space>,
        /// The collection's.
        found: Box<Space>,
    },
    /// A link is larger than a record may be.
    LinkTooLarge {
        /// The link.
        link: String,
        /// Its size with name and space.
        n_bytes: usize,
    },
    /// The collection has no link of this name.
    NoLink {
        /// The name asked for.
        link: String,
        /// The collection.
        collection: String,
        /// The names of those it has.
        known: Vec<String>,
    },
    /// The collection's vectors live in another space.
    Space {
        /// The collection.
        collection: String,
        /// The space it was created with.
        existing: Box<Space>,
        /// The space asked for.
        asked: Box<Space>,
    },
    /// A collection is no longer being built in this space: another space was begun, or this one is complete.
    Superseded {
        /// The collection.
        collection: String,
        /// The space.
        space: Box<Space>,
    },
    /// What was built of a collection in a new space is damaged, and was given up.
    Successor {
        /// The collection.
        collection: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A collection's vectors were given, so there is no other space to build it in.
    Given {
        /// The collection.
        collection: String,
    },
    /// The space cannot exist.
    Width {
        /// Full width asked for.
        full_width: usize,
        /// Code width asked for.
        dims: usize,
    },
    /// Vectors are cut to too few values for codes of a bit each.
    Narrow {
        /// Code width asked for.
        dims: usize,
    },
    /// Vectors are compared by a metric for which codes of a bit each know too little: nothing of lengths.
    Lengths {
        /// The metric.
        metric: Metric,
    },
    /// A document cannot be stored as it is.
    Document {
        /// Its id (the start of it, if long).
        id: String,
        /// Why not.
        problem: String,
    },
    /// A filter cannot be used for this.
    Filter {
        /// The filter.
        filter: String,
        /// Why not.
        problem: String,
    },
    /// A vector has the wrong width or a value that is no number.
    Row {
        /// Whose vector: a document's chunk, or the query.
        of: String,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// A search asks for a diversity that is not between 0 and 1.
    Diversity {
        /// What it asks for.
        found: f32,
    },
}

/// What is wrong with a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowProblem {
    /// It is not as wide as the collection's space.
    Width {
        /// Values found.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// It holds NaN or an infinity.
    NotFinite {
        /// Position of the first such value.
        position: usize,
    },
    /// It has no direction: all its values are 0.
    Zero,
    /// It is so long that scores of this metric could be beyond what a float32 can hold.
    TooLong {
        /// How the collection's vectors are compared.
        metric: Metric,
    },
    /// It is kept in f16 and the collection keeps f32, or the other way round.
    Kept,
}

impl Error {
    /// True if stored bytes are not what was written.
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            Error::Corrupt { .. }
                | Error::Segment { .. }
                | Error::Unreachable { .. }
                | Error::Manifest { .. }
        )
    }

    /// True if the caller asked for something that cannot be.
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            Error::NoCollection { .. }
                | Error::Name { .. }
                | Error::Space { .. }
                | Error::Superseded { .. }
                | Error::Given { .. }
                | Error::LinkSpace { .. }
                | Error::LinkTooLarge { .. }
                | Error::NoLink { .. }
                | Error::Width { .. }
                | Error::Lengths { .. }
                | Error::Narrow { .. }
                | Error::Document { .. }
                | Error::Filter { .. }
                | Error::Row { .. }
                | Error::Diversity { .. }
        )
    }

    /// True if the disk or its permissions are the cause.
    pub fn is_io(&self) -> bool {
        matches!(self, Error::ReadOnly { .. } | Error::DiskFull { .. } | Error::Io { .. })
    }

    pub(crate) fn corrupt(key: impl fmt::Display, problem: impl Into<String>) -> Error {
        Error::Corrupt { key: key.to_string(), problem: problem.into() }
    }
}

/// Names what was being done to which file when the system said no.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Error::ReadOnly { doing, path, source }
        }
        _ => Error::Io { doing, path, source },
    }
}

impl Error {
    /// Says what is wrong with what the caller asked for.
    fn fmt_input(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoCollection { name } => {
                write!(f, "there is no collection {name:?}; create it first")
            }
            Error::Name { name } => write!(
                f,
                "{name:?} cannot name a collection or a link: use 1 to 64 letters, digits, '_', '.' or '-'"
            ),
            Error::Space { collection, existing, asked } if existing.agrees_with(asked) => {
                write!(
                    f,
                    "collection {collection:?} is searched by {} codes of width {}, not by {} ones of {}; \
                     reindex gives it others without embedding anything",
                    existing.quant, existing.dims, asked.quant, asked.dims
                )
            }
            Error::LinkSpace { link, collection, made_for, found } => write!(
                f,
                "link {link} was made for another space: for {made_for}, and collection \
                 {collection:?} has {found}; tune this collection, or install the link where it was made"
            ),
            Error::LinkTooLarge { link, n_bytes } => write!(
                f,
                "link {link} has {n_bytes} bytes, more than the 64 MiB of a record; use a lower rank"
            ),
            Error::NoLink { link, collection, known } => {
                let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
                write!(f, "collection {collection:?} has no link {link:?}; it has: {known}")
            }
            Error::Space { collection, existing, asked } => {
                write!(
                    f,
                    "collection {collection:?} holds vectors of {existing}, not of {asked}; "
                )?;
                match existing.has_model() && asked.has_model() {
                    true => write!(
                        f,
                        "use the first, bring the collection to the other with `gemmule reembed --model {}`, \
                         or use another collection",
                        asked.model
                    ),
                    false => write!(f, "use another collection for these"),
                }
            }
            Error::Superseded { collection, space } => write!(
                f,
                "collection {collection:?} is no longer being built in the space of {space}: that is complete, \
                 or another was begun; look at its status"
            ),
            Error::Given { collection } => write!(
                f,
                "collection {collection:?} holds vectors that were given, and no texts that a model could embed; \
                 import vectors of the other model into another collection"
            ),
            Error::Width { full_width, dims } => write!(
                f,
                "vectors of width {full_width} cannot be cut to {dims}: need 1 <= dims <= full width <= {}",
                crate::space::MAX_FULL_WIDTH
            ),
            Error::Narrow { dims } => write!(
                f,
                "{dims} values are too few for binary codes: take at least {BINARY_DIMS_MIN}, or int8 codes"
            ),
            Error::Lengths { metric } => write!(
                f,
                "vectors compared by {metric} have no binary codes, which know nothing of lengths: take int8"
            ),
            Error::Document { id, problem } => {
                write!(f, "document {id:?} cannot be stored: {problem}")
            }
            Error::Diversity { found } => {
                write!(
                    f,
                    "a search has a diversity from 0 (best scores) to 1 (least alike), not {found}"
                )
            }
            Error::Filter { filter, problem } => {
                write!(f, "filter {filter:?} cannot be used here: {problem}")
            }
            Error::Row { of, problem } => match problem {
                RowProblem::Width { found, expected } => {
                    write!(
                        f,
                        "the vector of {of} has {found} values, the collection has {expected}"
                    )
                }
                RowProblem::Zero => {
                    write!(f, "the vector of {of} is all zeros: it has no cosine with anything")
                }
                RowProblem::TooLong { metric } => write!(
                    f,
                    "the vector of {of} is longer than {:e}, the most that {metric} can compare: scale all \
                     vectors down",
                    metric.length_max()
                ),
                RowProblem::Kept => write!(
                    f,
                    "the vector of {of} is not kept as those of its collection: make it by the space's `kept`"
                ),
                RowProblem::NotFinite { position } => {
                    write!(f, "the vector of {of} holds no finite number at position {position}")
                }
            },
            other => unreachable!("{other:?} has its message in fmt"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Locked { dir, pid } => {
                write!(f, "cannot open database {} for writing: ", dir.display())?;
                match pid {
                    Some(pid) => {
                        write!(f, "process {pid} is writing to it; wait for it or stop it")
                    }
                    None => write!(f, "another process is just opening it; try again"),
                }
            }
            Error::NotADatabase { dir, found } => write!(
                f,
                "cannot open {} as a database: {found}; name an empty or new directory",
                dir.display()
            ),
            Error::Target { dir, found } => write!(
                f,
                "cannot write a copy to {}: {found}; name an empty or new directory",
                dir.display()
            ),
            Error::Manifest { path, problem } => write!(
                f,
                "cannot read {}: {problem}; open the database for writing once, which writes it anew",
                path.display()
            ),
            Error::Format { dir, found, expected } => {
                write!(
                    f,
                    "cannot open database {}: it has format {found}, this program reads format {expected}; ",
                    dir.display()
                )?;
                if found > expected {
                    write!(f, "use a newer gemmule")
                } else {
                    write!(f, "open it with the gemmule that wrote it, export, and import here")
                }
            }
            Error::ReadOnly { doing, path, source } => write!(
                f,
                "cannot {doing} {}: {source}; make the directory writable for this user",
                path.display()
            ),
            Error::DiskFull { dir, free, needed } => write!(
                f,
                "cannot write to database {}: {free} bytes free, {needed} needed to be safe; \
                 free some space and try again, nothing was written",
                dir.display()
            ),
            Error::Io { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
            Error::Corrupt { key, problem } => write!(
                f,
                "{key} is damaged: {problem}; restore a backup, or delete and index again"
            ),
            Error::Segment { name, source } => write!(
                f,
                "segment {name} is damaged: {source}; restore a backup, or delete and index again"
            ),
            Error::Successor { collection, problem } => write!(
                f,
                "what was built of collection {collection} in its new space is damaged and was given up: {problem}; \
                 the old space is as it was: reembed begins anew"
            ),
            Error::Unreachable { collection, row } => write!(
                f,
                "row {row} of collection {collection} cannot be read: its segment could not be opened; \
                 see the warnings of status"
            ),
            Error::Engine { doing, dir, problem } => {
                write!(f, "cannot {doing} {}: {problem}; open the database again", dir.display())
            }
            Error::Broken { dir } => write!(
                f,
                "cannot use {}: an earlier operation on it failed; open the database again",
                dir.display()
            ),
            input => input.fmt_input(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::ReadOnly { source, .. } => Some(source),
            Error::Segment { source, .. } => Some(source),
            _ => None,
        }
    }
}
