//! Attention inside the sequences of a chunk, forward and back.
//!
//! Works on blocks of queries that meet the keys of their window, as the fast pass does; the heads
//! that share a key head are rows of one product. Probabilities are not kept: the way back makes
//! them again, which costs one small product.

use std::ops::Range;

use super::Pass;
use super::layer::At;
use super::matrix_gradient::MatrixGradient;
use crate::kernel::{self, Epilogue, INPUT_GRAIN, Lines, PANEL, Panels, Precision, Rows, padded};
use crate::package::{Config, LayerKind};

/// Scores that are held at a time, about.
const BLOCK_SCORES: usize = 1 << 16;

/// The most query positions of a block.
const BLOCK_QUERIES: usize = 128;

/// The buffers of one thread.
pub(super) struct Scratch {
    keys: Lines,          // k, a key an output
    keys_turned: Lines,   // k, a key an input
    values: Lines,        // v, a key an input
    values_turned: Lines, // v, a key an output
    rows: Rows,
    matrix_gradient: MatrixGradient,
    visible: Vec<(usize, usize)>,
    scores: Vec<f32>,   // [n_rows, n_keys], then probabilities
    gradient: Vec<f32>, // [n_rows, n_keys], by probabilities, then by scores
    gathered: Vec<f32>, // [n_rows, head_dim]
    out: Vec<f32>,      // [n_rows, head_dim]
}

impl Scratch {
    pub(super) fn new(precision: Precision) -> Scratch {
        Scratch {
            keys: Lines::default(),
            keys_turned: Lines::default(),
            values: Lines::default(),
            values_turned: Lines::default(),
            rows: Rows::new(precision),
            matrix_gradient: MatrixGradient::new(precision),
            visible: Vec::new(),
            scores: Vec::new(),
            gradient: Vec::new(),
            gathered: Vec::new(),
            out: Vec::new(),
        }
    }
}

/// One key head of a sequence, and where things lie. Rows of q, k and v are `width` wide.
struct Head {
    span: Range<usize>,
    kv: usize,
    /// Distance that a query sees to each side.
    radius: usize,
    /// Query heads that share the key head.
    n_shared: usize,
    head_dim: usize,
    width: usize,
    /// Columns of the key and of the value.
    key: usize,
    value: usize,
    scale: f32,
}

/// Some queries of a head and the keys that any of them sees, as rows of the chunk.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Pass {
    /// From `scratch.turned` to `mixed`, `[n, n_heads * head_dim]`.
    pub(super) fn attend(&self, at: At, scratch: &mut super::Scratch, mixed: &mut Vec<f32>) {
        let Config { n_heads, head_dim, .. } = self.config;
        let n = at.spans.last().map_or(0, |span| span.end);
        mixed.resize(n * n_heads * head_dim, 0.0);
        let super::Scratch { turned, attention, .. } = scratch;
        for head in self.heads(at) {
            head.pack(turned, self.precision, attention);
            for block in head.blocks() {
                head.probabilities(&block, turned, self.precision, attention);
                head.mix(&block, self.precision, attention);
                head.scatter(&block, &attention.out, mixed, n_heads * head_dim);
            }
        }
    }

    /// From `scratch.mixed`, the gradient by what [`attend`](Pass::attend) gave, to `scratch.qkv`,
    /// that by `scratch.turned`.
    pub(super) fn attend_back(&self, at: At, scratch: &mut super::Scratch) {
        let Config { n_heads, head_dim, .. } = self.config;
        let super::Scratch { turned, mixed, qkv, attention, .. } = scratch;
        qkv.clear();
        qkv.resize(turned.len(), 0.0);
        for head in self.heads(at) {
            head.pack(turned, self.precision, attention);
            head.pack_turned(turned, self.precision, attention);
            for block in head.blocks() {
                head.probabilities(&block, turned, self.precision, attention);
                head.gather(&block, mixed, n_heads * head_dim, &mut attention.gathered);
                head.values_back(&block, self.precision, attention, qkv);
                head.gather(&block, turned, head.width, &mut attention.gathered);
                head.scores_back(&block, self.precision, attention, qkv);
            }
        }
    }

    fn heads<'a>(&self, at: At<'a>) -> impl Iterator<Item = Head> + use<'a> {
        let Config { n_heads, n_kv_heads, head_dim, window_radius, .. } = self.config;
        let is_full = self.config.layers[at.layer] == LayerKind::Full;
        let scale = self.config.query_pre_attn_scalar.powf(-0.5) as f32;
        let of = move |span: &'a Range<usize>| {
            (0..n_kv_heads).map(move |kv| Head {
                span: span.clone(),
                kv,
                radius: if is_full { span.len() } else { window_radius },
                n_shared: n_heads / n_kv_heads,
                head_dim,
                width: (n_heads + 2 * n_kv_heads) * head_dim,
                key: (n_heads + kv) * head_dim,
                value: (n_heads + n_kv_heads + kv) * head_dim,
                scale,
            })
        };
        at.spans.iter().flat_map(of)
    }
}

impl Head {
    /// Keys that each meet all queries, and values that are mixed for them.
    fn pack(&self, qkv: &[f32], precision: Precision, scratch: &mut Scratch) {
        self.pack_outputs(&qkv[self.key..], precision, &mut scratch.keys);
        self.pack_inputs(&qkv[self.value..], precision, &mut scratch.values);
    }

    /// The same the other way round, as the way back meets them.
    fn pack_turned(&self, qkv: &[f32], precision: Precision, scratch: &mut Scratch) {
        self.pack_inputs(&qkv[self.key..], precision, &mut scratch.keys_turned);
        self.pack_outputs(&qkv[self.value..], precision, &mut scratch.values_turned);
    }

    fn pack_outputs(&self, rows: &[f32], precision: Precision, lines: &mut Lines) {
        let (n, rows) = (self.span.len(), &rows[self.span.start * self.width..]);
        lines.resize(n.div_ceil(PANEL) * precision.panel_bytes(self.head_dim));
        kernel::pack_keys(rows, self.width, n, self.head_dim, precision, lines.bytes_mut());
    }

    fn pack_inputs(&self, rows: &[f32], precision: Precision, lines: &mut Lines) {
        let (n, rows) = (self.span.len(), &rows[self.span.start * self.width..]);
        lines.resize(self.head_dim.div_ceil(PANEL) * precision.panel_bytes(n));
        kernel::pack_values(rows, self.width, n, self.head_dim, precision, lines.bytes_mut());
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        let (span, radius) = (self.span.clone(), self.radius);
        let n_seen = span.len().min(2 * radius + BLOCK_QUERIES);
        let n = (BLOCK_SCORES / (padded(n_seen) * self.n_shared)).clamp(8, BLOCK_QUERIES);
        span.clone().step_by(n).map(move |first| {
            let queries = first..span.end.min(first + n);
            let start = queries.start.saturating_sub(radius).max(span.start);
            // Panels can be cut only at every so many keys.
            let start = start - (start - span.start) % INPUT_GRAIN;
            Block { keys: start..span.end.min(queries.end + radius), queries }
        })
    }

    /// The keys of a block, counted from the first of the sequence.
    fn keys(&self, block: &Block) -> Range<usize> {
        block.keys.start - self.span.start..block.keys.end - self.span.start
    }

    fn n_rows(&self, block: &Block) -> usize {
        block.queries.len() * self.n_shared
    }

    fn outputs<'a>(&self, lines: &'a Lines, precision: Precision, block: &Block) -> Panels<'a> {
        let panels = Panels::new(precision, self.span.len(), self.head_dim, lines.bytes());
        panels.outputs(self.keys(block))
    }

    fn inputs<'a>(&self, lines: &'a Lines, precision: Precision, block: &Block) -> Panels<'a> {
        let panels = Panels::new(precision, self.head_dim, self.span.len(), lines.bytes());
        panels.inputs(self.keys(block))
    }

    /// `scores`: what each query makes of each key.
    fn probabilities(
        &self,
        block: &Block,
        qkv: &[f32],
        precision: Precision,
        scratch: &mut Scratch,
    ) {
        let Scratch { keys, rows, visible, scores, gathered, .. } = scratch;
        let n = block.keys.len();
        self.gather(block, qkv, self.width, gathered);
        scores.resize(self.n_rows(block) * n, 0.0);
        set(rows, gathered, self.head_dim);
        let panels = self.outputs(keys, precision, block);
        kernel::product(rows, panels, Epilogue::Plain, scores, n);
        visible.clear();
        visible.extend(block.queries.clone().map(|query| {
            let first = query.saturating_sub(self.radius).max(block.keys.start);
            let end = block.keys.end.min(query + self.radius + 1);
            (first - block.keys.start, end - block.keys.start)
        }));
        for scores in scores.chunks_exact_mut(block.queries.len() * n) {
            kernel::softmax(scores, n, self.scale, visible);
        }
    }

    /// `out`: the values, mixed by `scores`.
    fn mix(&self, block: &Block, precision: Precision, scratch: &mut Scratch) {
        let Scratch { values, rows, scores, out, .. } = scratch;
        set(rows, scores, block.keys.len());
        out.resize(self.n_rows(block) * self.head_dim, 0.0);
        let panels = self.inputs(values, precision, block);
        kernel::product(rows, panels, Epilogue::Plain, out, self.head_dim);
    }

    /// From `gathered`, the gradient by what was mixed, to `gradient`, that by the probabilities;
    /// adds that by the values to `qkv`.
    fn values_back(
        &self,
        block: &Block,
        precision: Precision,
        scratch: &mut Scratch,
        qkv: &mut [f32],
    ) {
        let Scratch { values_turned, rows, matrix_gradient, scores, gradient, gathered, .. } =
            scratch;
        let n = block.keys.len();
        set(rows, gathered, self.head_dim);
        gradient.resize(self.n_rows(block) * n, 0.0);
        let panels = self.outputs(values_turned, precision, block);
        kernel::product(rows, panels, Epilogue::Plain, gradient, n);
        let out = &mut qkv[block.keys.start * self.width + self.value..];
        matrix_gradient.inputs(gathered, self.head_dim).add_to(scores, n, n, out, self.width);
    }

    /// From `gathered`, the queries, and `gradient`: adds those by queries and keys to `qkv`.
    fn scores_back(
        &self,
        block: &Block,
        precision: Precision,
        scratch: &mut Scratch,
        qkv: &mut [f32],
    ) {
        let Scratch { keys_turned, rows, matrix_gradient, scores, gradient, gathered, out, .. } =
            scratch;
        let n = block.keys.len();
        kernel::softmax_back(scores, gradient, n, self.scale);
        set(rows, gradient, n);
        out.resize(self.n_rows(block) * self.head_dim, 0.0);
        let panels = self.inputs(keys_turned, precision, block);
        kernel::product(rows, panels, Epilogue::Plain, out, self.head_dim);
        self.scatter(block, out, qkv, self.width);
        let out = &mut qkv[block.keys.start * self.width + self.key..];
        matrix_gradient.inputs(gathered, self.head_dim).add_to(gradient, n, n, out, self.width);
    }

    /// The block's rows of this key head's query heads, of a matrix with `width` columns.
    fn gather(&self, block: &Block, matrix: &[f32], width: usize, gathered: &mut Vec<f32>) {
        gathered.clear();
        for shared in 0..self.n_shared {
            for query in block.queries.clone() {
                let at = query * width + (self.kv * self.n_shared + shared) * self.head_dim;
                gathered.extend_from_slice(&matrix[at..][..self.head_dim]);
            }
        }
    }

    /// The reverse of `gather`.
    fn scatter(&self, block: &Block, gathered: &[f32], matrix: &mut [f32], width: usize) {
        let of_heads = gathered.chunks_exact(block.queries.len() * self.head_dim);
        for (shared, rows) in of_heads.enumerate() {
            let rows = rows.chunks_exact(self.head_dim);
            for (query, row) in block.queries.clone().zip(rows) {
                let at = query * width + (self.kv * self.n_shared + shared) * self.head_dim;
                matrix[at..][..self.head_dim].copy_from_slice(row);
            }
        }
    }
}

fn set(rows: &mut Rows, matrix: &[f32], n_cols: usize) {
    rows.reset(matrix.len() / n_cols, n_cols);
    for (i, row) in matrix.chunks_exact(n_cols).enumerate() {
        rows.set(i, row);
    }
}
