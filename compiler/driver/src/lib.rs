//! From source text to a module ready to run.
#![forbid(unsafe_code)]

mod backend;
mod error;
pub mod lower;

pub use backend::{Backends, Target};
pub use error::DriverError;
