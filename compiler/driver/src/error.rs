//! What can go wrong after the front end is content.

use dlc_codegen::CodegenError;
use dlc_passes::pass::PassError;

/// A failure below the front end.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A pass gave up.
    #[error(transparent)]
    Pass(#[from] PassError),
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
}
