//! A chunk of a batch, whole sequences, through all layers and back.

use std::ops::Range;

use super::layer::At;
use super::tape::{Chunk, LayerTape, Tape, relative};
use super::{Pass, Scratch};
use crate::kernel;
use crate::package::{LayerWeights, Matrix};

/// Rows of a chunk, about: enough to use each weight often, few enough for a core's cache.
const CHUNK_ROWS: usize = 256;

/// Where the gradients of the layers' weights and of the last norm are added up.
pub(super) struct Sums<'a> {
    pub(super) layers: &'a mut [LayerWeights],
    pub(super) norm: &'a mut Matrix,
}

impl Pass {
    /// All layers for the sequences of one chunk; also their pooled rows, `[sequences, hidden]`.
    pub(super) fn forward_chunk(
        &self,
        tape: &Tape,
        sequences: Range<usize>,
        is_kept: bool,
        scratch: &mut Scratch,
    ) -> (Chunk, Vec<f32>) {
        let hidden = self.config.hidden;
        let spans = &tape.spans[sequences.clone()];
        let rows = spans[0].start..spans[spans.len() - 1].end;
        let spans = relative(spans);
        let Chunk { mut states, mut layers, .. } = self.room.take();
        let n_layers = self.config.layers.len();
        states.resize_with(n_layers + 1, Vec::new);
        layers.resize_with(if is_kept { n_layers } else { 0 }, LayerTape::default);
        self.linked(tape, sequences.clone(), &mut states[0]);
        let mut again = std::mem::take(&mut scratch.tape);
        for i in 0..n_layers {
            let (before, behind) = states.split_at_mut(i + 1);
            let kept = layers.get_mut(i).unwrap_or(&mut again);
            self.layer(At { layer: i, spans: &spans }, &before[i], kept, &mut behind[0], scratch);
        }
        scratch.tape = again;
        self.norm(&states[states.len() - 1], &self.packed.norm, &mut scratch.normed);
        let mut pooled = vec![0.0; spans.len() * hidden];
        for (mean, span) in pooled.chunks_exact_mut(hidden).zip(&spans) {
            for row in scratch.normed[span.start * hidden..span.end * hidden].chunks_exact(hidden) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
            }
            mean.iter_mut().for_each(|x| *x /= span.len() as f32);
        }
        (Chunk { sequences, rows, states, layers }, pooled)
    }

    /// `g`: `[n, hidden]`, filled with the gradient by the first layer's input.
    pub(super) fn back_chunk(
        &self,
        tape: &Tape,
        chunk: &Chunk,
        of_pooled: &[f32],
        g: &mut [f32],
        mut sums: Option<&mut Sums>,
        scratch: &mut Scratch,
    ) {
        let hidden = self.config.hidden;
        let spans = tape.spans_of(chunk);
        scratch.branch.resize(g.len(), 0.0);
        for (sequence, span) in chunk.sequences.clone().zip(&spans) {
            let of_mean = &of_pooled[sequence * hidden..][..hidden];
            let rows = &mut scratch.branch[span.start * hidden..span.end * hidden];
            for row in rows.chunks_exact_mut(hidden) {
                row.iter_mut().zip(of_mean).for_each(|(g, mean)| *g = mean / span.len() as f32);
            }
        }
        let sum = sums.as_mut().map_or(&mut [][..], |sums| &mut sums.norm.values);
        let last = &chunk.states[chunk.states.len() - 1];
        kernel::rms_norm_back(last, &self.packed.norm, self.eps(), &scratch.branch, g, sum);
        for i in (0..self.config.layers.len()).rev() {
            let at = At { layer: i, spans: &spans };
            let sums = sums.as_mut().map(|sums| &mut sums.layers[i]);
            let x = &chunk.states[i];
            if let Some(kept) = chunk.layers.get(i) {
                self.layer_back(at, x, kept, g, sums, scratch);
            } else {
                let mut again = std::mem::take(&mut scratch.tape);
                let mut next = std::mem::take(&mut scratch.next);
                self.layer(at, x, &mut again, &mut next, scratch);
                self.layer_back(at, x, &again, g, sums, scratch);
                (scratch.tape, scratch.next) = (again, next);
            }
        }
    }
}

/// Cuts a batch into runs of whole sequences, of like size and about [`CHUNK_ROWS`] rows, as many for
/// each thread.
pub(super) fn chunks(spans: &[Range<usize>], n_threads: usize) -> Vec<Range<usize>> {
    let n_rows = spans.last().map_or(0, |span| span.end);
    let n_chunks = n_rows.div_ceil(CHUNK_ROWS).next_multiple_of(n_threads);
    let mut chunks = Vec::with_capacity(n_chunks);
    let mut first = 0;
    for i in 1..=n_chunks {
        // Up to the sequence whose middle lies beyond this chunk's share of the rows.
        let share = n_rows * i / n_chunks;
        let end = first + spans[first..].partition_point(|s| s.start + s.len() / 2 < share);
        if end > first {
            chunks.push(first..end);
        }
        first = end;
    }
    chunks
}
