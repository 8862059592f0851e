//! Passes over the intermediate representations.
//!
//! [`pipeline`] is the table of contents; [`pass`] is what all passes have in common. [`autodiff`] is called by the front end, between the loss and the optimizer.
#![forbid(unsafe_code)]

pub mod pipeline;

pub mod autodiff;
pub mod freeze;
pub mod gatherise;
pub mod pass;
pub mod simplify;

mod access;
pub mod collapse;
pub mod fuse;
pub mod memory_plan;
mod rebuild;
pub mod relayout;
pub mod schedule;
pub mod shard_sums;
pub mod split_batch;
pub mod split_stages;
pub mod split_tensors;
pub mod split_updates;
pub mod vectorize;
