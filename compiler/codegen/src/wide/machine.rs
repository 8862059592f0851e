//! Machine code with virtual registers: what instruction selection makes and register allocation reads.
//!
//! Code is a list of steps in the order of the bytes. Control flow is structured: a branch goes forward to a label
//! that is placed later, except for the one at a loop's end, which goes back to the loop's head. Virtual registers may
//! be written more than once (two-address instructions, loop-carried values); every read is dominated by a write.

use super::table::{Form, Op};
use dlc_ir::vector::FuncId;

/// A virtual register. Numbers start at 1, so that an optional one takes four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VReg(std::num::NonZeroU32);

impl VReg {
    /// Register number `index`.
    pub(super) fn new(index: usize) -> Self {
        let number = u32::try_from(index + 1).expect("fewer than 2^32 registers");
        VReg(std::num::NonZeroU32::new(number).expect("one was added"))
    }

    /// Its position in tables.
    pub(super) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Register files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// General registers.
    Gpr,
    /// xmm, ymm and zmm.
    Vec,
    /// k registers.
    Mask,
}

/// Bytes of a vector instruction: 16, 32 or 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    /// xmm; also what scalar instructions carry.
    X,
    /// ymm.
    Y,
    /// zmm.
    Z,
}

impl Width {
    /// The narrowest register that holds some bytes.
    pub(super) fn of_bytes(bytes: i64) -> Self {
        match bytes {
            ..=16 => Width::X,
            17..=32 => Width::Y,
            _ => Width::Z,
        }
    }

    /// Bytes.
    pub(super) fn bytes(self) -> i64 {
        16 << self as i64
    }

    /// Half of it, at least xmm.
    pub(super) fn half(self) -> Self {
        match self {
            Width::X | Width::Y => Width::X,
            Width::Z => Width::Y,
        }
    }
}

/// What is known of a virtual register.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegInfo {
    /// Register file.
    pub class: Class,
    /// Bytes that matter, for moves and spills.
    pub width: Width,
    /// A reload or a piece of spill code: it must get a register.
    pub unspillable: bool,
}

/// Where an address starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// A general register.
    Reg(VReg),
    /// A constant of the pool, by number.
    Const(u32),
    /// A slot of the frame, by number.
    Slot(u32),
}

/// A memory operand: `base + index * scale + disp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mem {
    /// Where it starts.
    pub base: Base,
    /// A general register, or a vector in gathers, with its factor.
    pub index: Option<(VReg, u8)>,
    /// Bytes.
    pub disp: i32,
}

/// A machine instruction.
#[derive(Debug, Clone)]
pub(super) struct Inst {
    /// What it does.
    pub op: Op,
    /// Its vector width.
    pub width: Width,
    /// Register written.
    pub dst: Option<VReg>,
    /// Registers read, in the order of the instruction's operands; the memory operand is not among them.
    pub srcs: [Option<VReg>; 3],
    /// Memory operand.
    pub mem: Option<Mem>,
    /// Immediate.
    pub imm: Option<i64>,
    /// Writemask.
    pub mask: Option<VReg>,
    /// Masked-off lanes become zero instead of keeping their value.
    pub zeroing: bool,
    /// The memory operand is one element for all lanes.
    pub broadcast: bool,
}

impl Inst {
    /// An instruction without operands yet.
    pub(super) fn new(op: Op, width: Width) -> Self {
        Inst {
            op,
            width,
            dst: None,
            srcs: [None; 3],
            mem: None,
            imm: None,
            mask: None,
            zeroing: false,
            broadcast: false,
        }
    }

    /// Whether the written register is also read.
    pub(super) fn reads_dst(&self) -> bool {
        match self.op.row().form {
            Form::Acc | Form::GatherLanes | Form::GatherMask => true,
            Form::Def | Form::Put | Form::Use => {
                self.mask.is_some() && !self.zeroing && self.merges()
            }
        }
    }

    /// Whether a writemask of this instruction merges into the destination: comparisons write their mask whole, and
    /// blends and stores select by it.
    fn merges(&self) -> bool {
        !matches!(
            self.op,
            Op::BlendMask32
                | Op::BlendMask64
                | Op::CmpMaskF32
                | Op::CmpMaskF64
                | Op::CmpMaskI32
                | Op::CmpMaskI64
        ) && self.dst.is_some()
    }

    /// Calls `f` for every register that is read.
    pub(super) fn for_each_use(&self, mut f: impl FnMut(VReg)) {
        self.srcs.iter().flatten().copied().for_each(&mut f);
        if let Some(mem) = &self.mem {
            if let Base::Reg(base) = mem.base {
                f(base);
            }
            if let Some((index, _)) = mem.index {
                f(index);
            }
        }
        if let Some(mask) = self.mask {
            f(mask);
        }
        if self.reads_dst()
            && let Some(dst) = self.dst
        {
            f(dst);
        }
    }
}

/// Conditions of branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cond {
    /// Equal, zero.
    Equal,
    /// Not equal, not zero.
    NotEqual,
    /// Less, signed.
    Less,
    /// Less or equal, signed.
    LessEqual,
    /// Greater or equal, signed.
    GreaterEqual,
}

impl Cond {
    /// The condition that holds when this one does not; none is needed for less-or-equal.
    pub(super) fn opposite(self) -> Self {
        match self {
            Cond::Equal => Cond::NotEqual,
            Cond::NotEqual => Cond::Equal,
            Cond::Less => Cond::GreaterEqual,
            Cond::GreaterEqual => Cond::Less,
            Cond::LessEqual => unreachable!("only loop guards use it, and they are not inverted"),
        }
    }
}

/// A place that forward branches go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(pub u32);

/// A loop, numbered in the order of their heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoopId(pub u32);

/// What a call goes to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Callee {
    /// A function of the module, whose arguments stand at the start of the frame.
    Function(FuncId),
    /// The function at an address, with two arguments.
    Address(VReg, [VReg; 2]),
}

/// One step of code.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An instruction.
    Inst(Inst),
    /// The registers are set to the first arguments, which arrive in rdi, rsi and rdx.
    Arguments(Vec<VReg>),
    /// A call. It leaves the registers alone that a callee restores, and no others.
    Call(Callee),
    /// The register is set to what the call just before it returned, 32 bits without sign.
    Returned(VReg),
    /// The function returns a register. Code that ends without it returns nothing.
    Return(VReg),
    /// Registers set at once: `(destination, source)`.
    Moves(Vec<(VReg, VReg)>),
    /// A branch forward.
    Branch(Cond, Label),
    /// The target of forward branches.
    Place(Label),
    /// Start of a loop's body.
    LoopHead(LoopId),
    /// Branches back while the condition holds.
    LoopEnd(LoopId, Cond),
    /// Unsigned quotient or remainder of 64-bit registers, through rax and rdx.
    Divide {
        /// Result.
        dst: VReg,
        /// Dividend.
        a: VReg,
        /// Divisor.
        b: VReg,
        /// The remainder instead of the quotient.
        remainder: bool,
    },
}

/// The code of a function before registers are assigned.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Virtual registers.
    pub regs: Vec<RegInfo>,
    /// Slots of the frame, each 64 bytes and as much aligned.
    pub n_slots: u32,
    /// Constants placed after the code.
    pub pool: Pool,
    /// Labels made.
    pub n_labels: u32,
    /// Loops made.
    pub n_loops: u32,
}

impl Code {
    /// A new virtual register.
    pub(super) fn reg(&mut self, class: Class, width: Width) -> VReg {
        self.regs.push(RegInfo { class, width, unspillable: false });
        VReg::new(self.regs.len() - 1)
    }

    /// A new slot.
    pub(super) fn slot(&mut self) -> u32 {
        self.n_slots += 1;
        self.n_slots - 1
    }
}

/// Constants placed after the code; equal ones share their place.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Bytes of each constant; their number is a power of two and also the alignment.
    pub entries: Vec<Vec<u8>>,
    /// Number of the entry with some bytes.
    numbers: std::collections::BTreeMap<Vec<u8>, u32>,
}

impl Pool {
    /// The number of a constant with these bytes.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> u32 {
        debug_assert!(bytes.len().is_power_of_two() && bytes.len() <= 64);
        if let Some(&number) = self.numbers.get(&bytes) {
            return number;
        }
        let number = self.entries.len() as u32;
        self.entries.push(bytes.clone());
        self.numbers.insert(bytes, number);
        number
    }
}
