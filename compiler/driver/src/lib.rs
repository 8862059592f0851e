//! From source text to a module ready to run.
#![forbid(unsafe_code)]
