//! From steps with places to bytes: frame, branches, moves, constants after the last instruction.
//!
//! Layout: prologue, code, epilogue (restored registers, `vzeroupper`, `ret`) at the end and wherever the code returns, constants in falling
//! size so that each is aligned by its own size. Frame: `rbp` holds the caller's stack pointer, slots of 64 bytes lie above an aligned
//! `rsp`. Code without slots has no frame.

use iced_x86::{Code as Encoding, Encoder, Instruction, OpKind, Register};

use super::allocate::Place;
use super::machine::{
    Base, Callee, Class, Code, Cond, Inst, Label, LoopId, Mem, Step, VReg, Width,
};
use super::moves::{self, Action};
use super::physical::{Physical, PhysicalBase, PhysicalMem, build, register, set_memory, slot_mem};
use super::spill;
use super::table::{Kind, Op};
use dlc_ir::vector::FuncId;

/// Physical numbers of the registers with fixed roles.
pub(super) const RAX: u8 = 0;
/// High half of a dividend.
pub(super) const RDX: u8 = 2;
pub(super) const RSP: u8 = 4;
const RBP: u8 = 5;
const RSI: u8 = 6;
const RDI: u8 = 7;
const R11: u8 = 11;
/// Where arguments arrive.
const ARGUMENTS: [u8; 3] = [RDI, RSI, RDX];
/// Registers that a callee restores, without rbp.
pub(super) const CALLEE_SAVED: [u8; 5] = [3, 12, 13, 14, 15];
/// Heads of innermost loops start on such a boundary.
const LOOP_ALIGNMENT: usize = 32;

/// The bytes of a function.
pub(super) struct Encoded {
    /// Code, then constants.
    pub bytes: Vec<u8>,
    /// Instructions.
    pub n_instructions: usize,
    /// Offsets of the four-byte fields of calls, and the functions that they call.
    pub calls: Vec<(u32, FuncId)>,
}

/// Encodes allocated code.
pub(super) fn encode(code: &Code, places: &[Place], evex: bool) -> Result<Encoded, String> {
    let mut writer = Writer {
        encoder: Encoder::try_with_capacity(64, code.steps.len() * 8 + 64)
            .map_err(|error| error.to_string())?,
        places,
        evex,
        regs: code,
        position: 0,
        n_instructions: 0,
        heads: vec![0; code.n_loops as usize],
        labels: vec![None; code.n_labels as usize],
        branches: Vec::new(),
        constants: Vec::new(),
        calls: Vec::new(),
        scratch_slot: code.n_slots,
        frame: Frame::of(code, places),
    };
    writer.function(code)?;
    writer.finish(code)
}

struct Writer<'a> {
    encoder: Encoder,
    places: &'a [Place],
    regs: &'a Code,
    evex: bool,
    /// Bytes written.
    position: usize,
    n_instructions: usize,
    /// Offset of each loop's head.
    heads: Vec<usize>,
    labels: Vec<Option<usize>>,
    /// Offset after a forward branch's four-byte field, and its target.
    branches: Vec<(usize, Label)>,
    /// Field of a reference to a constant, the offset that it is relative to, the constant, bytes from its start.
    constants: Vec<(usize, usize, u32, i32)>,
    calls: Vec<(u32, FuncId)>,
    scratch_slot: u32,
    frame: Frame,
}

/// What a function sets up at its start and takes down where it returns.
struct Frame {
    /// Slots, if it has any.
    n_slots: Option<u32>,
    /// Registers that it restores, in the order in which they are pushed.
    saved: Vec<u8>,
    uses_vectors: bool,
}

impl Frame {
    fn of(code: &Code, places: &[Place]) -> Self {
        let uses = |class, is: &dyn Fn(Place) -> bool| {
            places.iter().zip(&code.regs).any(|(&place, info)| info.class == class && is(place))
        };
        let saved = |reg: &u8| uses(Class::Gpr, &|place| place == Place::Reg(*reg));
        Frame {
            n_slots: (code.n_slots > 0).then_some(code.n_slots),
            saved: CALLEE_SAVED.into_iter().filter(saved).collect(),
            uses_vectors: uses(Class::Vec, &|place| place != Place::Nowhere),
        }
    }
}

impl Writer<'_> {
    fn function(&mut self, code: &Code) -> Result<(), String> {
        self.prologue()?;
        let innermost = innermost_loops(code);
        for step in &code.steps {
            self.step(step, &innermost)?;
        }
        if !matches!(code.steps.last(), Some(Step::Return(_))) {
            self.epilogue()?;
        }
        Ok(())
    }

    fn prologue(&mut self) -> Result<(), String> {
        if let Some(n_slots) = self.frame.n_slots {
            self.push(RBP)?;
            self.gpr_copy(RBP, RSP)?;
            self.push_saved()?;
            self.imm_op(Op::AndImm, RSP, -64)?;
            // One slot more than asked for: scratch of moves.
            self.imm_op(Op::SubImm, RSP, 64 * (i64::from(n_slots) + 1))
        } else {
            self.push_saved()
        }
    }

    fn push_saved(&mut self) -> Result<(), String> {
        (0..self.frame.saved.len()).try_for_each(|at| self.push(self.frame.saved[at]))
    }

    fn epilogue(&mut self) -> Result<(), String> {
        let has_frame = self.frame.n_slots.is_some();
        if has_frame {
            let mut lea = Physical::new(Op::Lea, Width::X);
            lea.dst = Some(RSP);
            lea.mem = Some(PhysicalMem {
                base: PhysicalBase::Reg(RBP),
                index: None,
                disp: -8 * self.frame.saved.len() as i32,
            });
            self.emit(&lea)?;
        }
        (0..self.frame.saved.len()).rev().try_for_each(|at| self.pop(self.frame.saved[at]))?;
        if has_frame {
            self.pop(RBP)?;
        }
        if self.frame.uses_vectors {
            self.raw(&Instruction::with(Encoding::VEX_Vzeroupper))?;
        }
        self.raw(&Instruction::with(Encoding::Retnq))
    }

    /// Patches branches and references to constants, and appends the constants.
    fn finish(mut self, code: &Code) -> Result<Encoded, String> {
        let mut bytes = self.encoder.take_buffer();
        for (field_end, label) in &self.branches {
            let target = self.labels[label.0 as usize]
                .ok_or("a branch to a label that is placed nowhere")?;
            let distance = i32::try_from(target as i64 - *field_end as i64)
                .map_err(|_| "a branch that is too far")?;
            bytes[field_end - 4..*field_end].copy_from_slice(&distance.to_le_bytes());
        }
        let mut order: Vec<usize> = (0..code.pool.entries.len()).collect();
        order.sort_by_key(|&entry| (std::cmp::Reverse(code.pool.entries[entry].len()), entry));
        let mut offsets = vec![0usize; order.len()];
        for entry in order {
            let constant = &code.pool.entries[entry];
            bytes.resize(bytes.len().next_multiple_of(constant.len()), 0xcc);
            offsets[entry] = bytes.len();
            bytes.extend_from_slice(constant);
        }
        for &(field, next, constant, disp) in &self.constants {
            let target = offsets[constant as usize] as i64 + i64::from(disp);
            let distance =
                i32::try_from(target - next as i64).map_err(|_| "a constant that is too far")?;
            bytes[field..field + 4].copy_from_slice(&distance.to_le_bytes());
        }
        Ok(Encoded { bytes, n_instructions: self.n_instructions, calls: self.calls })
    }

    fn step(&mut self, step: &Step, innermost: &[bool]) -> Result<(), String> {
        match step {
            Step::Inst(inst) => {
                let physical = self.physical(inst)?;
                self.emit(&physical)
            }
            Step::Arguments(regs) => {
                let arrive = ARGUMENTS.map(Place::Reg);
                let places = regs.iter().map(|reg| self.places[reg.index()]);
                self.sequence(Class::Gpr, Width::X, places.zip(arrive).collect())
            }
            Step::Call(callee) => self.call(*callee),
            Step::Returned(reg) => {
                let (to, from) = (self.reg(*reg)?, register(Kind::D, Width::X, RAX));
                let mut instruction = Instruction::new();
                instruction.set_code(Encoding::Mov_r32_rm32);
                instruction.set_op0_register(register(Kind::D, Width::X, to));
                instruction.set_op1_register(from);
                self.raw(&instruction)
            }
            Step::Return(reg) => {
                self.gpr_copy(RAX, self.reg(*reg)?)?;
                self.epilogue()
            }
            Step::Moves(pairs) => self.moves(pairs),
            Step::Branch(cond, label) => self.branch_forward(*cond, *label),
            Step::Place(label) => {
                self.labels[label.0 as usize] = Some(self.position);
                Ok(())
            }
            Step::LoopHead(id) => {
                if innermost[id.0 as usize] {
                    self.align(LOOP_ALIGNMENT)?;
                }
                self.heads[id.0 as usize] = self.position;
                Ok(())
            }
            Step::LoopEnd(id, cond) => self.branch_back(*cond, *id),
            Step::Divide { dst, a, b, remainder } => self.divide(*dst, *a, *b, *remainder),
        }
    }

    fn reg(&self, reg: VReg) -> Result<u8, String> {
        match self.places[reg.index()] {
            Place::Reg(number) => Ok(number),
            place => Err(format!("an instruction names register {} at {place:?}", reg.index())),
        }
    }

    fn mem(&self, mem: Mem) -> Result<PhysicalMem, String> {
        let index = match mem.index {
            Some((index, scale)) => Some((self.reg(index)?, scale)),
            None => None,
        };
        Ok(match mem.base {
            Base::Reg(base) => {
                PhysicalMem { base: PhysicalBase::Reg(self.reg(base)?), index, disp: mem.disp }
            }
            Base::Const(number) => {
                PhysicalMem { base: PhysicalBase::Const(number), index, disp: mem.disp }
            }
            Base::Slot(slot) => PhysicalMem {
                base: PhysicalBase::Reg(RSP),
                index,
                disp: slot as i32 * 64 + mem.disp,
            },
        })
    }

    fn physical(&self, inst: &Inst) -> Result<Physical, String> {
        let mut physical = Physical::new(inst.op, inst.width);
        if let Some(dst) = inst.dst {
            physical.dst = Some(self.reg(dst)?);
        }
        for (to, from) in physical.srcs.iter_mut().zip(&inst.srcs) {
            if let Some(reg) = from {
                *to = Some(self.reg(*reg)?);
            }
        }
        if let Some(mem) = inst.mem {
            physical.mem = Some(self.mem(mem)?);
        }
        if let Some(mask) = inst.mask {
            physical.mask = Some(self.reg(mask)?);
        }
        physical.imm = inst.imm;
        physical.zeroing = inst.zeroing;
        physical.broadcast = inst.broadcast;
        Ok(physical)
    }

    // Instructions.

    fn emit(&mut self, inst: &Physical) -> Result<(), String> {
        let constant = match inst.mem {
            Some(PhysicalMem { base: PhysicalBase::Const(number), disp, .. }) => {
                Some((number, disp))
            }
            _ => None,
        };
        let instruction = build(inst, self.evex)?;
        let start = self.position;
        self.raw(&instruction).map_err(|error| format!("{}: {error}", inst.op.row().name))?;
        if let Some((number, disp)) = constant {
            let offsets = self.encoder.get_constant_offsets();
            self.constants.push((
                start + offsets.displacement_offset(),
                self.position,
                number,
                disp,
            ));
        }
        Ok(())
    }

    fn raw(&mut self, instruction: &Instruction) -> Result<(), String> {
        let length = self
            .encoder
            .encode(instruction, self.position as u64)
            .map_err(|error| error.to_string())?;
        self.position += length;
        self.n_instructions += 1;
        Ok(())
    }

    fn imm_op(&mut self, op: Op, reg: u8, imm: i64) -> Result<(), String> {
        let mut inst = Physical::new(op, Width::X);
        inst.dst = Some(reg);
        inst.imm = Some(imm);
        self.emit(&inst)
    }

    fn gpr_copy(&mut self, to: u8, from: u8) -> Result<(), String> {
        let mut inst = Physical::new(Op::MovGpr, Width::X);
        inst.dst = Some(to);
        inst.srcs[0] = Some(from);
        self.emit(&inst)
    }

    fn push(&mut self, reg: u8) -> Result<(), String> {
        self.one_register(Encoding::Push_r64, register(Kind::R, Width::X, reg))
    }

    fn pop(&mut self, reg: u8) -> Result<(), String> {
        self.one_register(Encoding::Pop_r64, register(Kind::R, Width::X, reg))
    }

    fn one_register(&mut self, encoding: Encoding, register: Register) -> Result<(), String> {
        let mut instruction = Instruction::new();
        instruction.set_code(encoding);
        instruction.set_op0_register(register);
        self.raw(&instruction)
    }

    fn divide(&mut self, dst: VReg, a: VReg, b: VReg, remainder: bool) -> Result<(), String> {
        let (dst, a, b) = (self.reg(dst)?, self.reg(a)?, self.reg(b)?);
        self.gpr_copy(RAX, a)?;
        let mut zero = Physical::new(Op::MovImm32, Width::X);
        zero.dst = Some(RDX);
        zero.imm = Some(0);
        self.emit(&zero)?;
        self.one_register(Encoding::Div_rm64, register(Kind::R, Width::X, b))?;
        self.gpr_copy(dst, if remainder { RDX } else { RAX })
    }

    fn call(&mut self, callee: Callee) -> Result<(), String> {
        match callee {
            Callee::Function(function) => {
                self.gpr_copy(RDI, RSP)?;
                let mut instruction = Instruction::new();
                instruction.set_code(Encoding::Call_rel32_64);
                instruction.set_op0_kind(OpKind::NearBranch64);
                instruction.set_near_branch64(self.position as u64);
                self.raw(&instruction)?;
                self.calls.push((self.position as u32 - 4, function));
                Ok(())
            }
            Callee::Address(address, args) => {
                let from = [address, args[0], args[1]].map(|reg| self.places[reg.index()]);
                let to = [R11, RDI, RSI].map(Place::Reg);
                self.sequence(Class::Gpr, Width::X, to.into_iter().zip(from).collect())?;
                self.one_register(Encoding::Call_rm64, register(Kind::R, Width::X, R11))
            }
        }
    }

    // Branches.

    fn branch_forward(&mut self, cond: Cond, label: Label) -> Result<(), String> {
        let mut instruction = Instruction::new();
        instruction.set_code(jump(cond).0);
        instruction.set_op0_kind(OpKind::NearBranch64);
        instruction.set_near_branch64(self.position as u64);
        self.raw(&instruction)?;
        self.branches.push((self.position, label));
        Ok(())
    }

    fn branch_back(&mut self, cond: Cond, id: LoopId) -> Result<(), String> {
        let target = self.heads[id.0 as usize];
        let (long, short) = jump(cond);
        // The short form is two bytes and reaches 128 bytes back from its end.
        let is_near = self.position + 2 - target <= 128;
        let mut instruction = Instruction::new();
        instruction.set_code(if is_near { short } else { long });
        instruction.set_op0_kind(OpKind::NearBranch64);
        instruction.set_near_branch64(target as u64);
        self.raw(&instruction)
    }

    /// Fills up to a boundary with the longest no-operations.
    fn align(&mut self, boundary: usize) -> Result<(), String> {
        let mut left = self.position.next_multiple_of(boundary) - self.position;
        while left > 0 {
            let length = left.min(9);
            for byte in NOPS[length - 1] {
                self.encoder.write_u8(*byte);
            }
            self.position += length;
            left -= length;
        }
        Ok(())
    }

    // Moves.

    fn moves(&mut self, pairs: &[(VReg, VReg)]) -> Result<(), String> {
        for class in [Class::Gpr, Class::Vec, Class::Mask] {
            let of_class =
                pairs.iter().filter(|(dst, _)| self.regs.regs[dst.index()].class == class);
            let mut width = Width::X;
            let mut list = Vec::new();
            for (dst, src) in of_class {
                width = width
                    .max(self.regs.regs[dst.index()].width)
                    .max(self.regs.regs[src.index()].width);
                list.push((self.places[dst.index()], self.places[src.index()]));
            }
            self.sequence(class, width, list)?;
        }
        Ok(())
    }

    /// Moves of one class at once: `(destination, source)`.
    fn sequence(
        &mut self,
        class: Class,
        width: Width,
        list: Vec<(Place, Place)>,
    ) -> Result<(), String> {
        let scratch = Place::Slot(self.scratch_slot);
        for action in moves::sequence(list, || scratch) {
            self.action(class, width, action)?;
        }
        Ok(())
    }

    fn action(&mut self, class: Class, width: Width, action: Action) -> Result<(), String> {
        match action {
            Action::Copy { to: Place::Reg(to), from: Place::Reg(from) } => {
                let op = match class {
                    Class::Gpr => Op::MovGpr,
                    Class::Vec => Op::Mov,
                    Class::Mask => Op::MaskMov,
                };
                let mut inst = Physical::new(op, width);
                inst.dst = Some(to);
                inst.srcs[0] = Some(from);
                self.emit(&inst)
            }
            Action::Copy { to: Place::Reg(to), from: Place::Slot(slot) } => {
                let mut inst = Physical::new(spill::load_op(class), width);
                inst.dst = Some(to);
                inst.mem = Some(slot_mem(slot, 0));
                self.emit(&inst)
            }
            Action::Copy { to: Place::Slot(slot), from: Place::Reg(from) } => {
                let mut inst = Physical::new(spill::store_op(class), width);
                inst.srcs[0] = Some(from);
                inst.mem = Some(slot_mem(slot, 0));
                self.emit(&inst)
            }
            Action::Copy { to: Place::Slot(to), from: Place::Slot(from) } => {
                // Through the stack, eight bytes at a time: it needs no register. `pop` computes its address after rsp
                // has moved back, so both see the same rsp.
                for piece in 0..spill::slot_bytes(class, width) / 8 {
                    self.stack_piece(Encoding::Push_rm64, from, piece as i32 * 8)?;
                    self.stack_piece(Encoding::Pop_rm64, to, piece as i32 * 8)?;
                }
                Ok(())
            }
            Action::Swap(a, b) => self.swap(class, width, a, b),
            Action::Copy { .. } => Err("a move from a register that is written nowhere".to_owned()),
        }
    }

    fn stack_piece(&mut self, encoding: Encoding, slot: u32, disp: i32) -> Result<(), String> {
        let mut instruction = Instruction::new();
        instruction.set_code(encoding);
        instruction.set_op0_kind(OpKind::Memory);
        set_memory(&mut instruction, &slot_mem(slot, disp), Width::X, Kind::R);
        self.raw(&instruction)
    }

    fn swap(&mut self, class: Class, width: Width, a: u8, b: u8) -> Result<(), String> {
        let op = match class {
            Class::Gpr => {
                let mut instruction = Instruction::new();
                instruction.set_code(Encoding::Xchg_rm64_r64);
                instruction.set_op0_register(register(Kind::R, Width::X, a));
                instruction.set_op1_register(register(Kind::R, Width::X, b));
                return self.raw(&instruction);
            }
            Class::Vec => Op::Xor32,
            Class::Mask => Op::MaskXor,
        };
        for (dst, other) in [(a, b), (b, a), (a, b)] {
            let mut inst = Physical::new(op, width);
            inst.dst = Some(dst);
            inst.srcs = [Some(dst), Some(other), None];
            self.emit(&inst)?;
        }
        Ok(())
    }
}

/// Loops that hold no other loop.
fn innermost_loops(code: &Code) -> Vec<bool> {
    let mut innermost = vec![true; code.n_loops as usize];
    let mut open: Vec<usize> = Vec::new();
    for step in &code.steps {
        match step {
            Step::LoopHead(id) => {
                if let Some(&outer) = open.last() {
                    innermost[outer] = false;
                }
                open.push(id.0 as usize);
            }
            Step::LoopEnd(..) => {
                open.pop();
            }
            Step::Inst(_)
            | Step::Arguments(_)
            | Step::Call(_)
            | Step::Returned(_)
            | Step::Return(_)
            | Step::Moves(_)
            | Step::Branch(..)
            | Step::Place(_)
            | Step::Divide { .. } => {}
        }
    }
    innermost
}

/// No-operations of one to nine bytes (Intel manual, volume 2, NOP).
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

/// Long and short forms of a conditional branch.
fn jump(cond: Cond) -> (Encoding, Encoding) {
    match cond {
        Cond::Equal => (Encoding::Je_rel32_64, Encoding::Je_rel8_64),
        Cond::NotEqual => (Encoding::Jne_rel32_64, Encoding::Jne_rel8_64),
        Cond::Less => (Encoding::Jl_rel32_64, Encoding::Jl_rel8_64),
        Cond::LessEqual => (Encoding::Jle_rel32_64, Encoding::Jle_rel8_64),
        Cond::GreaterEqual => (Encoding::Jge_rel32_64, Encoding::Jge_rel8_64),
    }
}
