//! What an object file offers to a C program, as plain data: the layout of the caller's memory, and the entries.
//!
//! Every entry of a program takes the address of a *context* that the caller fills: [`CONTEXT_FIELDS`] first, then one
//! pointer for each input and output of the program.

use dlc_ir::vector::FuncId;

/// Every buffer that compiled code touches lies on a boundary of this many bytes.
pub const ALIGNMENT: u64 = 64;

/// The most parts that may run a segment together.
pub const MAX_PARTS: u32 = 1024;

/// What an entry returns. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// A pointer that is needed is null.
    Null,
    /// A buffer lies on no 64-byte boundary.
    Misaligned,
    /// State or workspace has too few bytes.
    TooSmall,
    /// The batch is empty or larger than the largest.
    Batch,
    /// A state belongs to another model or was never given values, or a file has tensors that the model lacks.
    Weights,
    /// An index, such as a label, is out of range.
    Index,
    /// The barrier told to stop.
    Cancelled,
    /// There is no such part or segment, or there are several parts but no barrier.
    Part,
    /// The processor lacks instructions that the library uses.
    Processor,
    /// A file of weights is damaged, cut off, or of another format.
    File,
    /// A file of weights lacks a tensor of the model.
    Missing,
    /// A tensor in a file of weights has another shape.
    Shape,
    /// A tensor in a file of weights has another element type.
    Type,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Status; 14] = [
        Status::Ok,
        Status::Null,
        Status::Misaligned,
        Status::TooSmall,
        Status::Batch,
        Status::Weights,
        Status::Index,
        Status::Cancelled,
        Status::Part,
        Status::Processor,
        Status::File,
        Status::Missing,
        Status::Shape,
        Status::Type,
    ];

    /// The number.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// Its name in C and Rust, without a prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Null => "NULL_POINTER",
            Status::Misaligned => "MISALIGNED",
            Status::TooSmall => "TOO_SMALL",
            Status::Batch => "BATCH",
            Status::Weights => "WEIGHTS",
            Status::Index => "INDEX",
            Status::Cancelled => "CANCELLED",
            Status::Part => "PART",
            Status::Processor => "PROCESSOR",
            Status::File => "FILE",
            Status::Missing => "MISSING",
            Status::Shape => "SHAPE",
            Status::Type => "TYPE",
        }
    }

    /// What `strerror` says.
    pub const fn message(self) -> &'static str {
        match self {
            Status::Ok => "done",
            Status::Null => "a pointer that is needed is null",
            Status::Misaligned => "a buffer is not on a 64-byte boundary",
            Status::TooSmall => "the state or the workspace has too few bytes",
            Status::Batch => "the batch is empty or larger than the largest batch",
            Status::Weights => {
                "the state is not of this model, or the file has tensors that it lacks"
            }
            Status::Index => "an index such as a label is out of range",
            Status::Cancelled => "the barrier told to stop",
            Status::Part => "no such part or segment, or several parts without a barrier",
            Status::Processor => "this processor lacks instructions that the library uses",
            Status::File => "the file of weights is damaged, cut off, or no safetensors file",
            Status::Missing => "the file of weights lacks a tensor of the model",
            Status::Shape => "a tensor in the file of weights has another shape",
            Status::Type => "a tensor in the file of weights has another element type",
        }
    }
}

/// A field of every context: its place and its types in C and in Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextField {
    /// Its name.
    pub name: &'static str,
    /// Byte offset.
    pub offset: i32,
    /// One line for the reader of the header.
    pub doc: &'static str,
}

const fn field(name: &'static str, offset: i32, doc: &'static str) -> ContextField {
    ContextField { name, offset, doc }
}

/// The fields that every context begins with.
pub const CONTEXT_FIELDS: [ContextField; 11] = [
    field("state", 0, "Weights and, for training, the optimizer's state; on a 64-byte boundary."),
    field("state_bytes", 8, "Bytes of `state`."),
    field("workspace", 16, "Memory of the running step, of any contents; on a 64-byte boundary."),
    field("workspace_bytes", 24, "Bytes of `workspace`."),
    field("batch", 32, "Examples in the batch, from 1."),
    field(
        "barrier",
        40,
        "Waits until every part has called it; other than 0 to stop. Null for one part.",
    ),
    field("barrier_data", 48, "What the barrier is called with."),
    field("error", 56, "Where a bad index is described; may be null."),
    field("step", 64, "Number of this training step, from 1."),
    field("steps", 68, "Planned number of steps, for schedules; 0 when nobody knows."),
    field("seed", 72, "Decides everything that is drawn at random."),
];

/// Byte offsets of [`CONTEXT_FIELDS`].
pub(super) mod offset {
    pub const STATE: i32 = 0;
    pub const STATE_BYTES: i32 = 8;
    pub const WORKSPACE: i32 = 16;
    pub const WORKSPACE_BYTES: i32 = 24;
    pub const BATCH: i32 = 32;
    pub const BARRIER: i32 = 40;
    pub const BARRIER_DATA: i32 = 48;
    pub const ERROR: i32 = 56;
    pub const CLOCK: i32 = 64;
}

/// Bytes of [`CONTEXT_FIELDS`], with the gap at their end: the pointers of a program follow.
pub const CONTEXT_BYTES: i32 = 80;

/// Bytes at the start of a state: the tag of its model, then zeros.
pub const STATE_HEADER_BYTES: u64 = ALIGNMENT;

/// The reserved inputs of a program, 32-bit integers that lie one after the other in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The number of the step.
    Step,
    /// The planned number of steps.
    Steps,
    /// The seed.
    Seed,
}

/// Where the memory of a program's buffer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// In the caller's state, at a byte offset.
    State(u64),
    /// In the workspace, at a byte offset.
    Workspace(u64),
    /// A table of constants of [`Interface::tables`].
    Table(usize),
    /// Where a pointer of the context points to.
    Pointer(usize),
    /// A scalar that is copied from where a pointer of the context points to; this many bytes.
    ScalarIn(usize, u64),
    /// A scalar at an offset of the workspace, which is copied to where a pointer of the context points to, unless that is
    /// null; this many bytes.
    ScalarOut(usize, u64, u64),
    /// A reserved input.
    Clock(Clock),
}

/// A segment of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySegment {
    /// Its function.
    pub function: FuncId,
    /// Whether several parts may run it.
    pub parallel: bool,
}

/// What an entry does with the caller's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateUse {
    /// Nothing.
    None,
    /// It needs values, at least in so many bytes.
    Needs(u64),
    /// It gives the whole state its first values.
    Draws,
}

/// A program with its entries `<symbol>`, which runs a whole step, and `<symbol>_part`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The symbol of the whole step.
    pub symbol: String,
    /// Whether there is an entry for parts of a segment.
    pub in_parts: bool,
    /// Segments in order.
    pub segments: Vec<EntrySegment>,
    /// The largest batch; `None` where the program does not depend on it.
    pub max_batch: Option<u64>,
    /// Where each buffer of the program is, in the order of its manifest.
    pub slots: Vec<Slot>,
    /// Bytes of the workspace before the parts' own.
    pub shared_bytes: u64,
    /// Bytes of scratch that a part needs.
    pub scratch_bytes: u64,
    /// What happens to the state.
    pub state: StateUse,
}

impl Entry {
    /// Bytes of the workspace that each part needs: its error slot on a line of its own, and its scratch.
    pub fn part_bytes(&self) -> u64 {
        ALIGNMENT + self.scratch_bytes
    }
}

/// A tensor in the file of weights and in the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTensor {
    /// Its name.
    pub name: String,
    /// Its element type as files name it, such as `F32`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Byte offset in the file that is written.
    pub file_offset: u64,
    /// Byte offset in the state.
    pub state_offset: u64,
    /// Its bytes in both.
    pub bytes: u64,
}

/// How the file of weights looks that is written: a header that is always the same, then the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFile {
    /// The first bytes.
    pub header: Vec<u8>,
    /// The tensors.
    pub tensors: Vec<FileTensor>,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// First values of a state that no file of weights has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstValue {
    /// Byte offset in the state.
    pub state_offset: u64,
    /// The values.
    pub bytes: Vec<u8>,
}

/// The interface of an object file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What all symbols begin with, before an underscore.
    pub prefix: String,
    /// Stands for the model: the first eight bytes of a state.
    pub tag: u64,
    /// Bytes of a state.
    pub state_bytes: u64,
    /// The programs.
    pub entries: Vec<Entry>,
    /// The file of weights.
    pub weights_file: WeightsFile,
    /// Constants, as read-only data of the file.
    pub tables: Vec<Vec<u8>>,
    /// What `load` writes besides the weights.
    pub first_values: Vec<FirstValue>,
    /// A state to be put into the object file, ready to be used where it is.
    pub embedded: Option<Vec<u8>>,
}
