//! Data sets: readers, seeded shuffling, batching.
//!
//! A [`DataSpec`] such as `digits` or `mnist:DIR` loads into [`Splits`] of [`Dataset`]s; [`Batches`] says which examples
//! make up each batch; [`Dataset::gather`] writes their values straight into a step's input buffers.
//!
//! **Invariant:** the order of examples depends on seed, epoch and number of examples alone, never on threads or timing;
//! assembling a batch allocates nothing; no number in a file is believed before it was checked against the file's size.
#![forbid(unsafe_code)]

mod spec;

mod dataset;
mod digits;
mod idx;
mod mnist;

mod batches;
mod philox;
mod shuffle;

mod error;

pub use batches::{Batch, BatchConfig, Batches, Position};
pub use dataset::{Bytes, Column, ColumnKind, Dataset, Sample, Splits};
pub use digits::{DIGITS_TEST, DIGITS_TRAIN, digits};
pub use error::{BatchError, DataError, IdxProblem, SpecError};
pub use mnist::{FASHION_MNIST_DIR, FASHION_MNIST_PACKAGE, mnist};
pub use philox::philox4x32;
pub use shuffle::permutation;
pub use spec::{DataSpec, KNOWN_FORMS};
