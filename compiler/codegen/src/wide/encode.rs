//! From steps with places to bytes: frame, branches, moves, constants after the last instruction.
//!
//! Layout: prologue, code, epilogue (`vzeroupper`, restored registers, `ret`), constants in falling size so that each
//! is aligned by its own size. Frame: `rbp` holds the caller's stack pointer, slots of 64 bytes lie above an aligned
//! `rsp`. Code without slots has no frame.

use iced_x86::{Code as Encoding, Encoder, Instruction, OpKind, Register};

use super::allocate::Place;
use super::machine::{
    Base, Callee, Class, Code, Cond, Inst, Label, LoopId, Mem, Step, VReg, Width,
};
use super::moves::{self, Action};
use super::spill;
use super::table::{Form, Imm, Kind, Op};
use dlc_ir::vector::FuncId;

/// Physical numbers of the registers with fixed roles.
pub(super) const RAX: u8 = 0;
/// High half of a dividend.
pub(super) const RDX: u8 = 2;
const RSP: u8 = 4;
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

/// An operand with its physical number.
#[derive(Clone, Copy)]
struct Physical {
    op: Op,
    width: Width,
    dst: Option<u8>,
    srcs: [Option<u8>; 3],
    mem: Option<PhysicalMem>,
    imm: Option<i64>,
    mask: Option<u8>,
    zeroing: bool,
    broadcast: bool,
}

#[derive(Clone, Copy)]
struct PhysicalMem {
    base: PhysicalBase,
    index: Option<(u8, u8)>,
    disp: i32,
}

#[derive(Clone, Copy)]
enum PhysicalBase {
    Reg(u8),
    Const(u32),
}

impl Physical {
    fn new(op: Op, width: Width) -> Self {
        Physical {
            op,
            width,
            dst: None,
            srcs: [None; 3],
            mem: None,
            imm: None,
            mask: None,
            zeroing: false,
            broadcast: false,
        }
    }
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
}

impl Writer<'_> {
    fn function(&mut self, code: &Code) -> Result<(), String> {
        let has_frame = code.n_slots > 0;
        let mut saved: Vec<u8> = CALLEE_SAVED
            .into_iter()
            .filter(|&reg| {
                self.places
                    .iter()
                    .zip(&code.regs)
                    .any(|(&place, info)| info.class == Class::Gpr && place == Place::Reg(reg))
            })
            .collect();
        let uses_vectors = self
            .places
            .iter()
            .zip(&code.regs)
            .any(|(&place, info)| info.class == Class::Vec && place != Place::Nowhere);
        if has_frame {
            self.push(RBP)?;
            self.gpr_copy(RBP, RSP)?;
        }
        for &reg in &saved {
            self.push(reg)?;
        }
        if has_frame {
            self.imm_op(Op::AndImm, RSP, -64)?;
            // One slot more than asked for: scratch of moves.
            self.imm_op(Op::SubImm, RSP, 64 * (i64::from(code.n_slots) + 1))?;
        }
        let innermost = innermost_loops(code);
        for step in &code.steps {
            self.step(step, &innermost)?;
        }
        if has_frame {
            let mut lea = Physical::new(Op::Lea, Width::X);
            lea.dst = Some(RSP);
            lea.mem = Some(PhysicalMem {
                base: PhysicalBase::Reg(RBP),
                index: None,
                disp: -8 * saved.len() as i32,
            });
            self.emit(&lea)?;
        }
        saved.reverse();
        for &reg in &saved {
            self.pop(reg)?;
        }
        if has_frame {
            self.pop(RBP)?;
        }
        if uses_vectors {
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
            Step::Return(reg) => self.gpr_copy(RAX, self.reg(*reg)?),
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

fn slot_mem(slot: u32, disp: i32) -> PhysicalMem {
    PhysicalMem { base: PhysicalBase::Reg(RSP), index: None, disp: slot as i32 * 64 + disp }
}

/// The register of a kind with a physical number.
fn register(kind: Kind, width: Width, number: u8) -> Register {
    let vector = |width: Width| match width {
        Width::X => Register::XMM0,
        Width::Y => Register::YMM0,
        Width::Z => Register::ZMM0,
    };
    let first = match kind {
        Kind::V => vector(width),
        Kind::H => vector(width.half()),
        Kind::Q => vector(width.half().half()),
        Kind::X => Register::XMM0,
        Kind::Y => Register::YMM0,
        Kind::K => Register::K0,
        Kind::R => Register::RAX,
        Kind::D => Register::EAX,
        Kind::W => Register::AX,
        Kind::B => return BYTE_REGISTERS[number as usize],
    };
    first + u32::from(number)
}

/// Low bytes of the general registers, by number; the numbering skips the old high bytes.
const BYTE_REGISTERS: [Register; 16] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
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

/// The encoding of an instruction at its width.
fn encoding(inst: &Physical, evex: bool) -> Result<Encoding, String> {
    let row = inst.op.row();
    let index = match row.imm {
        Imm::Signed => usize::from(
            row.codes.len() > 1 && inst.imm.is_some_and(|imm| i8::try_from(imm).is_ok()),
        ),
        Imm::No | Imm::Byte | Imm::Word | Imm::Quad => match (row.codes.len(), evex, inst.width) {
            (1, _, _) | (_, false, Width::X) => 0,
            (_, false, _) => 1,
            (_, true, width) => 2 + width as usize,
        },
    };
    match row.codes.get(index) {
        Some(&encoding) if encoding != Encoding::INVALID => Ok(encoding),
        _ => Err(format!(
            "{} has no encoding at {:?}{}",
            row.name,
            inst.width,
            if evex { " (EVEX)" } else { "" }
        )),
    }
}

/// The operand list in the order of the encoding.
fn build(inst: &Physical, evex: bool) -> Result<Instruction, String> {
    let row = inst.op.row();
    let mut instruction = Instruction::new();
    instruction.set_code(encoding(inst, evex)?);
    let mut srcs = inst.srcs.iter().flatten().copied();
    let mut mem_at = None;
    let n = row.kinds.len();
    for (at, &kind) in row.kinds.iter().enumerate() {
        let is_memory = inst.mem.is_some()
            && match row.form {
                Form::Def | Form::Acc | Form::Use => at + 1 == n && n > usize::from(row.form != Form::Use),
                Form::Put => at == 0,
                Form::GatherLanes | Form::GatherMask => at == 1,
            }
            // The last operand of a blend by lanes is its mask.
            && !(matches!(inst.op, Op::BlendLanes32 | Op::BlendLanes64));
        if is_memory {
            mem_at = Some(at);
            instruction.set_op_kind(at as u32, OpKind::Memory);
            continue;
        }
        let number = if at == 0 && row.form != Form::Use {
            inst.dst
        } else {
            // An absent source names the destination: its value does not matter (x ^ x).
            srcs.next().or(inst.dst)
        };
        let number = number.ok_or_else(|| format!("{} lacks operand {at}", row.name))?;
        instruction.set_op_register(at as u32, register(kind, inst.width, number));
    }
    if let (Some(at), Some(mem)) = (mem_at, &inst.mem) {
        set_memory(&mut instruction, mem, inst.width, row.kinds[at]);
        instruction.set_is_broadcast(inst.broadcast);
    } else if inst.mem.is_some() {
        return Err(format!("{} takes no memory operand", row.name));
    }
    if let Some(mask) = inst.mask {
        instruction.set_op_mask(register(Kind::K, Width::X, mask));
        instruction.set_zeroing_masking(inst.zeroing);
    }
    set_immediate(&mut instruction, inst, n)?;
    Ok(instruction)
}

fn set_immediate(instruction: &mut Instruction, inst: &Physical, at: usize) -> Result<(), String> {
    let row = inst.op.row();
    let Some(imm) = inst.imm else {
        return if row.imm == Imm::No {
            Ok(())
        } else {
            Err(format!("{} lacks its immediate", row.name))
        };
    };
    let at = at as u32;
    match row.imm {
        Imm::No => return Err(format!("{} takes no immediate", row.name)),
        Imm::Byte => {
            instruction.set_op_kind(at, OpKind::Immediate8);
            instruction.set_immediate8(imm as u8);
        }
        Imm::Signed if row.codes.len() > 1 && i8::try_from(imm).is_ok() => {
            instruction.set_op_kind(at, OpKind::Immediate8to64);
            instruction.set_immediate8to64(imm);
        }
        Imm::Signed => {
            instruction.set_op_kind(at, OpKind::Immediate32to64);
            instruction.set_immediate32to64(imm);
        }
        Imm::Word => {
            instruction.set_op_kind(at, OpKind::Immediate32);
            instruction.set_immediate32(imm as u32);
        }
        Imm::Quad => {
            instruction.set_op_kind(at, OpKind::Immediate64);
            instruction.set_immediate64(imm as u64);
        }
    }
    Ok(())
}

fn set_memory(instruction: &mut Instruction, mem: &PhysicalMem, width: Width, kind: Kind) {
    match mem.base {
        PhysicalBase::Reg(base) => {
            instruction.set_memory_base(register(Kind::R, Width::X, base));
            instruction.set_memory_displacement64(mem.disp as i64 as u64);
            // The encoder picks the shortest form that holds a displacement, compressed where EVEX allows.
            instruction.set_memory_displ_size(u32::from(mem.disp != 0));
        }
        PhysicalBase::Const(_) => {
            instruction.set_memory_base(Register::RIP);
            instruction.set_memory_displ_size(8);
            instruction.set_memory_displacement64(0);
        }
    }
    if let Some((index, scale)) = mem.index {
        // The index of a gather is a vector of the row's kind; all others are general registers.
        let kind = match kind {
            Kind::V | Kind::H if instruction_is_gather(instruction) => kind,
            _ => Kind::R,
        };
        instruction.set_memory_index(register(kind, width, index));
        instruction.set_memory_index_scale(u32::from(scale));
    }
}

fn instruction_is_gather(instruction: &Instruction) -> bool {
    matches!(
        instruction.code(),
        Encoding::VEX_Vgatherdps_xmm_vm32x_xmm
            | Encoding::VEX_Vgatherdps_ymm_vm32y_ymm
            | Encoding::VEX_Vgatherdpd_xmm_vm32x_xmm
            | Encoding::VEX_Vgatherdpd_ymm_vm32x_ymm
            | Encoding::EVEX_Vgatherdps_xmm_k1_vm32x
            | Encoding::EVEX_Vgatherdps_ymm_k1_vm32y
            | Encoding::EVEX_Vgatherdps_zmm_k1_vm32z
            | Encoding::EVEX_Vgatherdpd_xmm_k1_vm32x
            | Encoding::EVEX_Vgatherdpd_ymm_k1_vm32x
            | Encoding::EVEX_Vgatherdpd_zmm_k1_vm32y
    )
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
