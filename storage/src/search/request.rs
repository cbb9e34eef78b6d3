//! What is asked of a collection.

use crate::filter::Filter;
use crate::search::fuse::Fusion;
use crate::space::Space;

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The query, a unit vector. `[full_width]`; not looked at, and may be empty, if the fusion is [`Fusion::TextOnly`].
    pub vector: Vec<f32>,
    /// The space that the vector is of, if that is to be checked: a collection may be in another one by now.
    pub space: Option<Space>,
    /// The query in words, if text is searched as well; its syntax is that of
    /// [`Lexicon::search`](crate::Lexicon::search).
    pub text: Option<String>,
    /// How the hits of both are put together. Without a text, hits are those of the vector.
    pub fusion: Fusion,
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
            space: None,
            text: None,
            fusion: Fusion::default(),
            k,
            exact: false,
            filter: None,
            one_per_document: false,
            diversity: 0.0,
            n_context: 0,
            max_tokens: None,
        }
    }

    /// The `k` rows that match a text best.
    pub fn words(text: &str, k: usize) -> Request {
        let fusion = Fusion::TextOnly;
        Request { text: Some(text.to_owned()), fusion, ..Request::new(Vec::new(), k) }
    }

    /// The same, searched by words as well.
    #[must_use]
    pub fn text(self, text: &str) -> Request {
        Request { text: Some(text.to_owned()), ..self }
    }

    /// The same, with the hits of both put together in another way.
    #[must_use]
    pub fn fusion(self, fusion: Fusion) -> Request {
        Request { fusion, ..self }
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

    /// Whether vectors are compared.
    pub(crate) fn asks_vector(&self) -> bool {
        self.text.is_none() || self.fusion != Fusion::TextOnly
    }

    /// The text, if words are looked for.
    pub(crate) fn asked_text(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| self.fusion != Fusion::VectorOnly)
    }

    /// Rows that each side finds, so that the best `k` of both together are among them.
    pub(crate) fn depth(&self, k: usize) -> usize {
        match self.asks_vector() && self.asked_text().is_some() {
            true => {
                k.saturating_mul(crate::search::fuse::DEPTH_FACTOR).max(crate::search::fuse::DEPTH)
            }
            false => k,
        }
    }
}
