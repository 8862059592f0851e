//! Passes over the intermediate representations.
//!
//! [`pipeline`] is the table of contents; [`pass`] is what all passes have in common. [`autodiff`] is called by the front end, between the loss and the optimizer.
#![forbid(unsafe_code)]

pub mod pipeline;

pub mod autodiff;
pub mod simplify;
pub mod gatherise;
pub mod freeze;
pub mod pass;

mod access;
pub mod collapse;
pub mod fuse;
pub mod memory_plan;
pub mod relayout;
pub mod schedule;
pub mod vectorize;
mod rebuild;
