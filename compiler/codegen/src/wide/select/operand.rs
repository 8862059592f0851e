//! Values as operands, addresses, constants, and the forms in which instructions are emitted.

use super::*;
use crate::wide::machine::Inst as Machine;

impl Selector<'_> {
    // Uses.

    /// The value whose register an alias shares.
    fn root(&self, mut val: Val) -> Val {
        while let Some(root) = self.facts.alias[val.index()] {
            val = root;
        }
        val
    }

    /// Counts one use as emitted.
    pub(super) fn take(&mut self, val: Val) {
        let root = self.root(val);
        let left = &mut self.facts.uses_left[root];
        *left = left.saturating_sub(1);
    }

    /// Whether a value that was just taken is not used again, so that its register may be overwritten. A wrong answer
    /// costs a move, never a value: registers are joined by their live ranges.
    pub(super) fn dies(&self, val: Val) -> bool {
        let root = self.root(val);
        self.facts.uses_left[root] == 0 && self.facts.loop_of[root] == self.current_loop
    }

    /// A scalar in a register.
    pub(super) fn gpr(&mut self, val: Val) -> VReg {
        self.any(val)
    }

    /// A vector, or an AVX2 mask, in a register.
    pub(super) fn vec(&mut self, val: Val) -> VReg {
        self.any(val)
    }

    /// Any value in a register of its class.
    pub(super) fn any(&mut self, val: Val) -> VReg {
        self.take(val);
        match self.bindings[val].clone() {
            Binding::Reg(reg) => reg,
            Binding::Int(value) => self.int_reg(value),
            Binding::Const { bits, bytes, width } => self.const_reg(bits, bytes, width),
            Binding::Load { .. } => self.force(val),
            Binding::Word(mem) => self.load(Op::LoadGpr, Width::X, Class::Gpr, mem),
            Binding::Compare(op, a, b) => self.compare_value(op, a, b),
            Binding::Sum { base, disp } => {
                let base = self.any(base);
                let mem = Mem { base: Base::Reg(base), index: None, disp };
                self.load(Op::Lea, Width::X, Class::Gpr, mem)
            }
            Binding::Unset => unreachable!("every use of {val} is dominated by its definition"),
        }
    }

    /// The constant that a scalar is bound to.
    pub(super) fn int_value(&self, val: Val) -> Option<i64> {
        match self.bindings[val] {
            Binding::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The last operand of `op`: memory for a waiting load or a constant, where the instruction can take it.
    pub(super) fn rm(&mut self, val: Val, op: Op) -> Rm {
        let broadcast_bytes = if self.evex { i64::from(op.row().broadcast) } else { 0 };
        match self.bindings[val].clone() {
            Binding::Load { ty, addr, is_broadcast } => {
                let bytes = elem_bytes(ty);
                if is_broadcast && broadcast_bytes == bytes {
                    self.take(val);
                    self.waiting.retain(|&waiting| waiting != val);
                    return Rm::Broadcast(self.mem(&addr));
                }
                if !is_broadcast && total_bytes(ty) >= 16 {
                    self.take(val);
                    self.waiting.retain(|&waiting| waiting != val);
                    return Rm::Mem(self.mem(&addr));
                }
                Rm::Reg(self.any(val))
            }
            Binding::Const { bits, bytes, width } if bits != 0 => {
                self.take(val);
                self.const_rm(bits, bytes, width, op)
            }
            Binding::Const { .. }
            | Binding::Reg(_)
            | Binding::Int(_)
            | Binding::Word(_)
            | Binding::Compare(..)
            | Binding::Sum { .. }
            | Binding::Unset => Rm::Reg(self.any(val)),
        }
    }

    /// Whether [`Selector::rm`] would give memory.
    pub(super) fn is_foldable(&self, val: Val) -> bool {
        match &self.bindings[val] {
            Binding::Load { ty, is_broadcast, .. } => {
                if *is_broadcast {
                    self.evex
                } else {
                    total_bytes(*ty) >= 16
                }
            }
            Binding::Const { bits, .. } => *bits != 0,
            Binding::Reg(_)
            | Binding::Int(_)
            | Binding::Word(_)
            | Binding::Compare(..)
            | Binding::Sum { .. }
            | Binding::Unset => false,
        }
    }

    // Waiting loads.

    /// Emits a waiting load and binds its value to the register.
    pub(super) fn force(&mut self, val: Val) -> VReg {
        let Binding::Load { ty, addr, is_broadcast } = self.bindings[val].clone() else {
            unreachable!("only waiting loads are forced");
        };
        self.waiting.retain(|&waiting| waiting != val);
        let mem = self.mem(&addr);
        let reg = self.load_now(ty, mem, is_broadcast);
        self.bind(val, reg);
        reg
    }

    /// Emits all loads that wait.
    pub(super) fn flush(&mut self) {
        while let Some(&val) = self.waiting.first() {
            self.force(val);
        }
    }

    // Addresses.

    /// The memory operand of an address.
    pub(super) fn mem(&mut self, addr: &Addr) -> Mem {
        let mut base = addr.base;
        let mut disp = i64::from(addr.disp);
        while let Binding::Sum { base: inner, disp: more } = self.bindings[base] {
            base = inner;
            disp += i64::from(more);
        }
        let mut index = None;
        if let Some((val, scale)) = addr.index {
            match self.int_value(val) {
                Some(value) => disp = disp.wrapping_add(value.wrapping_mul(i64::from(scale))),
                None => index = Some((self.gpr(val), scale)),
            }
        }
        let base = self.gpr(base);
        match i32::try_from(disp) {
            Ok(disp) => Mem { base: Base::Reg(base), index, disp },
            Err(_) => {
                let far = self.int_reg(disp);
                let sum = self.acc(Op::Add, Class::Gpr, Width::X, base, Rm::Reg(far));
                Mem { base: Base::Reg(sum), index, disp: 0 }
            }
        }
    }

    /// The same address some bytes further; the distance is small.
    pub(super) fn further(mem: Mem, bytes: i32) -> Mem {
        Mem { disp: mem.disp.wrapping_add(bytes), ..mem }
    }

    /// An address that has no index yet, for gathers, which need the index for themselves.
    pub(super) fn mem_without_index(&mut self, addr: &Addr) -> Mem {
        let mem = self.mem(addr);
        if mem.index.is_none() {
            return mem;
        }
        let base = self.load(Op::Lea, Width::X, Class::Gpr, mem);
        Mem { base: Base::Reg(base), index: None, disp: 0 }
    }

    // Constants.

    /// A scalar constant in a register.
    pub(super) fn int_reg(&mut self, value: i64) -> VReg {
        let reg = self.code.reg(Class::Gpr, Width::X);
        self.int_into(reg, value);
        reg
    }

    pub(super) fn int_into(&mut self, reg: VReg, value: i64) {
        // Moves rather than `xor`, which would change the flags.
        let op = if u32::try_from(value).is_ok() {
            Op::MovImm32
        } else if i32::try_from(value).is_ok() {
            Op::MovImmSigned
        } else {
            Op::MovImm64
        };
        let mut inst = Machine::new(op, Width::X);
        inst.dst = Some(reg);
        inst.imm = Some(value);
        self.push(inst);
    }

    /// A constant in every lane of a register.
    pub(super) fn const_reg(&mut self, bits: u64, bytes: i64, width: Width) -> VReg {
        let reg = self.code.reg(Class::Vec, width);
        self.const_into(reg, bits, bytes, width);
        reg
    }

    pub(super) fn const_into(&mut self, reg: VReg, bits: u64, bytes: i64, width: Width) {
        if bits == 0 {
            let mut zero = Machine::new(Op::Xor32, width);
            zero.dst = Some(reg);
            self.push(zero);
            return;
        }
        let (op, constant) = if bytes == 4 {
            (Op::LoadSplat32, (bits as u32).to_le_bytes().to_vec())
        } else {
            (Op::LoadSplat64, bits.to_le_bytes().to_vec())
        };
        let mem = self.pool(constant);
        self.load_into(op, width, reg, mem);
    }

    /// A constant in every lane as an operand of `op`.
    pub(super) fn const_rm(&mut self, bits: u64, bytes: i64, width: Width, op: Op) -> Rm {
        if bits == 0 {
            return Rm::Reg(self.const_reg(0, bytes, width));
        }
        let elem = bits.to_le_bytes()[..bytes as usize].to_vec();
        if self.evex && i64::from(op.row().broadcast) == bytes {
            return Rm::Broadcast(self.pool(elem));
        }
        Rm::Mem(self.pool(elem.repeat((width.bytes() / bytes) as usize)))
    }

    /// A constant of the pool.
    pub(super) fn pool(&mut self, bytes: Vec<u8>) -> Mem {
        Mem { base: Base::Const(self.code.pool.add(bytes)), index: None, disp: 0 }
    }

    // Emission.

    pub(super) fn push(&mut self, inst: Machine) {
        self.code.steps.push(Step::Inst(inst));
    }

    /// Puts an operand last.
    pub(super) fn place(inst: &mut Machine, at: usize, operand: Rm) {
        match operand {
            Rm::Reg(reg) => inst.srcs[at] = Some(reg),
            Rm::Mem(mem) => inst.mem = Some(mem),
            Rm::Broadcast(mem) => {
                inst.mem = Some(mem);
                inst.broadcast = true;
            }
        }
    }

    /// `dst = op [mem]`.
    pub(super) fn load_into(&mut self, op: Op, width: Width, dst: VReg, mem: Mem) {
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        inst.mem = Some(mem);
        self.push(inst);
    }

    /// `op [mem]` in a new register. Vector results have the instruction's width.
    pub(super) fn load(&mut self, op: Op, width: Width, class: Class, mem: Mem) -> VReg {
        let dst = self.code.reg(class, width);
        self.load_into(op, width, dst, mem);
        dst
    }

    /// `op a` in a new register.
    pub(super) fn op1(&mut self, op: Op, class: Class, width: Width, a: Rm) -> VReg {
        self.op1_imm(op, class, width, a, None)
    }

    /// `op a, imm` in a new register.
    pub(super) fn op1_imm(
        &mut self,
        op: Op,
        class: Class,
        width: Width,
        a: Rm,
        imm: Option<i64>,
    ) -> VReg {
        let dst = self.code.reg(class, width);
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        Self::place(&mut inst, 0, a);
        inst.imm = imm;
        self.push(inst);
        dst
    }

    /// `op a, b` in a new register.
    pub(super) fn op2(&mut self, op: Op, class: Class, width: Width, a: VReg, b: Rm) -> VReg {
        self.op2_imm(op, class, width, a, b, None)
    }

    /// `op a, b, imm` in a new register.
    pub(super) fn op2_imm(
        &mut self,
        op: Op,
        class: Class,
        width: Width,
        a: VReg,
        b: Rm,
        imm: Option<i64>,
    ) -> VReg {
        let dst = self.code.reg(class, width);
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        inst.srcs[0] = Some(a);
        Self::place(&mut inst, 1, b);
        inst.imm = imm;
        self.push(inst);
        dst
    }

    /// Vector forms, the most frequent.
    pub(super) fn vec1(&mut self, op: Op, width: Width, a: VReg) -> VReg {
        self.op1(op, Class::Vec, width, Rm::Reg(a))
    }

    pub(super) fn vec1_imm(&mut self, op: Op, width: Width, a: VReg, imm: i64) -> VReg {
        self.op1_imm(op, Class::Vec, width, Rm::Reg(a), Some(imm))
    }

    pub(super) fn vec2(&mut self, op: Op, width: Width, a: VReg, b: VReg) -> VReg {
        self.op2(op, Class::Vec, width, a, Rm::Reg(b))
    }

    pub(super) fn vec2_imm(&mut self, op: Op, width: Width, a: VReg, b: VReg, imm: i64) -> VReg {
        self.op2_imm(op, Class::Vec, width, a, Rm::Reg(b), Some(imm))
    }

    /// `op` with a constant in every lane as its last operand.
    pub(super) fn vec2_const(
        &mut self,
        op: Op,
        width: Width,
        a: VReg,
        bits: u64,
        bytes: i64,
    ) -> VReg {
        let constant = self.const_rm(bits, bytes, width, op);
        self.op2(op, Class::Vec, width, a, constant)
    }

    /// `acc = acc op b` on a copy of `acc`, which disappears if `acc` ends here.
    pub(super) fn acc(&mut self, op: Op, class: Class, width: Width, acc: VReg, b: Rm) -> VReg {
        let dst = self.code.reg(class, width);
        self.code.steps.push(Step::Moves(vec![(dst, acc)]));
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        Self::place(&mut inst, 0, b);
        self.push(inst);
        dst
    }

    /// `reg = reg op imm`, in place.
    pub(super) fn acc_imm(&mut self, op: Op, reg: VReg, imm: i64) {
        let mut inst = Machine::new(op, Width::X);
        inst.dst = Some(reg);
        inst.imm = Some(imm);
        self.push(inst);
    }

    /// `a op imm` on a copy.
    pub(super) fn copy_imm(&mut self, op: Op, a: VReg, imm: i64) -> VReg {
        let dst = self.code.reg(Class::Gpr, Width::X);
        self.code.steps.push(Step::Moves(vec![(dst, a)]));
        self.acc_imm(op, dst, imm);
        dst
    }

    /// An instruction that only sets flags.
    pub(super) fn use2(&mut self, op: Op, a: VReg, b: VReg) {
        let mut inst = Machine::new(op, Width::X);
        inst.srcs = [Some(a), Some(b), None];
        self.push(inst);
    }

    /// An instruction with an immediate that only sets flags.
    pub(super) fn use_imm(&mut self, op: Op, a: VReg, imm: i64) {
        let mut inst = Machine::new(op, Width::X);
        inst.srcs[0] = Some(a);
        inst.imm = Some(imm);
        self.push(inst);
    }

    /// Stores a register.
    pub(super) fn store_reg(
        &mut self,
        op: Op,
        width: Width,
        mem: Mem,
        reg: VReg,
        imm: Option<i64>,
    ) {
        let mut inst = Machine::new(op, width);
        inst.srcs[0] = Some(reg);
        inst.mem = Some(mem);
        inst.imm = imm;
        self.push(inst);
    }

    /// A mask register with the lowest `n` bits set.
    pub(super) fn mask_ones(&mut self, n: u8) -> VReg {
        let bits = self.int_reg((1i64 << n) - 1);
        self.op1(Op::MaskFromGpr, Class::Mask, Width::X, Rm::Reg(bits))
    }
}
