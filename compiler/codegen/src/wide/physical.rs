//! Instructions whose operands have physical numbers, as `iced-x86` encodes them.

use iced_x86::{Code as Encoding, Instruction, OpKind, Register};

use super::encode::RSP;
use super::machine::Width;
use super::table::{Form, Imm, Kind, Op};

/// An instruction whose operands have physical numbers.
#[derive(Clone, Copy)]
pub(super) struct Physical {
    pub op: Op,
    pub width: Width,
    pub dst: Option<u8>,
    pub srcs: [Option<u8>; 3],
    pub mem: Option<PhysicalMem>,
    pub imm: Option<i64>,
    pub mask: Option<u8>,
    pub zeroing: bool,
    pub broadcast: bool,
}

#[derive(Clone, Copy)]
pub(super) struct PhysicalMem {
    pub base: PhysicalBase,
    pub index: Option<(u8, u8)>,
    pub disp: i32,
}

#[derive(Clone, Copy)]
pub(super) enum PhysicalBase {
    Reg(u8),
    Const(u32),
}

impl Physical {
    pub(super) fn new(op: Op, width: Width) -> Self {
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

pub(super) fn slot_mem(slot: u32, disp: i32) -> PhysicalMem {
    PhysicalMem { base: PhysicalBase::Reg(RSP), index: None, disp: slot as i32 * 64 + disp }
}

/// The register of a kind with a physical number.
pub(super) fn register(kind: Kind, width: Width, number: u8) -> Register {
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
pub(super) fn build(inst: &Physical, evex: bool) -> Result<Instruction, String> {
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

pub(super) fn set_memory(
    instruction: &mut Instruction,
    mem: &PhysicalMem,
    width: Width,
    kind: Kind,
) {
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
