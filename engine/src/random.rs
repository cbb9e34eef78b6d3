//! Numbers that follow from a seed: the same on every machine, not for secrets.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014). Work that is shared among threads gives each piece a
//! generator of its own, from the seed and the piece's number, so that no thread decides a number.

/// A generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The generator of one piece of the work.
    pub(crate) fn of_piece(seed: u64, piece_idx: usize) -> Random {
        // Seeds that follow each other would give shifted copies of one stream: mix first.
        let mixed = Random(seed).next().wrapping_add(piece_idx as u64);
        Random(Random(mixed).next())
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n - 1`; the bias is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A number from 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Puts items in random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_others() {
        // The first numbers of seed 1234567 in other implementations (Rosetta Code lists them).
        let mut random = Random::new(1_234_567);
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], first);
    }

    #[test]
    fn every_number_below_n_is_as_likely() {
        let mut random = Random::new(5);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[random.below(7)] += 1);
        // Six standard deviations of a binomial count.
        assert!(counts.iter().all(|count| (9_440..10_560).contains(count)), "{counts:?}");
        let mean = (0..10_000).map(|_| random.unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..40_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_pieces_differ() {
        let shuffled = |piece_idx| {
            let mut items: Vec<u32> = (0..100).collect();
            Random::of_piece(1, piece_idx).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(0), shuffled(0));
        assert_ne!(shuffled(0), shuffled(1));
        let mut sorted = shuffled(0);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
    }
}
