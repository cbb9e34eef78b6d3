//! Which candidates a node is linked to: the paper's heuristic (algorithm 4).
//!
//! A candidate is linked to only if it is closer to the node than to every neighbour chosen before, so
//! that links lead in all directions instead of all into the nearest cluster. Candidates that fail stay
//! out even if there is room: lists of the nearest only ("keep pruned") lose outliers.

use crate::score::{CodeRows, QueryCodes};

/// Chosen neighbours that a candidate is compared with at once: enough to hide the memory's delay,
/// few enough to stop early.
const AT_ONCE: usize = 8;

/// What choosing needs for itself.
#[derive(Default)]
pub(super) struct Select {
    candidate: QueryCodes,
    scores: Vec<f32>,
}

impl Select {
    /// Adds to `chosen`, until there are `most`, the candidates that are closer to the node they were
    /// scored with than to any chosen. They come best first.
    pub(super) fn choose(
        &mut self,
        codes: CodeRows<'_>,
        candidates: impl Iterator<Item = (u32, f32)>,
        most: usize,
        chosen: &mut Vec<u32>,
    ) {
        for (node, score) in candidates {
            if chosen.len() >= most {
                break;
            }
            self.candidate.set(codes, node);
            let is_closer = |some: &[u32]| {
                codes.score_many(some, &self.candidate, &mut self.scores);
                self.scores.iter().any(|to_chosen| *to_chosen > score)
            };
            if !chosen.chunks(AT_ONCE).any(is_closer) {
                chosen.push(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_in_all_directions() {
        // Seen from (1, 0): two neighbours close together on one side, one farther on the other.
        let angles = [0.0f32, 0.30, 0.35, -0.5];
        let xy = |angle: f32| [(angle.cos() * 127.0) as i8, (angle.sin() * 127.0) as i8];
        let numbers: Vec<i8> = angles.into_iter().flat_map(xy).collect();
        let scales = [1.0 / 127.0; 4];
        let codes = CodeRows::new(&numbers, &scales, 2);
        let candidates = || [1, 2, 3].map(|node| (node, codes.score_pair(0, node))).into_iter();
        let choose = |most, mut chosen: Vec<u32>| {
            Select::default().choose(codes, candidates(), most, &mut chosen);
            chosen
        };
        assert_eq!(choose(3, vec![]), [1, 3], "2 is closer to 1 than to 0");
        assert_eq!(choose(1, vec![]), [1]);
        assert_eq!(choose(3, vec![2]), [2, 3], "what was chosen before counts");
    }
}
