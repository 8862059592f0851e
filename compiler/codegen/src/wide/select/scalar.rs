//! Scalar integers.

use super::*;
use crate::wide::machine::Inst as Machine;
use dlc_ir::vector::IntWidth;

impl Selector<'_> {
    pub(super) fn int(&mut self, val: Val, op: IntOp, a: Val, b: Val) -> Result<(), String> {
        if let Some((base, disp)) = self.facts.sum[val.index()] {
            self.bindings[val] = Binding::Sum { base, disp };
            return Ok(());
        }
        if self.facts.feeds_branch[val.index()] {
            self.bindings[val] = Binding::Compare(op, a, b);
            return Ok(());
        }
        let reg = match (op, self.int_value(a), self.int_value(b)) {
            (IntOp::Add, None, Some(imm)) => self.add_const(a, imm),
            (IntOp::Add, Some(imm), None) => self.add_const(b, imm),
            (IntOp::Sub, None, Some(imm)) => self.add_const(a, imm.wrapping_neg()),
            (IntOp::Mul, None, Some(imm)) => self.mul_const(a, imm),
            (IntOp::Mul, Some(imm), None) => self.mul_const(b, imm),
            (IntOp::Div, None, Some(imm)) if imm > 0 && imm.count_ones() == 1 => {
                let a = self.gpr(a);
                self.shift_const(Op::ShrImm, a, i64::from(imm.trailing_zeros()))
            }
            (IntOp::Rem, None, Some(imm)) if imm > 0 && imm.count_ones() == 1 => {
                self.and_const(a, imm - 1)
            }
            (IntOp::And, None, Some(imm)) => self.and_const(a, imm),
            (IntOp::And, Some(imm), None) => self.and_const(b, imm),
            (IntOp::Shl, None, Some(imm)) => {
                let a = self.gpr(a);
                self.shift_const(Op::ShlImm, a, imm & 63)
            }
            (IntOp::Shr, None, Some(imm)) => {
                let a = self.gpr(a);
                self.shift_const(Op::SarImm, a, imm & 63)
            }
            (IntOp::Less | IntOp::Equal, ..) => self.compare_value(op, a, b),
            _ => self.int_registers(op, a, b),
        };
        self.bind(val, reg);
        Ok(())
    }

    fn int_registers(&mut self, op: IntOp, a: Val, b: Val) -> VReg {
        let (reg_a, reg_b) = (self.gpr(a), self.gpr(b));
        match op {
            IntOp::Add if !self.dies(a) && !self.dies(b) => {
                let mem = Mem { base: Base::Reg(reg_a), index: Some((reg_b, 1)), disp: 0 };
                self.load(Op::Lea, Width::X, Class::Gpr, mem)
            }
            IntOp::Add if self.dies(b) => {
                self.acc(Op::Add, Class::Gpr, Width::X, reg_b, Rm::Reg(reg_a))
            }
            IntOp::Add => self.acc(Op::Add, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::Sub => self.acc(Op::Sub, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::Mul if self.dies(b) => {
                self.acc(Op::Imul, Class::Gpr, Width::X, reg_b, Rm::Reg(reg_a))
            }
            IntOp::Mul => self.acc(Op::Imul, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::And => self.acc(Op::And, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::Div | IntOp::Rem => {
                self.has_divide = true;
                let dst = self.code.reg(Class::Gpr, Width::X);
                self.code.steps.push(Step::Divide {
                    dst,
                    a: reg_a,
                    b: reg_b,
                    remainder: op == IntOp::Rem,
                });
                dst
            }
            IntOp::Min | IntOp::Max => {
                let op = if op == IntOp::Min { Op::CmovL } else { Op::CmovG };
                self.conditional_move(op, reg_b, reg_a, reg_b)
            }
            IntOp::Shl => self.op2(Op::Shlx, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::Shr => self.op2(Op::Sarx, Class::Gpr, Width::X, reg_a, Rm::Reg(reg_b)),
            IntOp::Less | IntOp::Equal => {
                unreachable!("comparisons are taken care of by the caller")
            }
        }
    }

    /// `compare(then, other) ? then : otherwise` for a conditional move; the move of `otherwise` leaves the flags.
    pub(super) fn conditional_move(
        &mut self,
        op: Op,
        otherwise: VReg,
        then: VReg,
        other: VReg,
    ) -> VReg {
        let dst = self.code.reg(Class::Gpr, Width::X);
        self.code.steps.push(Step::Moves(vec![(dst, otherwise)]));
        self.use2(Op::Cmp, then, if other == otherwise { dst } else { other });
        let mut inst = Machine::new(op, Width::X);
        inst.dst = Some(dst);
        inst.srcs[0] = Some(then);
        self.push(inst);
        dst
    }

    fn add_const(&mut self, a: Val, imm: i64) -> VReg {
        let reg = self.gpr(a);
        match i32::try_from(imm) {
            Ok(_) if self.dies(a) => self.copy_imm(Op::AddImm, reg, imm),
            Ok(disp) => {
                let mem = Mem { base: Base::Reg(reg), index: None, disp };
                self.load(Op::Lea, Width::X, Class::Gpr, mem)
            }
            Err(_) => {
                let far = self.int_reg(imm);
                self.acc(Op::Add, Class::Gpr, Width::X, far, Rm::Reg(reg))
            }
        }
    }

    fn mul_const(&mut self, a: Val, imm: i64) -> VReg {
        let reg = self.gpr(a);
        match imm {
            0 => self.int_reg(0),
            3 | 5 | 9 => {
                let mem = Mem { base: Base::Reg(reg), index: Some((reg, imm as u8 - 1)), disp: 0 };
                self.load(Op::Lea, Width::X, Class::Gpr, mem)
            }
            1.. if imm.count_ones() == 1 => {
                self.shift_const(Op::ShlImm, reg, i64::from(imm.trailing_zeros()))
            }
            _ if i32::try_from(imm).is_ok() => {
                self.op1_imm(Op::ImulImm, Class::Gpr, Width::X, Rm::Reg(reg), Some(imm))
            }
            _ => {
                let factor = self.int_reg(imm);
                self.acc(Op::Imul, Class::Gpr, Width::X, factor, Rm::Reg(reg))
            }
        }
    }

    fn and_const(&mut self, a: Val, imm: i64) -> VReg {
        let reg = self.gpr(a);
        if i32::try_from(imm).is_ok() {
            return self.copy_imm(Op::AndImm, reg, imm);
        }
        let mask = self.int_reg(imm);
        self.acc(Op::And, Class::Gpr, Width::X, mask, Rm::Reg(reg))
    }

    pub(super) fn shift_const(&mut self, op: Op, reg: VReg, by: i64) -> VReg {
        self.copy_imm(op, reg, by)
    }

    /// Sets the flags of a comparison.
    fn flags(&mut self, a: Val, b: Val) {
        let reg_a = self.gpr(a);
        match self.int_value(b) {
            Some(imm) if i32::try_from(imm).is_ok() => {
                self.take(b);
                self.use_imm(Op::CmpImm, reg_a, imm);
            }
            _ => {
                let reg_b = self.gpr(b);
                self.use2(Op::Cmp, reg_a, reg_b);
            }
        }
    }

    /// 0 or 1 from a comparison.
    pub(super) fn compare_value(&mut self, op: IntOp, a: Val, b: Val) -> VReg {
        self.flags(a, b);
        let byte = self.code.reg(Class::Gpr, Width::X);
        let mut set = Machine::new(if op == IntOp::Less { Op::SetL } else { Op::SetE }, Width::X);
        set.dst = Some(byte);
        self.push(set);
        self.op1(Op::ZextByte, Class::Gpr, Width::X, Rm::Reg(byte))
    }

    /// Sets the flags for a branch on a scalar; returns the condition under which it is not zero.
    pub(super) fn condition(&mut self, cond: Val) -> Cond {
        match self.bindings[cond] {
            Binding::Compare(op, a, b) => {
                self.take(cond);
                self.flags(a, b);
                if op == IntOp::Less { Cond::Less } else { Cond::Equal }
            }
            _ => {
                let reg = self.gpr(cond);
                self.use2(Op::Test, reg, reg);
                Cond::NotEqual
            }
        }
    }

    pub(super) fn trailing_zeros(&mut self, val: Val, a: Val) {
        let reg = self.gpr(a);
        let result = self.op1(Op::Tzcnt, Class::Gpr, Width::X, Rm::Reg(reg));
        self.bind(val, result);
    }

    pub(super) fn int_load(&mut self, val: Val, width: IntWidth, addr: Addr) {
        let mem = self.mem(&addr);
        let op = match width {
            IntWidth::I32 => Op::LoadGprI32,
            IntWidth::I64 => Op::LoadGpr,
        };
        let reg = self.load_op(op, mem);
        self.bind(val, reg);
    }

    fn load_op(&mut self, op: Op, mem: Mem) -> VReg {
        self.load(op, Width::X, Class::Gpr, mem)
    }

    pub(super) fn int_store(&mut self, width: IntWidth, addr: Addr, value: Val) {
        self.flush();
        let reg = self.gpr(value);
        let mem = self.mem(&addr);
        let op = match width {
            IntWidth::I32 => Op::StoreGpr32,
            IntWidth::I64 => Op::StoreGpr,
        };
        self.store_reg(op, Width::X, mem, reg, None);
    }

    pub(super) fn int_from_lane(&mut self, val: Val, a: Val) {
        let bytes = elem_bytes(self.ty(a));
        let lane = self.vec(a);
        let reg = if bytes == 8 {
            self.op1(Op::MovToGpr64, Class::Gpr, Width::X, Rm::Reg(lane))
        } else {
            let low = self.op1(Op::MovToGpr32, Class::Gpr, Width::X, Rm::Reg(lane));
            self.op1(Op::LoadGprI32, Class::Gpr, Width::X, Rm::Reg(low))
        };
        self.bind(val, reg);
    }
}
