//! From ranked rows to what a reader is given: different ones, with what stands around them, within a budget.

use std::collections::HashSet;

use index::{Form, Metric, Vector};

use crate::document::StoredChunk;
use crate::error::Result;
use crate::search::view::{Hit, View};

/// Chooses `k` hits one by one, each time the one that scores best after what it shares with those chosen before
/// (maximal marginal relevance, Carbonell and Goldstein 1998): `(1 - d) * score - d * likeness`, `d` in 0 to 1.
///
/// `hits` are best first; the first stays the first. Two share what the score of one is for the other.
pub(crate) fn diversify(
    hits: Vec<Hit>,
    k: usize,
    d: f32,
    vectors: &[Vector],
    form: Form,
) -> Vec<Hit> {
    assert_eq!(hits.len(), vectors.len());
    // To the likest of those chosen; minus a distance may be far below 0.
    let none = if form == Form::Given(Metric::L2) { f32::MIN } else { 0.0 };
    let mut likeness = vec![none; hits.len()];
    let mut left: Vec<usize> = (0..hits.len()).collect();
    let mut chosen = Vec::new();
    while chosen.len() < k {
        let worth = |idx: usize| (1.0 - d) * hits[idx].score - d * likeness[idx];
        // Of equal ones the first, which scores best.
        let best = left.iter().enumerate().rev().max_by(|a, b| worth(*a.1).total_cmp(&worth(*b.1)));
        let Some((at, &idx)) = best else { break };
        left.remove(at);
        chosen.push(idx);
        for other in &left {
            likeness[*other] = likeness[*other].max(alike(&vectors[*other], &vectors[idx], form));
        }
    }
    let mut hits: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
    chosen.into_iter().filter_map(|idx| hits[idx].take()).collect()
}

fn alike(a: &Vector, b: &Vector, form: Form) -> f32 {
    let b: Vec<f32> = b.values().iter().collect();
    let scored = index::scan(std::iter::once((0, a.values())), form, &b, 1);
    scored.first().map_or(0.0, |(_, score)| *score)
}

/// Gives each hit the chunks around it, `n` on each side. No chunk is given twice: one that is a hit, or stands beside
/// a better one, is left out.
pub(crate) fn add_context(view: &View, hits: &mut [Hit], n: u32) -> Result<()> {
    let mut given: HashSet<u64> = hits.iter().map(|hit| hit.row).collect();
    // The document's chunk that lies so many rows before or after the hit.
    let beside = |hit: &Hit, position: Option<u32>| -> Result<Option<(u64, StoredChunk)>> {
        let Some(position) = position else { return Ok(None) };
        // A document's rows follow each other as its chunks do.
        let idx = u64::from(hit.chunk.chunk_idx);
        let Some(row) = (hit.row + u64::from(position)).checked_sub(idx) else { return Ok(None) };
        let chunk = view.chunk(row)?;
        let is_its =
            |chunk: &StoredChunk| chunk.document == hit.document && chunk.chunk_idx == position;
        Ok(chunk.filter(is_its).map(|chunk| (row, chunk)))
    };
    for hit in hits {
        let idx = hit.chunk.chunk_idx;
        // Each side ends with the document: `n` may be any number.
        for distance in 1..=n {
            let Some((row, chunk)) = beside(hit, idx.checked_sub(distance))? else { break };
            if given.insert(row) {
                hit.before.push(chunk);
            }
        }
        hit.before.reverse();
        for distance in 1..=n {
            let Some((row, chunk)) = beside(hit, idx.checked_add(distance))? else { break };
            if given.insert(row) {
                hit.after.push(chunk);
            }
        }
    }
    Ok(())
}

/// Takes out the hits that no longer fit, best first; returns how many. A later hit that fits stays.
pub(crate) fn fit(hits: &mut Vec<Hit>, max_tokens: u64) -> usize {
    let n_before = hits.len();
    let mut left = max_tokens;
    hits.retain(|hit| {
        let chunks = hit.before.iter().chain([&hit.chunk]).chain(&hit.after);
        let n_tokens: u64 = chunks.map(|chunk: &StoredChunk| u64::from(chunk.n_tokens)).sum();
        let fits = n_tokens <= left;
        left -= if fits { n_tokens } else { 0 };
        fits
    });
    n_before - hits.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(row: u64, score: f32, n_tokens: u32) -> Hit {
        let chunk = StoredChunk {
            document: "d".to_owned(),
            chunk_idx: 0,
            text: String::new(),
            range: 0..0,
            page: None,
            headings: Vec::new(),
            n_tokens,
            precision: None,
            hash: [0; 16],
        };
        let (before, after) = (Vec::new(), Vec::new());
        let (vector, text, document) = (None, None, "d".to_owned());
        Hit { row, document, chunk, score, vector, text, before, after }
    }

    fn rows(hits: &[Hit]) -> Vec<u64> {
        hits.iter().map(|hit| hit.row).collect()
    }

    #[test]
    fn a_twin_of_a_better_hit_gives_way_to_another_subject() {
        let hits = || vec![hit(1, 0.9, 1), hit(2, 0.89, 1), hit(3, 0.5, 1)];
        let vectors = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
            .map(|v| Vector::from_iter(v.map(half::f16::from_f32)));
        let ask = |k, d| rows(&diversify(hits(), k, d, &vectors, Form::Unit));
        assert_eq!(ask(3, 0.0), [1, 2, 3], "by score alone");
        assert_eq!(ask(2, 0.5), [1, 3]);
        assert_eq!(ask(9, 1.0), [1, 3, 2]);
        assert_eq!(ask(0, 0.5), [0; 0]);
    }

    #[test]
    fn equal_hits_stay_in_their_order() {
        let hits = vec![hit(1, 0.5, 1), hit(2, 0.5, 1), hit(3, 0.5, 1)];
        let vectors = vec![Vector::F16(vec![half::f16::ONE]); 3];
        assert_eq!(rows(&diversify(hits, 3, 0.3, &vectors, Form::Unit)), [1, 2, 3]);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_fits_after_it_stays() {
        let mut hits = vec![hit(1, 0.9, 60), hit(2, 0.8, 50), hit(3, 0.7, 40)];
        hits[0].before.push(hit(9, 0.0, 10).chunk);
        assert_eq!(fit(&mut hits, 110), 1);
        assert_eq!(rows(&hits), [1, 3]);
        assert_eq!(fit(&mut hits, 0), 2);
    }
}
