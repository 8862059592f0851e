//! The three intermediate representations of the compiler, one job each.
//!
//! * [`graph`]: tensors, shapes and gradients;
//! * [`tile`]: phases over buffers, with their work units and schedules;
//! * [`vector`]: kernels and drivers in structured SIMD form.
//!
//! Each has its data, its text (printed and read back), a verifier and an interpreter, the slow and
//! obvious oracle of everything below it. [`scalar`] holds the arithmetic that all interpreters share
//! and [`math`] the one definition of every transcendental function.
#![forbid(unsafe_code)]

pub mod affine;
pub mod entity;
pub mod graph;
pub mod layout;
pub mod math;
pub mod scalar;
pub mod target;
pub mod tile;
pub mod vector;

pub use dlc_abi::{Dim, NumericsClass};
