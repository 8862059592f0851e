//! Rewrites accesses to registers that live in slots of the frame.
//!
//! A read becomes a memory operand where the instruction can take one, else a load into a short-lived register before
//! it; a write becomes a store after it. Moves keep naming the register: they know slots.

use super::machine::{Base, Callee, Class, Code, Inst, Mem, Step, VReg, Width};
use super::table::{Form, Kind, Op};

/// Replaces all accesses to registers with a slot; new registers get no slot.
pub(super) fn rewrite(code: &mut Code, slots: &mut Vec<Option<u32>>) {
    let steps = std::mem::take(&mut code.steps);
    let mut rewriter = Rewriter { code, slots };
    for step in steps {
        rewriter.step(step);
    }
}

struct Rewriter<'a> {
    code: &'a mut Code,
    slots: &'a mut Vec<Option<u32>>,
}

impl Rewriter<'_> {
    fn slot(&self, reg: VReg) -> Option<u32> {
        self.slots[reg.index()]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Inst(inst) => self.inst(inst),
            Step::Divide { dst, a, b, remainder } => {
                let a = self.read(a, &mut Vec::new());
                let b = self.read(b, &mut Vec::new());
                let new_dst = self.write(dst);
                self.code.steps.push(Step::Divide { dst: new_dst.unwrap_or(dst), a, b, remainder });
                self.store_back(dst, new_dst);
            }
            Step::Moves(mut pairs) => {
                pairs.retain(|&(dst, src)| {
                    self.slot(dst).is_none() || self.slot(dst) != self.slot(src)
                });
                if !pairs.is_empty() {
                    self.code.steps.push(Step::Moves(pairs));
                }
            }
            Step::Arguments(regs) => {
                let new: Vec<Option<VReg>> = regs.iter().map(|&reg| self.write(reg)).collect();
                let arrive = regs.iter().zip(&new).map(|(&old, new)| new.unwrap_or(old)).collect();
                self.code.steps.push(Step::Arguments(arrive));
                for (old, new) in regs.into_iter().zip(new) {
                    self.store_back(old, new);
                }
            }
            Step::Call(Callee::Address(address, args)) => {
                let mut loaded = Vec::new();
                let address = self.read(address, &mut loaded);
                let args = args.map(|arg| self.read(arg, &mut loaded));
                self.code.steps.push(Step::Call(Callee::Address(address, args)));
            }
            Step::Returned(reg) => {
                let new = self.write(reg);
                self.code.steps.push(Step::Returned(new.unwrap_or(reg)));
                self.store_back(reg, new);
            }
            Step::Return(reg) => {
                let reg = self.read(reg, &mut Vec::new());
                self.code.steps.push(Step::Return(reg));
            }
            Step::Call(Callee::Function(_))
            | Step::Branch(..)
            | Step::Place(_)
            | Step::LoopHead(_)
            | Step::LoopEnd(..) => {
                self.code.steps.push(step);
            }
        }
    }

    fn inst(&mut self, mut inst: Inst) {
        self.fold(&mut inst);
        // One reload serves all operands that read the same register.
        let mut loaded = Vec::new();
        for index in 0..inst.srcs.len() {
            inst.srcs[index] = inst.srcs[index].map(|src| self.read(src, &mut loaded));
        }
        if let Some(mem) = &mut inst.mem {
            if let Base::Reg(base) = mem.base {
                mem.base = Base::Reg(self.read(base, &mut loaded));
            }
            mem.index = mem.index.map(|(index, scale)| (self.read(index, &mut loaded), scale));
        }
        inst.mask = inst.mask.map(|mask| self.read(mask, &mut loaded));
        let old_dst = inst.dst;
        let mut new_dst = None;
        if let Some(dst) = inst.dst
            && self.slot(dst).is_some()
        {
            let temp =
                if inst.reads_dst() { self.read(dst, &mut Vec::new()) } else { self.temp(dst) };
            new_dst = Some(temp);
            inst.dst = new_dst;
        }
        self.code.steps.push(Step::Inst(inst));
        if let Some(dst) = old_dst {
            self.store_back(dst, new_dst);
        }
    }

    /// Turns a spilled last operand into a memory operand.
    fn fold(&self, inst: &mut Inst) {
        let Some(last) = inst.srcs.iter().rposition(Option::is_some) else { return };
        let src = inst.srcs[last].expect("its position was found");
        let Some(slot) = self.slot(src) else { return };
        if inst.mem.is_none() && folds_last(inst.op) {
            inst.srcs[last] = None;
            inst.mem = Some(Mem { base: Base::Slot(slot), index: None, disp: 0 });
        }
    }

    fn temp(&mut self, like: VReg) -> VReg {
        let mut info = self.code.regs[like.index()];
        info.unspillable = true;
        self.code.regs.push(info);
        self.slots.push(None);
        VReg::new(self.code.regs.len() - 1)
    }

    /// A register that holds the value, loaded if it has a slot.
    fn read(&mut self, reg: VReg, loaded: &mut Vec<(VReg, VReg)>) -> VReg {
        let Some(slot) = self.slot(reg) else { return reg };
        if let Some(&(_, temp)) = loaded.iter().find(|&&(from, _)| from == reg) {
            return temp;
        }
        let temp = self.temp(reg);
        let info = self.code.regs[reg.index()];
        let mut load = Inst::new(load_op(info.class), info.width);
        load.dst = Some(temp);
        load.mem = Some(Mem { base: Base::Slot(slot), index: None, disp: 0 });
        self.code.steps.push(Step::Inst(load));
        loaded.push((reg, temp));
        temp
    }

    fn write(&mut self, reg: VReg) -> Option<VReg> {
        self.slot(reg).map(|_| self.temp(reg))
    }

    fn store_back(&mut self, reg: VReg, temp: Option<VReg>) {
        if let (Some(slot), Some(temp)) = (self.slot(reg), temp) {
            let info = self.code.regs[reg.index()];
            let mut store = Inst::new(store_op(info.class), info.width);
            store.srcs[0] = Some(temp);
            store.mem = Some(Mem { base: Base::Slot(slot), index: None, disp: 0 });
            self.code.steps.push(Step::Inst(store));
        }
    }
}

/// The load of a whole register of a class.
pub(super) fn load_op(class: Class) -> Op {
    match class {
        Class::Gpr => Op::LoadGpr,
        Class::Vec => Op::Load32,
        Class::Mask => Op::MaskMov,
    }
}

/// The store of a whole register of a class.
pub(super) fn store_op(class: Class) -> Op {
    match class {
        Class::Gpr => Op::StoreGpr,
        Class::Vec => Op::Store32,
        Class::Mask => Op::MaskSpill,
    }
}

/// Bytes of a register of a class that a slot must keep.
pub(super) fn slot_bytes(class: Class, width: Width) -> i64 {
    match class {
        Class::Gpr | Class::Mask => 8,
        Class::Vec => width.bytes(),
    }
}

/// Whether the last source of an instruction may be memory of the register's full width.
fn folds_last(op: Op) -> bool {
    let row = op.row();
    let last = row.kinds[row.kinds.len() - 1];
    matches!(row.form, Form::Def | Form::Acc | Form::Use)
        && matches!(last, Kind::V | Kind::R)
        && !matches!(
            op,
            Op::BlendLanes32 | Op::BlendLanes64 | Op::Shlx | Op::Sarx | Op::Lea | Op::Test | Op::SplatGpr64
                // VEX shifts by an immediate take registers only, and these two read lane bits of a register.
                | Op::Shl32 | Op::Shl64 | Op::Shr32 | Op::Shr64 | Op::Sar32 | Op::Sar64 | Op::LaneBits32 | Op::LaneBits64
        )
        && row.kinds.len() > 1
}
