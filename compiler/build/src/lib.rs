//! Compiles models ahead of time: for the `build.rs` of a crate, and for `dlc compile`.
//!
//! In `build.rs`:
//!
//! ```no_run
//! fn main() -> Result<(), dlc_build::Error> {
//!     dlc_build::compile("models/net.dl")
//! }
//! ```
//!
//! and in the crate, for a model called `net`:
//!
//! ```ignore
//! mod net {
//!     include!(concat!(env!("OUT_DIR"), "/net.rs"));
//! }
//! let mut model = net::Model::new(0)?;
//! let loss = model.train_step(32, &images, &labels)?.loss;
//! ```
//!
//! The crate that is built links the model's static library and nothing else of dlc.
//! **Invariant:** a file appears whole or not at all.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod first;
mod written;

pub use builder::{Builder, Weights};
pub use dlc_driver::artefact::{Cpu, check_system};
pub use error::Error;
pub use written::{Emit, Written};

use std::path::Path;

/// Compiles the model of a file for a build script, with training if the file says how: writes into `OUT_DIR`, and tells
/// Cargo what to link and which files it was made of.
///
/// # Errors
/// When the text is wrong, with its diagnostics, or a file cannot be read or written.
pub fn compile(model: impl AsRef<Path>) -> Result<(), Error> {
    Builder::new(model).compile()
}
