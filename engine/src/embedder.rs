//! The front door: prompt and text to a unit vector.

use rayon::prelude::*;

use crate::adalink::{Adapter, Link};
use crate::kernel::Precision;
use crate::model::{self, Fast, Opened, Report};
use crate::package::Package;
use crate::prompt;
use crate::{Error, Result};

/// The task that adds no prompt.
pub const NO_TASK: &str = "none";

/// Packed tokens of one pass unless memory is limited: enough for all threads, few enough for memory.
const TOKENS_PER_PASS: usize = 2048;

/// A loaded model, ready to embed.
///
/// ```
/// let embedder = engine::Embedder::open("nano")?;
/// let query = embedder.embed_one(embedder.prompt("query")?, "who frees this memory?")?;
/// let answer = embedder.document_prompt(Some("Ownership"))?;
/// let near = embedder.embed_one(&answer, "Memory is freed when its owner goes out of scope.")?;
/// let far = embedder.embed_one(&answer, "Peel the apples and slice them thinly.")?;
/// let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
/// assert!(dot(&query, &near) > dot(&query, &far));
/// # Ok::<(), engine::Error>(())
/// ```
pub struct Embedder {
    package: Package,
    model: Fast,
    report: Option<Report>,
    tokens_per_pass: usize,
}

/// The ids of one text in its prompt, `<bos>` and `<eos>` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// At most the model's window.
    pub ids: Vec<u32>,
    /// How many tokens at the end of the text did not fit; 0 unless truncation was asked for.
    pub n_dropped: usize,
}

impl Embedder {
    /// Loads a model by name, or from the path of a package.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub fn open(model: &str) -> Result<Embedder> {
        Embedder::open_in(model, None)
    }

    /// As [`open`](Embedder::open), with arithmetic of this precision; without one, the fastest that is
    /// true enough to f32.
    ///
    /// A model that is opened for the first time is prepared, and the result kept beside it or in the
    /// user's cache.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub fn open_in(model: &str, precision: Option<Precision>) -> Result<Embedder> {
        let Opened { package, model, report } = model::open(model, precision)?;
        Ok(Embedder { package, model, report, tokens_per_pass: TOKENS_PER_PASS })
    }

    /// Keeps what a pass needs beside the weights to about this many bytes. A single text that needs
    /// more runs alone.
    pub fn limit_memory(&mut self, n_bytes: u64) {
        let n_tokens = n_bytes / self.model.bytes_per_token() as u64;
        self.tokens_per_pass = usize::try_from(n_tokens).unwrap_or(usize::MAX).max(1);
    }

    /// How true this precision is to f32, if that was measured when the model was prepared.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// The precision of the arithmetic.
    pub fn precision(&self) -> Precision {
        self.model.precision()
    }

    /// The model's package: its widths, prompts, window and fingerprint.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// The width of an uncut vector.
    pub fn full_width(&self) -> usize {
        self.package.widths[0]
    }

    /// Checks that vectors may be cut to this width; none means the full width.
    ///
    /// # Errors
    /// [`Error::UnknownWidth`].
    pub fn width(&self, dims: Option<usize>) -> Result<usize> {
        let known = &self.package.widths;
        match dims {
            None => Ok(known[0]),
            Some(dims) if known.contains(&dims) => Ok(dims),
            Some(dims) => Err(Error::UnknownWidth { dims, known: known.clone() }),
        }
    }

    /// The prompt of a task, such as `query`; [`NO_TASK`] has an empty one.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub fn prompt(&self, task: &str) -> Result<&str> {
        if task == NO_TASK {
            return Ok("");
        }
        self.package.prompts.get(task).map(String::as_str).ok_or_else(|| {
            let known = self.package.prompts.keys().map(String::as_str);
            let known = known.chain([NO_TASK]).map(str::to_owned).collect();
            Error::UnknownTask { task: task.to_owned(), known }
        })
    }

    /// The prompt of documents, with a title where there is one.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] if the package has no prompt for documents.
    pub fn document_prompt(&self, title: Option<&str>) -> Result<String> {
        let prompt = self.prompt("document")?;
        Ok(title.map_or_else(|| prompt.to_owned(), |title| prompt::with_title(prompt, title)))
    }

    /// Joins prompt and text, and cuts them into tokens.
    ///
    /// # Errors
    /// [`Error::TooLong`] if they do not fit the window; [`Error::TokenOutsideTable`].
    pub fn tokenize(&self, prompt: &str, text: &str) -> Result<Tokens> {
        let tokens = self.tokenize_truncated(prompt, text)?;
        if tokens.n_dropped > 0 {
            let n_tokens = tokens.ids.len() + tokens.n_dropped;
            return Err(Error::TooLong { n_tokens, window: self.package.window });
        }
        Ok(tokens)
    }

    /// As [`tokenize`](Embedder::tokenize), but leaves out what does not fit and says how much.
    ///
    /// # Errors
    /// [`Error::TokenOutsideTable`].
    pub fn tokenize_truncated(&self, prompt: &str, text: &str) -> Result<Tokens> {
        let mut ids = self.package.tokenizer.framed(&format!("{prompt}{text}"))?;
        let n_dropped = ids.len().saturating_sub(self.package.window);
        if n_dropped > 0 {
            ids.truncate(self.package.window - 1);
            ids.push(self.package.config.eos);
        }
        let vocab_size = self.package.config.vocab_size;
        match ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(Error::TokenOutsideTable { id, vocab_size }),
            None => Ok(Tokens { ids, n_dropped }),
        }
    }

    /// As [`tokenize`](Embedder::tokenize) for many texts at once, in their order.
    ///
    /// # Errors
    /// The first text's error.
    pub fn tokenize_all(
        &self,
        texts: &[(impl AsRef<str> + Sync, impl AsRef<str> + Sync)],
    ) -> Result<Vec<Tokens>> {
        texts
            .par_iter()
            .map(|(prompt, text)| self.tokenize(prompt.as_ref(), text.as_ref()))
            .collect()
    }

    /// Embeds texts that are tokenised already. Returns unit vectors of full width, in order.
    ///
    /// Texts of like length run together; memory is bounded by tokens, never by the number of
    /// texts. After each pass `done` is told how many texts and tokens are finished; when it returns
    /// false the work stops.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `done` says so.
    pub fn embed(
        &self,
        texts: &[Tokens],
        done: impl FnMut(usize, usize) -> bool,
    ) -> Result<Vec<Vec<f32>>> {
        self.embed_with(texts, &[], done)
    }

    /// As [`embed`](Embedder::embed), each text with its own adapter or without one, in one batch.
    ///
    /// `adapters`: one entry for each text, or none at all.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `done` says so; [`Error::Adapter`] if one is of another width.
    ///
    /// # Panics
    /// If there are adapters, but not one entry for each text.
    pub fn embed_with(
        &self,
        texts: &[Tokens],
        adapters: &[Option<&Adapter>],
        mut done: impl FnMut(usize, usize) -> bool,
    ) -> Result<Vec<Vec<f32>>> {
        assert!(adapters.is_empty() || adapters.len() == texts.len(), "an entry for each text");
        let (hidden, full_width) = (self.package.config.hidden, self.full_width());
        adapters.iter().flatten().try_for_each(|adapter| adapter.check(hidden, full_width))?;
        let adapter = |i: usize| adapters.get(i).copied().flatten();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| (texts[i].ids.len(), i));
        let mut vectors = vec![Vec::new(); texts.len()];
        let (mut n_texts, mut n_tokens) = (0, 0);
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (pass, later) = rest.split_at(pass_size(rest, texts, self.tokens_per_pass));
            rest = later;
            let sequences: Vec<&[u32]> = pass.iter().map(|&i| &texts[i].ids[..]).collect();
            let links: Vec<Option<&Link>> = match adapters {
                [] => Vec::new(),
                _ => pass.iter().map(|&i| adapter(i)?.link.as_ref()).collect(),
            };
            for (&i, mut vector) in pass.iter().zip(self.model.forward_linked(&sequences, &links)) {
                n_texts += 1;
                n_tokens += texts[i].ids.len();
                if let Some(head) = adapter(i).and_then(|adapter| adapter.head.as_ref()) {
                    head.apply(&mut vector);
                }
                vectors[i] = vector;
            }
            if !done(n_texts, n_tokens) {
                return Err(Error::Cancelled);
            }
        }
        Ok(vectors)
    }

    /// Embeds one text. Returns a unit vector of full width.
    ///
    /// # Errors
    /// As [`tokenize`](Embedder::tokenize) and [`embed`](Embedder::embed).
    pub fn embed_one(&self, prompt: &str, text: &str) -> Result<Vec<f32>> {
        self.embed_one_with(prompt, text, None)
    }

    /// As [`embed_one`](Embedder::embed_one), with an adapter if there is one.
    ///
    /// # Errors
    /// As [`tokenize`](Embedder::tokenize) and [`embed_with`](Embedder::embed_with).
    pub fn embed_one_with(
        &self,
        prompt: &str,
        text: &str,
        adapter: Option<&Adapter>,
    ) -> Result<Vec<f32>> {
        let tokens = self.tokenize(prompt, text)?;
        let mut vectors = self.embed_with(&[tokens], &[adapter], |_, _| true)?;
        Ok(vectors.pop().unwrap_or_default())
    }
}

/// How many of the texts ahead fit into one pass of this many tokens; at least one.
fn pass_size(rest: &[usize], texts: &[Tokens], budget: usize) -> usize {
    let mut n_tokens = 0;
    let fits = rest.iter().take_while(|&&i| {
        n_tokens += texts[i].ids.len();
        n_tokens <= budget
    });
    fits.count().max(1)
}
