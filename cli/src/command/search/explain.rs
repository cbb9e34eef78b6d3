//! `search --explain`: how an answer was found.

use gemmule::storage::{CollectionStatus, Ranked};
use gemmule::{Answer, Collection, Database, Hit};
use serde_json::{Value, json};

use crate::command::status::recall;
use crate::text;

/// What is to be told beside the answer itself.
pub(super) struct Explanation {
    collection: CollectionStatus,
    /// Chunks that pass the filter, if there is one.
    passing: Option<usize>,
}

impl Explanation {
    pub(super) fn new(
        db: &Database,
        collection: &Collection,
        name: &str,
        filter: Option<&str>,
    ) -> anyhow::Result<Explanation> {
        let mut known = db.status()?.collections.into_iter().filter(|known| known.name == name);
        let passing = filter.map(|filter| collection.count(filter)).transpose()?;
        let collection =
            known.next().ok_or_else(|| anyhow::anyhow!("collection {name} is gone"))?;
        Ok(Explanation { collection, passing })
    }

    pub(super) fn to_json(&self) -> Value {
        let CollectionStatus { space, chunks, unsealed, segments, .. } = &self.collection;
        json!({
            "chunks": chunks,
            "passing": self.passing,
            "segments": segments.len(),
            "unsealed": unsealed,
            "dims": space.dims,
            "quant": space.quant.to_string(),
            "full_width": space.full_width,
            "recall": recall(segments),
        })
    }

    /// How the answer was found, a line each.
    pub(super) fn lines(&self, answer: &Answer, millis: f64) -> Vec<String> {
        let CollectionStatus { space, chunks, unsealed, segments, .. } = &self.collection;
        let mut lines = Vec::new();
        let n_compared = text::counted(answer.compared, "comparison");
        let (dims, quant, full) = (space.dims, space.quant, space.full_width);
        lines.push(match answer.exact {
            true => format!("exact: every chunk that may be a hit, {n_compared} at width {full}"),
            false => format!(
                "by graph: {n_compared} of {quant} codes of width {dims}, of the best at {full}"
            ),
        });
        let mut of = text::counted(*chunks, "chunk");
        if let Some(passing) = self.passing {
            of += &format!(", of which {} pass the filter", text::grouped(passing));
        }
        let parts = text::counted(segments.len(), "segment");
        lines.push(format!("{of}; {parts}, {} not in one yet", text::grouped(*unsealed)));
        if let Some(recall) = recall(segments).filter(|_| !answer.exact) {
            lines.push(format!(
                "the graph was measured to find {:.2} % of the best ten",
                recall * 100.0
            ));
        }
        lines.push(format!("{millis:.1} ms, with the query's embedding"));
        lines
    }
}

/// What there is to tell of a hit.
pub(super) fn hit_to_json(hit: &Hit) -> Value {
    let place = |side: Option<Ranked>| {
        side.map(|Ranked { rank, score }| json!({ "rank": rank, "score": score }))
    };
    json!({
        "row": hit.row,
        "chunk": hit.chunk.chunk_idx,
        "tokens": hit.chunk.n_tokens,
        "vector": place(hit.vector),
        "text": place(hit.text),
    })
}

/// The same on a line.
pub(super) fn hit_line(hit: &Hit) -> String {
    let chunk = &hit.chunk;
    let place = |by: &str, side: Option<Ranked>| match side {
        Some(Ranked { rank, score }) => format!("{by} no. {rank} with {score:.4}"),
        None => format!("not found by {by}"),
    };
    format!(
        "score {:.6}: {}, {}; chunk {}, bytes {} to {}, {}; row {}",
        hit.score,
        place("meaning", hit.vector),
        place("words", hit.text),
        chunk.chunk_idx,
        chunk.range.start,
        chunk.range.end,
        text::counted(chunk.n_tokens as usize, "token"),
        hit.row
    )
}
