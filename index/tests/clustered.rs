//! Rows and queries for measuring recall: clustered, with a falling spectrum.

use half::f16;

/// Numbers in a row.
pub(crate) const FULL: usize = 768;
/// Queries that are asked.
pub(crate) const N_QUERIES: usize = 200;

/// A number that the environment may give.
pub(crate) fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// SplitMix64, and normal numbers by Box and Muller.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// A step away from `from` whose energy falls along the dimensions as in a Matryoshka embedding.
    fn near(&mut self, from: &[f32], size: f32) -> Vec<f32> {
        let spread = |i: usize| size / (1.0 + i as f32 / 64.0).sqrt();
        from.iter().enumerate().map(|(i, x)| x + spread(i) * self.normal()).collect()
    }
}

fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    x.iter_mut().for_each(|x| *x /= norm);
    x
}

/// Topics that rows are mixed from.
const N_TOPICS: usize = 300;
/// Topics in one row.
const N_MIXED: usize = 3;

/// Rows and queries. A row mixes a few topics, most of it the first, and has a part of its own; so
/// clusters overlap. A query mixes the topics of some row otherwise. Each row past `n_distinct`
/// repeats an earlier one.
pub(crate) fn clustered(
    seed: u64,
    n_rows: usize,
    n_distinct: usize,
) -> (Vec<Vec<f16>>, Vec<Vec<f32>>) {
    let mut random = Random(seed);
    let common = random.near(&[0.0; FULL], 0.5);
    let topics: Vec<_> = (0..N_TOPICS).map(|_| random.near(&[0.0; FULL], 1.0)).collect();
    let mix = |random: &mut Random, mixed: &[usize]| {
        let mut x = common.clone();
        for (nth, topic) in mixed.iter().enumerate() {
            let weight = random.unit() as f32 / (nth + 1) as f32;
            x.iter_mut().zip(&topics[*topic]).for_each(|(x, topic)| *x += weight * topic);
        }
        unit(random.near(&x, 0.5))
    };
    let mut mixtures: Vec<[usize; N_MIXED]> = Vec::new();
    let mut rows: Vec<Vec<f16>> = Vec::with_capacity(n_rows);
    for row in 0..n_rows {
        if row < n_distinct {
            let mixed = [(); N_MIXED].map(|()| random.below(N_TOPICS));
            rows.push(mix(&mut random, &mixed).into_iter().map(f16::from_f32).collect());
            mixtures.push(mixed);
        } else {
            rows.push(rows[random.below(n_distinct)].clone());
        }
    }
    let query = |_| {
        let mixed = mixtures[random.below(n_distinct)];
        mix(&mut random, &mixed)
    };
    let queries = (0..N_QUERIES).map(query).collect();
    (rows, queries)
}
