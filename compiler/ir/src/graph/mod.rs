//! Graph IR: a program over whole tensors, in single static assignment.
//!
//! # Meaning
//! A graph is a list of nodes; each has one result and reads results of earlier nodes only. Nodes are pure. Effects are
//! the graph's [`Output`]s, which take place together after the last node: results are handed out and parameters and state
//! take their new values, so every node sees the values from before the step.
//!
//! Shapes are logical and row-major in meaning; a node's [`crate::layout::Layout`] says where elements lie and changes no value.
//! An extent is a [`Dim`]: a constant plus a multiple of the batch.
//!
//! * Element-wise operations read operands of exactly the result's shape; [`Op::View`] broadcasts.
//! * Floats follow IEEE 754. Before the pass `freeze` the order of a sum is open; after it `order` says it in full, products that
//!   round together with a sum are [`Op::Fma`], and every back end must give these bits.
//! * `max(a, b)` is `a > b ? a : b`. A [`Combine::Max`] keeps NaN, and the first of equal values wins.
//! * Integers wrap. Integer division rounds towards minus infinity; the divisor must not be zero.
//! * Comparisons with NaN are false, except `ne`. NaN payloads are outside the promise.
//! * Terms excluded by a [`Guard`], a [`Congruence`] or [`Fill::Skip`] do not exist; `Fill::Value` terms do.

mod build;
mod data;
pub mod infer;
mod lex;
pub mod ops;
mod parse;
mod print;
pub mod range;
mod verify;

pub use build::{GraphBuilder, number_literal};
pub use data::{
    BinaryOp, Combine, Compare, Congruence, Contract, Fill, Gather, Graph, Guard, InputRole,
    Literal, Node, NodeId, Op, Order, OrderKind, Origin, Output, OutputKind, Read, Stage, UnaryOp,
};
pub use parse::{ParseError, parse};
pub use verify::VerifyError;
