//! Data sets: readers, seeded shuffling, batching.
#![forbid(unsafe_code)]
