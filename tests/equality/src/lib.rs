//! One program gives the same bits everywhere.
//!
//! * [`artefact`]: training steps of a model that was compiled ahead of time, in a C program;
//! * [`everywhere`]: a graph through every stage and onto every machine, compared bit by bit with the graph interpreter;
//! * [`random`]: the random graphs that are sent there, forward, backward and with an update;
//! * [`schedules`]: schedules drawn at random, none of which may change a bit;
//! * [`shrink`]: a failing graph made small, for a file of `tests/filetests/run`;
//! * [`statistics`]: what random graphs are made of, and what they must be made of;
//! * [`trajectory`]: training of a model in one place or another, and a hash of what it leaves behind.
#![forbid(unsafe_code)]

pub mod artefact;
pub mod everywhere;
mod machine;
mod placed;
pub mod random;
pub mod schedules;
pub mod shrink;
pub mod statistics;
pub mod trajectory;
mod vector;
