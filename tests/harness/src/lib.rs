//! What tests of several crates share.
//!
//! * [`ulp`]: references of the transcendental functions and errors in units of the last place;
//! * [`rng`]: the seeded generator that all random tests draw from.
#![forbid(unsafe_code)]

pub mod rng;
pub mod ulp;
