//! Tuning: adapts how a collection's queries are embedded, and keeps what was learnt as a link.
//!
//! Joins [`engine::adalink`], which learns and judges, with the store, which has the documents as they
//! are searched and keeps the links. Documents are never embedded again.

use std::collections::HashMap;
use std::sync::Arc;

use engine::adalink::{
    About, Adapter, Before, Data, Delta, Documents, FEWEST_GUARDS, Form, Link, MOST_GUARDS, Model,
    Options, Positive, Problem, Query, Report, Rung, RungReport, Source, Verdict, Watch, guards,
    keep_known, measure, tune,
};
use engine::package::Matrix;
use engine::{Embedder, Precision, Tokens};
use storage::index::mrl;
use storage::{Links, Space};

use crate::{Collection, Error, Result};

/// A text that answers a query is that of a stored chunk if their vectors are closer than this.
const SAME_TEXT: f32 = 0.98;

/// What a run of tuning found.
#[derive(Debug)]
pub struct Tuned {
    /// What was tried, and the verdict.
    pub report: Report,
    /// Answers that are not in the collection, and queries that were left without any.
    pub n_unknown: (usize, usize),
    /// The link that was accepted, as a file: for [`install_link`](Collection::install_link).
    pub link: Option<Vec<u8>>,
}

/// What a link does on queries whose answers are known.
#[derive(Debug)]
pub struct Evaluated {
    /// In each form in which documents are stored, the one that is shown first.
    pub forms: Vec<(String, Delta)>,
    /// As in [`Tuned`].
    pub n_unknown: (usize, usize),
}

/// The active link and what is read from it.
pub(crate) type Active = Option<(Arc<storage::Link>, Arc<Adapter>)>;

impl Collection {
    /// Tries to adapt this collection's queries to `data`; what it finds is not installed.
    ///
    /// `choose` may change what is tried from what fits this number of queries.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::Storage`]; [`Error::NoQueries`] if no answer is in the collection.
    pub fn tune(
        &self,
        data: Data,
        choose: impl FnOnce(&mut Options),
        watch: &Watch,
    ) -> Result<Tuned> {
        let asked = Asked::new(self, data.queries)?;
        let mut options = Options::for_queries(asked.queries.len());
        if data.is_by_time {
            options.deal = engine::adalink::Deal::ByTime;
        }
        choose(&mut options);
        let embedder = self.embedder()?;
        let needs_model =
            options.rungs.iter().any(|r| matches!(r, Rung::Link(_) | Rung::LinkAndRidge(_)));
        let before = match needs_model {
            true => Some(Before::open(&self.space.model, &asked.tokens, Precision::Bf16)?),
            false => None,
        };
        let embed = |places: &[usize], link: &Link| {
            let adapter = Adapter { link: Some(link.clone()), head: None };
            asked.embed(embedder, places, Some(&adapter))
        };
        let vectors = asked.embed(embedder, &asked.all(), None)?;
        let problem = Problem {
            queries: &asked.queries,
            vectors: &vectors,
            documents: &asked.documents,
            model: before.as_ref().map(|place| Model { place, embed: &embed }),
        };
        let mut report = tune(&problem, &options, watch)?;
        if let Some(adapter) = &report.adapter
            && let Some(guard) = self.guard(&asked.documents, adapter)?
        {
            report.guard(guard);
        }
        let link = match (&report.adapter, &report.verdict) {
            (Some(adapter), Verdict::Accepted(rung)) => {
                let of_rung = report.rungs.iter().find(|each| each.rung == *rung);
                let notes = of_rung.map(notes).unwrap_or_default();
                let rung = rung.to_string();
                Some(adapter.to_bytes(&About { rung, notes, ..self.about()? })?)
            }
            _ => None,
        };
        Ok(Tuned { report, n_unknown: asked.n_unknown, link })
    }

    /// Measures a link, or the active one if none is named, on queries whose answers are known.
    ///
    /// # Errors
    /// As [`tune`](Collection::tune) and [`link`](Collection::link); [`Error::NoActiveLink`].
    pub fn evaluate_link(&self, name: Option<&str>, data: Data) -> Result<Evaluated> {
        let adapter = match name {
            Some(name) => Arc::new(Adapter::from_bytes(&self.link(name)?)?.0),
            None => self
                .adapter()?
                .ok_or_else(|| Error::NoActiveLink { collection: self.name.clone() })?,
        };
        let asked = Asked::new(self, data.queries)?;
        let embedder = self.embedder()?;
        let base = asked.embed(embedder, &asked.all(), None)?;
        let with = asked.embed(embedder, &asked.all(), Some(&adapter))?;
        let forms = measure(&asked.queries, &asked.documents, &base, &with);
        Ok(Evaluated { forms, n_unknown: asked.n_unknown })
    }

    /// Keeps a link under a name and sends queries through it from now on.
    ///
    /// # Errors
    /// [`Error::Engine`] if these are no bytes of a link; [`Error::LinkSpace`] if it was made for other
    /// vectors; [`Error::Storage`].
    pub fn install_link(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (adapter, about) = Adapter::from_bytes(bytes)?;
        let expected = space_text(&self.space);
        if about.space != expected {
            let (name, found) = (name.to_owned(), about.space);
            return Err(Error::LinkSpace { name, found, expected });
        }
        let embedder = self.embedder()?;
        adapter.check(embedder.package().config.hidden, embedder.full_width())?;
        let (name, space, bytes) = (name.to_owned(), self.space.clone(), bytes.to_vec());
        Ok(self.access.store()?.install_link(&self.name, storage::Link { name, space, bytes })?)
    }

    /// The links of this collection.
    pub fn links(&self) -> Result<Links> {
        Ok(self.access.store()?.links(&self.name)?)
    }

    /// The bytes of a link.
    pub fn link(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.access.store()?.link(&self.name, name)?.bytes)
    }

    /// Sends queries through this link from now on, or through none.
    pub fn use_link(&self, name: Option<&str>) -> Result<()> {
        Ok(self.access.store()?.use_link(&self.name, name)?)
    }

    /// Goes back to what was active before the active link; again, and it is active again.
    pub fn roll_back_link(&self) -> Result<Links> {
        let previous = self.links()?.previous;
        self.use_link(previous.as_deref())?;
        self.links()
    }

    /// Adds links up, each with its weight, into the bytes of a new one; it is not installed.
    ///
    /// # Errors
    /// As [`link`](Collection::link); [`Error::Engine`] if they do not fit together.
    pub fn merge_links(&self, links: &[(String, f32)]) -> Result<Vec<u8>> {
        let read = |(name, weight): &(String, f32)| -> Result<(Adapter, f32)> {
            Ok((Adapter::from_bytes(&self.link(name)?)?.0, *weight))
        };
        let adapters = links.iter().map(read).collect::<Result<Vec<_>>>()?;
        let parts: Vec<(&Adapter, f32)> = adapters.iter().map(|(a, weight)| (a, *weight)).collect();
        let parts_text = links.iter().map(|(name, weight)| format!("{weight} {name}"));
        let rung = format!("merged: {}", parts_text.collect::<Vec<_>>().join(" + "));
        Ok(Adapter::merge(&parts)?.to_bytes(&About { rung, ..self.about()? })?)
    }

    /// What queries go through.
    pub(crate) fn adapter(&self) -> Result<Option<Arc<Adapter>>> {
        let Some(link) = self.access.active_link(&self.name)? else { return Ok(None) };
        let mut active = self.active.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, adapter)) = &*active
            && Arc::ptr_eq(known, &link)
        {
            return Ok(Some(adapter.clone()));
        }
        let adapter = Arc::new(Adapter::from_bytes(&link.bytes)?.0);
        *active = Some((link, adapter.clone()));
        Ok(Some(adapter))
    }

    /// What an adapter does to queries made of the documents; none if there are too few.
    fn guard(&self, documents: &Documents, adapter: &Adapter) -> Result<Option<Delta>> {
        let infos = self.list()?;
        let n_asked = infos.len().min(MOST_GUARDS);
        let mut chosen = Vec::with_capacity(n_asked);
        for info in (0..n_asked).map(|n| &infos[n * infos.len() / n_asked]) {
            // One in the middle: the first of many is often front matter.
            let at = info.n_chunks / 2;
            if let Some(chunk) = self.chunks(&info.id, at..at.saturating_add(1))?.pop() {
                chosen.push((info, chunk));
            }
        }
        let queries = guards(chosen.iter().map(|(info, chunk)| Source {
            document: &info.id,
            title: info.title.as_deref(),
            headings: &chunk.headings,
            text: &chunk.text,
        }));
        if queries.len() < FEWEST_GUARDS {
            return Ok(None);
        }
        let embedder = self.embedder()?;
        let tokens = tokens(embedder, &queries)?;
        let base = embed(embedder, &tokens, None)?;
        let with = embed(embedder, &tokens, Some(adapter))?;
        let of_forms = measure(&queries, documents, &base, &with);
        Ok(of_forms.into_iter().next().map(|(_, delta)| delta))
    }

    fn about(&self) -> Result<About> {
        Ok(About {
            fingerprint: self.space.fingerprint.clone(),
            space: space_text(&self.space),
            prompt: self.embedder()?.prompt("query")?.to_owned(),
            ..About::default()
        })
    }
}

/// What a link is bound to: a space without the model's name, which may be a path, and the width of codes.
fn space_text(space: &Space) -> String {
    let Space { fingerprint, document_prompt, link, full_width, .. } = space;
    let link = link.as_deref().unwrap_or("none");
    format!(
        "model {fingerprint}, document prompt {document_prompt:?}, document link {link}, width {full_width}"
    )
}

fn notes(report: &RungReport) -> std::collections::BTreeMap<String, String> {
    let delta = |delta: &Delta| {
        let (low, high) = delta.interval;
        format!(
            "nDCG@10 {:.4} to {:.4} on {} queries, gain 95% {low:+.4} to {high:+.4}, p {:.4}",
            delta.base, delta.with, delta.n_queries, delta.p
        )
    };
    let notes = [("test", &report.test), ("seen", &report.seen), ("unseen", &report.unseen)];
    let notes = notes.into_iter().filter(|(_, of)| of.n_queries > 0);
    notes.map(|(name, of)| (name.to_owned(), delta(of))).collect()
}

/// Queries with answers, and the documents of a collection as it has them.
struct Asked {
    queries: Vec<Query>,
    tokens: Vec<Tokens>,
    documents: Documents,
    n_unknown: (usize, usize),
}

impl Asked {
    fn new(collection: &Collection, mut queries: Vec<Query>) -> Result<Asked> {
        let documents = documents(collection)?;
        let embedder = collection.embedder()?;
        find_texts(collection, embedder, &documents, &mut queries)?;
        let n_unknown = keep_known(&mut queries, &documents);
        if queries.is_empty() {
            return Err(Error::NoQueries { collection: collection.name.clone() });
        }
        let tokens = tokens(embedder, &queries)?;
        Ok(Asked { queries, tokens, documents, n_unknown })
    }

    fn all(&self) -> Vec<usize> {
        (0..self.queries.len()).collect()
    }

    fn embed(
        &self,
        embedder: &Embedder,
        places: &[usize],
        adapter: Option<&Adapter>,
    ) -> engine::Result<Matrix> {
        let tokens: Vec<Tokens> = places.iter().map(|&i| self.tokens[i].clone()).collect();
        embed(embedder, &tokens, adapter)
    }
}

/// Queries in their prompt.
fn tokens(embedder: &Embedder, queries: &[Query]) -> engine::Result<Vec<Tokens>> {
    let prompt = embedder.prompt("query")?;
    queries.iter().map(|query| embedder.tokenize_truncated(prompt, &query.text)).collect()
}

/// Their vectors, `[n, full_width]`.
fn embed(
    embedder: &Embedder,
    tokens: &[Tokens],
    adapter: Option<&Adapter>,
) -> engine::Result<Matrix> {
    let rows = embedder.embed_with(tokens, &vec![adapter; tokens.len()], |_, _| true)?;
    Ok(Matrix { values: rows.concat(), n_rows: rows.len(), n_cols: embedder.full_width() })
}

/// All rows of a collection: of full width as they are kept, and as codes.
fn documents(collection: &Collection) -> Result<Documents> {
    let (store, name) = (collection.access.store()?, &collection.name);
    let Space { full_width, dims, .. } = collection.space;
    let (mut ids, mut document_idx) = (Vec::new(), Vec::new());
    let (mut full, mut codes) = (Vec::new(), Vec::new());
    for info in collection.list()? {
        for row in info.first_row..info.first_row + u64::from(info.n_chunks) {
            let Some(vector) = store.vector(name, row)? else { continue };
            let vector = vector.into_f32();
            let cut = mrl::quantise(&mrl::cut(&vector, dims));
            codes.extend(cut.codes.iter().map(|&code| f32::from(code)));
            full.extend(vector);
            document_idx.push(ids.len() as u32);
        }
        ids.push(info.id);
    }
    let n_rows = document_idx.len();
    let form = |name: String, values: Vec<f32>, n_cols: usize| {
        let rows = Matrix { values, n_rows, n_cols };
        Form { name, rows }
    };
    let forms = vec![
        form(format!("{full_width} f16"), full, full_width),
        form(format!("{dims} int8"), codes, dims),
    ];
    Ok(Documents::new(ids, document_idx, forms))
}

/// Turns texts that answer queries into ids: of the document that has such a chunk, else of the one whose
/// vector is nearly the text's. A text that is nowhere counts as an unknown answer.
fn find_texts(
    collection: &Collection,
    embedder: &Embedder,
    documents: &Documents,
    queries: &mut [Query],
) -> Result<()> {
    if queries.iter().all(|query| query.positive_texts.is_empty()) {
        return Ok(());
    }
    let mut by_text: HashMap<String, String> = HashMap::new();
    for info in collection.list()? {
        for chunk in collection.chunks(&info.id, 0..info.n_chunks)? {
            by_text.insert(chunk.text.trim().to_owned(), info.id.clone());
        }
    }
    let prompt = embedder.document_prompt(None)?;
    for query in queries {
        for text in std::mem::take(&mut query.positive_texts) {
            let document = match by_text.get(text.trim()) {
                Some(id) => id.clone(),
                None => documents
                    .nearest(&embedder.embed_one(&prompt, &text)?)
                    .filter(|(_, score)| *score >= SAME_TEXT)
                    // Of no document's name, so that it is counted as unknown.
                    .map_or_else(String::new, |(id, _)| id),
            };
            query.positives.push(Positive { document, grade: 1, weight: 1.0 });
        }
    }
    Ok(())
}
