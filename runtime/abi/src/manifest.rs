//! The manifest of a compiled program: its buffers and segments, as plain serialisable data.

use crate::grid::Among;
use serde::{Deserialize, Serialize};

/// Version of the rules that decide every bit of a result. It is stored in checkpoints and artefacts;
/// two programs of different versions may differ in rounding.
pub const NUMERICS_VERSION: u32 = 1;

/// Which family of rounding a program follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NumericsClass {
    /// Products are fused into sums with one rounding.
    Fused,
    /// Products and sums round separately, for processors without fused multiply-add.
    Unfused,
}

/// An extent that may grow with the batch: `batch_factor * batch + constant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dim {
    /// Multiples of the batch size.
    pub batch_factor: i64,
    /// The part that does not depend on the batch.
    pub constant: i64,
}

impl Dim {
    /// A fixed extent.
    pub const fn fixed(constant: i64) -> Self {
        Dim { batch_factor: 0, constant }
    }

    /// The batch itself.
    pub const fn batch() -> Self {
        Dim { batch_factor: 1, constant: 0 }
    }

    /// The extent at a given batch size.
    pub const fn at(self, batch: i64) -> i64 {
        self.batch_factor * batch + self.constant
    }

    /// The extent, when it does not depend on the batch.
    pub const fn as_fixed(self) -> Option<i64> {
        if self.batch_factor == 0 { Some(self.constant) } else { None }
    }
}

/// Element types of buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ElemType {
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed 32-bit integer; arithmetic wraps.
    I32,
    /// Signed 64-bit integer; arithmetic wraps.
    I64,
    /// Unsigned byte.
    U8,
    /// Truth value, one byte, 0 or 1.
    Bool,
    /// bfloat16, a storage type.
    Bf16,
    /// IEEE half precision, a storage type.
    F16,
    /// Signed byte, a storage type.
    I8,
}

impl ElemType {
    /// Bytes of one element in memory.
    pub const fn size(self) -> usize {
        match self {
            ElemType::F64 | ElemType::I64 => 8,
            ElemType::F32 | ElemType::I32 => 4,
            ElemType::Bf16 | ElemType::F16 => 2,
            ElemType::U8 | ElemType::Bool | ElemType::I8 => 1,
        }
    }
}

/// What a buffer is for, and so who owns its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BufferRole {
    /// Written by the caller before a step: examples, labels, the learning rate.
    Input,
    /// A trained parameter; lives as long as the model.
    Param,
    /// Saved but not trained: optimizer moments, moving averages.
    State,
    /// Read by the caller after a step: logits, loss, metrics.
    Output,
    /// A value inside a step, placed in the arena at `arena_offset`.
    Temporary,
    /// Constant data made by the compiler, in [`Manifest::tables`].
    Table,
    /// What a part of a batch gives to the others between two segments, or takes from them; see [`Manifest::exchanges`].
    Message,
}

/// One buffer of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BufferDesc {
    /// Name, unique in the program; parameters use `layer.param`.
    pub name: String,
    /// What it is for.
    pub role: BufferRole,
    /// Element type in memory.
    pub elem: ElemType,
    /// Logical row-major shape; empty for a scalar.
    pub shape: Vec<Dim>,
    /// Bytes at the maximum batch size, a multiple of 64. Generated code may touch all of them.
    pub bytes: u64,
    /// Byte offset in the arena of a [`BufferRole::Temporary`], a multiple of 64.
    pub arena_offset: Option<u64>,
    /// Index into [`Manifest::tables`] of a [`BufferRole::Table`].
    pub table: Option<usize>,
}

/// What a segment does in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SegmentKind {
    /// From inputs to outputs and loss.
    Forward,
    /// From the loss to gradients.
    Backward,
    /// The rest of the backward part of a micro-batch, gradients of parameters, which no other stage of the model waits for.
    Weights,
    /// From gradients to new parameters and state.
    Update,
}

/// The input that tells a program of a part of a batch its place, `i32[3]`: examples of the whole batch, examples before the part,
/// shards before it.
pub const WINDOW_INPUT: &str = "@window";

/// Who gets what in an exchange between the parts of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// Row q of what is taken is what part q gives.
    AllGather,
    /// Row q of what is taken is that row of what part q gives which has the number of this part.
    AllToAll,
    /// What is taken is the sum of what all parts give, in an order that the transport chooses: its bits are not those of one process.
    AllReduce,
}

/// Values that the parts of a batch give to one another between two segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeDesc {
    /// Who gets what.
    pub kind: ExchangeKind,
    /// Between whom.
    pub among: Among,
    /// Index of the buffer that this part gives.
    pub from: usize,
    /// Index of the buffer that it takes; its first axis has an element for each part, but for a sum.
    pub to: usize,
    /// The segment after which what is given is complete.
    pub after: usize,
    /// The first segment that needs what is taken; at most the number of segments.
    pub before: usize,
}

/// One separately callable piece of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDesc {
    /// Name of its function.
    pub symbol: String,
    /// What it does.
    pub kind: SegmentKind,
    /// False when the whole segment is so short that more than one part costs more than it gives.
    pub parallel: bool,
}

/// Everything a runtime must know to run a compiled program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The program's name, e.g. `lenet.train`.
    pub name: String,
    /// [`NUMERICS_VERSION`] of the compiler that made it.
    pub numerics: u32,
    /// Rounding family.
    pub class: NumericsClass,
    /// Largest batch the buffers hold.
    pub max_batch: i64,
    /// Into how many shards sums over the batch are cut.
    pub shards: u32,
    /// For the program of a part of a batch, into how many shards the whole batch is cut; `shards` then speaks of the part.
    pub window_of: Option<u32>,
    /// Buffers; [`crate::StepContext::buffers`] has one address for each, in this order.
    pub buffers: Vec<BufferDesc>,
    /// Segments in order of execution.
    pub segments: Vec<SegmentDesc>,
    /// What parts of a batch give to one another; the same on every part, in the same order.
    pub exchanges: Vec<ExchangeDesc>,
    /// Constant data.
    pub tables: Vec<Vec<i32>>,
    /// Bytes of the arena, a multiple of 64.
    pub arena_bytes: u64,
    /// Bytes of scratch that each part needs, a multiple of 64.
    pub scratch_bytes: u64,
}

impl Manifest {
    /// Into how many shards the whole batch is cut, whether the program works on all of it or on a part.
    pub fn shards_of_batch(&self) -> u32 {
        self.window_of.unwrap_or(self.shards)
    }

    /// Index of the buffer of that name.
    pub fn buffer(&self, name: &str) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.name == name)
    }
}
