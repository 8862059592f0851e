//! Which examples make up each batch: epoch after epoch, shuffled anew in each, resumable at every batch.

use serde::{Deserialize, Serialize};

use crate::error::BatchError;
use crate::shuffle::permutation;

/// How examples are put into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Number of examples in the data set.
    pub n_examples: usize,
    /// Examples in a batch; the last batch of an epoch may have fewer.
    pub batch: usize,
    /// Seed of the order.
    pub seed: u64,
    /// False to keep the order of the data set in every epoch.
    pub shuffle: bool,
}

/// The batch that comes next. Together with the [`BatchConfig`] it is all that a resumed run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epoch, counted from 0.
    pub epoch: u64,
    /// Batch in the epoch, counted from 0.
    pub batch: u64,
}

/// An endless sequence of batches. Memory: four bytes an example.
#[derive(Debug, Clone)]
pub struct Batches {
    config: BatchConfig,
    position: Position,
    /// The order of `order_epoch`; without shuffling the identity.
    order: Vec<u32>,
    order_epoch: Option<u64>,
}

/// One batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Where it stands.
    pub position: Position,
    /// The numbers of its examples in the data set, at least one.
    pub examples: &'a [u32],
    /// True for the last batch of an epoch.
    pub ends_epoch: bool,
}

impl Batches {
    /// Batches from the beginning of the first epoch.
    ///
    /// # Errors
    /// When a batch, or the data set, is empty, or there are more examples than can be numbered.
    pub fn new(config: BatchConfig) -> Result<Self, BatchError> {
        Self::resume(config, Position::default())
    }

    /// Batches from a saved position on: the same ones as a run that never stopped.
    ///
    /// # Errors
    /// As [`Batches::new`], and when an epoch has no such batch.
    pub fn resume(config: BatchConfig, position: Position) -> Result<Self, BatchError> {
        if config.batch == 0 {
            return Err(BatchError::EmptyBatch);
        }
        let examples = config.n_examples;
        let last = u32::try_from(examples).ok().filter(|&n| n > 0);
        let Some(n_examples) = last else {
            return Err(BatchError::Examples { examples });
        };
        let n_batches = examples.div_ceil(config.batch) as u64;
        if position.batch >= n_batches {
            return Err(BatchError::Position { batch: position.batch, n_batches });
        }
        Ok(Batches { config, position, order: (0..n_examples).collect(), order_epoch: None })
    }

    /// How the batches are made.
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// Batches in an epoch, at least 1.
    pub fn n_batches(&self) -> u64 {
        self.config.n_examples.div_ceil(self.config.batch) as u64
    }

    /// The batch that [`Batches::next_batch`] gives next: what a checkpoint stores.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on by a batch without asking which examples are in it: how many they are, and whether the batch is the last of its epoch.
    pub fn skip(&mut self) -> (usize, bool) {
        let Position { epoch, batch } = self.position;
        let start = batch as usize * self.config.batch;
        let n = self.config.batch.min(self.order.len() - start);
        let ends_epoch = batch + 1 == self.n_batches();
        self.position = match ends_epoch {
            true => Position { epoch: epoch + 1, batch: 0 },
            false => Position { epoch, batch: batch + 1 },
        };
        (n, ends_epoch)
    }

    /// The next batch. Allocates nothing; the first batch of an epoch costs O(examples).
    pub fn next_batch(&mut self) -> Batch<'_> {
        let position = self.position;
        if self.config.shuffle && self.order_epoch != Some(position.epoch) {
            permutation(self.config.seed, position.epoch, &mut self.order);
            self.order_epoch = Some(position.epoch);
        }
        let start = position.batch as usize * self.config.batch;
        let (n, ends_epoch) = self.skip();
        Batch { position, examples: &self.order[start..start + n], ends_epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(n_examples: usize, batch: usize, shuffle: bool) -> BatchConfig {
        BatchConfig { n_examples, batch, seed: 11, shuffle }
    }

    fn batches(n_examples: usize, batch: usize, shuffle: bool) -> Batches {
        Batches::new(config(n_examples, batch, shuffle)).expect("a sound configuration")
    }

    #[test]
    fn an_epoch_has_every_example_once_and_a_ragged_end() {
        for shuffle in [false, true] {
            let mut batches = batches(10, 4, shuffle);
            assert_eq!(batches.n_batches(), 3);
            for epoch in 0..3 {
                let mut seen = Vec::new();
                for (index, size) in [4, 4, 2].into_iter().enumerate() {
                    let batch = batches.next_batch();
                    assert_eq!(batch.position, Position { epoch, batch: index as u64 });
                    assert_eq!(batch.examples.len(), size);
                    assert_eq!(batch.ends_epoch, index == 2);
                    seen.extend_from_slice(batch.examples);
                }
                assert_eq!(seen.is_sorted(), !shuffle);
                seen.sort_unstable();
                assert_eq!(seen, (0..10).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn skipping_goes_on_as_taking_does() {
        let (mut taken, mut skipped) = (batches(10, 4, true), batches(10, 4, true));
        for _ in 0..7 {
            let batch = taken.next_batch();
            let seen = (batch.examples.len(), batch.ends_epoch);
            assert_eq!(skipped.skip(), seen);
            assert_eq!(skipped.position(), taken.position());
        }
        assert_eq!(skipped.next_batch(), taken.next_batch());
    }

    #[test]
    fn epochs_differ_when_shuffled() {
        let mut batches = batches(20, 20, true);
        let first = batches.next_batch().examples.to_vec();
        assert_ne!(batches.next_batch().examples, first);
    }

    #[test]
    fn a_resumed_run_goes_on_as_if_it_had_not_stopped() {
        for shuffle in [false, true] {
            let mut whole = batches(23, 5, shuffle);
            for _ in 0..17 {
                let saved = whole.position();
                let mut resumed =
                    Batches::resume(config(23, 5, shuffle), saved).expect("a position of its own");
                let mut ahead = whole.clone();
                for _ in 0..7 {
                    assert_eq!(resumed.next_batch(), ahead.next_batch());
                }
                whole.next_batch();
            }
        }
    }

    #[test]
    fn a_batch_may_be_larger_than_the_data() {
        let mut batches = batches(3, usize::MAX, false);
        let batch = batches.next_batch();
        assert_eq!((batch.examples, batch.ends_epoch), (&[0, 1, 2][..], true));
    }

    #[test]
    fn impossible_configurations_are_refused() {
        let text =
            |config, position| Batches::resume(config, position).expect_err("refused").to_string();
        let start = Position::default();
        assert_eq!(text(config(5, 0, true), start), "a batch needs at least one example");
        assert_eq!(
            text(config(0, 5, true), start),
            "batches need 1 to 4294967295 examples, there are 0"
        );
        assert_eq!(
            text(config(10, 4, true), Position { epoch: 0, batch: 3 }),
            "an epoch has 3 batches, so it cannot be resumed at batch 3"
        );
    }
}
