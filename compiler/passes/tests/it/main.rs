//! Tests of the passes that decide bits: one program, so that the crate is linked once.

mod freeze;
mod gatherise;
mod gradients;
mod simplify;
mod support;
