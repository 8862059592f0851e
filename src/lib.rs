//! Neural networks from text to native code, in process.
//!
//! A [`Model`] is the text of a network, checked. Compiled, in milliseconds, it is a [`Net`]: parameters in memory and
//! machine code that trains, judges and predicts. Arrays go in and out as `ndarray` views by the names that the text gives
//! them.
//!
//! ```no_run
//! use ndarray::{Array1, Array4};
//!
//! let model = dlc::Model::from_text(
//!     "model net(image: f32[batch, 8, 8, 1]) -> logits: f32[batch, 10] {
//!          logits = image |> flatten |> dense(32) |> relu |> dense(10)
//!      }
//!      train net(label: i32[batch]) {
//!          loss = softmax_cross_entropy(logits, label)
//!          optimizer = adam(lr = 1e-3)
//!      }",
//! )?;
//! let mut net = model.compile(&dlc::Options { batch: 128, threads: 2, ..Default::default() })?;
//! let (x, y) = (Array4::<f32>::zeros((128, 8, 8, 1)), Array1::<i32>::zeros(128));
//! let loss = net.train_step(&[("image", x.view().into()), ("label", y.view().into())])?;
//! let results = net.predict(&[("image", x.view().into())])?;
//! assert_eq!(results.f32("logits").map(|logits| logits.shape()), Some(&[128, 10][..]));
//! # let _ = loss;
//! # Ok::<(), dlc::Error>(())
//! ```
//!
//! Training on a data set with progress, validation and checkpoints is [`Net::fit`]; `predict` takes `&self` and may be
//! called from many threads.
//!
//! **Invariant:** this library prints nothing and never ends the process; only the command line does.
#![forbid(unsafe_code)]

mod model;

mod net;

mod view;

mod error;

pub use dlc_data as data;
pub use dlc_driver::Target;
pub use dlc_driver::model::Timings;
pub use dlc_train::{
    Confusion, Control, EpochEvent, Event, FitConfig, FitReport, Length, LogEvent, Metric, Report,
    RunState, Session, StartEvent, StepEvent, StepResult,
};
pub use error::Error;
pub use model::{Model, Options};
pub use net::Net;
pub use view::{Array, Results, View};
