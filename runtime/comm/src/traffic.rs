//! Counting what a rank sends.

use crate::{CommError, Communicator, Messages, Numbers};

/// What a rank has sent to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

/// A transport that counts.
#[derive(Debug)]
pub struct Counted {
    inner: Box<dyn Communicator>,
    traffic: Traffic,
}

impl Counted {
    /// Counts what goes through `inner` from now on.
    pub fn new(inner: Box<dyn Communicator>) -> Self {
        Counted { inner, traffic: Traffic::default() }
    }

    fn count(&mut self, message: &[u8]) {
        self.traffic.messages += 1;
        self.traffic.bytes += message.len() as u64;
    }

    /// What was sent so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }
}

impl Communicator for Counted {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn ranks(&self) -> usize {
        self.inner.ranks()
    }

    fn sharers(&self) -> usize {
        self.inner.sharers()
    }

    fn settle(&mut self, threads: usize) {
        self.inner.settle(threads);
    }

    fn host(&self, rank: usize) -> Option<&str> {
        self.inner.host(rank)
    }

    fn begin(
        &mut self,
        number: usize,
        group: &[usize],
        messages: Messages,
    ) -> Result<(), CommError> {
        let own = self.rank();
        for &to in group.iter().filter(|rank| **rank != own) {
            self.count(&messages.given[to]);
        }
        self.inner.begin(number, group, messages)
    }

    fn progress(&mut self) -> Result<(), CommError> {
        self.inner.progress()
    }

    fn finish(&mut self, number: usize) -> Result<Messages, CommError> {
        self.inner.finish(number)
    }

    fn adds(&self) -> bool {
        self.inner.adds()
    }

    /// What the transport sends for it is its own affair, and not counted.
    fn begin_sum(
        &mut self,
        number: usize,
        group: &[usize],
        numbers: Numbers,
    ) -> Result<(), CommError> {
        self.inner.begin_sum(number, group, numbers)
    }

    fn finish_sum(&mut self, number: usize) -> Result<Numbers, CommError> {
        self.inner.finish_sum(number)
    }

    fn send(&mut self, to: usize, message: Vec<u8>) -> Result<(), CommError> {
        self.count(&message);
        self.inner.send(to, message)
    }

    fn receive(&mut self, from: usize, message: Vec<u8>) -> Result<Vec<u8>, CommError> {
        self.inner.receive(from, message)
    }
}
