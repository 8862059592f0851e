//! Passes over the intermediate representations.
//!
//! [`pass`] is what all passes have in common.
#![forbid(unsafe_code)]

pub mod pass;
