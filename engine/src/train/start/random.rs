//! Random weights.

use serde::{Deserialize, Serialize};

use super::{Beginning, Teacher, token_texts};
use crate::package::{Config, LayerKind, Location, Matrix, Weights};
use crate::random::Random;
use crate::train::data::text_hash;
use crate::{Error, Result};

/// Norms behind attention and feed-forward begin at `1 + w = 0.2`: a branch that is random yet adds
/// little to the token it is added to.
const BRANCH_NORM: f32 = -0.8;

/// Random weights of a new shape, with the tokenizer and the prompts of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RandomStart {
    /// The model; a number that is not said is that of this model.
    pub like: String,
    /// Learn a new vocabulary of this many tokens from the texts of all stages.
    pub vocab_size: Option<usize>,
    /// Width of a token's state.
    pub hidden: Option<usize>,
    /// Width inside the feed-forward block.
    pub intermediate: Option<usize>,
    /// Query heads.
    pub n_heads: Option<usize>,
    /// Key and value heads.
    pub n_kv_heads: Option<usize>,
    /// Width of one head.
    pub head_dim: Option<usize>,
    /// For each layer whether it is full; the others are sliding.
    pub full_layers: Option<Vec<bool>>,
    /// Outputs of the first dense layer.
    pub width_between: Option<usize>,
    /// Outputs of the second dense layer.
    pub full_width: Option<usize>,
    /// Token vectors are the teacher's vectors of the tokens' strings, cut to `hidden`.
    #[serde(default)]
    pub token_vectors_of_teacher: bool,
}

impl RandomStart {
    pub(super) fn open(
        &self,
        seed: u64,
        vocabulary: Option<Vec<u8>>,
        teacher: Option<&Teacher>,
    ) -> Result<Beginning> {
        let location = Location::find(&self.like)?;
        let (mut package, source) = location.load()?;
        let tokenizer_json = match vocabulary {
            None => location.tokenizer_json()?,
            Some(json) => {
                package.set_tokenizer(&json)?;
                json
            }
        };
        let width_between = self.width_between.unwrap_or(source.width_between());
        let full_width = self.full_width.unwrap_or(source.width());
        let config = &mut package.config;
        let set = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        set(&mut config.hidden, self.hidden);
        set(&mut config.intermediate, self.intermediate);
        set(&mut config.n_heads, self.n_heads);
        set(&mut config.n_kv_heads, self.n_kv_heads);
        set(&mut config.head_dim, self.head_dim);
        config.query_pre_attn_scalar = config.head_dim as f64;
        if let Some(full) = &self.full_layers {
            let kind = |full: &bool| if *full { LayerKind::Full } else { LayerKind::Sliding };
            config.layers = full.iter().map(kind).collect();
        }
        self.check(config, width_between, full_width)?;
        let mut random = Random::new(seed);
        let mut weights = draw(config, width_between, full_width, &mut random);
        if full_width != package.widths[0] {
            package.widths = vec![full_width];
        }
        if let Some(teacher) = teacher.filter(|_| self.token_vectors_of_teacher) {
            take_token_vectors(&mut weights.embedding, &tokenizer_json, teacher)?;
        }
        Ok(Beginning { package, tokenizer_json, weights })
    }

    fn check(&self, config: &Config, width_between: usize, full_width: usize) -> Result<()> {
        let sizes = [
            ("hidden", config.hidden, 1),
            ("intermediate", config.intermediate, 1),
            ("n_kv_heads", config.n_kv_heads, 1),
            ("n_heads", config.n_heads, config.n_kv_heads.max(1)),
            ("head_dim", config.head_dim, 2),
            ("full_layers", config.layers.len(), 1),
            ("width_between", width_between, 1),
            ("full_width", full_width, 1),
        ];
        for (field, size, divisor) in sizes {
            if size == 0 || size > 1 << 16 || !size.is_multiple_of(divisor) {
                return Err(Error::Package {
                    package: format!("random, like {}", self.like),
                    field: field.to_owned(),
                    found: size.to_string(),
                    expected: format!("a multiple of {divisor}, at most 65536"),
                });
            }
        }
        Ok(())
    }
}

/// Rows of a table have unit mean square once they are scaled; linear layers keep the mean square of
/// what goes through them.
fn draw(config: &Config, width_between: usize, full_width: usize, random: &mut Random) -> Weights {
    let Config { hidden, intermediate, n_heads, n_kv_heads, head_dim, .. } = *config;
    let mut linear = |n_rows: usize, n_cols: usize| {
        let scale = (n_cols as f64).powf(-0.5);
        let values = (0..n_rows * n_cols).map(|_| (random.normal() * scale) as f32).collect();
        Matrix { values, n_rows, n_cols }
    };
    let norm = |n: usize| Matrix { values: vec![0.0; n], n_rows: 1, n_cols: n };
    let branch = |n: usize| Matrix { values: vec![BRANCH_NORM; n], n_rows: 1, n_cols: n };
    let embedding = linear(config.vocab_size, hidden);
    let layers = (0..config.layers.len()).map(|_| crate::package::LayerWeights {
        input_norm: norm(hidden),
        q: linear(n_heads * head_dim, hidden),
        k: linear(n_kv_heads * head_dim, hidden),
        v: linear(n_kv_heads * head_dim, hidden),
        q_norm: norm(head_dim),
        k_norm: norm(head_dim),
        o: linear(hidden, n_heads * head_dim),
        post_attention_norm: branch(hidden),
        pre_feedforward_norm: norm(hidden),
        gate: linear(intermediate, hidden),
        up: linear(intermediate, hidden),
        down: linear(hidden, intermediate),
        post_feedforward_norm: branch(hidden),
    });
    let layers = layers.collect();
    Weights {
        embedding,
        layers,
        norm: norm(hidden),
        dense_1: linear(width_between, hidden),
        dense_2: linear(full_width, width_between),
    }
}

/// Puts the teacher's vectors of tokens' strings into the table, scaled as random rows are.
fn take_token_vectors(table: &mut Matrix, tokenizer_json: &[u8], teacher: &Teacher) -> Result<()> {
    let mut n_taken = 0;
    for (id, text) in token_texts(tokenizer_json)? {
        let row = table.values.chunks_exact_mut(table.n_cols).nth(id as usize);
        let (Some(row), Some(vector)) = (row, teacher.vectors(&[text_hash(&text)])?) else {
            continue;
        };
        let square: f32 = vector.iter().take(row.len()).map(|x| x * x).sum();
        let inverse = 1.0 / square.sqrt().max(1e-12);
        for (d, to) in row.iter_mut().enumerate() {
            *to = vector.get(d).map_or(0.0, |x| x * inverse);
        }
        n_taken += 1;
    }
    if n_taken == 0 {
        return Err(Error::Package {
            package: "random".to_owned(),
            field: "token_vectors_of_teacher".to_owned(),
            found: "a teacher without the strings of this tokenizer's tokens".to_owned(),
            expected: "their vectors among the teacher's, by string with spaces for \u{2581}"
                .to_owned(),
        });
    }
    Ok(())
}
