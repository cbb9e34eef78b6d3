//! A search: what is asked, of what, in which form.

use std::sync::Arc;

use engine::adalink::Adapter;
use storage::{Answer, Filter, Fusion};

use crate::{Collection, Error, Result};

impl Collection {
    /// Begins a search.
    pub fn search(&self, query: impl Into<String>) -> Search<'_> {
        let (query, request) = (query.into(), storage::Request::new(Vec::new(), 10));
        let (vector, through) = (None, Through::Active);
        Search { collection: self, query, vector, request, through, wrong: None }
    }
}

/// A search in the making.
pub struct Search<'a> {
    collection: &'a Collection,
    query: String,
    /// What is compared instead of the query's own vector.
    vector: Option<Vec<f32>>,
    /// All but the query's vector.
    request: storage::Request,
    through: Through,
    /// What is wrong with the filter.
    wrong: Option<storage::FilterError>,
}

/// Which link a query goes through.
enum Through {
    Active,
    Named(String),
    None,
}

impl Search<'_> {
    /// At most this many hits; 10 if it is not said.
    #[must_use]
    pub fn limit(mut self, n_hits: usize) -> Self {
        self.request.k = n_hits;
        self
    }

    /// Compares this vector instead of the query's own; the query is then for words only, and may be
    /// empty. It is scaled to unit length.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
        self
    }

    /// Compares the query with every row instead of walking the graph.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.request.exact = true;
        self
    }

    /// Only chunks that pass: conditions as in SQL, such as `lang = 'en' AND year >= 2020`, or JSON that
    /// begins with `{`. [`Filter`] says which fields there are. As many hits as are wanted are found,
    /// however few chunks pass.
    #[must_use]
    pub fn filter(mut self, filter: &str) -> Self {
        match filter.parse::<Filter>() {
            Ok(filter) => self.request.filter = Some(filter),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// At most one hit a document: its best.
    #[must_use]
    pub fn group_by_document(mut self) -> Self {
        self.request.one_per_document = true;
        self
    }

    /// Prefers hits that differ from each other: from 0, the best by score, to 1. A little, such as
    /// 0.3, keeps repetitions out of an answer (maximal marginal relevance).
    #[must_use]
    pub fn diversity(mut self, diversity: f32) -> Self {
        self.request.diversity = diversity;
        self
    }

    /// How hits by meaning and hits by words become one list, or which of the two are asked for; both
    /// by their scores if it is not said.
    #[must_use]
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.request.fusion = fusion;
        self
    }

    /// Adds this many chunks before and after each hit, from the same document.
    #[must_use]
    pub fn context(mut self, n_chunks: u32) -> Self {
        self.request.n_context = n_chunks;
        self
    }

    /// Gives no more than this many tokens of text in all, context included; a hit that does not fit
    /// is left out and counted.
    #[must_use]
    pub fn max_tokens(mut self, n_tokens: u64) -> Self {
        self.request.max_tokens = Some(n_tokens);
        self
    }

    /// Sends the query through this link of the collection, or through none, whichever is active.
    #[must_use]
    pub fn link(mut self, name: Option<&str>) -> Self {
        self.through = name.map_or(Through::None, |name| Through::Named(name.to_owned()));
        self
    }

    fn adapter(&self) -> Result<Option<Arc<Adapter>>> {
        match &self.through {
            Through::Active => self.collection.adapter(),
            Through::None => Ok(None),
            Through::Named(name) => {
                let (adapter, _) = Adapter::from_bytes(&self.collection.link(name)?)?;
                Ok(Some(Arc::new(adapter)))
            }
        }
    }

    /// Finds the chunks that are closest to the query by meaning and by words.
    ///
    /// # Errors
    /// [`Error::Filter`] if the filter cannot be read; [`Error::EmptyQuery`]; [`Error::Engine`] if the
    /// query is longer than the model's window; [`Error::NoModel`] if there is none to embed it;
    /// [`Error::Storage`].
    pub fn run(mut self) -> Result<Answer> {
        if let Some(error) = self.wrong {
            return Err(error.into());
        }
        let asks_vector = self.request.fusion != Fusion::TextOnly;
        let has_words = !self.query.trim().is_empty();
        let Collection { access, name, space, .. } = self.collection;
        match self.vector.take().filter(|_| asks_vector) {
            Some(given) => {
                let of = || "the query".to_owned();
                self.request.vector = space
                    .asked(&given)
                    .map_err(|problem| storage::Error::Row { of: of(), problem })?;
            }
            None if !has_words => return Err(Error::EmptyQuery),
            None if asks_vector => {
                let embedder = self.collection.embedder()?;
                let (prompt, adapter) = (embedder.prompt("query")?, self.adapter()?);
                self.request.vector =
                    embedder.embed_one_with(prompt, &self.query, adapter.as_deref())?;
            }
            None => {}
        }
        self.request.space = asks_vector.then(|| space.clone());
        self.request.text = has_words.then_some(self.query);
        Ok(access.search(name, &self.request)?)
    }
}
