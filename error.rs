//! What can go wrong, each with what to do about it.

use std::fmt;

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// A file, a text or a model.
    Engine(engine::Error),
    /// The database.
    Storage(storage::Error),
    /// A text is no filter.
    Filter(storage::FilterError),
    /// Under the collection's model name lies another model than the one that made its vectors.
    OtherModel {
        /// The collection.
        collection: String,
        /// The model's name or path.
        model: String,
    },
    /// No model of ours made the collection's vectors, so no text can become one.
    NoModel {
        /// The collection.
        collection: String,
    },
    /// A model makes the collection's vectors, so none can be given.
    HasModel {
        /// The collection.
        collection: String,
        /// The model's name or path.
        model: String,
    },
    /// There is not one id for each row.
    Unpaired {
        /// Ids that were given.
        n_ids: usize,
        /// Rows that were given.
        n_rows: usize,
    },
    /// A text that is kept cannot be embedded by another model.
    Text {
        /// Its document.
        id: String,
        /// Why not.
        error: Box<engine::Error>,
    },
    /// A collection was asked to be embedded again by its own model, at another width.
    SameModel {
        /// The collection.
        collection: String,
        /// The width that it is searched at.
        found: usize,
        /// The width asked for.
        asked: usize,
    },
    /// A search for nothing.
    EmptyQuery,
    /// None of the queries to tune by has an answer in the collection.
    NoQueries {
        /// The collection.
        collection: String,
    },
    /// The collection's queries go through no link.
    NoActiveLink {
        /// The collection.
        collection: String,
    },
    /// A link was made for other vectors.
    LinkSpace {
        /// The link.
        name: String,
        /// The space it was made for.
        found: String,
        /// The collection's.
        expected: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Engine(error) => error.fmt(f),
            Error::Storage(error) => error.fmt(f),
            Error::Filter(error) => error.fmt(f),
            Error::OtherModel { collection, model } => write!(
                f,
                "the model '{model}' is not the one that made the vectors of collection \
                 '{collection}' any more: name the old model's path, bring the collection to this one \
                 with `gemmule reembed --model {model}`, or index into another collection"
            ),
            Error::NoQueries { collection } => write!(
                f,
                "none of the queries has an answer in collection '{collection}': answers are ids as \
                 `list` shows them"
            ),
            Error::NoActiveLink { collection } => {
                write!(f, "the queries of collection '{collection}' go through no link: name one")
            }
            Error::LinkSpace { name, found, expected } => write!(
                f,
                "link '{name}' was made for other vectors: for {found}, the collection has \
                 {expected}; make it anew with `tune run`"
            ),
            Error::NoModel { collection } => write!(
                f,
                "the vectors of collection '{collection}' were given, and there is no model that makes \
                 vectors like them of a text: ask with a vector, or for words only"
            ),
            Error::HasModel { collection, model } => write!(
                f,
                "the model '{model}' makes the vectors of collection '{collection}', and those of others \
                 cannot be compared with them: put them into another collection"
            ),
            Error::Unpaired { n_ids, n_rows } => {
                write!(f, "could not add vectors: {n_ids} ids for {n_rows} rows")
            }
            Error::Text { id, error } => {
                write!(f, "document '{id}' cannot be embedded by this model: {error}")
            }
            Error::SameModel { collection, found, asked } => write!(
                f,
                "collection '{collection}' is in this model's space already, searched at width {found}: \
                 `gemmule reindex --dims {asked}` gives it another width without embedding anything"
            ),
            Error::EmptyQuery => write!(f, "the query is empty: there is nothing to search for"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Engine(error) => error.source(),
            Error::Text { error, .. } => error.source(),
            Error::Storage(error) => error.source(),
            _ => None,
        }
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Error {
        Error::Engine(error)
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        Error::Storage(error)
    }
}

impl From<storage::FilterError> for Error {
    fn from(error: storage::FilterError) -> Error {
        Error::Filter(error)
    }
}
