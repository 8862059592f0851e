//! The order of examples in an epoch: a permutation that depends on seed, epoch and length alone.

use crate::philox::philox4x32;

/// The last word of the counter of every block drawn here ("SHUF"), so that no other use of the same seed, such as
/// initial weights, ever sees the same numbers.
const DOMAIN: u32 = 0x5348_5546;

/// Fills `order` with a permutation of `0..order.len()`, each equally likely up to the generator.
///
/// Fisher-Yates from the last place down, with unbiased draws by D. Lemire, "Fast random integer generation in an
/// interval", ACM TOMACS 29 (2019). The stream is that of Philox blocks `[block, epoch low, epoch high, "SHUF"]` under
/// the key `[seed low, seed high]`, words in order. Time O(n), no memory beside `order`.
///
/// # Panics
/// When `order` is longer than `u32::MAX`.
pub fn permutation(seed: u64, epoch: u64, order: &mut [u32]) {
    let n = u32::try_from(order.len()).expect("example numbers are 32 bits wide");
    for (place, example) in order.iter_mut().zip(0..n) {
        *place = example;
    }
    let mut stream = Stream::new(seed, epoch);
    for last in (1..n).rev() {
        let chosen = stream.below(last + 1);
        order.swap(last as usize, chosen as usize);
    }
}

/// Words of consecutive Philox blocks.
struct Stream {
    counter: [u32; 4],
    key: [u32; 2],
    words: [u32; 4],
    used: usize,
}

impl Stream {
    fn new(seed: u64, epoch: u64) -> Self {
        Stream {
            counter: [0, epoch as u32, (epoch >> 32) as u32, DOMAIN],
            key: [seed as u32, (seed >> 32) as u32],
            words: [0; 4],
            used: 4,
        }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.words.len() {
            self.words = philox4x32(self.counter, self.key);
            // 2^32 blocks are four words for each of the 2^32 examples there may be; each example takes fewer than two
            // on average, so the block number does not come round.
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    /// A number in `0..bound`, each equally likely; `bound` is positive.
    fn below(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.word()) * u64::from(bound);
        if (product as u32) < bound {
            // 2^32 mod bound: so many low halves occur once too often.
            let surplus = bound.wrapping_neg() % bound;
            while (product as u32) < surplus {
                product = u64::from(self.word()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, epoch: u64, n: usize) -> Vec<u32> {
        let mut order = vec![0; n];
        permutation(seed, epoch, &mut order);
        order
    }

    #[test]
    fn every_example_comes_once() {
        for n in [0, 1, 2, 3, 10, 1797] {
            let mut sorted = order(7, 3, n);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn seed_and_both_halves_of_the_epoch_change_the_order() {
        let orders = [
            order(1, 0, 50),
            order(1, 1, 50),
            order(1, 1 << 32, 50),
            order(2, 0, 50),
            order(1 << 32, 0, 50),
        ];
        for (i, a) in orders.iter().enumerate() {
            for b in &orders[i + 1..] {
                assert_ne!(a, b);
            }
        }
        assert_eq!(orders[0], order(1, 0, 50));
    }

    #[test]
    fn the_order_is_a_promise() {
        // From an independent program that follows the description of `permutation`.
        assert_eq!(order(42, 0, 12), SEED_42_EPOCH_0);
        assert_eq!(order(0x1234_5678_9ABC_DEF0, 5, 12), LARGE_SEED_EPOCH_5);
    }

    #[test]
    fn all_permutations_of_four_are_about_equally_frequent() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..24_000 {
            *counts.entry(order(9, epoch, 4)).or_insert(0_i64) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Chi-square with 23 degrees of freedom: above 65 with a probability of 7e-6.
        let chi_square: f64 =
            counts.values().map(|&c| ((c - 1000) * (c - 1000)) as f64 / 1000.0).sum();
        assert!(chi_square < 65.0, "{chi_square}");
    }

    #[test]
    fn draws_are_redrawn_where_a_remainder_would_favour_some() {
        // With bound 2^31 + 1 nearly half of all words must be thrown away.
        let bound = (1 << 31) + 1;
        let mut stream = Stream::new(3, 0);
        let draws: Vec<u32> = (0..1000).map(|_| stream.below(bound)).collect();
        assert!(draws.iter().all(|&draw| draw < bound));
        let words = (stream.counter[0] as usize - 1) * 4 + stream.used;
        assert!((1900..2100).contains(&words), "{words} words for 1000 draws");
    }

    const SEED_42_EPOCH_0: [u32; 12] = [1, 3, 6, 0, 7, 2, 9, 5, 10, 4, 11, 8];
    const LARGE_SEED_EPOCH_5: [u32; 12] = [1, 6, 11, 9, 2, 3, 4, 5, 0, 8, 10, 7];
}
