//! What a loss consists of, as a recipe says it.

use serde::{Deserialize, Serialize};

/// The terms of a loss; a term that is absent takes no part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The query's own positive against the others of the batch, and hard negatives.
    pub contrastive: Option<Contrastive>,
    /// Vectors of different texts apart from each other.
    pub spread_out: Option<SpreadOut>,
    /// Each vector near the teacher's.
    pub matching: Option<Matching>,
    /// Similarities within the batch like the teacher's.
    pub similarity: Option<Similarity>,
}

impl Terms {
    /// True if a term asks for vectors of a teacher.
    pub fn need_teacher(&self) -> bool {
        self.matching.is_some() || self.similarity.is_some()
    }

    /// What is wrong with the numbers, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let weights = [
            ("contrastive", self.contrastive.as_ref().map(|term| term.weight)),
            ("spread_out", self.spread_out.as_ref().map(|term| term.weight)),
            ("matching", self.matching.as_ref().map(|term| term.weight)),
            ("similarity", self.similarity.as_ref().map(|term| term.weight)),
        ];
        let temperatures = [
            ("contrastive", self.contrastive.as_ref().map(|term| term.temperature)),
            ("similarity", self.similarity.as_ref().map(|term| term.temperature)),
        ];
        for (name, weight) in weights {
            if let Some(weight) = weight.filter(|w| !(w.is_finite() && *w >= 0.0)) {
                return Some(format!("{name}: weight is {weight}, expected 0 or more"));
            }
        }
        for (name, temperature) in temperatures {
            if let Some(temperature) = temperature.filter(|t| !(t.is_finite() && *t > 0.0)) {
                return Some(format!("{name}: temperature is {temperature}, expected more than 0"));
            }
        }
        let has_term = weights.iter().any(|(_, weight)| weight.is_some_and(|w| w > 0.0));
        (!has_term).then(|| "no term has a weight above 0, so there is nothing to learn".to_owned())
    }
}

/// Noise-contrastive estimation with in-batch negatives.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contrastive {
    /// How much the term counts.
    pub weight: f32,
    /// Cosines are divided by it.
    pub temperature: f32,
    /// A hard negative counts `exp(hardness * cosine)` times.
    pub hardness: f32,
    /// Also find the query of each positive; the term is the mean of both.
    pub both_directions: bool,
    /// The sum over all widths, or the full width alone.
    pub every_width: bool,
}

impl Default for Contrastive {
    fn default() -> Contrastive {
        Contrastive {
            weight: 1.0,
            temperature: 0.05,
            hardness: 5.0,
            both_directions: false,
            every_width: true,
        }
    }
}

/// The mean square of the cosines between different queries, and between different positives.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpreadOut {
    /// How much the term counts.
    pub weight: f32,
    /// The sum over all widths, or the full width alone.
    pub every_width: bool,
}

impl Default for SpreadOut {
    fn default() -> SpreadOut {
        SpreadOut { weight: 1.0, every_width: true }
    }
}

/// One minus the cosine to the teacher's vector: the mean over queries, that over positives and that over
/// hard negatives, added up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
    /// How much the term counts.
    pub weight: f32,
    /// The sum over all widths, or the full width alone.
    pub every_width: bool,
}

impl Default for Matching {
    fn default() -> Matching {
        Matching { weight: 1.0, every_width: false }
    }
}

/// The divergence of the student's similarities within the batch from the teacher's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Similarity {
    /// How much the term counts.
    pub weight: f32,
    /// Cosines of both are divided by it.
    pub temperature: f32,
    /// Also the similarities of each positive to all queries; the term is the mean of both.
    pub both_directions: bool,
    /// The sum over all widths, or the full width alone.
    pub every_width: bool,
}

impl Default for Similarity {
    fn default() -> Similarity {
        Similarity { weight: 1.0, temperature: 0.05, both_directions: true, every_width: true }
    }
}
