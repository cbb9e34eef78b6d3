//! Attention of a chunk's rows inside their sequences.
//!
//! The keys that the rows see are packed once, then met by blocks of query rows whose scores stay in
//! cache. On sliding layers a block meets only the keys inside its window, so the work grows with
//! `T * window`, not `T * T`. All query heads of a key head run together: they meet the same keys.

use std::ops::Range;

use super::{Fast, Pass};
use crate::kernel::{self, Epilogue, INPUT_GRAIN, Lines, PANEL, Panels, Precision, Rows, padded};
use crate::model::prepared::Layer;
use crate::package::{Config, LayerKind};

/// Scores that are held at a time, about.
const BLOCK_SCORES: usize = 1 << 16;

/// The most query positions of a block.
const BLOCK_QUERIES: usize = 64;

/// The buffers of one thread.
pub(super) struct Scratch {
    keys: Lines,
    values: Lines,
    rows: Rows,
    scores: Vec<f32>, // [n_queries * heads that share a key head, n_keys]
    out: Vec<f32>,    // [n_queries * heads that share a key head, head_dim]
}

impl Scratch {
    pub(super) fn new(precision: Precision) -> Scratch {
        let precision = attention_precision(precision);
        Scratch {
            keys: Lines::default(),
            values: Lines::default(),
            rows: Rows::new(precision),
            scores: Vec::new(),
            out: Vec::new(),
        }
    }
}

/// Keys and values are not quantised: their products are few beside those of the weights.
fn attention_precision(precision: Precision) -> Precision {
    if precision == Precision::F32 { Precision::F32 } else { Precision::Bf16 }
}

/// One key head of a sequence.
struct Head {
    /// Rows of the sequence.
    sequence: Range<usize>,
    /// Rows whose queries are asked.
    queries: Range<usize>,
    /// Distance that a query sees to each side.
    radius: usize,
    /// Which key head.
    kv: usize,
}

impl Fast {
    /// From `qkv` of all rows to `branch` of these.
    pub(super) fn attention(
        &self,
        layer: &Layer,
        pass: &Pass,
        rows: Range<usize>,
        qkv: &[f32],
        scratch: &mut super::Scratch,
    ) {
        let Config { hidden, n_heads, n_kv_heads, head_dim, window_radius, .. } = self.config;
        let width = n_heads * head_dim;
        scratch.mixed.resize(rows.len() * width, 0.0);
        let first = pass.sequences.partition_point(|s| s.end <= rows.start);
        let met = pass.sequences[first..].iter().take_while(|s| s.start < rows.end);
        for sequence in met {
            let queries = rows.start.max(sequence.start)..rows.end.min(sequence.end);
            let mixed = &mut scratch.mixed[(queries.start - rows.start) * width..];
            let radius = if layer.kind == LayerKind::Full { sequence.len() } else { window_radius };
            for kv in 0..n_kv_heads {
                let (sequence, queries) = (sequence.clone(), queries.clone());
                let head = Head { sequence, queries, radius, kv };
                self.attend(&head, qkv, mixed, &mut scratch.attention);
            }
        }
        let super::Scratch { mixed, rows: product_rows, blocks, branch, .. } = scratch;
        product_rows.reset(rows.len(), width);
        for (i, row) in mixed.chunks_exact(width).enumerate() {
            product_rows.set(i, row);
        }
        branch.resize(rows.len() * hidden, 0.0);
        self.linear(&layer.o, Epilogue::Plain, pass, product_rows, blocks, branch);
    }

    /// `mixed`: `[queries, n_heads * head_dim]`, of which the heads of this key head are filled.
    fn attend(&self, head: &Head, qkv: &[f32], mixed: &mut [f32], scratch: &mut Scratch) {
        let Config { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let Head { sequence, queries, radius, kv } = head;
        let precision = attention_precision(self.precision());
        let stride = (n_heads + 2 * n_kv_heads) * head_dim;
        let n_shared = n_heads / n_kv_heads;
        let seen = |queries: &Range<usize>| {
            let first = queries.start.saturating_sub(*radius).max(sequence.start);
            first..sequence.end.min(queries.end + radius)
        };
        let mut keys = seen(queries);
        // Keys are summed in groups from the first on: groups that begin where the sequence says, not
        // where a chunk was cut, give a text the same vector in any company.
        keys.start -= (keys.start - sequence.start) % INPUT_GRAIN;
        let n_keys = keys.len();
        let of = |head: usize| &qkv[keys.start * stride + head * head_dim..];
        let Scratch { keys: packed_keys, values: packed_values, rows, scores, out } = scratch;
        packed_keys.resize(n_keys.div_ceil(PANEL) * precision.panel_bytes(head_dim));
        let bytes = packed_keys.bytes_mut();
        kernel::pack_keys(of(n_heads + kv), stride, n_keys, head_dim, precision, bytes);
        packed_values.resize(head_dim.div_ceil(PANEL) * precision.panel_bytes(n_keys));
        let bytes = packed_values.bytes_mut();
        let values = of(n_heads + n_kv_heads + kv);
        kernel::pack_values(values, stride, n_keys, head_dim, precision, bytes);
        let all_keys = Panels::new(precision, n_keys, head_dim, packed_keys.bytes());
        let all_values = Panels::new(precision, head_dim, n_keys, packed_values.bytes());

        let scale = self.config.query_pre_attn_scalar.powf(-0.5) as f32;
        let block = (BLOCK_SCORES / (padded(n_keys) * n_shared)).clamp(8, BLOCK_QUERIES);
        let mut visible = Vec::with_capacity(block);
        for first in queries.clone().step_by(block) {
            let block = first..queries.end.min(first + block);
            // The keys that any query of the block sees, from where panels can be cut.
            let seen = seen(&block);
            let from = (seen.start - keys.start) / INPUT_GRAIN * INPUT_GRAIN;
            let block_keys = from..seen.end - keys.start;
            let n = block_keys.len();
            visible.clear();
            visible.extend(block.clone().map(|query| {
                let first = query.saturating_sub(*radius).max(sequence.start);
                let end = sequence.end.min(query + radius + 1);
                (first - keys.start - from, end - keys.start - from)
            }));
            let n_rows = block.len() * n_shared;
            rows.reset(n_rows, head_dim);
            for shared in 0..n_shared {
                for (i, query) in block.clone().enumerate() {
                    let at = query * stride + (kv * n_shared + shared) * head_dim;
                    rows.set(shared * block.len() + i, &qkv[at..][..head_dim]);
                }
            }
            scores.resize(n_rows * n, 0.0);
            let panels = all_keys.outputs(block_keys.clone());
            kernel::product(rows, panels, Epilogue::Plain, scores, n);
            rows.reset(n_rows, n);
            for (shared, scores) in scores.chunks_exact_mut(block.len() * n).enumerate() {
                kernel::softmax(scores, n, scale, &visible);
                for (i, row) in scores.chunks_exact(n).enumerate() {
                    rows.set(shared * block.len() + i, row);
                }
            }
            out.resize(n_rows * head_dim, 0.0);
            let panels = all_values.inputs(block_keys);
            kernel::product(rows, panels, Epilogue::Plain, out, head_dim);
            for (shared, out) in out.chunks_exact(block.len() * head_dim).enumerate() {
                for (i, out) in out.chunks_exact(head_dim).enumerate() {
                    let row = block.start - queries.start + i;
                    let at = (row * n_heads + kv * n_shared + shared) * head_dim;
                    mixed[at..][..head_dim].copy_from_slice(out);
                }
            }
        }
    }
}
