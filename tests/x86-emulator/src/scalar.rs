//! General registers, flags and mask registers.

use iced_x86::Mnemonic as M;

use crate::decode::{Insn, Operand};
use crate::memory::{Fault, Memory};
use crate::state::{RSP, State, Stop};

/// The low `bytes` bytes of a word.
fn low(value: u64, bytes: u8) -> u64 {
    if bytes == 8 { value } else { value & ((1 << (8 * bytes)) - 1) }
}

/// Sign-extends from `bytes` bytes.
fn signed(value: u64, bytes: u8) -> i64 {
    let shift = 64 - 8 * u32::from(bytes);
    ((value << shift) as i64) >> shift
}

impl State<'_> {
    /// The address of the memory operand; gathers add their vector index themselves.
    pub(crate) fn address(&self, insn: &Insn) -> u64 {
        let mut address = insn.mem.disp as u64;
        if let Some(base) = insn.mem.base {
            address = address.wrapping_add(self.gpr[base as usize]);
        }
        if let Some(index) = insn.mem.index
            && !insn.mem.index_is_vector
        {
            address = address
                .wrapping_add(self.gpr[index as usize].wrapping_mul(u64::from(insn.mem.scale)));
        }
        address
    }

    pub(crate) fn read_word(
        &self,
        address: u64,
        bytes: u8,
        memory: &mut dyn Memory,
    ) -> Result<u64, Fault> {
        let mut word = [0; 8];
        self.read(address, &mut word[..bytes as usize], memory)?;
        Ok(u64::from_le_bytes(word))
    }

    fn bytes_of(insn: &Insn, at: usize) -> u8 {
        match insn.ops[at] {
            Operand::Gpr(_, bytes) => bytes,
            _ => insn.mem_bytes,
        }
    }

    /// A scalar operand, zero-extended; the immediate for an operand that is neither register nor memory.
    pub(crate) fn get(
        &self,
        insn: &Insn,
        at: usize,
        memory: &mut dyn Memory,
    ) -> Result<u64, Fault> {
        match insn.ops[at] {
            Operand::Gpr(reg, bytes) => Ok(low(self.gpr[reg as usize], bytes)),
            Operand::Mem => self.read_word(self.address(insn), insn.mem_bytes, memory),
            Operand::Mask(reg) => Ok(self.mask[reg as usize]),
            Operand::None | Operand::Vec(_) => Ok(insn.imm as u64),
        }
    }

    /// Writes a scalar operand. 32-bit registers clear their upper half, narrower ones keep the rest.
    pub(crate) fn set(
        &mut self,
        insn: &Insn,
        at: usize,
        value: u64,
        memory: &mut dyn Memory,
    ) -> Result<(), Fault> {
        match insn.ops[at] {
            Operand::Gpr(reg, bytes) => {
                let old = &mut self.gpr[reg as usize];
                *old = match bytes {
                    4 | 8 => low(value, bytes),
                    _ => *old & !((1 << (8 * bytes)) - 1) | low(value, bytes),
                };
                Ok(())
            }
            Operand::Mem => {
                let address = self.address(insn);
                self.write(address, &value.to_le_bytes()[..insn.mem_bytes as usize], memory)
            }
            Operand::Mask(reg) => {
                self.mask[reg as usize] = value;
                Ok(())
            }
            Operand::None | Operand::Vec(_) => unreachable!("results go to registers or memory"),
        }
    }

    fn set_result_flags(&mut self, value: u64, bytes: u8) {
        self.flags.zero = low(value, bytes) == 0;
        self.flags.sign = signed(low(value, bytes), bytes) < 0;
    }

    fn add_flags(&mut self, a: u64, b: u64, bytes: u8) -> u64 {
        let sum = a.wrapping_add(b);
        self.set_result_flags(sum, bytes);
        let (sa, sb) = (signed(a, bytes), signed(b, bytes));
        self.flags.overflow = (sa < 0) == (sb < 0) && (signed(sum, bytes) < 0) != (sa < 0);
        self.flags.carry = low(sum, bytes) < low(a, bytes);
        sum
    }

    fn sub_flags(&mut self, a: u64, b: u64, bytes: u8) -> u64 {
        let difference = a.wrapping_sub(b);
        self.set_result_flags(difference, bytes);
        let (sa, sb) = (signed(a, bytes), signed(b, bytes));
        self.flags.overflow = (sa < 0) != (sb < 0) && (signed(difference, bytes) < 0) != (sa < 0);
        self.flags.carry = low(a, bytes) < low(b, bytes);
        difference
    }

    fn logic_flags(&mut self, value: u64, bytes: u8) {
        self.set_result_flags(value, bytes);
        self.flags.overflow = false;
        self.flags.carry = false;
    }

    pub(crate) fn condition(&self, mnemonic: M) -> bool {
        let flags = self.flags;
        let less = flags.sign != flags.overflow;
        match mnemonic {
            M::Je | M::Cmove | M::Sete => flags.zero,
            M::Jne | M::Cmovne | M::Setne => !flags.zero,
            M::Jl | M::Cmovl | M::Setl => less,
            M::Jge | M::Cmovge => !less,
            M::Jle | M::Cmovle => less || flags.zero,
            M::Jg | M::Cmovg => !less && !flags.zero,
            _ => unreachable!("callers pass conditions"),
        }
    }

    /// Scalar and mask instructions; whether it was one.
    pub(crate) fn scalar(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<bool, Stop> {
        let bytes = Self::bytes_of(insn, 0);
        match insn.mnemonic {
            M::Mov | M::Movzx => {
                let value = self.get(insn, 1, memory)?;
                self.set(insn, 0, value, memory)?;
            }
            M::Movsx | M::Movsxd => {
                let from = Self::bytes_of(insn, 1);
                let value = self.get(insn, 1, memory)?;
                self.set(insn, 0, signed(value, from) as u64, memory)?;
            }
            M::Lea => {
                let address = self.address(insn);
                self.set(insn, 0, address, memory)?;
            }
            M::Add | M::Sub | M::And | M::Or | M::Xor => {
                let (a, b) = (self.get(insn, 0, memory)?, self.get(insn, 1, memory)?);
                let value = match insn.mnemonic {
                    M::Add => self.add_flags(a, b, bytes),
                    M::Sub => self.sub_flags(a, b, bytes),
                    M::And => a & b,
                    M::Or => a | b,
                    _ => a ^ b,
                };
                if matches!(insn.mnemonic, M::And | M::Or | M::Xor) {
                    self.logic_flags(value, bytes);
                }
                self.set(insn, 0, value, memory)?;
            }
            M::Cmp => {
                let (a, b) = (self.get(insn, 0, memory)?, self.get(insn, 1, memory)?);
                self.sub_flags(a, low(b, bytes), bytes);
            }
            M::Test => {
                let (a, b) = (self.get(insn, 0, memory)?, self.get(insn, 1, memory)?);
                self.logic_flags(a & b, bytes);
            }
            M::Imul => {
                let has_three = insn.n_ops == 3;
                let (a, b) = if has_three {
                    (self.get(insn, 1, memory)?, insn.imm as u64)
                } else {
                    (self.get(insn, 0, memory)?, self.get(insn, 1, memory)?)
                };
                self.set(insn, 0, a.wrapping_mul(b), memory)?;
            }
            M::Div => self.divide(insn, memory)?,
            M::Shl | M::Sar | M::Shr => {
                let value = self.get(insn, 0, memory)?;
                let by = insn.imm as u32 & if bytes == 8 { 63 } else { 31 };
                let result = match insn.mnemonic {
                    M::Shl => value << by,
                    M::Sar => (signed(value, bytes) >> by) as u64,
                    _ => value >> by,
                };
                self.logic_flags(result, bytes);
                self.set(insn, 0, result, memory)?;
            }
            M::Shlx | M::Sarx | M::Shrx => {
                let (value, by) = (self.get(insn, 1, memory)?, self.get(insn, 2, memory)?);
                let by = by as u32 & if bytes == 8 { 63 } else { 31 };
                let result = match insn.mnemonic {
                    M::Shlx => value << by,
                    M::Sarx => (signed(value, bytes) >> by) as u64,
                    _ => value >> by,
                };
                self.set(insn, 0, result, memory)?;
            }
            M::Bzhi => {
                let (value, index) =
                    (self.get(insn, 1, memory)?, self.get(insn, 2, memory)? & 0xff);
                let kept =
                    if index < 8 * u64::from(bytes) { value & ((1 << index) - 1) } else { value };
                self.set(insn, 0, kept, memory)?;
            }
            M::Tzcnt => {
                let value = self.get(insn, 1, memory)?;
                let zeros = value.trailing_zeros().min(8 * u32::from(bytes));
                self.set(insn, 0, u64::from(zeros), memory)?;
            }
            M::Cmove | M::Cmovne | M::Cmovl | M::Cmovge | M::Cmovle | M::Cmovg => {
                // The source is read in any case.
                let source = self.get(insn, 1, memory)?;
                let value =
                    if self.condition(insn.mnemonic) { source } else { self.get(insn, 0, memory)? };
                self.set(insn, 0, value, memory)?;
            }
            M::Sete | M::Setne | M::Setl => {
                let value = u64::from(self.condition(insn.mnemonic));
                self.set(insn, 0, value, memory)?;
            }
            M::Push => {
                let value = self.get(insn, 0, memory)?;
                self.gpr[RSP] = self.gpr[RSP].wrapping_sub(8);
                self.write(self.gpr[RSP], &value.to_le_bytes(), memory)?;
            }
            M::Pop => {
                let value = self.read_word(self.gpr[RSP], 8, memory)?;
                // The address of a memory operand is computed with the new rsp.
                self.gpr[RSP] = self.gpr[RSP].wrapping_add(8);
                self.set(insn, 0, value, memory)?;
            }
            M::Xchg => {
                let (a, b) = (self.get(insn, 0, memory)?, self.get(insn, 1, memory)?);
                self.set(insn, 0, b, memory)?;
                self.set(insn, 1, a, memory)?;
            }
            M::Kmovw | M::Kmovb => {
                let valid = if insn.mnemonic == M::Kmovw { 0xffff } else { 0xff };
                let value = self.get(insn, 1, memory)? & valid;
                self.set(insn, 0, value, memory)?;
            }
            M::Kandw | M::Korw | M::Kxorw | M::Kandnw | M::Kxnorw | M::Knotw => {
                let (a, b) = (self.get(insn, 1, memory)?, self.get(insn, 2, memory)?);
                let value = match insn.mnemonic {
                    M::Kandw => a & b,
                    M::Korw => a | b,
                    M::Kxorw => a ^ b,
                    M::Kandnw => !a & b,
                    M::Kxnorw => !(a ^ b),
                    _ => !a,
                };
                self.set(insn, 0, value & 0xffff, memory)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn divide(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<(), Stop> {
        let divisor = u128::from(self.get(insn, 0, memory)?);
        let dividend = u128::from(self.gpr[2]) << 64 | u128::from(self.gpr[0]);
        if divisor == 0 || Self::bytes_of(insn, 0) != 8 {
            return Err(Stop::Division);
        }
        self.gpr[0] = u64::try_from(dividend / divisor).map_err(|_| Stop::Division)?;
        self.gpr[2] = (dividend % divisor) as u64;
        Ok(())
    }
}
