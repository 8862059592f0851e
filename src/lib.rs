//! Neural networks from text to native code, in process.
//!
//! A [`Model`] is the text of a network, checked. Compiled, in milliseconds, it is a [`Net`]: parameters in memory and
//! machine code that trains, judges and predicts. Arrays go in and out as `ndarray` views by the names that the text gives
//! them.
//!
//! ```
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
//!
//! // Training, step by step, on arrays of the caller.
//! let (x, y) = (Array4::<f32>::ones((128, 8, 8, 1)), Array1::<i32>::zeros(128));
//! let first = net.train_step(&[("image", x.view().into()), ("label", y.view().into())])?;
//! let second = net.train_step(&[("image", x.view().into()), ("label", y.view().into())])?;
//! assert!(second < first);
//!
//! // Weights by name.
//! let weight = net.weight("dense_2.b")?;
//! let b = weight.as_f32().expect("parameters are f32");
//! assert_eq!(b.shape(), [10]);
//! net.set_weight("dense_2.b", (b * 2.0).view().into())?;
//!
//! // Prediction, from several threads at once, for any number of examples.
//! let net = &net;
//! let few = Array4::<f32>::ones((3, 8, 8, 1));
//! let (many, few) = std::thread::scope(|scope| {
//!     let other = scope.spawn(|| net.predict(&[("image", few.view().into())]));
//!     (net.predict(&[("image", x.view().into())]), other.join().expect("it does not panic"))
//! });
//! let (many, few) = (many?, few?);
//! let (many, few) = (many.f32("logits").expect("f32"), few.f32("logits").expect("f32"));
//! assert_eq!((many.shape(), few.shape()), (&[128, 10][..], &[3, 10][..]));
//! // An example's prediction does not depend on its batch.
//! assert_eq!(many.index_axis(ndarray::Axis(0), 0), few.index_axis(ndarray::Axis(0), 0));
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

mod located;

pub use dlc_abi::NumericsClass;
pub use dlc_comm as comm;
pub use dlc_data as data;
pub use dlc_driver::Target;
pub use dlc_driver::model::Timings;
pub use dlc_train::{
    Confusion, Control, EpochEvent, Event, FitConfig, FitReport, Length, LogEvent, Metric, Report,
    RunState, Session, StartEvent, StepEvent, StepResult,
};
pub use error::Error;
pub use model::{Model, Options, Reduce};
pub use net::Net;
pub use view::{Array, Results, View};
