//! Vectors of a corpus's texts by weights that are being trained.

use super::Pass;
use super::data::Texts;

/// Tokens of one pass.
const TOKENS_PER_PASS: usize = 16_384;

/// Unit vectors of texts by their places, `[n, full_width]`, in order.
pub(super) fn units(pass: &Pass, texts: &Texts, places: &[u32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&i| (texts.ids(places[i]).len(), i));
    let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); places.len()];
    let mut rest = &order[..];
    while !rest.is_empty() {
        let mut n_tokens = 0;
        let n = rest.iter().take_while(|&&i| {
            n_tokens += texts.ids(places[i]).len();
            n_tokens <= TOKENS_PER_PASS
        });
        let (now, later) = rest.split_at(n.count().max(1));
        rest = later;
        let sequences: Vec<&[u32]> = now.iter().map(|&i| texts.ids(places[i])).collect();
        let tape = pass.forward(&sequences, &[]);
        let dims = tape.vectors().len() / sequences.len();
        for (&i, vector) in now.iter().zip(tape.vectors().chunks_exact(dims)) {
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            vectors[i] = vector.iter().map(|x| x / length).collect();
        }
    }
    vectors.concat()
}
