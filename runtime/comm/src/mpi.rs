//! Ranks that are processes, started by `mpirun`.
//!
//! MPI is asked for [`Threading::Funneled`]: the thread that calls [`Mpi::start`] makes all exchanges, between the segments of a step.

use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::WaitGuard;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination, Source};
use std::fmt;

use crate::{CommError, Communicator};

/// The end of a rank that is a process. Dropped, it ends this process's part in MPI.
pub struct Mpi {
    universe: Universe,
    rank: usize,
    ranks: usize,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("ranks", &self.ranks).finish()
    }
}

impl Mpi {
    /// Starts MPI. Once in a process.
    ///
    /// # Errors
    /// When it was started before, or the library cannot be called from a program with threads.
    pub fn start() -> Result<Self, CommError> {
        let transport = |message: &str| CommError::Transport { message: message.to_owned() };
        let (universe, found) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| transport("MPI was started before"))?;
        if found < Threading::Funneled {
            return Err(transport("this MPI library is not for programs with threads"));
        }
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        Ok(Mpi { universe, rank, ranks })
    }
}

impl Drop for Mpi {
    /// The end of MPI waits for all ranks, and they wait for this one: a rank that panics ends them all.
    fn drop(&mut self) {
        if std::thread::panicking() {
            abort(101);
        }
    }
}

/// Ends all ranks of the job at once, with this exit status. For a rank that cannot go on: the others would wait for it.
pub fn abort(status: i32) -> ! {
    SimpleCommunicator::world().abort(status)
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn exchange(&mut self, given: &[Vec<u8>], taken: &mut [Vec<u8>]) -> Result<(), CommError> {
        let world = self.universe.world();
        let own = self.rank;
        mpi::request::scope(|scope| {
            // Guards wait when they are dropped, all receives being under way before the first wait.
            let mut guards = Vec::with_capacity(2 * self.ranks);
            for (from, message) in taken.iter_mut().enumerate().filter(|(from, _)| *from != own) {
                let process = world.process_at_rank(from as i32);
                guards
                    .push(WaitGuard::from(process.immediate_receive_into(scope, &mut message[..])));
            }
            let mut sent = Vec::with_capacity(self.ranks);
            for (to, message) in given.iter().enumerate().filter(|(to, _)| *to != own) {
                let process = world.process_at_rank(to as i32);
                sent.push(WaitGuard::from(process.immediate_send(scope, &message[..])));
            }
        });
        Ok(())
    }
}
