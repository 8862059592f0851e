//! Counting what a rank sends.

use crate::{CommError, Communicator};

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

    fn exchange(&mut self, given: &[Vec<u8>], taken: &mut [Vec<u8>]) -> Result<(), CommError> {
        let own = self.rank();
        for (_, message) in given.iter().enumerate().filter(|(to, _)| *to != own) {
            self.traffic.messages += 1;
            self.traffic.bytes += message.len() as u64;
        }
        self.inner.exchange(given, taken)
    }
}
