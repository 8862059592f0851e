//! Vector operands from registers and memory, results under a writemask, and plain transfers.

use iced_x86::Mnemonic as M;

use crate::decode::{Insn, Operand};
use crate::memory::Memory;
use crate::state::{State, Stop, Vector};

impl State<'_> {
    /// Bits of the writemask; all ones without one.
    pub(crate) fn writemask(&self, insn: &Insn) -> u64 {
        if insn.mask == 0 { u64::MAX } else { self.mask[insn.mask as usize] }
    }

    /// A vector operand of elements of `elem` bytes in memory. A writemask suppresses reads of masked-off elements.
    pub(crate) fn source(
        &self,
        insn: &Insn,
        at: usize,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<Vector, Stop> {
        match insn.ops[at] {
            Operand::Vec(reg) => Ok(self.vec[reg as usize]),
            Operand::Mem => self.load(insn, elem, memory),
            Operand::None | Operand::Mask(_) | Operand::Gpr(..) => Err(Stop::Unknown),
        }
    }

    fn load(&self, insn: &Insn, elem: usize, memory: &mut dyn Memory) -> Result<Vector, Stop> {
        let address = self.address(insn);
        let mut bytes = [0; 64];
        if insn.broadcast {
            self.read(address, &mut bytes[..elem], memory)?;
            let (first, rest) = bytes.split_at_mut(elem);
            rest.chunks_exact_mut(elem).for_each(|chunk| chunk.copy_from_slice(first));
        } else if insn.mask != 0 {
            let mask = self.writemask(insn);
            for lane in 0..insn.mem_bytes as usize / elem {
                if mask >> lane & 1 == 1 {
                    let at = lane * elem;
                    self.read(address.wrapping_add(at as u64), &mut bytes[at..at + elem], memory)?;
                }
            }
        } else {
            self.read(address, &mut bytes[..insn.mem_bytes as usize], memory)?;
        }
        Ok(Vector::from_bytes(&bytes))
    }

    /// Writes a vector register: `width` bytes of elements of `elem` bytes under the writemask, zeros above.
    pub(crate) fn finish(
        &mut self,
        insn: &Insn,
        result: Vector,
        elem: usize,
        width: usize,
    ) -> Result<(), Stop> {
        let Operand::Vec(reg) = insn.ops[0] else { return Err(Stop::Unknown) };
        if insn.mask == 0 {
            self.vec[reg as usize] = result.cleared_from(width);
            return Ok(());
        }
        let old = self.vec[reg as usize];
        let mask = self.writemask(insn);
        let mut new = Vector::ZERO;
        for lane in 0..width / 4 {
            let element = lane * 4 / elem;
            new.0[lane] = if mask >> element & 1 == 1 {
                result.0[lane]
            } else if insn.zeroing {
                0
            } else {
                old.0[lane]
            };
        }
        self.vec[reg as usize] = new;
        Ok(())
    }

    /// Writes elements of `elem` bytes to memory under the writemask, or to a register.
    pub(crate) fn finish_rm(
        &mut self,
        insn: &Insn,
        result: Vector,
        elem: usize,
        width: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        if insn.ops[0] != Operand::Mem {
            return self.finish(insn, result, elem.max(4), width.max(16));
        }
        let address = self.address(insn);
        let bytes = result.to_bytes();
        if insn.mask == 0 {
            self.write(address, &bytes[..width], memory)?;
            return Ok(());
        }
        let mask = self.writemask(insn);
        for lane in 0..width / elem {
            if mask >> lane & 1 == 1 {
                let at = lane * elem;
                self.write(address.wrapping_add(at as u64), &bytes[at..at + elem], memory)?;
            }
        }
        Ok(())
    }

    /// Moves, broadcasts, masked transfers and gathers; whether it was one.
    pub(crate) fn transfer(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<bool, Stop> {
        let width = insn.width as usize;
        match insn.mnemonic {
            M::Vmovups | M::Vmovaps | M::Vmovupd | M::Vmovapd => {
                let elem = if matches!(insn.mnemonic, M::Vmovups | M::Vmovaps) { 4 } else { 8 };
                let value = self.source(insn, 1, elem, memory)?;
                self.finish_rm(insn, value, elem, width, memory)?;
            }
            M::Vmovd | M::Vmovq => self.move_scalar(insn, memory)?,
            M::Vmaskmovps => self.masked_move(insn, 4, memory)?,
            M::Vmaskmovpd => self.masked_move(insn, 8, memory)?,
            M::Vbroadcastss | M::Vpbroadcastd => self.broadcast_element(insn, 4, memory)?,
            M::Vbroadcastsd | M::Vpbroadcastq => self.broadcast_element(insn, 8, memory)?,
            M::Vmovddup => {
                let source = self.source(insn, 1, 8, memory)?;
                let mut result = Vector::ZERO;
                for lane in 0..width / 8 {
                    result.set64(lane, source.get64(lane & !1));
                }
                self.finish(insn, result, 8, width)?;
            }
            M::Vgatherdps | M::Vpgatherdd => self.gather(insn, 4, memory)?,
            M::Vgatherdpd | M::Vpgatherdq => self.gather(insn, 8, memory)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `vmovd` and `vmovq` between registers and memory; vector results are zero above.
    fn move_scalar(&mut self, insn: &Insn, memory: &mut dyn Memory) -> Result<(), Stop> {
        let bytes = if insn.mnemonic == M::Vmovd { 4 } else { 8 };
        let value = match insn.ops[1] {
            Operand::Vec(reg) => self.vec[reg as usize].get64(0),
            Operand::Mem => self.read_word(self.address(insn), bytes, memory)?,
            _ => self.get(insn, 1, memory)?,
        };
        let value = if bytes == 4 { value & 0xffff_ffff } else { value };
        match insn.ops[0] {
            Operand::Vec(reg) => {
                self.vec[reg as usize] = Vector::ZERO;
                self.vec[reg as usize].set64(0, value);
            }
            Operand::Mem => {
                let address = self.address(insn);
                self.write(address, &value.to_le_bytes()[..bytes as usize], memory)?;
            }
            _ => self.set(insn, 0, value, memory)?,
        }
        Ok(())
    }

    /// The mask is the sign bit of each element of the second operand.
    fn masked_move(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let Operand::Vec(mask) = insn.ops[1] else { return Err(Stop::Unknown) };
        let mask = self.vec[mask as usize];
        let is_on = |lane: usize| mask.0[(lane + 1) * elem / 4 - 1] >> 31 == 1;
        let (address, lanes) = (self.address(insn), insn.width as usize / elem);
        if let Operand::Vec(value) = insn.ops[2] {
            let bytes = self.vec[value as usize].to_bytes();
            for lane in (0..lanes).filter(|&lane| is_on(lane)) {
                let at = lane * elem;
                self.write(address.wrapping_add(at as u64), &bytes[at..at + elem], memory)?;
            }
            return Ok(());
        }
        let mut bytes = [0; 64];
        for lane in (0..lanes).filter(|&lane| is_on(lane)) {
            let at = lane * elem;
            self.read(address.wrapping_add(at as u64), &mut bytes[at..at + elem], memory)?;
        }
        self.finish(insn, Vector::from_bytes(&bytes), elem, insn.width as usize)
    }

    fn broadcast_element(
        &mut self,
        insn: &Insn,
        elem: usize,
        memory: &mut dyn Memory,
    ) -> Result<(), Stop> {
        let bits = match insn.ops[1] {
            Operand::Vec(reg) => self.vec[reg as usize].get64(0),
            Operand::Gpr(reg, _) => self.gpr[reg as usize],
            Operand::Mem => self.read_word(self.address(insn), elem as u8, memory)?,
            Operand::None | Operand::Mask(_) => return Err(Stop::Unknown),
        };
        let mut result = Vector::ZERO;
        for lane in 0..8 {
            result.set64(lane, if elem == 4 { bits << 32 | bits & 0xffff_ffff } else { bits });
        }
        self.finish(insn, result, elem, insn.width as usize)
    }

    /// 32-bit indices; the mask, in lanes or in a mask register, is zero afterwards.
    fn gather(&mut self, insn: &Insn, elem: usize, memory: &mut dyn Memory) -> Result<(), Stop> {
        let (Operand::Vec(dst), Some(index)) = (insn.ops[0], insn.mem.index) else {
            return Err(Stop::Unknown);
        };
        // The destination's width: the index of 64-bit gathers is narrower.
        let width = insn.width as usize;
        let lanes = width / elem;
        let lane_mask = match insn.ops[2] {
            Operand::Vec(mask) => Some(mask),
            _ => None,
        };
        if dst == index || lane_mask == Some(dst) || lane_mask == Some(index) {
            return Err(Stop::Unknown);
        }
        let base = self.address(insn);
        let mut result = self.vec[dst as usize];
        for lane in 0..lanes {
            let is_on = match lane_mask {
                Some(mask) => self.vec[mask as usize].0[(lane + 1) * elem / 4 - 1] >> 31 == 1,
                None => self.mask[insn.mask as usize] >> lane & 1 == 1,
            };
            if !is_on {
                continue;
            }
            let step =
                i64::from(self.vec[index as usize].0[lane] as i32) * i64::from(insn.mem.scale);
            let bits = self.read_word(base.wrapping_add(step as u64), elem as u8, memory)?;
            if elem == 4 {
                result.0[lane] = bits as u32;
            } else {
                result.set64(lane, bits);
            }
        }
        result.0[width / 4..].fill(0);
        self.vec[dst as usize] = result;
        match lane_mask {
            Some(mask) => self.vec[mask as usize] = Vector::ZERO,
            None => self.mask[insn.mask as usize] = 0,
        }
        Ok(())
    }
}
