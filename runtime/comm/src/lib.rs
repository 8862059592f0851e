//! Transports between the ranks of a run. A rank is a thread of this process or a process of its own; what it computes does not depend on it.
//!
//! [`Communicator`] is all that the rest of the runtime knows: one operation, in which every rank gives every other rank some bytes.
//! [`threads`] makes ranks of one process; the feature `mpi` adds those that `mpirun` starts.
#![forbid(unsafe_code)]

mod error;
mod local;
#[cfg(feature = "mpi")]
pub mod mpi;
mod traffic;

pub use error::CommError;
pub use local::{Local, threads};
pub use traffic::{Counted, Traffic};

use std::fmt::Debug;

/// One rank's end of a transport.
///
/// Calls come from one thread at a time; all ranks make the same calls in the same order.
pub trait Communicator: Debug + Send + Sync {
    /// Which rank this is, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn ranks(&self) -> usize;

    /// Gives `given[q]` to rank q and fills `taken[q]` with what rank q gives; entries of the rank itself are left alone. Both sides know
    /// the lengths.
    ///
    /// # Errors
    /// When another rank is gone, or gives something of another length.
    fn exchange(&mut self, given: &[Vec<u8>], taken: &mut [Vec<u8>]) -> Result<(), CommError>;
}

/// How many ranks a launcher has started together with this process, as the environment tells it; `None` without a launcher.
pub fn launched_ranks() -> Option<usize> {
    // Open MPI, and the launchers of MPICH and its kin.
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}
