//! Lane-wise operations, comparisons and masks.

use super::*;
use crate::wide::machine::Inst as Machine;
use dlc_ir::vector::{Compare, MaskOp, ShiftOp, VecBinary, VecUnary};

/// Picks by element width.
fn by_bytes(bytes: i64, narrow: Op, wide: Op) -> Op {
    if bytes == 4 { narrow } else { wide }
}

impl Selector<'_> {
    // One vector.

    pub(super) fn unary(&mut self, val: Val, op: VecUnary, a: Val) {
        let (elem, width) = (self.elem(a), self.width(a));
        let bytes = elem.bytes();
        let sign = 1u64 << (bytes * 8 - 1);
        let result = match (op, elem) {
            (VecUnary::Neg, Elem::F32 | Elem::F64) => {
                let a = self.vec(a);
                self.vec2_const(by_bytes(bytes, Op::Xor32, Op::Xor64), width, a, sign, bytes)
            }
            (VecUnary::Abs, Elem::F32 | Elem::F64) => {
                let a = self.vec(a);
                self.vec2_const(by_bytes(bytes, Op::And32, Op::And64), width, a, sign - 1, bytes)
            }
            (VecUnary::Neg, Elem::I32 | Elem::I64) => {
                let op = by_bytes(bytes, Op::SubI32, Op::SubI64);
                let a = self.rm(a, op);
                let zero = self.const_reg(0, bytes, width);
                self.op2(op, Class::Vec, width, zero, a)
            }
            (VecUnary::Abs, Elem::I32) => {
                let a = self.rm(a, Op::AbsI32);
                self.op1(Op::AbsI32, Class::Vec, width, a)
            }
            (VecUnary::Abs, Elem::I64) if self.evex => {
                let a = self.rm(a, Op::AbsI64);
                self.op1(Op::AbsI64, Class::Vec, width, a)
            }
            (VecUnary::Abs, Elem::I64) => {
                let a = self.vec(a);
                let sign = self.sign_lanes_64(a, width);
                let flipped = self.vec2(Op::Xor64, width, a, sign);
                self.vec2(Op::SubI64, width, flipped, sign)
            }
            (VecUnary::Sqrt, _) => {
                let op = by_bytes(bytes, Op::SqrtF32, Op::SqrtF64);
                let a = self.rm(a, op);
                self.op1(op, Class::Vec, width, a)
            }
            (VecUnary::Round | VecUnary::Floor, _) => {
                let machine = by_bytes(bytes, Op::RoundF32, Op::RoundF64);
                // Bits 0 and 1: the mode; bit 3: no inexact exception.
                let mode = if op == VecUnary::Floor { 9 } else { 8 };
                let a = self.rm(a, machine);
                self.op1_imm(machine, Class::Vec, width, a, Some(mode))
            }
        };
        self.bind(val, result);
    }

    /// All ones in 64-bit lanes below zero (AVX2 has no such shift).
    pub(super) fn sign_lanes_64(&mut self, a: VReg, width: Width) -> VReg {
        let zero = self.const_reg(0, 8, width);
        self.vec2(Op::CmpGtI64, width, zero, a)
    }

    pub(super) fn shift(&mut self, val: Val, op: ShiftOp, a: Val, by: u8) {
        let (bytes, width) = (self.elem(a).bytes(), self.width(a));
        let reg = self.vec(a);
        let imm = i64::from(by);
        let result = match op {
            ShiftOp::Left => self.vec1_imm(by_bytes(bytes, Op::Shl32, Op::Shl64), width, reg, imm),
            ShiftOp::RightLogical => {
                self.vec1_imm(by_bytes(bytes, Op::Shr32, Op::Shr64), width, reg, imm)
            }
            ShiftOp::RightArithmetic if bytes == 4 => self.vec1_imm(Op::Sar32, width, reg, imm),
            ShiftOp::RightArithmetic if self.evex => self.vec1_imm(Op::Sar64, width, reg, imm),
            ShiftOp::RightArithmetic => {
                // (x >>> n) holds the sign at bit 63 - n; flipping and subtracting that bit extends it.
                let logical = self.vec1_imm(Op::Shr64, width, reg, imm);
                let sign = 1u64 << 63 >> by.min(63);
                let flipped = self.vec2_const(Op::Xor64, width, logical, sign, 8);
                self.vec2_const(Op::SubI64, width, flipped, sign, 8)
            }
        };
        self.bind(val, result);
    }

    // Two vectors.

    pub(super) fn binary(&mut self, val: Val, op: VecBinary, a: Val, b: Val) -> Result<(), String> {
        let (elem, width) = (self.elem(a), self.width(a));
        let machine = match (op, elem) {
            (VecBinary::Add, Elem::F32) => Op::AddF32,
            (VecBinary::Add, Elem::F64) => Op::AddF64,
            (VecBinary::Add, Elem::I32) => Op::AddI32,
            (VecBinary::Add, Elem::I64) => Op::AddI64,
            (VecBinary::Sub, Elem::F32) => Op::SubF32,
            (VecBinary::Sub, Elem::F64) => Op::SubF64,
            (VecBinary::Sub, Elem::I32) => Op::SubI32,
            (VecBinary::Sub, Elem::I64) => Op::SubI64,
            (VecBinary::Mul, Elem::F32) => Op::MulF32,
            (VecBinary::Mul, Elem::F64) => Op::MulF64,
            (VecBinary::Mul, Elem::I32) => Op::MulI32,
            (VecBinary::Mul, Elem::I64) if self.evex => Op::MulI64,
            (VecBinary::Div, Elem::F32) => Op::DivF32,
            (VecBinary::Div, Elem::F64) => Op::DivF64,
            // The machine returns its second operand for NaN and for two zeros, as the IR asks.
            (VecBinary::Min, Elem::F32) => Op::MinF32,
            (VecBinary::Min, Elem::F64) => Op::MinF64,
            (VecBinary::Max, Elem::F32) => Op::MaxF32,
            (VecBinary::Max, Elem::F64) => Op::MaxF64,
            (VecBinary::Min, Elem::I32) => Op::MinI32,
            (VecBinary::Max, Elem::I32) => Op::MaxI32,
            (VecBinary::Min, Elem::I64) if self.evex => Op::MinI64,
            (VecBinary::Max, Elem::I64) if self.evex => Op::MaxI64,
            (VecBinary::And, _) => by_bytes(elem.bytes(), Op::And32, Op::And64),
            (VecBinary::Or, _) => by_bytes(elem.bytes(), Op::Or32, Op::Or64),
            (VecBinary::Xor, _) => by_bytes(elem.bytes(), Op::Xor32, Op::Xor64),
            (VecBinary::Mul | VecBinary::Min | VecBinary::Max, Elem::I64)
            | (VecBinary::MulHighUnsigned, Elem::I32) => {
                let (a, b) = (self.vec(a), self.vec(b));
                let result = self.binary_sequence(op, width, a, b);
                self.bind(val, result);
                return Ok(());
            }
            (VecBinary::Div, Elem::I32 | Elem::I64) | (VecBinary::MulHighUnsigned, _) => {
                return Err(format!("{op:?} of {elem:?} lanes"));
            }
        };
        let commutes = matches!(
            op,
            VecBinary::Add | VecBinary::Mul | VecBinary::And | VecBinary::Or | VecBinary::Xor
        );
        let (first, second) =
            if commutes && self.is_foldable(a) && !self.is_foldable(b) { (b, a) } else { (a, b) };
        let first = self.vec(first);
        let second = self.rm(second, machine);
        let result = self.op2(machine, Class::Vec, width, first, second);
        self.bind(val, result);
        Ok(())
    }

    /// Operations that take several instructions.
    pub(super) fn binary_sequence(
        &mut self,
        op: VecBinary,
        width: Width,
        a: VReg,
        b: VReg,
    ) -> VReg {
        match op {
            VecBinary::Min | VecBinary::Max => {
                let (left, right) = if op == VecBinary::Min { (b, a) } else { (a, b) };
                let takes_a = self.vec2(Op::CmpGtI64, width, left, right);
                self.blend_lanes(8, width, b, Rm::Reg(a), takes_a)
            }
            VecBinary::Mul => {
                // low * low + ((low * high + high * low) << 32)
                let high_a = self.vec1_imm(Op::Shr64, width, a, 32);
                let high_b = self.vec1_imm(Op::Shr64, width, b, 32);
                let first = self.vec2(Op::MulU32, width, high_a, b);
                let second = self.vec2(Op::MulU32, width, a, high_b);
                let cross = self.vec2(Op::AddI64, width, first, second);
                let cross = self.vec1_imm(Op::Shl64, width, cross, 32);
                let low = self.vec2(Op::MulU32, width, a, b);
                self.vec2(Op::AddI64, width, low, cross)
            }
            _ => {
                // Upper halves of the products of even lanes, then of odd lanes.
                let even = self.vec2(Op::MulU32, width, a, b);
                let odd_a = self.vec1_imm(Op::Shr64, width, a, 32);
                let odd_b = self.vec1_imm(Op::Shr64, width, b, 32);
                let odd = self.vec2(Op::MulU32, width, odd_a, odd_b);
                let even = self.vec1_imm(Op::Shr64, width, even, 32);
                if self.evex {
                    let odd = self.vec2_const(Op::And64, width, odd, 0xffff_ffff_0000_0000, 8);
                    self.vec2(Op::Or64, width, even, odd)
                } else {
                    self.vec2_imm(Op::BlendImm32, width, even, odd, 0xaa)
                }
            }
        }
    }

    pub(super) fn fma(&mut self, val: Val, a: Val, b: Val, c: Val, negate: bool) {
        let (bytes, width) = (self.elem(a).bytes(), self.width(a));
        let form = |order: usize| {
            let ops = match (negate, bytes) {
                (false, 4) => [Op::Fma132F32, Op::Fma213F32, Op::Fma231F32],
                (false, _) => [Op::Fma132F64, Op::Fma213F64, Op::Fma231F64],
                (true, 4) => [Op::Fnma132F32, Op::Fnma213F32, Op::Fnma231F32],
                (true, _) => [Op::Fnma132F64, Op::Fnma213F64, Op::Fnma231F64],
            };
            ops[order]
        };
        // Which operand is in memory: the addend of a polynomial, or a factor next to an accumulator.
        let (mut a, mut b) = (a, b);
        if self.is_foldable(a) && !self.is_foldable(b) {
            std::mem::swap(&mut a, &mut b);
        }
        if self.is_foldable(b) {
            let reg_a = self.vec(a);
            let reg_c = self.vec(c);
            let in_memory = self.rm(b, form(2));
            let result = if self.dies(c) || !self.dies(a) {
                self.fma_form(form(2), width, reg_c, reg_a, in_memory)
            } else {
                self.fma_form(form(0), width, reg_a, reg_c, in_memory)
            };
            self.bind(val, result);
            return;
        }
        let (reg_a, reg_b) = (self.vec(a), self.vec(b));
        let in_memory = self.rm(c, form(1));
        let result = match in_memory {
            Rm::Reg(reg_c) if self.dies(c) || !(self.dies(a) || self.dies(b)) => {
                self.fma_form(form(2), width, reg_c, reg_a, Rm::Reg(reg_b))
            }
            _ if self.dies(b) && !self.dies(a) => {
                self.fma_form(form(1), width, reg_b, reg_a, in_memory)
            }
            _ => self.fma_form(form(1), width, reg_a, reg_b, in_memory),
        };
        self.bind(val, result);
    }

    fn fma_form(&mut self, op: Op, width: Width, tied: VReg, first: VReg, last: Rm) -> VReg {
        let dst = self.code.reg(Class::Vec, width);
        self.code.steps.push(Step::Moves(vec![(dst, tied)]));
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        // An operand that was also the tied one is read from the copy.
        let copy = |reg: VReg| if reg == tied { dst } else { reg };
        inst.srcs[0] = Some(copy(first));
        let last = if let Rm::Reg(reg) = last { Rm::Reg(copy(reg)) } else { last };
        Self::place(&mut inst, 1, last);
        self.push(inst);
        dst
    }

    /// `2^(n >> 1)` and `2^(n - (n >> 1))` are normal for all `n` allowed, so they are made from their bits.
    pub(super) fn scale_pow2(&mut self, val: Val, p: Val, n: Val) {
        let (bytes, width) = (self.elem(p).bytes(), self.width(p));
        let (p, n) = (self.vec(p), self.vec(n));
        let (mantissa, bias) = if bytes == 4 { (23, 127u64) } else { (52, 1023u64) };
        let (add, sub, shl) = if bytes == 4 {
            (Op::AddI32, Op::SubI32, Op::Shl32)
        } else {
            (Op::AddI64, Op::SubI64, Op::Shl64)
        };
        let half = if bytes == 4 {
            self.vec1_imm(Op::Sar32, width, n, 1)
        } else if self.evex {
            self.vec1_imm(Op::Sar64, width, n, 1)
        } else {
            // Shifted without sign above an offset that keeps it positive.
            let positive = self.vec2_const(Op::AddI64, width, n, 4096, 8);
            let shifted = self.vec1_imm(Op::Shr64, width, positive, 1);
            self.vec2_const(Op::SubI64, width, shifted, 2048, 8)
        };
        let rest = self.vec2(sub, width, n, half);
        let mul = by_bytes(bytes, Op::MulF32, Op::MulF64);
        let mut product = p;
        for exponent in [half, rest] {
            let biased = self.vec2_const(add, width, exponent, bias, bytes);
            let power = self.vec1_imm(shl, width, biased, mantissa);
            product = self.vec2(mul, width, product, power);
        }
        self.bind(val, product);
    }

    // Comparisons and selection.

    pub(super) fn compare(&mut self, val: Val, op: Compare, a: Val, b: Val) {
        let (elem, width) = (self.elem(a), self.width(a));
        let result = if self.evex {
            let machine = match elem {
                Elem::F32 => Op::CmpMaskF32,
                Elem::F64 => Op::CmpMaskF64,
                Elem::I32 => Op::CmpMaskI32,
                Elem::I64 => Op::CmpMaskI64,
            };
            let a = self.vec(a);
            let b = self.rm(b, machine);
            let imm = if elem.is_float() { float_predicate(op) } else { integer_predicate(op) };
            self.op2_imm(machine, Class::Mask, width, a, b, Some(imm))
        } else if elem.is_float() {
            let machine = by_bytes(elem.bytes(), Op::CmpF32, Op::CmpF64);
            let a = self.vec(a);
            let b = self.rm(b, machine);
            self.op2_imm(machine, Class::Vec, width, a, b, Some(float_predicate(op)))
        } else {
            self.compare_integer_lanes(op, elem.bytes(), width, a, b)
        };
        self.bind(val, result);
    }

    fn compare_integer_lanes(
        &mut self,
        op: Compare,
        bytes: i64,
        width: Width,
        a: Val,
        b: Val,
    ) -> VReg {
        let equal = by_bytes(bytes, Op::CmpEqI32, Op::CmpEqI64);
        let greater = by_bytes(bytes, Op::CmpGtI32, Op::CmpGtI64);
        // a < b is b > a; a <= b is not a > b.
        let (machine, first, second, invert) = match op {
            Compare::Eq => (equal, a, b, false),
            Compare::Ne => (equal, a, b, true),
            Compare::Lt => (greater, b, a, false),
            Compare::Le => (greater, a, b, true),
        };
        let first = self.vec(first);
        let second = self.rm(second, machine);
        let lanes = self.op2(machine, Class::Vec, width, first, second);
        if invert { self.invert_lanes(lanes, width) } else { lanes }
    }

    fn invert_lanes(&mut self, lanes: VReg, width: Width) -> VReg {
        // x == x in every lane, whatever x is.
        let mut ones = Machine::new(Op::CmpEqI32, width);
        let all = self.code.reg(Class::Vec, width);
        ones.dst = Some(all);
        self.push(ones);
        self.vec2(Op::Xor32, width, lanes, all)
    }

    pub(super) fn select(&mut self, val: Val, mask: Val, a: Val, b: Val) {
        let (bytes, width) = (self.elem(a).bytes(), self.width(a));
        let mask = self.any(mask);
        let otherwise = self.vec(b);
        let result = if self.evex {
            let machine = by_bytes(bytes, Op::BlendMask32, Op::BlendMask64);
            let then = self.rm(a, machine);
            let dst = self.code.reg(Class::Vec, width);
            let mut inst = Machine::new(machine, width);
            inst.dst = Some(dst);
            inst.srcs[0] = Some(otherwise);
            Self::place(&mut inst, 1, then);
            inst.mask = Some(mask);
            self.push(inst);
            dst
        } else {
            let then = self.vec(a);
            self.blend_lanes(bytes, width, otherwise, Rm::Reg(then), mask)
        };
        self.bind(val, result);
    }

    /// `mask ? then : otherwise` with an AVX2 mask.
    pub(super) fn blend_lanes(
        &mut self,
        bytes: i64,
        width: Width,
        otherwise: VReg,
        then: Rm,
        mask: VReg,
    ) -> VReg {
        let dst = self.code.reg(Class::Vec, width);
        let mut inst = Machine::new(by_bytes(bytes, Op::BlendLanes32, Op::BlendLanes64), width);
        inst.dst = Some(dst);
        inst.srcs[0] = Some(otherwise);
        Self::place(&mut inst, 1, then);
        inst.srcs[2] = Some(mask);
        self.push(inst);
        dst
    }

    // Masks.

    pub(super) fn mask_op(&mut self, val: Val, op: MaskOp, a: Val, b: Val) {
        let width = self.width(a);
        let (reg_a, reg_b) = (self.any(a), self.any(b));
        // The machine's and-not inverts its first operand.
        let (first, second) = if op == MaskOp::AndNot { (reg_b, reg_a) } else { (reg_a, reg_b) };
        let result = if self.evex {
            let machine = match op {
                MaskOp::And => Op::MaskAnd,
                MaskOp::Or => Op::MaskOr,
                MaskOp::Xor => Op::MaskXor,
                MaskOp::AndNot => Op::MaskAndNot,
            };
            self.op2(machine, Class::Mask, Width::X, first, Rm::Reg(second))
        } else {
            let machine = match op {
                MaskOp::And => Op::And32,
                MaskOp::Or => Op::Or32,
                MaskOp::Xor => Op::Xor32,
                MaskOp::AndNot => Op::AndNot32,
            };
            self.vec2(machine, width, first, second)
        };
        self.bind(val, result);
    }

    pub(super) fn mask_not(&mut self, val: Val, a: Val) {
        let width = self.width(a);
        let reg = self.any(a);
        let result = if self.evex {
            self.op1(Op::MaskNot, Class::Mask, Width::X, Rm::Reg(reg))
        } else {
            self.invert_lanes(reg, width)
        };
        self.bind(val, result);
    }

    pub(super) fn mask_first(&mut self, val: Val, ty: Type, count: Val) {
        let (bytes, width, lanes) = (elem_bytes(ty), width_of(ty), i64::from(self.lanes(val)));
        if let Some(count) = self.int_value(count) {
            let count = count.clamp(0, lanes);
            let result = if self.evex {
                self.mask_ones(count as u8)
            } else {
                let constant: Vec<u8> = (0..width.bytes())
                    .map(|at| if at / bytes < count { 0xff } else { 0 })
                    .collect();
                let mem = self.pool(constant);
                self.load(Op::Load32, width, Class::Vec, mem)
            };
            self.bind(val, result);
            return;
        }
        let count = self.gpr(count);
        let limit = self.int_reg(lanes);
        let count = self.conditional_move(Op::CmovL, limit, count, limit);
        let zero = self.int_reg(0);
        let count = self.conditional_move(Op::CmovG, zero, count, zero);
        let result = if self.evex {
            let all = self.int_reg((1 << lanes) - 1);
            let bits = self.op2(Op::Bzhi32, Class::Gpr, Width::X, all, Rm::Reg(count));
            self.op1(Op::MaskFromGpr, Class::Mask, Width::X, Rm::Reg(bits))
        } else {
            let low = self.op1(Op::MovFromGpr64, Class::Vec, Width::X, Rm::Reg(count));
            let splat = self.vec1_to(by_bytes(bytes, Op::Splat32, Op::Splat64), width, low);
            let iota = self.iota_mem(bytes, width);
            let machine = by_bytes(bytes, Op::CmpGtI32, Op::CmpGtI64);
            self.op2(machine, Class::Vec, width, splat, Rm::Mem(iota))
        };
        self.bind(val, result);
    }

    /// Like [`Selector::vec1`], from an xmm register.
    pub(super) fn vec1_to(&mut self, op: Op, width: Width, a: VReg) -> VReg {
        self.op1(op, Class::Vec, width, Rm::Reg(a))
    }

    /// The mask's bits in a general register, clean above the lanes.
    pub(super) fn bits_of(&mut self, mask: VReg, ty: Type) -> VReg {
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        let lanes = total_bytes(ty) / bytes;
        let (bits, valid) = if self.evex {
            let op = if lanes == 16 { Op::MaskToGpr16 } else { Op::MaskToGpr8 };
            (self.op1(op, Class::Gpr, Width::X, Rm::Reg(mask)), if lanes == 16 { 16 } else { 8 })
        } else {
            let op = by_bytes(bytes, Op::LaneBits32, Op::LaneBits64);
            let bits = self.code.reg(Class::Gpr, Width::X);
            let mut inst = Machine::new(op, width);
            inst.dst = Some(bits);
            inst.srcs[0] = Some(mask);
            self.push(inst);
            (bits, width.bytes() / bytes)
        };
        if valid == lanes { bits } else { self.copy_imm(Op::AndImm, bits, (1 << lanes) - 1) }
    }

    pub(super) fn mask_bits(&mut self, val: Val, a: Val) {
        let ty = self.ty(a);
        let mask = self.any(a);
        let bits = self.bits_of(mask, ty);
        self.bind(val, bits);
    }

    /// AVX2 masks as lanes of another width; AVX-512 masks are aliases.
    pub(super) fn mask_resize(&mut self, val: Val, ty: Type, mask: Val) -> Result<(), String> {
        let from = self.ty(mask);
        let reg = self.any(mask);
        let result = match (elem_bytes(from), elem_bytes(ty)) {
            (4, 8) => self.vec1_to(Op::CvtI32I64, width_of(ty), reg),
            (8, 4) => self.narrow_lanes_64(reg, width_of(from)),
            _ => return Err("a mask of lanes that are not 32 or 64 bits wide".to_owned()),
        };
        self.bind(val, result);
        Ok(())
    }
}

/// Ordered, quiet predicates of float comparisons; not-equal is true for NaN.
fn float_predicate(op: Compare) -> i64 {
    match op {
        Compare::Eq => 0x00,
        Compare::Ne => 0x04,
        Compare::Lt => 0x11,
        Compare::Le => 0x12,
    }
}

/// Predicates of EVEX integer comparisons.
fn integer_predicate(op: Compare) -> i64 {
    match op {
        Compare::Eq => 0,
        Compare::Lt => 1,
        Compare::Le => 2,
        Compare::Ne => 4,
    }
}
