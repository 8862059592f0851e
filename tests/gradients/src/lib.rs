//! Tests only: random programs through differentiation and the passes that decide bits.
#![forbid(unsafe_code)]
