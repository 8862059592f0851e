//! From source text to a module ready to run.
#![forbid(unsafe_code)]

pub mod artefact;
mod backend;
mod error;
pub mod lower;
pub mod model;
pub mod peak;
pub mod probe;
pub mod ranks;
pub mod stages;

pub use backend::Target;
pub use dlc_codegen::JitStats;
pub use dlc_passes::split_batch::SplitError;
pub use error::DriverError;
