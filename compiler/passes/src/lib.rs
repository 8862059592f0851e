//! Passes over the intermediate representations.
#![forbid(unsafe_code)]
