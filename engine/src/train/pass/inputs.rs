//! Token ids to scaled token rows, the link on them, and their way back to the embedding.

use std::ops::Range;

use super::Pass;
use super::tape::Tape;
use crate::adalink::Link;
use crate::package::Matrix;

impl Pass {
    /// A tape with the batch's inputs.
    pub(super) fn tape(&self, sequences: &[&[u32]], links: &[Option<&Link>]) -> Tape {
        let hidden = self.config.hidden;
        assert!(!sequences.is_empty(), "no sequence to embed");
        assert!(links.is_empty() || links.len() == sequences.len(), "links for some sequences");
        for link in links.iter().flatten() {
            let is_shaped = |m: &Matrix| m.n_rows == hidden && m.n_cols == link.u.n_cols;
            assert!(is_shaped(&link.u) && is_shaped(&link.v), "a link of another shape");
        }
        let mut n_rows = 0;
        let spans = sequences.iter().map(|ids| {
            assert!(!ids.is_empty(), "an empty sequence has no mean");
            assert!(ids.len() <= self.config.max_positions, "a sequence of {} tokens", ids.len());
            n_rows += ids.len();
            n_rows - ids.len()..n_rows
        });
        let spans: Vec<Range<usize>> = spans.collect();
        let ids = sequences.concat();
        let scale = self.embedding_scale();
        let mut inputs = Vec::with_capacity(ids.len() * hidden);
        for &id in &ids {
            let row = &self.weights.embedding.values[id as usize * hidden..][..hidden];
            inputs.extend(row.iter().map(|x| x * scale));
        }
        Tape {
            inputs,
            ids,
            spans,
            links: links.iter().map(|link| link.cloned()).collect(),
            chunks: Vec::new(),
            pooled: Vec::new(),
            between: Vec::new(),
            vectors: Vec::new(),
            room: self.room.clone(),
        }
    }

    /// The inputs of some sequences, linked where there is a link.
    pub(super) fn linked(&self, tape: &Tape, sequences: Range<usize>, linked: &mut Vec<f32>) {
        let hidden = self.config.hidden;
        linked.clear();
        for i in sequences {
            let span = tape.spans[i].clone();
            let inputs = &tape.inputs[span.start * hidden..span.end * hidden];
            match tape.links.get(i).and_then(Option::as_ref) {
                None => linked.extend_from_slice(inputs),
                Some(link) => {
                    for x in inputs.chunks_exact(hidden) {
                        linked.extend(low_rank(&link.v, &link.u, link.strength, x));
                    }
                }
            }
        }
    }

    /// Adds the gradient by the inputs to that of their pieces.
    pub(super) fn inputs_back(&self, tape: &Tape, gradient: &[f32], embedding: &mut Matrix) {
        let hidden = self.config.hidden;
        let scale = self.embedding_scale();
        let mut add = |id: u32, gradient: &mut dyn Iterator<Item = f32>| {
            let row = &mut embedding.values[id as usize * hidden..][..hidden];
            row.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += scale * g);
        };
        for (i, span) in tape.spans.iter().enumerate() {
            let link = tape.links.get(i).and_then(Option::as_ref);
            for row in span.clone() {
                let gradient = &gradient[row * hidden..][..hidden];
                match link {
                    None => add(tape.ids[row], &mut gradient.iter().copied()),
                    Some(link) => {
                        let through = low_rank(&link.u, &link.v, link.strength, gradient);
                        add(tape.ids[row], &mut through.into_iter());
                    }
                }
            }
        }
    }

    fn embedding_scale(&self) -> f32 {
        (self.config.hidden as f32).sqrt()
    }
}

/// `x + strength * B (A^T x)`
fn low_rank(a: &Matrix, b: &Matrix, strength: f32, x: &[f32]) -> Vec<f32> {
    let rank = a.n_cols;
    let mut h = vec![0.0; rank];
    for (x, row) in x.iter().zip(a.values.chunks_exact(rank)) {
        h.iter_mut().zip(row).for_each(|(h, a)| *h += x * a);
    }
    let rows = x.iter().zip(b.values.chunks_exact(rank));
    let change = |row: &[f32]| row.iter().zip(&h).map(|(b, h)| b * h).sum::<f32>();
    rows.map(|(x, row)| x + strength * change(row)).collect()
}
