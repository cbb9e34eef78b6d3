//! What the way forward leaves for the way back.

use std::ops::Range;

use crate::adalink::Link;

/// The vectors of a batch, and what [`Pass::backward`](super::Pass::backward) needs of its making.
pub struct Tape {
    pub(super) ids: Vec<u32>, // [T]
    pub(super) spans: Vec<Range<usize>>,
    pub(super) links: Vec<Option<Link>>, // one a sequence, or none at all
    pub(super) inputs: Vec<f32>,         // [T, hidden]
    pub(super) chunks: Vec<Chunk>,
    pub(super) pooled: Vec<f32>,  // [n_sequences, hidden]
    pub(super) between: Vec<f32>, // [n_sequences, width_between]
    pub(super) vectors: Vec<f32>, // [n_sequences, full_width]
}

/// Whole sequences, which go through all layers by themselves.
pub(super) struct Chunk {
    /// Which of the batch.
    pub(super) sequences: Range<usize>,
    /// Their rows of the batch.
    pub(super) rows: Range<usize>,
    /// Before each layer and behind the last, `[n, hidden]`.
    pub(super) states: Vec<Vec<f32>>,
    /// One a layer; none where they are to be made again.
    pub(super) layers: Vec<LayerTape>,
}

/// What happened inside a layer, for `n` rows.
#[derive(Default)]
pub(super) struct LayerTape {
    pub(super) qkv: Vec<f32>, // [n, (n_heads + 2 n_kv_heads) * head_dim], not normed yet
    pub(super) mixed: Vec<f32>, // [n, n_heads * head_dim]
    pub(super) attention: Vec<f32>, // [n, hidden], not normed yet
    pub(super) middle: Vec<f32>, // [n, hidden], between attention and feed-forward
    pub(super) gate_up: Vec<f32>, // [n, 2 * intermediate]
    pub(super) feed_forward: Vec<f32>, // [n, hidden], not normed yet
}

impl Tape {
    /// The vectors before they are scaled to unit length, `[n_sequences, full_width]`.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// The scaled token rows before the link, `[T, hidden]`.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// The rows of each sequence.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// The rows of a chunk's sequences, counted from its first.
    pub(super) fn spans_of(&self, chunk: &Chunk) -> Vec<Range<usize>> {
        relative(&self.spans[chunk.sequences.clone()])
    }
}

/// The same spans, the first at 0.
pub(super) fn relative(spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let first = spans.first().map_or(0, |span| span.start);
    spans.iter().map(|span| span.start - first..span.end - first).collect()
}
