//! Vector IR: functions in structured form over scalar integers, vectors and masks.
//!
//! # Meaning
//! A function is a block of statements, run in order. Every value is defined once and visible from its
//! definition to the end of its block (and of the blocks inside). Loops carry values; there is no other
//! control flow but [`Stmt::If`]. Nothing is reassociated, contracted or reordered by a back end in a way that
//! changes a bit.
//!
//! * **Int**: a 64-bit signed scalar for addresses, counts and indices; arithmetic wraps.
//! * **Vec**: 1 to 16 lanes of one element type. One lane is a scalar in a vector register.
//! * **Mask**: one truth value a lane; it remembers the width of the elements it was made for, because targets
//!   without mask registers keep it as lanes of that width.
//!
//! Floats follow IEEE 754, round to nearest even, denormals kept. `max(a, b)` is `a > b ? a : b` and `min(a, b)` is
//! `a < b ? a : b`, so the second operand wins for NaN and equal zeros. Comparisons with NaN are false, except `ne`.
//! NaN payloads are outside the promise. Integer lanes wrap. Memory is little-endian; loads and stores may be
//! unaligned; masked-off lanes touch no memory, and load as zero. Distinct buffers do not overlap; a function sees its own
//! stores in order.
//!
//! Kernels and phases are called as `extern "C" fn(args: *const i64)`, with one 64-bit word for each
//! parameter; a segment is a [`dlc_abi::SegmentFn`]. Kernels call nothing.
//!
//! A loop without iterations gives its initial values. The values carried into the next iteration are all taken before any is
//! replaced, so they may change places.
//!
//! # What has no meaning
//! Targets differ in these, so no program may do them; the interpreter stops with a [`Fault`]: an access that leaves its
//! buffer, a conversion of a float (NaN too) that does not fit the integer, a scalar division of a negative number or by a number
//! that is not positive, a scalar shift outside 0 to 63, and a power outside the range of [`Inst::ScalePow2`]. Bits
//! of a NaN must not reach an integer that decides anything.
//!
//! # Tools
//! [`FunctionBuilder`] makes functions. `Display` of a [`Module`] prints the text that [`parse()`] reads back, with
//! values renumbered densely. [`verify()`] checks the laws, all at once. [`Interpreter`] runs everything on checked
//! [`Memory`], segments part by part with a check for races.

mod build;
mod data;
#[cfg(feature = "interpreters")]
mod interpret;
#[cfg(feature = "interpreters")]
mod memory;
mod ops;
mod parse;
mod print;
mod verify;

pub use build::{FunctionBuilder, OpenLoop};
pub use data::{
    Addr, Block, Carried, Compare, Elem, FoldOp, FuncId, Function, FunctionKind, Inst, IntOp,
    IntWidth, Loop, MaskOp, Module, ShiftOp, Stmt, Storage, Type, Val, VecBinary, VecUnary,
};
#[cfg(feature = "interpreters")]
pub use interpret::{
    ContextRegions, Fault, InterpretError, Interpreter, KernelRunner, SegmentOptions,
    lay_out_context,
};
#[cfg(feature = "interpreters")]
pub use memory::{AccessError, Memory, RegionId};
pub use ops::Named;
pub use parse::{ParseError, parse};
pub use print::print_function;
pub use verify::{VerifyError, verify};
