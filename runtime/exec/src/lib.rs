//! Runs compiled segments: gang of threads, barrier, arena, floating-point environment.
#![forbid(unsafe_code)]
