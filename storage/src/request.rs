//! What is asked of a collection.

use crate::filter::Filter;

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The query, a unit vector. `[full_width]`
    pub vector: Vec<f32>,
    /// Hits wanted.
    pub k: usize,
    /// Whether every live row is compared, instead of those that graphs lead to.
    pub exact: bool,
    /// Which rows may be hits; all if there is none. As many of them as are wanted are found, however few pass.
    pub filter: Option<Filter>,
    /// Whether a document gives its best chunk only.
    pub one_per_document: bool,
    /// From 0, the best by score, to 1: how much a hit loses by being like a better one (maximal marginal relevance).
    pub diversity: f32,
    /// Chunks given before and after each hit, from the same document.
    pub n_context: u32,
    /// The most tokens that hits and the chunks around them may have together.
    pub max_tokens: Option<u64>,
}

impl Request {
    /// The `k` rows closest to a vector.
    pub fn new(vector: Vec<f32>, k: usize) -> Request {
        Request {
            vector,
            k,
            exact: false,
            filter: None,
            one_per_document: false,
            diversity: 0.0,
            n_context: 0,
            max_tokens: None,
        }
    }

    /// The same, compared with every live row.
    #[must_use]
    pub fn exact(self) -> Request {
        Request { exact: true, ..self }
    }

    /// The same among the rows that pass a filter.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Request {
        Request { filter: Some(filter), ..self }
    }
}
