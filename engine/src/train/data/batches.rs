//! Which pairs are in which batch: of one data set, of like length, in an order that the seed decides.
//!
//! Nothing is drawn from a stream that must be replayed: a batch is a function of the seed, the data set
//! and how many batches that set has given before. So a run goes on where it stopped.

use crate::random::Random;

/// Batches whose pairs are sorted by length together, about: enough that a batch is even, few enough that
/// batches differ from epoch to epoch.
const POOL_BATCHES: usize = 32;

/// The batches of one data set.
pub(in crate::train) struct Batches {
    seed: u64,
    size: usize,
    /// Tokens of each pair.
    lengths: Vec<u32>,
    epoch: Option<usize>,
    order: Vec<Vec<usize>>,
}

impl Batches {
    /// `lengths`: tokens of each pair. A set with fewer pairs than `size` is one batch.
    pub(in crate::train) fn new(seed: u64, size: usize, lengths: Vec<u32>) -> Batches {
        let size = size.min(lengths.len());
        Batches { seed, size, lengths, epoch: None, order: Vec::new() }
    }

    /// Batch `i` of the set, counted over all epochs: which pairs. What does not fill a batch waits for
    /// another epoch, where the order is another.
    pub(in crate::train) fn get(&mut self, i: u64) -> &[usize] {
        let n_batches = (self.lengths.len() / self.size) as u64;
        let epoch = (i / n_batches) as usize;
        if self.epoch != Some(epoch) {
            self.order = self.shuffled(epoch);
            self.epoch = Some(epoch);
        }
        &self.order[(i % n_batches) as usize]
    }

    fn shuffled(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = Random::new(mixed(&[self.seed, epoch as u64]));
        let mut pairs: Vec<usize> = (0..self.lengths.len()).collect();
        random.shuffle(&mut pairs);
        let n_batches = pairs.len() / self.size;
        // Pools of like size: a small one at the end would have uneven batches.
        let pool_batches = n_batches.div_ceil((n_batches / POOL_BATCHES).max(1));
        let mut batches = Vec::with_capacity(n_batches);
        for pool in pairs[..n_batches * self.size].chunks_mut(self.size * pool_batches) {
            pool.sort_by_key(|&pair| (self.lengths[pair], pair));
            batches.extend(pool.chunks_exact(self.size).map(<[usize]>::to_vec));
        }
        random.shuffle(&mut batches);
        batches
    }
}

/// One seed from several numbers.
pub(in crate::train) fn mixed(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |seed, &number| Random::new(seed ^ number).next())
}

/// Chooses by rates.
pub(in crate::train) fn choose(rates: &[f64], seed: u64) -> usize {
    let mut left = Random::new(seed).unit() * rates.iter().sum::<f64>();
    for (i, rate) in rates.iter().enumerate() {
        left -= rate;
        if left < 0.0 {
            return i;
        }
    }
    // Rounding: the last that can be chosen at all.
    rates.iter().rposition(|rate| *rate > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_each_pair_once_and_batches_are_even() {
        let lengths: Vec<u32> = (0..1000).map(|i| (i * 7919) % 200).collect();
        let mut batches = Batches::new(1, 10, lengths.clone());
        let mut seen: Vec<usize> = (0..100).flat_map(|i| batches.get(i).to_vec()).collect();
        seen.sort_unstable();
        assert!(seen.iter().enumerate().all(|(i, &pair)| i == pair));
        let spread = |batch: &[usize]| {
            let of_pair = |pair: &usize| lengths[*pair];
            batch.iter().map(of_pair).max().unwrap() - batch.iter().map(of_pair).min().unwrap()
        };
        let widest = (0..100).map(|i| spread(batches.get(i))).max().unwrap();
        assert!(widest < 40, "{widest}");
    }

    #[test]
    fn a_batch_is_a_function_of_its_number_and_the_seed() {
        let new = |seed| Batches::new(seed, 4, (0..50).collect());
        let (mut first, mut second) = (new(3), new(3));
        let late = first.get(30).to_vec();
        assert_eq!(second.get(30), late);
        assert_ne!(new(4).get(30), late);
        assert_eq!(first.get(0), new(3).get(0), "also after a later one");
        assert_eq!(Batches::new(1, 64, vec![5; 3]).get(9).len(), 3);
    }

    #[test]
    fn sets_are_chosen_by_their_rates() {
        let counts = (0..10_000).fold([0; 3], |mut counts, seed| {
            counts[choose(&[3.0, 0.0, 1.0], mixed(&[7, seed]))] += 1;
            counts
        });
        assert_eq!(counts[1], 0);
        assert!((7300..7700).contains(&counts[0]), "{counts:?}");
    }
}
