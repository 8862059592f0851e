//! Names, types and shapes; from syntax tree to graph.
//!
//! [`load`] collects the declarations of all files, [`Frontend::elaborate`] runs the text of one model at compile time and leaves the
//! graphs of a [`ModelProgram`] behind: inference, the forward part of training, evaluation, the values of metrics, and first values.
//! Between gradients and machine code [`ModelProgram::apply_optimizer`] appends the update.
//!
//! The compiler knows no layer, loss or optimizer by name: all of them are text of the standard library or of the user.
//!
//! **Invariant:** no text makes this crate panic; input errors are [`dlc_grammar::Diagnostic`]s.
#![forbid(unsafe_code)]
mod declarations;
mod diagnostics;
mod elaborate;
mod glob;
mod lint;
mod program;
mod value;

pub use declarations::Gradients;
pub use diagnostics::{Explanation, explanations, running as at_run_time};

pub use program::{
    DataInput, ElaborateOptions, Frontend, IndexUse, LayerSummary, MetricInfo, ModelProgram,
    NamedTensor, Objective, ParamInfo, PipelineSettings, SlicedLayer, StageStart, StateInfo,
    TensorSettings, TrainForward, TrainSettings, load,
};
