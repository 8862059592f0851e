//! Ranks that are threads of one process: a mailbox for each pair, under one lock.
//!
//! A rank that is dropped is gone; whoever waits for it is told. Messages that it sent before stay.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{CommError, Communicator};

/// A rank's end of a transport between threads.
#[derive(Debug)]
pub struct Local {
    rank: usize,
    ranks: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What rank `from` has sent to rank `to` and it has not yet taken, at `from * ranks + to`.
    boxes: Vec<VecDeque<Vec<u8>>>,
    gone: Vec<bool>,
}

/// The ends of a transport between `ranks` threads, in order of their ranks.
pub fn threads(ranks: usize) -> Vec<Local> {
    let state = State { boxes: vec![VecDeque::new(); ranks * ranks], gone: vec![false; ranks] };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (0..ranks).map(|rank| Local { rank, ranks, shared: Arc::clone(&shared) }).collect()
}

impl Shared {
    /// A rank that panicked while it held the lock has left whole messages: each is pushed or taken in one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Communicator for Local {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn exchange(&mut self, given: &[Vec<u8>], taken: &mut [Vec<u8>]) -> Result<(), CommError> {
        let others = || (0..self.ranks).filter(|&rank| rank != self.rank);
        let mut state = self.shared.lock();
        for to in others() {
            state.boxes[self.rank * self.ranks + to].push_back(given[to].clone());
        }
        self.shared.changed.notify_all();
        for from in others() {
            let found = loop {
                if let Some(found) = state.boxes[from * self.ranks + self.rank].pop_front() {
                    break found;
                }
                if state.gone[from] {
                    return Err(CommError::Lost { rank: from, ranks: self.ranks });
                }
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            let (expected, found_len) = (taken[from].len(), found.len());
            if expected != found_len {
                return Err(CommError::Length { rank: from, expected, found: found_len });
            }
            taken[from].copy_from_slice(&found);
        }
        Ok(())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shared.lock().gone[self.rank] = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_gets_what_every_other_gives_it() {
        let ends: Vec<Local> = threads(3);
        let found: Vec<Vec<Vec<u8>>> = std::thread::scope(|scope| {
            let handles: Vec<_> = ends
                .into_iter()
                .map(|mut end| {
                    scope.spawn(move || {
                        let mut all = Vec::new();
                        for round in 0..100_u8 {
                            let from = end.rank() as u8;
                            let given: Vec<Vec<u8>> =
                                (0..3).map(|to| vec![round, from, to]).collect();
                            let mut taken = vec![vec![0; 3]; 3];
                            end.exchange(&given, &mut taken).expect("all ranks are there");
                            all.push(taken.concat());
                        }
                        all
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
        });
        for (rank, rounds) in found.iter().enumerate() {
            for (round, taken) in rounds.iter().enumerate() {
                for from in (0..3).filter(|&from| from != rank) {
                    let expected = [round as u8, from as u8, rank as u8];
                    assert_eq!(taken[3 * from..3 * from + 3], expected);
                }
            }
        }
    }

    #[test]
    fn a_rank_that_is_gone_is_named() {
        let mut ends = threads(2);
        drop(ends.pop());
        let mut first = ends.pop().expect("two were made");
        let lost = first.exchange(&[vec![], vec![1]], &mut [vec![], vec![0]]);
        assert_eq!(lost, Err(CommError::Lost { rank: 1, ranks: 2 }));
    }

    #[test]
    fn messages_of_another_length_are_refused() {
        let mut ends = threads(2);
        let mut second = ends.pop().expect("two were made");
        let mut first = ends.pop().expect("two were made");
        let other = std::thread::spawn(move || {
            second.exchange(&[vec![1, 2, 3], vec![]], &mut [vec![0], vec![]])
        });
        let found = first.exchange(&[vec![], vec![1]], &mut [vec![], vec![0; 2]]);
        assert_eq!(found, Err(CommError::Length { rank: 1, expected: 2, found: 3 }));
        assert_eq!(other.join().expect("no panic"), Ok(()));
    }
}
