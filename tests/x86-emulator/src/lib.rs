//! An emulator of the part of x86-64 that kernels are compiled to: general registers, AVX2, and AVX-512 with masks,
//! broadcasts, merging and zeroing.
//!
//! It exists to run AVX-512 code on machines that lack it, over memory whose every access is checked. Its semantics are
//! written from the instruction manuals (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2) and
//! share nothing with the compiler but the decoder of `iced-x86`, so that a wrong encoding or a misread instruction shows
//! as a difference.
//!
//! A function is decoded once into a dense form ([`Program::decode`]) and then called any number of times
//! ([`Program::call`]). Besides the results, a call checks what the calling convention asks: `rsp` and the registers that
//! a callee preserves are as before, and upper halves of vector registers are clean.
#![forbid(unsafe_code)]

mod access;
mod convert;
mod decode;
mod lanes;
mod memory;
mod scalar;
mod shuffle;
mod state;

pub use memory::{Fault, Memory, Regions};

use decode::Insn;
use state::{Family, State};

/// Where code appears to lie.
const CODE_BASE: u64 = 0x1000_0000;
/// Where the stack appears to lie; it holds the argument array as well.
const STACK_BASE: u64 = 0x7f00_0000_0000;
/// Bytes of stack.
const STACK_BYTES: usize = 64 << 10;

/// What stops a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmulatorError {
    /// The decoder or the emulator does not know an instruction.
    #[error("unknown instruction at {offset:#x}: {text}")]
    Unknown {
        /// Bytes from the function's start.
        offset: usize,
        /// Its text.
        text: String,
    },
    /// An access outside of the memory.
    #[error("at {offset:#x}, {text}: {fault}")]
    Fault {
        /// Bytes from the function's start.
        offset: usize,
        /// The instruction.
        text: String,
        /// What was touched.
        fault: Fault,
    },
    /// A division that the processor refuses.
    #[error("at {offset:#x}: division by zero or overflow")]
    Division {
        /// Bytes from the function's start.
        offset: usize,
    },
    /// More instructions than allowed.
    #[error("no end after {steps} instructions")]
    Endless {
        /// Instructions executed.
        steps: u64,
    },
    /// The calling convention is broken at the return.
    #[error("calling convention: {what}")]
    Convention {
        /// What is not as before.
        what: String,
    },
}

/// A decoded function.
#[derive(Debug)]
pub struct Program {
    insns: Vec<Insn>,
    /// The family of each instruction, from its first execution on.
    families: Vec<Family>,
    /// The function's bytes, for constants.
    bytes: Vec<u8>,
}

impl Program {
    /// Decodes a function; what lies behind its `ret` is data. The function must start at a multiple of 64 bytes where it
    /// is to be loaded aligned, as it does here.
    ///
    /// # Errors
    /// Names the first instruction that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Program, EmulatorError> {
        let insns = decode::decode(bytes, CODE_BASE)?;
        let families = insns.iter().map(|_| Family::default()).collect();
        Ok(Program { insns, families, bytes: bytes.to_vec() })
    }

    /// Number of instructions.
    pub fn n_instructions(&self) -> usize {
        self.insns.len()
    }

    /// Calls the function as `extern "C" fn(args: *const i64)`. Addresses in `args` are those of `memory`.
    /// Returns the number of instructions executed.
    ///
    /// # Errors
    /// Faults, broken conventions, and [`EmulatorError::Endless`] after `max_steps` instructions.
    pub fn call(
        &self,
        args: &[i64],
        memory: &mut dyn Memory,
        max_steps: u64,
    ) -> Result<u64, EmulatorError> {
        let mut state = State::new(&self.bytes, args);
        let mut steps = 0u64;
        let mut at = 0usize;
        while let Some(insn) = self.insns.get(at) {
            steps += 1;
            if steps > max_steps {
                return Err(EmulatorError::Endless { steps });
            }
            match state.execute(insn, &self.families[at], memory) {
                Ok(state::Next::Following) => at += 1,
                Ok(state::Next::Jump(target)) => at = target as usize,
                Ok(state::Next::Return) => {
                    state.check_convention(args.len())?;
                    return Ok(steps);
                }
                Err(stop) => return Err(self.error(insn, stop)),
            }
        }
        Err(EmulatorError::Convention { what: "the code runs into its constants".to_owned() })
    }

    fn error(&self, insn: &Insn, stop: state::Stop) -> EmulatorError {
        let offset = insn.offset as usize;
        match stop {
            state::Stop::Fault(fault) => {
                EmulatorError::Fault { offset, text: decode::text(&self.bytes, offset), fault }
            }
            state::Stop::Division => EmulatorError::Division { offset },
            state::Stop::Unknown => {
                EmulatorError::Unknown { offset, text: decode::text(&self.bytes, offset) }
            }
        }
    }
}
