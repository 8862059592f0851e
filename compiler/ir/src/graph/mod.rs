//! Graph IR: a program over whole tensors, in single static assignment.
//!
//! # Meaning
//! A graph is a list of nodes; each has one result and reads results of earlier nodes only. Nodes are pure. Effects are
//! the graph's [`Output`]s, which take place together after the last node: results are handed out and parameters and state
//! take their new values, so every node sees the values from before the step.
//!
//! Shapes are logical and row-major in meaning; a node's [`crate::layout::Layout`] says where elements lie and changes no value.
//! An extent is a [`crate::Dim`]: a constant plus a multiple of the batch.
//!
//! * Element-wise operations read operands of exactly the result's shape; [`Op::View`] broadcasts.
//! * Floats follow IEEE 754. Before the pass `freeze` the order of a sum is open; after it `order` says it in full, products that
//!   round together with a sum are [`Op::Fma`], and every back end must give these bits.
//! * `max(a, b)` is `a > b ? a : b`. A [`Combine::Max`] keeps NaN, and the first of equal values wins.
//! * Integers wrap. Integer division rounds towards minus infinity; the divisor must not be zero.
//! * Comparisons with NaN are false, except `ne`. NaN payloads are outside the promise.
//! * A conversion of a float that the integer type does not hold, an index outside its axis and an integer division by zero are
//!   errors of the data, which the interpreter reports.
//! * Terms excluded by a [`Guard`], a [`Congruence`] or [`Fill::Skip`] do not exist; `Fill::Value` terms do.
//!
//! # Recurrences
//! A recurrence ([`Op::Recur`]) carries a value along its first axis, so the nodes between it and the value that it carries run step by
//! step: they are a loop, which [`loops::Loops`] finds. Each of them has the steps as its first axis and reads the others at its own
//! step only; what they read from outside they read as they like. All other nodes are whole tensors, before the loop or after it.
//!
//! # Orders of sums
//! The axes of a contraction in normal form are output axes, then reduction axes; terms are ordered by their reduction index,
//! lexicographically. Terms that do not exist keep their place in that order.
//! * *Shards.* With `shard_axis`, an axis of extent `a*batch + b`, the terms are first cut by `a * floor(batch * s / shards)` for
//!   s = 1, 2, ..; the last shard also has the `b` elements at the end. Every shard is summed alone, shard sums meet in the tree.
//! * *Runs and chunks.* A run is a walk along the innermost reduction axis, within a shard. Every run is cut after `run_cut` terms;
//!   `runs_per_chunk` whole runs make a chunk, and a run's end closes a chunk when it is 1. Each chunk starts from the combine's
//!   start value and takes its terms in order: `fma(a, b, acc)` for two reads (`acc + a*b` in the unfused class), `acc + a` for one.
//! * *Tree.* Sums meet by a binary counter: a new sum is merged, `older + newer`, as often as the count so far ends in one bits; at the
//!   end the rest is folded from the newest down. A shard without terms contributes the start value.
//! * *Lanes.* With [`OrderKind::Lanes`] term j of a run (counted from the run's start in the shard) belongs to lane j mod 16, and
//!   `run_cut` counts the terms of a lane. All lanes have the same chunks; after the tree, lanes are folded 8, 4, 2, 1: lane i takes
//!   lane i + 8, then i + 4, and so on, in each shard before shards meet.
//! * [`Combine::Max`] and [`Combine::Min`] merge by `newer > acc or newer is NaN ? newer : acc` in the same order. [`Combine::ArgMax`]
//!   starts from minus infinity at index 0 and its result does not depend on the order: the smallest index of a NaN, else of the
//!   greatest term, and 0 when no term exceeds minus infinity. The index counts within the whole reduction space at the actual batch.
//! * A contraction without reduction axes is one chunk of one term.
//!
//! # Parts of a batch
//! A graph with [`Graph::window_of`] works on the examples of an aligned block of shards, as one of several *parts* whose graphs run
//! together. Its batch is the number of these examples; shard s of the part ends where shard `before + s` of the whole batch does:
//! `floor(whole * (before + s) / window_of)`, less the examples before the part. An [`Op::Exchange`] is a value that the parts give to one
//! another; every part has the same exchanges in the same order.

mod build;
mod data;
#[cfg_attr(
    not(feature = "interpreters"),
    allow(dead_code, reason = "constants need a part of what the interpreter needs")
)]
mod elementwise;
pub mod infer;
#[cfg(feature = "interpreters")]
mod interpret;
pub(crate) mod lex;
pub mod loops;
pub mod ops;
pub(crate) mod parse;
pub mod philox;
pub(crate) mod print;
mod prune;
pub mod range;
mod retype;
pub mod stepped;
mod tensor;
mod verify;

pub use build::{GraphBuilder, number_literal};
pub use data::{
    BinaryOp, Combine, Compare, Congruence, Contract, Exchange, Fill, Gather, Graph, Guard,
    InputRole, Literal, Node, NodeId, Op, Order, OrderKind, Origin, Output, OutputKind, Read,
    Stage, UnaryOp,
};
pub use dlc_abi::ExchangeKind;
pub use elementwise::fold_constant;
#[cfg(feature = "interpreters")]
pub use interpret::{
    Forward, InterpretError, Outputs, Site, interpret, interpret_nodes, interpret_part, jvp,
};
pub use parse::{ParseError, parse};
pub use retype::retyped;
pub use tensor::{Data, Tensor};
pub use verify::VerifyError;
