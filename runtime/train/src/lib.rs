//! The training loop over compiled programs: batches, metrics, checkpoints.
//!
//! A [`Session`] holds the loaded [`Programs`] of one model, their parameters and the threads that run them. [`fit`] trains
//! it on a data set and tells its caller about every step; [`Session::evaluate`] judges; [`Session::predict`] may be called
//! from many threads at once.
//!
//! **Invariant:** nothing here prints, reads options or catches signals: a caller sees [`Event`]s and answers with
//! [`Control`]. A step in the middle of an epoch allocates nothing. A run that was stopped and resumed from its checkpoint
//! leaves the same bits as one that was not.
#![forbid(unsafe_code)]

mod session;

mod tensor;

mod binding;
mod confusion;
mod metrics;
mod micro;
mod prepared;

mod exchanges;
mod ranks;
mod slices;

mod fit;

mod atomic;
mod checkpoint;
mod weights;

mod error;

pub use atomic::write_atomically;
pub use checkpoint::{CheckpointError, RunState};
pub use confusion::Confusion;
pub use error::TrainError;
pub use fit::{
    Control, EpochEvent, Event, FitConfig, FitReport, Length, LogEvent, StartEvent, StepEvent, fit,
};
pub use metrics::{Metric, Report};
pub use prepared::{InputDesc, RESERVED_INPUTS};
pub use ranks::{Pipeline, RankPlan, ShardBlock};
pub use session::{Programs, Session, StepResult};
pub use slices::{CutBetween, LeafCut, LeafPlan};
pub use tensor::{Data, Shape, Tensor, TensorRef, Values};
pub use weights::{WeightsError, is_weight};
