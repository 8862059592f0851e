//! The training loop over compiled programs: batches, metrics, checkpoints.
#![forbid(unsafe_code)]
