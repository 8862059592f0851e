//! Elements that are narrower in memory than in registers: bytes, bf16, f16.
//!
//! AVX-512 widens and narrows under a writemask, touching no masked-off memory. AVX2 takes masked elements one by one:
//! loads of masked-off lanes are redirected to a zero in the constants, stores of them are branched over.

use super::*;
use crate::wide::machine::Inst as Machine;

impl Selector<'_> {
    // Loads.

    pub(super) fn load_narrow(
        &mut self,
        ty: Type,
        storage: Storage,
        addr: Addr,
        mask: Option<Val>,
    ) -> VReg {
        let width = width_of(ty);
        let lanes = (total_bytes(ty) / 4) as u8;
        let mask_ty = ty;
        let mask = mask.map(|mask| self.any(mask));
        let mem = self.mem(&addr);
        match mask {
            Some(mask) if self.evex => {
                let mask = self.clean_mask(mask, mask_ty);
                self.widen_masked(storage, width, mem, mask)
            }
            Some(mask) => {
                let bits = self.bits_of(mask, mask_ty);
                let packed = self.pack_lanes(storage, lanes, Some(bits), |_, lane| {
                    Self::further(mem, lane as i32 * storage.bytes() as i32)
                });
                self.widen(storage, width, Rm::Reg(packed))
            }
            None if lanes >= 4 => self.widen(storage, width, Rm::Mem(mem)),
            None => {
                let low = match storage.bytes() * i64::from(lanes) {
                    1 => self.scalar_to_vec(Op::ZextByte, mem),
                    2 => self.scalar_to_vec(Op::ZextWord, mem),
                    _ => self.load_reg(Op::MovFromGpr32, Width::X, mem),
                };
                self.widen(storage, width, Rm::Reg(low))
            }
        }
    }

    fn scalar_to_vec(&mut self, op: Op, mem: Mem) -> VReg {
        let dst = self.code.reg(Class::Gpr, Width::X);
        self.load_into(op, Width::X, dst, mem);
        self.vec1(Op::MovFromGpr32, Width::X, dst)
    }

    fn widening_op(storage: Storage) -> Op {
        match storage {
            Storage::U8 => Op::CvtU8I32,
            Storage::I8 => Op::CvtI8I32,
            Storage::Bf16 => Op::CvtU16I32,
            Storage::F16 => Op::CvtF16F32,
            Storage::F32 | Storage::F64 | Storage::I32 | Storage::I64 => {
                unreachable!("callers handle elements that are as wide as lanes")
            }
        }
    }

    /// Lanes from packed narrow elements.
    fn widen(&mut self, storage: Storage, width: Width, source: Rm) -> VReg {
        let lanes = self.op1(Self::widening_op(storage), Class::Vec, width, source);
        if storage == Storage::Bf16 { self.vec1_imm(Op::Shl32, width, lanes, 16) } else { lanes }
    }

    fn widen_masked(&mut self, storage: Storage, width: Width, mem: Mem, mask: VReg) -> VReg {
        let dst = self.code.reg(Class::Vec, width);
        let mut inst = Machine::new(Self::widening_op(storage), width);
        inst.dst = Some(dst);
        inst.mem = Some(mem);
        inst.mask = Some(mask);
        inst.zeroing = true;
        self.push(inst);
        if storage == Storage::Bf16 { self.vec1_imm(Op::Shl32, width, dst, 16) } else { dst }
    }

    /// Narrow elements side by side in an xmm register (a ymm register for 16 elements of 16 bits), loaded one by one.
    /// Where `bits` is given, elements of clear bits are zero and their memory is not touched.
    fn pack_lanes(
        &mut self,
        storage: Storage,
        lanes: u8,
        bits: Option<VReg>,
        mut lane_mem: impl FnMut(&mut Self, u8) -> Mem,
    ) -> VReg {
        let per_register = (16 / storage.bytes()) as u8;
        let insert = if storage.bytes() == 1 { Op::InsertByte } else { Op::InsertWord };
        let zero = bits.map(|bits| {
            let constant = self.pool(vec![0; 4]);
            let address = self.code.reg(Class::Gpr, Width::X);
            self.load_into(Op::Lea, Width::X, address, constant);
            (bits, address)
        });
        let mut parts = Vec::new();
        for first in (0..lanes).step_by(usize::from(per_register)) {
            let mut part = self.const_reg(0, 4, Width::X);
            for lane in first..lanes.min(first + per_register) {
                let mut mem = lane_mem(self, lane);
                if let Some((bits, zero)) = zero {
                    let address = self.code.reg(Class::Gpr, Width::X);
                    self.load_into(Op::Lea, Width::X, address, mem);
                    self.use_imm(Op::TestImm32, bits, 1 << lane);
                    let mut redirect = Machine::new(Op::CmovE, Width::X);
                    redirect.dst = Some(address);
                    redirect.srcs[0] = Some(zero);
                    self.push(redirect);
                    mem = Mem { base: Base::Reg(address), index: None, disp: 0 };
                }
                part = self.op2_imm(
                    insert,
                    Class::Vec,
                    Width::X,
                    part,
                    Rm::Mem(mem),
                    Some(i64::from(lane - first)),
                );
            }
            parts.push(part);
        }
        match parts[..] {
            [low, high] => {
                self.op2_imm(Op::Insert128, Class::Vec, Width::Y, low, Rm::Reg(high), Some(1))
            }
            _ => parts[0],
        }
    }

    pub(super) fn broadcast_narrow(&mut self, ty: Type, storage: Storage, addr: Addr) -> VReg {
        let width = width_of(ty);
        let mem = self.mem(&addr);
        let low = match storage {
            Storage::U8 => self.scalar_to_vec(Op::ZextByte, mem),
            Storage::I8 => self.scalar_to_vec(Op::SextByte, mem),
            _ => {
                let raw = self.scalar_to_vec(Op::ZextWord, mem);
                if storage == Storage::Bf16 {
                    self.vec1_imm(Op::Shl32, Width::X, raw, 16)
                } else {
                    self.vec1(Op::CvtF16F32, Width::X, raw)
                }
            }
        };
        if total_bytes(ty) == 4 { low } else { self.splat_low(low, 4, width) }
    }

    pub(super) fn gather_narrow(
        &mut self,
        ty: Type,
        storage: Storage,
        base: Mem,
        index: VReg,
        index_width: Width,
        mask: Option<VReg>,
    ) -> VReg {
        let lanes = (total_bytes(ty) / 4) as u8;
        let bits = mask.map(|mask| self.bits_of(mask, ty));
        let mut pieces: Vec<VReg> = Vec::new();
        let packed = self.pack_lanes(storage, lanes, bits, |this, lane| {
            let piece = usize::from(lane / 4);
            if pieces.len() == piece {
                pieces.push(this.lane_low(index, index_width, 4, lane));
            }
            let raw = this.code.reg(Class::Gpr, Width::X);
            let mut extract = Machine::new(Op::ExtractLane32, Width::X);
            extract.dst = Some(raw);
            extract.srcs[0] = Some(pieces[piece]);
            extract.imm = Some(i64::from(lane % 4));
            this.push(extract);
            let element = this.op1(Op::LoadGprI32, Class::Gpr, Width::X, Rm::Reg(raw));
            Mem { index: Some((element, storage.bytes() as u8)), ..base }
        });
        self.widen(storage, width_of(ty), Rm::Reg(packed))
    }

    // Stores.

    pub(super) fn store_narrow(
        &mut self,
        ty: Type,
        storage: Storage,
        mem: Mem,
        reg: VReg,
        mask: Option<VReg>,
    ) {
        let width = width_of(ty);
        let lanes = (total_bytes(ty) / 4) as u8;
        let reg = if storage == Storage::Bf16 { self.round_to_bf16(reg, width) } else { reg };
        if self.evex {
            let mask = match mask {
                Some(mask) => Some(self.clean_mask(mask, ty)),
                // The narrowest form stores four elements.
                None if lanes < 4 => Some(self.mask_ones(lanes)),
                None => None,
            };
            let (op, imm) = match storage {
                Storage::U8 | Storage::I8 => (Op::CvtI32I8, None),
                Storage::F16 => (Op::CvtF32F16, Some(0)),
                _ => (Op::CvtI32I16, None),
            };
            let mut inst = Machine::new(op, width);
            inst.srcs[0] = Some(reg);
            inst.mem = Some(mem);
            inst.imm = imm;
            inst.mask = mask;
            self.push(inst);
            return;
        }
        let packed = self.narrow_lanes(storage, width, reg);
        match mask {
            Some(mask) => {
                let bits = self.bits_of(mask, ty);
                self.store_lanes(storage, lanes, mem, packed, bits);
            }
            None => {
                let (op, imm) = match storage.bytes() * i64::from(lanes) {
                    1 => (Op::ExtractByte, Some(0)),
                    2 => (Op::ExtractWord, Some(0)),
                    4 => (Op::MovToGpr32, None),
                    8 => (Op::MovToGpr64, None),
                    _ => (Op::Store32, None),
                };
                self.store_reg(op, Width::X, mem, packed, imm);
            }
        }
    }

    /// Bits of the nearest bf16 (ties to even) in the low halves of the lanes; NaN stays NaN.
    fn round_to_bf16(&mut self, reg: VReg, width: Width) -> VReg {
        let upper = self.vec1_imm(Op::Shr32, width, reg, 16);
        let odd = self.vec2_const(Op::And32, width, upper, 1, 4);
        let half = self.vec2_const(Op::AddI32, width, odd, 0x7fff, 4);
        let sum = self.vec2(Op::AddI32, width, reg, half);
        let rounded = self.vec1_imm(Op::Shr32, width, sum, 16);
        let quiet = self.vec2_const(Op::Or32, width, upper, 0x40, 4);
        const UNORDERED: i64 = 3;
        if !self.evex {
            let is_nan = self.vec2_imm(Op::CmpF32, width, reg, reg, UNORDERED);
            return self.blend_lanes(4, width, rounded, Rm::Reg(quiet), is_nan);
        }
        let is_nan =
            self.op2_imm(Op::CmpMaskF32, Class::Mask, width, reg, Rm::Reg(reg), Some(UNORDERED));
        let dst = self.code.reg(Class::Vec, width);
        let mut inst = Machine::new(Op::BlendMask32, width);
        inst.dst = Some(dst);
        inst.srcs = [Some(rounded), Some(quiet), None];
        inst.mask = Some(is_nan);
        self.push(inst);
        dst
    }

    /// The low bytes or words of the lanes side by side (AVX2).
    fn narrow_lanes(&mut self, storage: Storage, width: Width, reg: VReg) -> VReg {
        if storage == Storage::F16 {
            let dst = self.code.reg(Class::Vec, Width::X);
            let mut inst = Machine::new(Op::CvtF32F16, width);
            inst.dst = Some(dst);
            inst.srcs[0] = Some(reg);
            inst.imm = Some(0);
            self.push(inst);
            return dst;
        }
        let size = storage.bytes() as usize;
        // In each 128-bit piece the wanted bytes go to the bottom; 0x80 makes a zero.
        let piece: Vec<u8> = (0..16)
            .map(|at| if at < 4 * size { (at / size * 4 + at % size) as u8 } else { 0x80 })
            .collect();
        let pattern = self.pool(piece.repeat((width.bytes() / 16) as usize));
        let packed = self.op2(Op::ShuffleBytes, Class::Vec, width, reg, Rm::Mem(pattern));
        match (width, size) {
            (Width::X, _) => packed,
            (_, 1) => {
                let high = self.lane_low(packed, width, 4, 4);
                self.vec2(Op::UnpackLow32, Width::X, packed, high)
            }
            _ => self.vec1_imm(Op::Permute64, width, packed, 0x08),
        }
    }

    /// Stores the elements whose bits are set, each behind its own branch.
    fn store_lanes(&mut self, storage: Storage, lanes: u8, mem: Mem, packed: VReg, bits: VReg) {
        let extract = if storage.bytes() == 1 { Op::ExtractByte } else { Op::ExtractWord };
        for lane in 0..lanes {
            let skip = self.label();
            self.use_imm(Op::TestImm32, bits, 1 << lane);
            self.code.steps.push(Step::Branch(Cond::Equal, skip));
            let at = Self::further(mem, i32::from(lane) * storage.bytes() as i32);
            self.store_reg(extract, Width::X, at, packed, Some(i64::from(lane)));
            self.code.steps.push(Step::Place(skip));
        }
    }
}
