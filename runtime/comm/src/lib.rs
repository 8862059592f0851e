//! Transports between the ranks of a run. A rank is a thread of this process or a process of its own; what it computes does not depend on it.
//!
//! [`Communicator`] is all that the rest of the runtime knows: an exchange, in which every rank gives every other rank some bytes. It is
//! begun as soon as what is given is there, and ended where what is taken is needed; between the two the rank computes.
//! [`threads`] makes ranks of one process; the feature `mpi` adds those that `mpirun` starts.
#![deny(unsafe_code)]

mod error;
mod local;
#[cfg(feature = "mpi")]
pub mod mpi;
mod traffic;

pub use error::CommError;
pub use local::{Local, threads};
pub use traffic::{Counted, Traffic};

use std::fmt::Debug;

/// What a rank gives in an exchange, and room for what it takes: a message for each rank. Those of the rank itself are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    /// `given[q]` goes to rank q.
    pub given: Vec<Vec<u8>>,
    /// `taken[q]` comes from rank q. Both sides know the lengths.
    pub taken: Vec<Vec<u8>>,
}

/// Numbers that ranks add up.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Of 32 bits.
    F32(Vec<f32>),
    /// Of 64 bits.
    F64(Vec<f64>),
}

/// One rank's end of a transport.
///
/// Calls come from one thread, that which made it where the transport says so; all ranks begin the same exchanges in the same order.
pub trait Communicator: Debug + Send + Sync {
    /// Which rank this is, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn ranks(&self) -> usize;

    /// How many ranks, this one among them, compute on the processors that this one may use.
    fn sharers(&self) -> usize;

    /// Learns how many threads each rank computes with: a wait keeps a processor busy only where one is left over.
    fn settle(&mut self, threads: usize);

    /// The host of a rank, for messages; `None` where all are threads of one process.
    fn host(&self, rank: usize) -> Option<&str>;

    /// Begins an exchange between the ranks of a group, this one among them; messages of other ranks are left alone. Several may be under
    /// way, told apart by small numbers, which are the same on all ranks of a group; the transport keeps the messages until
    /// [`Communicator::finish`] gives them back.
    ///
    /// # Errors
    /// When the transport fails.
    fn begin(
        &mut self,
        number: usize,
        group: &[usize],
        messages: Messages,
    ) -> Result<(), CommError>;

    /// Moves along what is under way, without waiting. Some transports move nothing between calls.
    ///
    /// # Errors
    /// When the transport fails.
    fn progress(&mut self) -> Result<(), CommError>;

    /// Waits for the end of an exchange that was begun.
    ///
    /// # Errors
    /// When another rank is gone, or gives something of another length.
    fn finish(&mut self, number: usize) -> Result<Messages, CommError>;

    /// Begins an exchange between all ranks and waits for its end.
    ///
    /// # Errors
    /// As the two.
    fn exchange(&mut self, messages: Messages) -> Result<Messages, CommError> {
        let all: Vec<usize> = (0..self.ranks()).collect();
        self.begin(0, &all, messages)?;
        self.finish(0)
    }

    /// Whether the transport adds numbers up by itself, as [`Communicator::begin_sum`] asks it to.
    fn adds(&self) -> bool {
        false
    }

    /// Begins a sum between the ranks of a group, this one among them, which have as many numbers each. Its order is the transport's own.
    /// Numbers of sums and exchanges under way differ.
    ///
    /// # Errors
    /// When the transport fails, or does not add.
    fn begin_sum(&mut self, _: usize, _: &[usize], _: Numbers) -> Result<(), CommError> {
        Err(CommError::NoSums)
    }

    /// Waits for the end of a sum that was begun.
    ///
    /// # Errors
    /// As for [`Communicator::begin_sum`].
    fn finish_sum(&mut self, _: usize) -> Result<Numbers, CommError> {
        Err(CommError::NoSums)
    }

    /// Sends a message on its way to one other rank, which takes those of this rank in their order, whatever exchanges are under way.
    ///
    /// # Errors
    /// When the transport fails.
    fn send(&mut self, to: usize, message: Vec<u8>) -> Result<(), CommError>;

    /// Waits for the next message of another rank, and fills `message` with it.
    ///
    /// # Errors
    /// When that rank is gone, or its message has another length.
    fn receive(&mut self, from: usize, message: Vec<u8>) -> Result<Vec<u8>, CommError>;
}

/// The number of messages that belong to no exchange.
const SINGLE: usize = (1 << 15) - 1;

/// How many ranks a launcher has started together with this process, as the environment tells it; `None` without a launcher.
pub fn launched_ranks() -> Option<usize> {
    // Open MPI, and the launchers of MPICH and its kin.
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}
