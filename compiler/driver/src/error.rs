//! What can go wrong after the front end is content.

use dlc_codegen::CodegenError;
use dlc_passes::pass::PassError;
use dlc_passes::split_batch::SplitError;

/// A failure below the front end.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A pass gave up.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The step cannot be cut into parts of a batch.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Ranks that cannot be shared out to replicas of a model.
    #[error(
        "{ranks} ranks cannot be shared out to replicas of the model, each of which takes {each}; give a multiple of {each}"
    )]
    Ranks {
        /// The ranks there are.
        ranks: u32,
        /// Those that have a model together, as the text asks.
        each: u32,
    },
    /// A rank beyond those there are.
    #[error("there is no rank {rank} of {ranks}; they are numbered from 0")]
    NoRank {
        /// The rank asked for.
        rank: u32,
        /// The ranks there are.
        ranks: u32,
    },
    /// A back end gave up.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// The name of a target that there is none of.
    #[error("there is no target `{name}`; known are {known}")]
    UnknownTarget {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A target that this processor cannot run.
    #[error("this processor cannot run `{name}` code: it lacks {lacks}")]
    TargetLacks {
        /// The target.
        name: &'static str,
        /// The instruction families that are missing.
        lacks: &'static str,
    },
    /// The first level of x86-64 was asked for.
    #[error(
        "there is no code for plain `x86-64`, which lacks SSE4.1; the lowest level is `{lowest}`"
    )]
    BelowLevels {
        /// The lowest level there is code for.
        lowest: &'static str,
    },
    /// A model without a `train` block was to be compiled for training.
    #[error("`{model}` has no `train` block, so it cannot be compiled for training")]
    NotTrained {
        /// The model.
        model: String,
    },
    /// An artefact could not be put together: a law of the compiler or of its caller is broken.
    #[error("compiler bug in the artefact: {what}")]
    Artefact {
        /// What was found.
        what: String,
    },
    /// The static library could not be put together.
    #[error("could not make the static library: {what}")]
    Archive {
        /// What the writer says.
        what: String,
    },
}
