//! What tests of several crates share.
//!
//! * [`graph_gen`], [`graph_inputs`], [`graph_mutations`]: random programs of graph IR, values for them, and ways to break them;
//! * [`kernel_gen`], [`kernel_case`], [`kernel_mutations`]: random kernels of vector IR with memory to run on, the comparison
//!   of two executions, and ways to break them;
//! * [`ulp`]: references of the transcendental functions and errors in units of the last place;
//! * [`reference`](mod@reference): the runs of the table of reference hashes;
//! * [`rng`]: the seeded generator that all random tests draw from.
#![forbid(unsafe_code)]

pub mod graph_gen;
pub mod graph_inputs;
pub mod graph_mutations;
pub mod kernel_case;
pub mod kernel_gen;
pub mod kernel_mutations;
pub mod reference;
pub mod rng;
pub mod ulp;
