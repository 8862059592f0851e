//! Every operation of vector IR on every back end that this machine runs, in memory that ends at inaccessible pages.

mod lanes;
mod ops;
mod random;
#[path = "../support/mod.rs"]
mod support;
