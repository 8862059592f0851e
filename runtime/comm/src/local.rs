//! Ranks that are threads of one process: a mailbox for each pair, under one lock.
//!
//! A rank that is dropped is gone; whoever waits for it is told. Messages that it sent before stay.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{CommError, Communicator, Messages, SINGLE};

/// A rank's end of a transport between threads.
#[derive(Debug)]
pub struct Local {
    rank: usize,
    ranks: usize,
    shared: Arc<Shared>,
    /// Exchanges that are under way.
    begun: Vec<Begun>,
}

/// An exchange that is under way.
#[derive(Debug)]
struct Begun {
    number: usize,
    group: Vec<usize>,
    messages: Messages,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What rank `from` has sent to rank `to` and it has not yet taken, oldest first, at `from * ranks + to`.
    boxes: Vec<Vec<(usize, Vec<u8>)>>,
    gone: Vec<bool>,
}

/// The ends of a transport between `ranks` threads, in order of their ranks.
pub fn threads(ranks: usize) -> Vec<Local> {
    let state = State { boxes: vec![Vec::new(); ranks * ranks], gone: vec![false; ranks] };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    let end = |rank| Local { rank, ranks, shared: Arc::clone(&shared), begun: Vec::new() };
    (0..ranks).map(end).collect()
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

    fn sharers(&self) -> usize {
        self.ranks
    }

    /// A wait never keeps a processor busy here.
    fn settle(&mut self, _: usize) {}

    fn host(&self, _: usize) -> Option<&str> {
        None
    }

    fn begin(
        &mut self,
        number: usize,
        group: &[usize],
        messages: Messages,
    ) -> Result<(), CommError> {
        let mut state = self.shared.lock();
        for &to in group.iter().filter(|rank| **rank != self.rank) {
            let message = messages.given[to].clone();
            state.boxes[self.rank * self.ranks + to].push((number, message));
        }
        drop(state);
        self.shared.changed.notify_all();
        self.begun.push(Begun { number, group: group.to_vec(), messages });
        Ok(())
    }

    fn progress(&mut self) -> Result<(), CommError> {
        Ok(())
    }

    fn finish(&mut self, number: usize) -> Result<Messages, CommError> {
        let at = self.begun.iter().position(|begun| begun.number == number);
        let Begun { group, mut messages, .. } =
            self.begun.remove(at.expect("what is finished was begun"));
        for from in group.into_iter().filter(|rank| *rank != self.rank) {
            self.take(from, number, &mut messages.taken[from])?;
        }
        Ok(messages)
    }

    fn send(&mut self, to: usize, message: Vec<u8>) -> Result<(), CommError> {
        let mut state = self.shared.lock();
        state.boxes[self.rank * self.ranks + to].push((SINGLE, message));
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn receive(&mut self, from: usize, mut message: Vec<u8>) -> Result<Vec<u8>, CommError> {
        self.take(from, SINGLE, &mut message)?;
        Ok(message)
    }
}

impl Local {
    /// Waits for the oldest message of that number from a rank.
    fn take(&self, from: usize, number: usize, message: &mut [u8]) -> Result<(), CommError> {
        let mut state = self.shared.lock();
        let found = loop {
            let letters = &mut state.boxes[from * self.ranks + self.rank];
            if let Some(at) = letters.iter().position(|(sent, _)| *sent == number) {
                break letters.remove(at).1;
            }
            if state.gone[from] {
                return Err(CommError::Lost { rank: from, ranks: self.ranks });
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let (expected, found_len) = (message.len(), found.len());
        if expected != found_len {
            return Err(CommError::Length { rank: from, expected, found: found_len });
        }
        message.copy_from_slice(&found);
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

    fn message(given: Vec<Vec<u8>>, taken: Vec<Vec<u8>>) -> Messages {
        Messages { given, taken }
    }

    #[test]
    fn every_rank_gets_what_every_other_gives_it() {
        let ends: Vec<Local> = threads(3);
        let found: Vec<Vec<Vec<u8>>> = std::thread::scope(|scope| {
            let handles: Vec<_> = ends
                .into_iter()
                .map(|mut end| {
                    scope.spawn(move || {
                        let mut all = Vec::new();
                        let from = end.rank() as u8;
                        // Two exchanges are under way at a time and end in the other order.
                        for round in (0..100_u8).step_by(2) {
                            for number in [0, 1] {
                                let given =
                                    (0..3).map(|to| vec![round + number, from, to]).collect();
                                end.begin(
                                    number.into(),
                                    &[0, 1, 2],
                                    message(given, vec![vec![0; 3]; 3]),
                                )
                                .expect("all ranks are there");
                            }
                            let newer = end.finish(1).expect("all ranks are there").taken.concat();
                            all.push(end.finish(0).expect("all ranks are there").taken.concat());
                            all.push(newer);
                        }
                        all
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
        });
        for (rank, rounds) in found.iter().enumerate() {
            assert_eq!(rounds.len(), 100);
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
        let lost = first.exchange(message(vec![vec![], vec![1]], vec![vec![], vec![0]]));
        assert_eq!(lost, Err(CommError::Lost { rank: 1, ranks: 2 }));
    }

    #[test]
    fn a_group_exchanges_while_single_messages_pass_it() {
        let found: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let run = |mut end: Local| {
                scope.spawn(move || {
                    // Ranks 0 and 2 are a group, 1 is none of it.
                    let (own, last) = (end.rank(), 2 - end.rank());
                    if own == 1 {
                        let first = end.receive(0, vec![0; 2]).expect("it was sent");
                        return [first, end.receive(0, vec![0]).expect("it was sent")].concat();
                    }
                    let given = vec![vec![own as u8]; 3];
                    end.begin(7, &[0, 2], message(given, vec![vec![0]; 3])).expect("it begins");
                    if own == 0 {
                        end.send(1, vec![8, 9]).expect("it is sent");
                        end.send(1, vec![10]).expect("it is sent");
                    }
                    let taken = end.finish(7).expect("both are there").taken;
                    vec![taken[last][0], taken[1][0]]
                })
            };
            let ranks: Vec<_> = threads(3).into_iter().map(run).collect();
            ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
        });
        assert_eq!(found, [vec![2, 0], vec![8, 9, 10], vec![0, 0]]);
    }

    #[test]
    fn messages_of_another_length_are_refused() {
        let mut ends = threads(2);
        let mut second = ends.pop().expect("two were made");
        let mut first = ends.pop().expect("two were made");
        let other = std::thread::spawn(move || {
            second.exchange(message(vec![vec![1, 2, 3], vec![]], vec![vec![0], vec![]]))
        });
        let found = first.exchange(message(vec![vec![], vec![1]], vec![vec![], vec![0; 2]]));
        assert_eq!(found, Err(CommError::Length { rank: 1, expected: 2, found: 3 }));
        assert_eq!(other.join().expect("no panic").map(|all| all.taken[0].clone()), Ok(vec![1]));
    }
}
