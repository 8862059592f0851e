//! The data of vector IR.

use crate::entity;
use crate::entity::IndexVec;

entity!(
    /// A value of a function, defined once.
    Val, "v"
);
entity!(
    /// A function of a module.
    FuncId, "fn"
);

/// Element types of vectors in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed 32-bit integer; arithmetic wraps.
    I32,
    /// Signed 64-bit integer; arithmetic wraps.
    I64,
}

impl Elem {
    /// Width in bits: 32 or 64.
    pub const fn bits(self) -> u8 {
        match self {
            Elem::F32 | Elem::I32 => 32,
            Elem::F64 | Elem::I64 => 64,
        }
    }

    /// Width in bytes: 4 or 8.
    pub const fn bytes(self) -> i64 {
        self.bits() as i64 / 8
    }

    /// Whether lanes are floating point.
    pub const fn is_float(self) -> bool {
        matches!(self, Elem::F32 | Elem::F64)
    }
}

/// Element types in memory. Loads widen and stores narrow as the element type of the register asks:
/// `U8` and `I8` meet `I32` lanes, `Bf16` and `F16` meet `F32` lanes, the others only their own type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// Four bytes, float.
    F32,
    /// Eight bytes, float.
    F64,
    /// Four bytes, signed.
    I32,
    /// Eight bytes, signed.
    I64,
    /// One byte, zero-extended to `I32` lanes; stores keep the low byte.
    U8,
    /// One byte, sign-extended to `I32` lanes; stores keep the low byte.
    I8,
    /// Upper half of an `F32`; stores round to nearest even.
    Bf16,
    /// IEEE half precision; stores round to nearest even.
    F16,
}

impl Storage {
    /// Bytes of an element in memory.
    pub const fn bytes(self) -> i64 {
        match self {
            Storage::F64 | Storage::I64 => 8,
            Storage::F32 | Storage::I32 => 4,
            Storage::Bf16 | Storage::F16 => 2,
            Storage::U8 | Storage::I8 => 1,
        }
    }

    /// The element type of the lanes it meets.
    pub const fn elem(self) -> Elem {
        match self {
            Storage::F32 | Storage::Bf16 | Storage::F16 => Elem::F32,
            Storage::F64 => Elem::F64,
            Storage::I32 | Storage::U8 | Storage::I8 => Elem::I32,
            Storage::I64 => Elem::I64,
        }
    }
}

impl From<Elem> for Storage {
    fn from(elem: Elem) -> Storage {
        match elem {
            Elem::F32 => Storage::F32,
            Elem::F64 => Storage::F64,
            Elem::I32 => Storage::I32,
            Elem::I64 => Storage::I64,
        }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A 64-bit scalar integer or address.
    Int,
    /// `lanes` elements; a power of two up to 16.
    Vec {
        /// Element type.
        elem: Elem,
        /// Number of lanes: 1, 2, 4, 8 or 16.
        lanes: u8,
    },
    /// One truth value a lane.
    Mask {
        /// Width of the elements it selects among: 32 or 64.
        bits: u8,
        /// Number of lanes: 1, 2, 4, 8 or 16.
        lanes: u8,
    },
}

/// An address: `base + index * scale + disp`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addr {
    /// Int value.
    pub base: Val,
    /// Int value and its factor: 1, 2, 4 or 8.
    pub index: Option<(Val, u8)>,
    /// Constant part in bytes.
    pub disp: i32,
}

impl Addr {
    /// The address held in a value.
    pub const fn at(base: Val) -> Self {
        Addr { base, index: None, disp: 0 }
    }

    /// The address held in a value plus a constant number of bytes.
    pub const fn offset(base: Val, disp: i32) -> Self {
        Addr { base, index: None, disp }
    }
}

/// Scalar integer operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntOp {
    /// Wrapping sum.
    Add,
    /// Wrapping difference.
    Sub,
    /// Wrapping product.
    Mul,
    /// Quotient of a non-negative dividend by a positive divisor.
    Div,
    /// Remainder of a non-negative dividend by a positive divisor.
    Rem,
    /// The smaller, signed.
    Min,
    /// The larger, signed.
    Max,
    /// Bitwise and.
    And,
    /// Shift left by 0 to 63.
    Shl,
    /// Arithmetic shift right by 0 to 63.
    Shr,
    /// 1 if the first is less, signed, else 0.
    Less,
    /// 1 if equal, else 0.
    Equal,
}

/// Width of a scalar integer in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntWidth {
    /// Four bytes, sign-extended.
    I32,
    /// Eight bytes.
    I64,
}

/// Lane-wise operations of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VecUnary {
    /// Sign flipped (floats: the sign bit, NaN too; integers: wrapping negation).
    Neg,
    /// Sign cleared (floats: the sign bit; integers: wrapping absolute value).
    Abs,
    /// Correctly rounded square root; floats.
    Sqrt,
    /// To the nearest integer, ties to even; floats.
    Round,
    /// To the integer below; floats.
    Floor,
}

/// Lane-wise operations of two vectors of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VecBinary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product (integers: low half).
    Mul,
    /// Quotient; floats.
    Div,
    /// `a < b ? a : b`.
    Min,
    /// `a > b ? a : b`.
    Max,
    /// Bitwise and; integers.
    And,
    /// Bitwise or; integers.
    Or,
    /// Bitwise exclusive or; integers.
    Xor,
    /// Upper 32 bits of the unsigned 64-bit product; `I32` lanes read as unsigned.
    MulHighUnsigned,
}

/// Shifts of integer lanes by a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShiftOp {
    /// Left.
    Left,
    /// Right, zeros shifted in.
    RightLogical,
    /// Right, sign kept.
    RightArithmetic,
}

/// Comparisons; on floats all but `Ne` are false for NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal, or unordered.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

/// Operations of two masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskOp {
    /// Both.
    And,
    /// Either.
    Or,
    /// Exactly one.
    Xor,
    /// The first and not the second.
    AndNot,
}

/// How lanes are folded into one: lane i with lane i + 8, then + 4, + 2, + 1 (from half of the lanes down).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FoldOp {
    /// `a + b`.
    Add,
    /// `b > a or b is NaN ? b : a`: the first of equal values wins, NaN is kept.
    Max,
    /// `b < a or b is NaN ? b : a`.
    Min,
}

/// One operation with one result.
#[derive(Debug, Clone, PartialEq)]
pub enum Inst {
    /// An integer constant.
    IntConst(i64),
    /// A scalar integer operation.
    Int(IntOp, Val, Val),
    /// Number of trailing zero bits; 64 for zero.
    IntTrailingZeros(Val),
    /// A scalar integer from memory.
    IntLoad(IntWidth, Addr),
    /// The value of a one-lane `I32` or `I64` vector, sign-extended.
    IntFromLane(Val),
    /// A constant in every lane; `bits` holds the element's bits in its low half or whole.
    Const {
        /// Result type, a vector.
        ty: Type,
        /// Bits of the element.
        bits: u64,
    },
    /// 0, 1, 2, .. in the lanes; integers.
    Iota {
        /// Result type, a vector of integers.
        ty: Type,
    },
    /// The low bits of an Int in every lane; integers.
    Splat {
        /// Result type, a vector of integers.
        ty: Type,
        /// Int value.
        value: Val,
    },
    /// The value of a one-lane vector in every lane.
    SplatLane {
        /// Result type, a vector.
        ty: Type,
        /// One-lane vector of the same element type.
        value: Val,
    },
    /// Consecutive elements from memory.
    Load {
        /// Result type, a vector of the storage's element type.
        ty: Type,
        /// How elements lie in memory.
        storage: Storage,
        /// Address of lane 0.
        addr: Addr,
        /// Lanes that are read; the others are zero and touch no memory.
        mask: Option<Val>,
    },
    /// One element from memory in every lane.
    Broadcast {
        /// Result type, a vector of the storage's element type.
        ty: Type,
        /// How the element lies in memory.
        storage: Storage,
        /// Its address.
        addr: Addr,
    },
    /// Lane i from `addr + index[i] * storage.bytes()`.
    Gather {
        /// Result type, a vector of the storage's element type.
        ty: Type,
        /// How elements lie in memory.
        storage: Storage,
        /// Address of element 0.
        addr: Addr,
        /// `I32` lanes, as many as the result; signed.
        index: Val,
        /// Lanes that are read; the others are zero and touch no memory.
        mask: Option<Val>,
    },
    /// A lane-wise operation of one vector.
    Unary(VecUnary, Val),
    /// A lane-wise operation of two vectors.
    Binary(VecBinary, Val, Val),
    /// Integer lanes shifted by a constant.
    Shift(ShiftOp, Val, u8),
    /// `a * b + c`, rounded once; `-(a * b) + c` when `negate`.
    Fma {
        /// First factor.
        a: Val,
        /// Second factor.
        b: Val,
        /// Addend.
        c: Val,
        /// Whether the product is subtracted.
        negate: bool,
    },
    /// A mask from a lane-wise comparison.
    Compare(Compare, Val, Val),
    /// An operation of two masks.
    Mask(MaskOp, Val, Val),
    /// The opposite of a mask.
    MaskNot(Val),
    /// Lanes below an Int count.
    MaskFirst {
        /// Result type, a mask.
        ty: Type,
        /// Int value; below zero counts as zero, above the lanes as all.
        count: Val,
    },
    /// Bit i set where lane i holds, as an Int.
    MaskBits(Val),
    /// The same lanes for elements of another width.
    MaskResize {
        /// Result type, a mask of as many lanes.
        ty: Type,
        /// A mask.
        mask: Val,
    },
    /// `mask ? a : b` a lane.
    Select {
        /// A mask of the vectors' width and lanes.
        mask: Val,
        /// Taken where the mask holds.
        a: Val,
        /// Taken elsewhere.
        b: Val,
    },
    /// Lanes converted to another element type of any width: integer to float rounds to nearest even; float to
    /// integer truncates and needs values in range; float to float rounds; integer to integer sign-extends or
    /// keeps the low bits. The number of lanes stays.
    Convert(Elem, Val),
    /// The same bits as another element type of equal width.
    Bitcast(Elem, Val),
    /// `p * 2^(n >> 1) * 2^(n - (n >> 1))` with integer lanes `n` as wide as the float lanes `p`; |n| is at most
    /// 252 (`F32`) or 2044 (`F64`).
    ScalePow2 {
        /// Float lanes.
        p: Val,
        /// Integer lanes of the same width.
        n: Val,
    },
    /// All lanes folded into a one-lane vector; the number of lanes is at least 2.
    Fold(FoldOp, Val),
    /// One lane as a one-lane vector.
    Lane(Val, u8),
}

/// A loop `for iv in 0..trip` with carried values.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// The iteration number, an Int.
    pub iv: Val,
    /// How often the body runs, an Int; zero or less: not at all.
    pub trip: Val,
    /// Values carried from one iteration to the next.
    pub carried: Vec<Carried>,
    /// The body.
    pub body: Block,
}

/// A value carried round a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Its value before the first iteration; defined outside the loop.
    pub init: Val,
    /// Its name inside the body.
    pub param: Val,
    /// Its value for the next iteration; visible at the end of the body.
    pub next: Val,
    /// Its name after the loop.
    pub result: Val,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Stmt {
    /// Defines a value.
    Let(Val, Inst),
    /// Writes lanes to consecutive elements.
    Store {
        /// How elements lie in memory.
        storage: Storage,
        /// Address of lane 0.
        addr: Addr,
        /// A vector of the storage's element type.
        value: Val,
        /// Lanes that are written; the others touch no memory.
        mask: Option<Val>,
    },
    /// Writes a scalar integer.
    IntStore {
        /// Bytes written.
        width: IntWidth,
        /// Where.
        addr: Addr,
        /// Int value.
        value: Val,
    },
    /// Rows become columns: `n` vectors of `n` 32-bit or 64-bit lanes; `results[i]` lane j is `inputs[j]` lane i.
    Transpose {
        /// The rows.
        inputs: Vec<Val>,
        /// The columns, new values.
        results: Vec<Val>,
    },
    /// Repeats a block.
    Loop(Box<Loop>),
    /// Runs a block if an Int is not zero.
    If {
        /// Int value.
        cond: Val,
        /// The block.
        then: Block,
    },
    /// Calls a kernel or a phase; not in kernels.
    Call {
        /// The callee.
        func: FuncId,
        /// Int values, one for each parameter.
        args: Vec<Val>,
    },
    /// Waits for all parts; if the barrier returns another value than [`dlc_abi::BARRIER_OK`], the segment returns
    /// [`dlc_abi::STATUS_CANCELLED`]. In segments, under no condition; loops round it have the same trips in all parts.
    Barrier,
}

/// Statements in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
}

/// How a function is called and what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// Vector code without calls: `extern "C" fn(args: *const i64)`.
    Kernel,
    /// Scalar code that calls kernels: `extern "C" fn(args: *const i64)`.
    Phase,
    /// Scalar code that calls phases and waits at barriers: a [`dlc_abi::SegmentFn`], whose parameters are the
    /// context's address, `part` and `parts`. Returns [`dlc_abi::STATUS_OK`] at its end, or the status noted in the
    /// context's error slot.
    Segment,
}

/// A function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name, unique in the module.
    pub name: String,
    /// Kind.
    pub kind: FunctionKind,
    /// Int parameters.
    pub params: Vec<Val>,
    /// The type of each value.
    pub types: IndexVec<Val, Type>,
    /// The body.
    pub body: Block,
}

/// Functions that call each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Module {
    /// The functions; a callee stands before its callers.
    pub functions: IndexVec<FuncId, Function>,
}
