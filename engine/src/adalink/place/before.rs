//! Before a model: the place of a link that is learnt through the whole of it.
//!
//! The weights are frozen, so the way back needs no gradient but that of the token rows. Of the
//! embedding table, the largest part of a small model, only the rows of the queries' tokens are read.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{LossOf, Place};
use crate::adalink::Link;
use crate::package::{Config, Location, Matrix, Weights};
use crate::train::Pass;
use crate::{Precision, Result, Tokens};

/// Tokens of one pass at most, but for a single query that has more.
const TOKENS_AT_ONCE: usize = 2048;

/// A frozen model and the queries that a link before it is learnt from.
pub struct Before {
    pass: Pass,
    /// Rows of the table's part.
    queries: Vec<Vec<u32>>,
    full_width: usize,
}

impl Before {
    /// Reads a model, to be run in f32 or bf16.
    ///
    /// `queries`: tokens in their prompt, in the order of the problem's queries.
    ///
    /// # Errors
    /// As [`Package::open`](crate::package::Package::open).
    ///
    /// # Panics
    /// In another precision, or if a token is not of the model.
    pub fn open(model: &str, queries: &[Tokens], precision: Precision) -> Result<Before> {
        let (package, source) = Location::find(model)?.load()?;
        let used: BTreeSet<u32> = queries.iter().flat_map(|tokens| tokens.ids.clone()).collect();
        let used: Vec<u32> = used.into_iter().collect();
        let mut embedding = Matrix::zeros(used.len(), package.config.hidden);
        let hidden = package.config.hidden;
        for (&id, row) in used.iter().zip(embedding.values.chunks_exact_mut(hidden)) {
            let first = id as usize;
            row.copy_from_slice(&source.embedding(first..first + 1)?.values);
        }
        let layers = (0..package.config.layers.len()).map(|i| source.layer(i));
        let layers = layers.collect::<Result<_>>()?;
        let [dense_1, dense_2] = source.dense()?;
        let weights = Weights { embedding, layers, norm: source.norm()?, dense_1, dense_2 };
        let place = |id: &u32| used.binary_search(id).map_or(0, |place| place as u32);
        let renumbered = |tokens: &Tokens| tokens.ids.iter().map(place).collect();
        let queries = queries.iter().map(renumbered).collect();
        Ok(Before::over(&package.config, weights, queries, precision))
    }

    /// `queries`: ids of rows of these weights' table.
    fn over(
        config: &Config,
        weights: Weights,
        queries: Vec<Vec<u32>>,
        precision: Precision,
    ) -> Before {
        let full_width = weights.dense_2.n_rows;
        let config = Config { vocab_size: weights.embedding.n_rows, ..config.clone() };
        Before { pass: Pass::new(&config, weights, precision), queries, full_width }
    }

    /// Cuts queries into passes.
    fn passes(&self, queries: &[usize]) -> Vec<Range<usize>> {
        let (mut passes, mut first, mut n_tokens) = (Vec::new(), 0, 0);
        for (i, &query) in queries.iter().enumerate() {
            n_tokens += self.queries[query].len();
            if n_tokens > TOKENS_AT_ONCE && i > first {
                passes.push(first..i);
                (first, n_tokens) = (i, self.queries[query].len());
            }
        }
        passes.push(first..queries.len());
        passes
    }

    fn sequences(&self, queries: &[usize]) -> Vec<&[u32]> {
        queries.iter().map(|&query| &self.queries[query][..]).collect()
    }
}

impl Place for Before {
    fn width(&self) -> usize {
        self.pass.weights().embedding.n_cols
    }

    fn vectors(&self, queries: &[usize], link: &Link) -> Result<Matrix> {
        let mut values = Vec::new();
        for pass in self.passes(queries) {
            let sequences = self.sequences(&queries[pass]);
            let tape = self.pass.forward(&sequences, &vec![Some(link); sequences.len()]);
            values.extend_from_slice(tape.vectors());
        }
        Ok(Matrix { values, n_rows: queries.len(), n_cols: self.full_width })
    }

    fn learn(
        &self,
        queries: &[usize],
        links: &[Link],
        loss: &LossOf,
        gradients: &mut [Link],
    ) -> Result<Matrix> {
        let (width, full_width) = (self.width(), self.full_width);
        let mut values = Vec::new();
        for pass in self.passes(queries) {
            let of_pass: Vec<Option<&Link>> = links[pass.clone()].iter().map(Some).collect();
            let tape = self.pass.forward(&self.sequences(&queries[pass.clone()]), &of_pass);
            let mut of_vectors = vec![0.0; tape.vectors().len()];
            let rows = tape.vectors().chunks_exact(full_width);
            for ((i, y), g) in pass.clone().zip(rows).zip(of_vectors.chunks_exact_mut(full_width)) {
                loss(i, y, g);
            }
            let of_rows = self.pass.backward_inputs(&tape, &of_vectors);
            for (i, span) in pass.zip(tape.spans()) {
                let span = span.start * width..span.end * width;
                links[i].add_gradient(
                    &tape.inputs()[span.clone()],
                    &of_rows[span],
                    &mut gradients[i],
                );
            }
            values.extend_from_slice(tape.vectors());
        }
        Ok(Matrix { values, n_rows: queries.len(), n_cols: full_width })
    }

    fn shift(&self, queries: &[usize], link: &Link) -> f64 {
        let table = &self.pass.weights().embedding;
        let ids = queries.iter().flat_map(|&query| &self.queries[query]);
        let rows = ids.flat_map(|&id| &table.values[id as usize * table.n_cols..][..table.n_cols]);
        // The factor between table and link changes nothing: the shift is relative.
        link.shift(&rows.copied().collect::<Vec<f32>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Embedder;
    use crate::adalink::Adapter;
    use crate::adalink::reference::random_link;

    fn nano() -> (Embedder, Vec<Tokens>, Before) {
        let embedder = Embedder::open_in("nano", Some(Precision::F32)).unwrap();
        let prompt = embedder.prompt("query").unwrap();
        let texts = ["hops", "who frees this memory?", "how long does a lager keep"];
        let tokens: Vec<Tokens> =
            texts.iter().map(|text| embedder.tokenize(prompt, text).unwrap()).collect();
        let before = Before::open("nano", &tokens, Precision::F32).unwrap();
        (embedder, tokens, before)
    }

    #[test]
    fn vectors_are_those_that_are_served() {
        let (embedder, tokens, before) = nano();
        let link = random_link(before.width(), 4, 1);
        let adapter = Adapter { link: Some(link.clone()), head: None };
        let served = embedder.embed_with(&tokens, &[Some(&adapter); 3], |_, _| true).unwrap();
        let mut learnt = before.vectors(&[0, 1, 2], &link).unwrap();
        for (served, learnt) in served.iter().zip(learnt.values.chunks_exact_mut(384)) {
            crate::adalink::head::to_unit(learnt);
            let largest =
                served.iter().zip(learnt).map(|(a, b)| (a - *b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{largest:e}");
        }
    }

    #[test]
    fn the_loss_changes_along_the_gradient_as_it_says() {
        let (_, _, before) = nano();
        let link = random_link(before.width(), 4, 2);
        // A loss of its own for each query: the sum of weight * y.
        let weight = |i: usize, k: usize| ((i * 384 + k) as f32 * 0.7).sin();
        let loss = |i: usize, _: &[f32], gradient: &mut [f32]| {
            gradient.iter_mut().enumerate().for_each(|(k, g)| *g += weight(i, k));
        };
        let mut gradients = vec![Link::zeros(before.width(), 4); 3];
        before.learn(&[0, 1, 2], &vec![link.clone(); 3], &loss, &mut gradients).unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let value = |step: f64| -> f64 {
                let mut moved = link.clone();
                for (to, g) in [(&mut moved.u, &gradient.u), (&mut moved.v, &gradient.v)] {
                    to.values.iter_mut().zip(&g.values).for_each(|(to, g)| *to += step as f32 * g);
                }
                let y = before.vectors(&[i], &moved).unwrap().values;
                y.iter().enumerate().map(|(k, y)| f64::from(weight(i, k)) * f64::from(*y)).sum()
            };
            let numbers = gradient.u.values.iter().chain(&gradient.v.values);
            let square: f64 = numbers.map(|&g| f64::from(g).powi(2)).sum();
            // A step that changes the loss by about a hundredth.
            let step = 0.01 / square;
            let found = (value(step) - value(-step)) / (2.0 * step);
            assert!((found / square - 1.0).abs() < 0.01, "{i}: {found} {square}");
        }
    }
}
