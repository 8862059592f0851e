//! Data sets: readers, seeded shuffling, batching.
//!
//! A [`DataSpec`] such as `digits` or `mnist:DIR` loads into [`Splits`] of [`Dataset`]s; [`Batches`] says which examples
//! make up each batch; [`Dataset::gather`] writes their values straight into a step's input buffers.
//!
//! **Invariant:** the order of examples depends on seed, epoch and number of examples alone, never on threads or timing;
//! assembling a batch allocates nothing; no number in a file is believed before it was checked against the file's size.
#![forbid(unsafe_code)]

mod spec;

mod column;
mod dataset;
mod files;

mod arrays;
mod cifar;
mod digits;
mod embedded;
mod idx;
mod images;
mod mnist;
mod npy;
mod table;
mod text;
mod zip;

mod batches;
mod philox;
mod prefetch;
mod shuffle;

mod error;

pub use batches::{Batch, BatchConfig, Batches, Position};
pub use cifar::{Cifar, cifar};
pub use column::{Bytes, Column, ColumnKind, Sample, Shard, Stored};
pub use dataset::{Dataset, Splits};
pub use digits::{DIGITS_TEST, DIGITS_TRAIN, digits};
pub use embedded::{iris, wine};
pub use error::{
    BatchError, CifarProblem, DataError, FileProblem, IdxProblem, ImageProblem, NpyProblem, Place,
    SpecError, TableProblem, TextProblem, ZipProblem,
};
pub use mnist::{FASHION_MNIST_DIR, FASHION_MNIST_PACKAGE, mnist};
pub use philox::philox4x32;
pub use prefetch::{Prefetch, Slot};
pub use shuffle::permutation;
pub use spec::{DataSpec, Want};
