//! Vectors from and to memory, for elements that are stored as wide as they are in registers.

use super::*;
use crate::wide::machine::Inst as Machine;

/// Whether elements in memory are as wide as lanes.
pub(super) fn is_native(storage: Storage) -> bool {
    match storage {
        Storage::F32 | Storage::F64 | Storage::I32 | Storage::I64 => true,
        Storage::U8 | Storage::I8 | Storage::Bf16 | Storage::F16 => false,
    }
}

fn by_bytes(bytes: i64, narrow: Op, wide: Op) -> Op {
    if bytes == 4 { narrow } else { wide }
}

impl Selector<'_> {
    pub(super) fn load_vec(
        &mut self,
        val: Val,
        ty: Type,
        storage: Storage,
        addr: Addr,
        mask: Option<Val>,
    ) -> Result<(), String> {
        if !is_native(storage) {
            let reg = self.load_narrow(ty, storage, addr, mask);
            self.bind(val, reg);
            return Ok(());
        }
        let Some(mask) = mask else {
            self.wait_or_load(val, ty, addr, false);
            return Ok(());
        };
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        let mask = self.any(mask);
        let mask = self.clean_mask(mask, ty);
        let mem = self.mem(&addr);
        let dst = self.code.reg(Class::Vec, width);
        let mut inst = if self.evex {
            let mut inst = Machine::new(by_bytes(bytes, Op::Load32, Op::Load64), width);
            inst.mask = Some(mask);
            inst.zeroing = true;
            inst
        } else {
            let mut inst = Machine::new(by_bytes(bytes, Op::MaskLoad32, Op::MaskLoad64), width);
            inst.srcs[0] = Some(mask);
            inst
        };
        inst.dst = Some(dst);
        inst.mem = Some(mem);
        self.push(inst);
        self.bind(val, dst);
        Ok(())
    }

    /// A load with one use waits for it; others are emitted here.
    fn wait_or_load(&mut self, val: Val, ty: Type, addr: Addr, is_broadcast: bool) {
        self.bindings[val] = Binding::Load { ty, addr, is_broadcast };
        self.waiting.push(val);
        if self.facts.uses[val] > 1 {
            self.force(val);
        }
    }

    pub(super) fn load_now(&mut self, ty: Type, mem: Mem, is_broadcast: bool) -> VReg {
        let (bytes, total, width) = (elem_bytes(ty), total_bytes(ty), width_of(ty));
        let op = match (is_broadcast, total) {
            (_, 4) => Op::MovFromGpr32,
            (true, 8) if bytes == 8 => Op::MovFromGpr64,
            (false, 8) => Op::MovFromGpr64,
            (true, _) => by_bytes(bytes, Op::LoadSplat32, Op::LoadSplat64),
            (false, _) => Op::Load32,
        };
        self.load_reg(op, width, mem)
    }

    pub(super) fn load_reg(&mut self, op: Op, width: Width, mem: Mem) -> VReg {
        let dst = self.code.reg(Class::Vec, width);
        self.load_into(op, width, dst, mem);
        dst
    }

    pub(super) fn broadcast(&mut self, val: Val, ty: Type, storage: Storage, addr: Addr) {
        if is_native(storage) {
            self.wait_or_load(val, ty, addr, true);
        } else {
            let reg = self.broadcast_narrow(ty, storage, addr);
            self.bind(val, reg);
        }
    }

    pub(super) fn store(
        &mut self,
        storage: Storage,
        addr: Addr,
        value: Val,
        mask: Option<Val>,
    ) -> Result<(), String> {
        self.flush();
        let ty = self.ty(value);
        let reg = self.vec(value);
        let mask = mask.map(|mask| self.any(mask));
        let mem = self.mem(&addr);
        if !is_native(storage) {
            self.store_narrow(ty, storage, mem, reg, mask);
            return Ok(());
        }
        let (bytes, total, width) = (elem_bytes(ty), total_bytes(ty), width_of(ty));
        let Some(mask) = mask else {
            let op = match total {
                4 => Op::MovToGpr32,
                8 => Op::MovToGpr64,
                _ => Op::Store32,
            };
            self.store_reg(op, width, mem, reg, None);
            return Ok(());
        };
        let mask = self.clean_mask(mask, ty);
        let mut inst = if self.evex {
            let mut inst = Machine::new(by_bytes(bytes, Op::Store32, Op::Store64), width);
            inst.mask = Some(mask);
            inst.srcs[0] = Some(reg);
            inst
        } else {
            let mut inst = Machine::new(by_bytes(bytes, Op::MaskStore32, Op::MaskStore64), width);
            inst.srcs = [Some(mask), Some(reg), None];
            inst
        };
        inst.mem = Some(mem);
        self.push(inst);
        Ok(())
    }

    /// A mask whose lanes above the type's are off, for accesses that would touch them: masks leave them unspecified.
    pub(super) fn clean_mask(&mut self, mask: VReg, ty: Type) -> VReg {
        let (bytes, total) = (elem_bytes(ty), total_bytes(ty));
        if total >= 16 {
            return mask;
        }
        if self.evex {
            let valid = self.mask_ones((total / bytes) as u8);
            return self.op2(Op::MaskAnd, Class::Mask, Width::X, mask, Rm::Reg(valid));
        }
        let valid = self.pool((0..16).map(|at| if at < total { 0xff } else { 0 }).collect());
        self.op2(Op::And32, Class::Vec, Width::X, mask, Rm::Mem(valid))
    }

    pub(super) fn gather(
        &mut self,
        val: Val,
        ty: Type,
        storage: Storage,
        addr: Addr,
        index: Val,
        mask: Option<Val>,
    ) -> Result<(), String> {
        let mask = mask.map(|mask| self.any(mask));
        let index_width = self.width(index);
        let index = self.vec(index);
        let mem = self.mem_without_index(&addr);
        if !is_native(storage) {
            let reg = self.gather_narrow(ty, storage, mem, index, index_width, mask);
            self.bind(val, reg);
            return Ok(());
        }
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        // The gather clears its mask as it goes, so it gets a copy.
        let class = if self.evex { Class::Mask } else { Class::Vec };
        let copy = match mask {
            Some(mask) => {
                let clean = self.clean_mask(mask, ty);
                let copy = self.code.reg(class, if self.evex { Width::X } else { width });
                self.code.steps.push(Step::Moves(vec![(copy, clean)]));
                copy
            }
            None if self.evex => self.mask_ones((total_bytes(ty) / bytes) as u8),
            None => {
                let all = self.pool(
                    (0..width.bytes())
                        .map(|at| if at < total_bytes(ty) { 0xff } else { 0 })
                        .collect(),
                );
                self.load_reg(Op::Load32, width, all)
            }
        };
        let dst = self.const_reg(0, bytes, width);
        let op = match (self.evex, bytes) {
            (false, 4) => Op::GatherLanes32,
            (false, _) => Op::GatherLanes64,
            (true, 4) => Op::GatherMask32,
            (true, _) => Op::GatherMask64,
        };
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        inst.mem = Some(Mem { index: Some((index, bytes as u8)), ..mem });
        if self.evex {
            inst.mask = Some(copy);
        } else {
            inst.srcs[0] = Some(copy);
        }
        self.push(inst);
        self.bind(val, dst);
        Ok(())
    }
}
