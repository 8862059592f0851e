//! What can go wrong between ranks.

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommError {
    /// Another rank has ended before the run did.
    #[error("rank {rank} of {ranks} has gone; the run cannot go on without it")]
    Lost {
        /// The rank that is gone.
        rank: usize,
        /// How many ranks there were.
        ranks: usize,
    },
    /// Ranks disagree about what they exchange: they run different programs.
    #[error(
        "rank {rank} sent {found} bytes where {expected} were expected; all ranks must run the same program on the same data"
    )]
    Length {
        /// The rank that sent them.
        rank: usize,
        /// The bytes expected.
        expected: usize,
        /// The bytes sent.
        found: usize,
    },
    /// A sum was asked of a transport that has none of its own.
    #[error(
        "ranks of one process have no all-reduce of their own: start them by `mpirun`, or leave sums in their order"
    )]
    NoSums,
    /// The transport itself failed.
    #[error("the transport failed: {message}")]
    Transport {
        /// What it says.
        message: String,
    },
}
