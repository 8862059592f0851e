//! Tile IR: a program as segments of phases over buffers, each phase one scheduled loop nest.
//!
//! # Meaning
//! A [`Program`] is a list of segments, run in order; a segment is a list of phases, run in order with a barrier wherever
//! [`Phase::barrier_before`] says so. A [`Phase`] is defined by scalars: for every point of its *space* axes it evaluates the
//! expressions that its stores need. If it has a [`Reduction`], the terms are first combined over all points of the *reduction* axes, in
//! the frozen order, and [`Expr::Reduced`] is their result. All loads of a point happen before its stores.
//!
//! Neighbouring phases with the same [`Step::number`] are a loop: they run in order for one index of their first axis, then for the
//! next, with the same barriers each time.
//!
//! The space is cut into *work units* by the [`Schedule`]; units may run in any order and at the same time, so no unit may read or write an
//! element that another unit of the phase writes (the interpreter's race check). Schedules never change a bit.
//!
//! The program of a part of a batch has [`Exchange`]s: between two segments a buffer of this part goes to the others, and another is filled
//! from theirs.
//!
//! Buffers have logical shapes with the batch as an extent; subscripts are logical, and the buffer's layout places them. Strides come
//! from the maximum batch, trip counts from the actual one.

mod data;
#[cfg(feature = "interpreters")]
mod interpret;
mod parse;
#[cfg(feature = "interpreters")]
mod points;
mod print;
mod selection;
mod verify;

#[cfg(feature = "interpreters")]
pub use interpret::{Partners, TileError, TileOutputs, interpret, interpret_part};
pub use parse::parse;
pub use selection::Selection;
pub use verify::BrokenLaw;

pub use data::{
    Buffer, BufferId, Exchange, Expr, ExprId, Node, Phase, Program, Reduction, Schedule, Segment,
    Step, Store, UnitAxis,
};

#[cfg(all(test, feature = "interpreters"))]
mod tests;
