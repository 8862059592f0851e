//! Registers, flags, stack, and the dispatch of instructions.

use std::sync::atomic::{AtomicU8, Ordering};

use iced_x86::Mnemonic as M;

use crate::decode::Insn;
use crate::memory::{Fault, Memory};
use crate::{CODE_BASE, EmulatorError, STACK_BASE, STACK_BYTES};

/// A vector register as sixteen 32-bit lanes, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vector(pub [u32; 16]);

impl Vector {
    pub(crate) const ZERO: Vector = Vector([0; 16]);

    pub(crate) fn get64(&self, lane: usize) -> u64 {
        u64::from(self.0[2 * lane]) | u64::from(self.0[2 * lane + 1]) << 32
    }

    pub(crate) fn set64(&mut self, lane: usize, bits: u64) {
        self.0[2 * lane] = bits as u32;
        self.0[2 * lane + 1] = (bits >> 32) as u32;
    }

    /// With zeros from byte `width`, a multiple of 16, on.
    pub(crate) fn cleared_from(mut self, width: usize) -> Self {
        self.0[width / 4..].fill(0);
        self
    }

    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Self {
        Vector(std::array::from_fn(|lane| {
            u32::from_le_bytes(bytes[4 * lane..4 * lane + 4].try_into().expect("four bytes"))
        }))
    }

    pub(crate) fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (chunk, lane) in bytes.chunks_exact_mut(4).zip(self.0) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }
}

/// What happens after an instruction.
pub(crate) enum Next {
    Following,
    /// Index of an instruction.
    Jump(u32),
    Return,
}

/// Why an instruction cannot finish.
pub(crate) enum Stop {
    Fault(Fault),
    Division,
    Unknown,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

/// Which of the families in [`FAMILIES`] an instruction belongs to. It is found by trying, once; a race between threads stores the same
/// number twice.
#[derive(Debug)]
pub(crate) struct Family(AtomicU8);

impl Default for Family {
    fn default() -> Self {
        Family(AtomicU8::new(u8::MAX))
    }
}

/// Executes an instruction; whether it is one of the family.
type Execute = fn(&mut State<'_>, &Insn, &mut dyn Memory) -> Result<bool, Stop>;

/// All instructions but those that move the program counter.
const FAMILIES: [Execute; 7] = [
    |state, insn, memory| state.control(insn, memory),
    |state, insn, memory| state.scalar(insn, memory),
    |state, insn, memory| state.float_lanes(insn, memory),
    |state, insn, memory| state.transfer(insn, memory),
    |state, insn, memory| state.integer_lanes(insn, memory),
    |state, insn, memory| state.shuffle(insn, memory),
    |state, insn, memory| state.convert(insn, memory),
];

/// Flags that the emulated instructions read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub zero: bool,
    pub sign: bool,
    pub overflow: bool,
    pub carry: bool,
}

pub(crate) const RSP: usize = 4;
const RDI: usize = 7;
/// rbx, rbp, r12 to r15.
const PRESERVED: [usize; 6] = [3, 5, 12, 13, 14, 15];

/// The processor.
pub(crate) struct State<'a> {
    pub gpr: [u64; 16],
    pub vec: [Vector; 32],
    pub mask: [u64; 8],
    pub flags: Flags,
    code: &'a [u8],
    stack: Vec<u8>,
    entry: [u64; 16],
}

impl<'a> State<'a> {
    /// At the function's first instruction, with rubbish in all registers that carry nothing.
    pub(crate) fn new(code: &'a [u8], args: &[i64]) -> Self {
        let mut stack = vec![0xa5; STACK_BYTES];
        let args_at = STACK_BYTES - (8 * args.len()).next_multiple_of(64);
        for (index, word) in args.iter().enumerate() {
            stack[args_at + 8 * index..args_at + 8 * index + 8]
                .copy_from_slice(&word.to_le_bytes());
        }
        let mut gpr: [u64; 16] = std::array::from_fn(|reg| 0x5a5a_5a5a_0000_0000 + reg as u64);
        gpr[RDI] = STACK_BASE + args_at as u64;
        // As after a call: the return address lies below a multiple of 16.
        gpr[RSP] = STACK_BASE + args_at as u64 - 72;
        let vec = std::array::from_fn(|reg| {
            // Upper halves of the first sixteen are clean at a call.
            let rubbish = 0x7fa0_0000 + reg as u32;
            Vector(std::array::from_fn(|lane| if lane < 4 || reg >= 16 { rubbish } else { 0 }))
        });
        State {
            gpr,
            vec,
            mask: [0x5a5a_5a5a_5a5a_5a5a; 8],
            flags: Flags::default(),
            code,
            stack,
            entry: gpr,
        }
    }

    /// What the caller relies on after the return.
    pub(crate) fn check_convention(&self, n_args: usize) -> Result<(), EmulatorError> {
        let broken = |what: String| Err(EmulatorError::Convention { what });
        if self.gpr[RSP] != self.entry[RSP] {
            return broken(format!("rsp is {:#x}, not {:#x}", self.gpr[RSP], self.entry[RSP]));
        }
        for reg in PRESERVED {
            if self.gpr[reg] != self.entry[reg] {
                return broken(format!("general register {reg} is not preserved"));
            }
        }
        for (reg, vector) in self.vec.iter().enumerate().take(16) {
            if vector.0[4..] != [0; 12] {
                return broken(format!("the upper part of xmm{reg} is not clean"));
            }
        }
        // The argument array is the caller's.
        let args_at = (self.entry[RDI] - STACK_BASE) as usize;
        if self.stack[args_at + 8 * n_args..].iter().any(|&byte| byte != 0xa5) {
            return broken("the caller's stack is overwritten".to_owned());
        }
        Ok(())
    }

    // Memory.

    pub(crate) fn read(
        &self,
        address: u64,
        bytes: &mut [u8],
        memory: &mut dyn Memory,
    ) -> Result<(), Fault> {
        if let Some(offset) = within(address, bytes.len(), CODE_BASE, self.code.len()) {
            bytes.copy_from_slice(&self.code[offset..offset + bytes.len()]);
            return Ok(());
        }
        if let Some(offset) = within(address, bytes.len(), STACK_BASE, STACK_BYTES) {
            bytes.copy_from_slice(&self.stack[offset..offset + bytes.len()]);
            return Ok(());
        }
        memory.read(address, bytes)
    }

    pub(crate) fn write(
        &mut self,
        address: u64,
        bytes: &[u8],
        memory: &mut dyn Memory,
    ) -> Result<(), Fault> {
        if let Some(offset) = within(address, bytes.len(), STACK_BASE, STACK_BYTES) {
            self.stack[offset..offset + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        memory.write(address, bytes)
    }

    /// Executes one instruction.
    pub(crate) fn execute(
        &mut self,
        insn: &Insn,
        family: &Family,
        memory: &mut dyn Memory,
    ) -> Result<Next, Stop> {
        match insn.mnemonic {
            M::Ret => return Ok(Next::Return),
            M::Je | M::Jne | M::Jl | M::Jle | M::Jge | M::Jg => {
                let taken = self.condition(insn.mnemonic);
                return Ok(if taken { Next::Jump(insn.target) } else { Next::Following });
            }
            _ => {}
        }
        if let Some(known) = FAMILIES.get(usize::from(family.0.load(Ordering::Relaxed))) {
            known(self, insn, memory)?;
            return Ok(Next::Following);
        }
        for (number, candidate) in FAMILIES.iter().enumerate() {
            if candidate(self, insn, memory)? {
                family.0.store(number as u8, Ordering::Relaxed);
                return Ok(Next::Following);
            }
        }
        Err(Stop::Unknown)
    }

    /// What is neither arithmetic nor a transfer; whether it was that.
    fn control(&mut self, insn: &Insn, _: &mut dyn Memory) -> Result<bool, Stop> {
        match insn.mnemonic {
            M::Nop => {}
            M::Vzeroupper => {
                for vector in &mut self.vec[..16] {
                    vector.0[4..].fill(0);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The offset of an access within a range, if it lies there whole.
fn within(address: u64, len: usize, start: u64, range: usize) -> Option<usize> {
    let offset = address.checked_sub(start)?;
    (offset + len as u64 <= range as u64).then_some(offset as usize)
}
