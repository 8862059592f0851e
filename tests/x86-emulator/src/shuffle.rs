//! Instructions that move elements between lanes.

use iced_x86::Mnemonic as M;

use crate::decode::{Insn, Operand};
use crate::memory::Memory;
use crate::state::{State, Stop, Vector};

/// Two bits of an immediate.
fn pick(imm: usize, at: usize) -> usize {
    imm >> (2 * at) & 3
}

impl State<'_> {
    /// Shuffles, insertions and extractions; whether it was one.
    pub(crate) fn shuffle(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<bool, Stop> {
        let imm = insn.imm as u8 as usize;
        let width = insn.width as usize;
        match insn.mnemonic {
            M::Vpshufd => {
                self.permute_one(insn, 4, memory, |lane| lane / 4 * 4 + pick(imm, lane % 4))?
            }
            M::Vpermq | M::Vpermpd => {
                self.permute_one(insn, 8, memory, |lane| lane / 4 * 4 + pick(imm, lane % 4))?
            }
            M::Vshufps => self.permute_two(insn, 4, memory, |lane| {
                (lane % 4 >= 2, lane / 4 * 4 + pick(imm, lane % 4))
            })?,
            M::Vunpcklps | M::Vpunpckldq => {
                self.permute_two(insn, 4, memory, |lane| {
                    (lane % 2 == 1, lane / 4 * 4 + lane % 4 / 2)
                })?;
            }
            M::Vunpckhps => {
                self.permute_two(insn, 4, memory, |lane| {
                    (lane % 2 == 1, lane / 4 * 4 + 2 + lane % 4 / 2)
                })?;
            }
            M::Vunpcklpd => {
                self.permute_two(insn, 8, memory, |lane| (lane % 2 == 1, lane / 2 * 2))?
            }
            M::Vunpckhpd => {
                self.permute_two(insn, 8, memory, |lane| (lane % 2 == 1, lane / 2 * 2 + 1))?
            }
            M::Vperm2f128 => {
                let (a, b) = (self.source(insn, 1, 16, memory)?, self.source(insn, 2, 16, memory)?);
                let mut result = Vector::ZERO;
                for half in 0..2 {
                    let control = imm >> (4 * half) & 15;
                    let from = if control & 2 == 0 { &a } else { &b };
                    if control & 8 == 0 {
                        let start = control % 2 * 4;
                        result.0[4 * half..4 * half + 4].copy_from_slice(&from.0[start..start + 4]);
                    }
                }
                self.finish(insn, result, 4, width)?;
            }
            M::Vshuff32x4 | M::Vshuff64x2 => {
                let elem = if insn.mnemonic == M::Vshuff32x4 { 4 } else { 8 };
                let (a, b) =
                    (self.source(insn, 1, elem, memory)?, self.source(insn, 2, elem, memory)?);
                let pieces = width / 16;
                let bits = pieces.trailing_zeros() as usize;
                let mut result = Vector::ZERO;
                for piece in 0..pieces {
                    let from = if piece < pieces / 2 { &a } else { &b };
                    let start = (imm >> (bits * piece) & (pieces - 1)) * 4;
                    result.0[4 * piece..4 * piece + 4].copy_from_slice(&from.0[start..start + 4]);
                }
                self.finish(insn, result, elem, width)?;
            }
            M::Vpshufb => {
                let (a, control) =
                    (self.source(insn, 1, 1, memory)?, self.source(insn, 2, 1, memory)?);
                let (a, control) = (a.to_bytes(), control.to_bytes());
                let bytes = std::array::from_fn(|at| match control[at] {
                    zero if zero & 0x80 != 0 => 0,
                    index => a[at / 16 * 16 + usize::from(index & 15)],
                });
                if insn.mask != 0 {
                    return Ok(false);
                }
                self.finish(insn, Vector::from_bytes(&bytes), 4, width)?;
            }
            M::Vextractf128 | M::Vextractf32x4 | M::Vextracti128 | M::Vextracti32x4 => {
                self.extract_piece(insn, 16, imm, memory)?;
            }
            M::Vextractf64x4 | M::Vextracti64x4 => self.extract_piece(insn, 32, imm, memory)?,
            M::Vinsertf128 | M::Vinsertf32x4 | M::Vinserti128 | M::Vinserti32x4 => {
                let (mut result, piece) =
                    (self.source(insn, 1, 4, memory)?, self.source(insn, 2, 4, memory)?);
                let at = imm % (width / 16) * 4;
                result.0[at..at + 4].copy_from_slice(&piece.0[..4]);
                self.finish(insn, result, 4, width)?;
            }
            M::Vpinsrb => self.insert(insn, 1, imm, memory)?,
            M::Vpinsrw => self.insert(insn, 2, imm, memory)?,
            M::Vpinsrd => self.insert(insn, 4, imm, memory)?,
            M::Vpinsrq => self.insert(insn, 8, imm, memory)?,
            M::Vpextrb => self.extract(insn, 1, imm, memory)?,
            M::Vpextrw => self.extract(insn, 2, imm, memory)?,
            M::Vpextrd => self.extract(insn, 4, imm, memory)?,
            M::Vpextrq => self.extract(insn, 8, imm, memory)?,
            M::Vmovmskps => self.sign_bits(insn, 4, memory)?,
            M::Vmovmskpd => self.sign_bits(insn, 8, memory)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn permute_one(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
        from: impl Fn(usize) -> usize,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / elem {
            if elem == 4 {
                result.0[lane] = a.0[from(lane)];
            } else {
                result.set64(lane, a.get64(from(lane)));
            }
        }
        self.finish(insn, result, elem, insn.width as usize)
    }

    /// `from` says whether a lane comes from the second source, and from which of its lanes.
    fn permute_two(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
        from: impl Fn(usize) -> (bool, usize),
    ) -> Result<(), Stop> {
        let (a, b) = (self.source(insn, 1, elem, memory)?, self.source(insn, 2, elem, memory)?);
        let mut result = Vector::ZERO;
        for lane in 0..insn.width as usize / elem {
            let (is_second, index) = from(lane);
            let source = if is_second { &b } else { &a };
            if elem == 4 {
                result.0[lane] = source.0[index];
            } else {
                result.set64(lane, source.get64(index));
            }
        }
        self.finish(insn, result, elem, insn.width as usize)
    }

    fn extract_piece(
        &mut self,
        insn: &Insn,
        bytes: usize,
        imm: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, 4, memory)?;
        let lanes = bytes / 4;
        let start = imm % (insn.width as usize / bytes) * lanes;
        let mut result = Vector::ZERO;
        result.0[..lanes].copy_from_slice(&a.0[start..start + lanes]);
        self.finish_rm(insn, result, 4, bytes, memory)
    }

    fn insert(
        &mut self,
        insn: &Insn,
        elem: usize,
        imm: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let value = match insn.ops[2] {
            Operand::Mem => self.read_word(self.address(insn), elem as u8, memory)?,
            _ => self.get(insn, 2, memory)?,
        };
        let mut bytes = a.to_bytes();
        let at = imm % (16 / elem) * elem;
        bytes[at..at + elem].copy_from_slice(&value.to_le_bytes()[..elem]);
        self.finish(insn, Vector::from_bytes(&bytes), 4, 16)
    }

    fn extract(
        &mut self,
        insn: &Insn,
        elem: usize,
        imm: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let Operand::Vec(reg) = insn.ops[1] else { return Err(Stop::Unknown) };
        let bytes = self.vec[reg as usize].to_bytes();
        let at = imm % (16 / elem) * elem;
        let mut word = [0; 8];
        word[..elem].copy_from_slice(&bytes[at..at + elem]);
        if insn.ops[0] == Operand::Mem {
            let address = self.address(insn);
            self.write(address, &word[..elem], memory)?;
        } else {
            self.set(insn, 0, u64::from_le_bytes(word), memory)?;
        }
        Ok(())
    }

    fn sign_bits(&mut self, insn: &Insn, elem: usize, memory: &mut dyn Memory) -> Result<(), Stop> {
        let a = self.source(insn, 1, elem, memory)?;
        let bits = (0..insn.width as usize / elem).fold(0u64, |bits, lane| {
            bits | u64::from(a.0[(lane + 1) * elem / 4 - 1] >> 31) << lane
        });
        self.set(insn, 0, bits, memory)?;
        Ok(())
    }
}
