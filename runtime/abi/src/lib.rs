//! What compiled programs and the runtime share: the step context, buffer descriptors and the program's manifest.
//!
//! Compiler and runtime meet only here, so a program built ahead of time links no compiler.
//! **Invariant:** nothing in this crate allocates on behalf of a step, and no type here names a compiler data structure.
#![deny(unsafe_code)]

mod context;
mod grid;
mod loaded;
mod manifest;
mod schedule;

pub use context::{
    BARRIER_OK, BarrierFn, ErrorSlot, STATUS_BAD_INDEX, STATUS_CANCELLED, STATUS_OK, SegmentFn,
    StepContext,
};
pub use grid::{Among, AxisCut, Grid, Place, Wire, name_of_sliced, slice_name};
pub use loaded::LoadedProgram;
pub use manifest::{
    BufferDesc, BufferRole, Dim, ElemType, ExchangeDesc, ExchangeKind, Manifest, NUMERICS_VERSION,
    NumericsClass, SegmentDesc, SegmentKind, WINDOW_INPUT,
};
pub use schedule::{Action, PipelineOrder, bubble};
