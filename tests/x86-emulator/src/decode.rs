//! From bytes to the dense form that the emulator executes.

use iced_x86::{
    Decoder, DecoderOptions, Formatter, GasFormatter, Instruction, MemorySize, Mnemonic, OpKind,
    Register,
};

use crate::EmulatorError;

/// An operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// None.
    None,
    /// Vector register.
    Vec(u8),
    /// Mask register.
    Mask(u8),
    /// General register with its bytes.
    Gpr(u8, u8),
    /// The memory operand.
    Mem,
}

/// A memory operand; for RIP-relative ones the displacement is the address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemOperand {
    pub base: Option<u8>,
    pub index: Option<u8>,
    pub index_is_vector: bool,
    pub scale: u8,
    pub disp: i64,
}

/// A decoded instruction.
#[derive(Debug, Clone)]
pub(crate) struct Insn {
    pub mnemonic: Mnemonic,
    /// Operands, immediates among them.
    pub n_ops: u8,
    pub ops: [Operand; 4],
    pub mem: MemOperand,
    /// Bytes of the widest vector operand, in a register or in memory.
    pub width: u8,
    /// Bytes of the memory operand, of one element if it is broadcast.
    pub mem_bytes: u8,
    pub imm: i64,
    /// Writemask register, 0 for none.
    pub mask: u8,
    pub zeroing: bool,
    pub broadcast: bool,
    /// For branches the index of the target instruction.
    pub target: u32,
    /// Bytes from the function's start.
    pub offset: u32,
}

/// Decodes up to the `ret`.
pub(crate) fn decode(bytes: &[u8], base: u64) -> Result<Vec<Insn>, EmulatorError> {
    let mut decoder = Decoder::with_ip(64, bytes, base, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut insns = Vec::new();
    let mut targets = Vec::new();
    let mut offsets = vec![u32::MAX; bytes.len() + 1];
    loop {
        if !decoder.can_decode() {
            return Err(EmulatorError::Unknown {
                offset: bytes.len(),
                text: "code without an end".to_owned(),
            });
        }
        decoder.decode_out(&mut instruction);
        let offset = (instruction.ip() - base) as usize;
        if instruction.is_invalid() {
            return Err(EmulatorError::Unknown { offset, text: "(bad)".to_owned() });
        }
        offsets[offset] = insns.len() as u32;
        let insn = convert(&instruction, offset as u32)
            .ok_or_else(|| EmulatorError::Unknown { offset, text: text(bytes, offset) })?;
        let is_branch =
            instruction.op_count() == 1 && instruction.op0_kind() == OpKind::NearBranch64;
        targets.push(is_branch.then(|| instruction.near_branch_target().wrapping_sub(base)));
        insns.push(insn);
        if instruction.mnemonic() == Mnemonic::Ret {
            break;
        }
    }
    for (insn, target) in insns.iter_mut().zip(&targets) {
        if let Some(target) = target {
            let index = offsets.get(*target as usize).copied().unwrap_or(u32::MAX);
            if index == u32::MAX {
                let offset = insn.offset as usize;
                return Err(EmulatorError::Unknown { offset, text: text(bytes, offset) });
            }
            insn.target = index;
        }
    }
    Ok(insns)
}

/// The text of the instruction at an offset.
pub(crate) fn text(bytes: &[u8], offset: usize) -> String {
    let mut decoder = Decoder::with_ip(64, &bytes[offset..], offset as u64, DecoderOptions::NONE);
    let mut text = String::new();
    GasFormatter::new().format(&decoder.decode(), &mut text);
    text
}

fn convert(instruction: &Instruction, offset: u32) -> Option<Insn> {
    let mut insn = Insn {
        mnemonic: instruction.mnemonic(),
        n_ops: instruction.op_count() as u8,
        ops: [Operand::None; 4],
        mem: MemOperand { base: None, index: None, index_is_vector: false, scale: 1, disp: 0 },
        width: 0,
        mem_bytes: 0,
        imm: 0,
        mask: 0,
        zeroing: instruction.zeroing_masking(),
        broadcast: instruction.is_broadcast(),
        target: 0,
        offset,
    };
    if instruction.has_op_mask() {
        insn.mask = instruction.op_mask().number() as u8;
    }
    for at in 0..instruction.op_count() {
        let operand = match instruction.op_kind(at) {
            OpKind::Register => register(instruction.op_register(at), &mut insn.width)?,
            OpKind::Memory => {
                memory(instruction, &mut insn)?;
                Operand::Mem
            }
            OpKind::NearBranch64 => Operand::None,
            OpKind::Immediate8
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32
            | OpKind::Immediate32to64
            | OpKind::Immediate64 => {
                insn.imm = instruction.immediate(at) as i64;
                Operand::None
            }
            _ => return None,
        };
        *insn.ops.get_mut(at as usize).unwrap_or(&mut Operand::None) = operand;
    }
    Some(insn)
}

fn register(register: Register, width: &mut u8) -> Option<Operand> {
    let number = register.number() as u8;
    Some(match () {
        () if register.is_vector_register() => {
            *width = (*width).max(register.size() as u8);
            Operand::Vec(number)
        }
        () if register.is_k() => Operand::Mask(number),
        () if register.is_gpr64() => Operand::Gpr(number, 8),
        () if register.is_gpr32() => Operand::Gpr(number, 4),
        () if register.is_gpr16() => Operand::Gpr(number, 2),
        // The old high bytes are not part of what is emulated.
        () if register.is_gpr8()
            && !matches!(register, Register::AH | Register::BH | Register::CH | Register::DH) =>
        {
            Operand::Gpr(register.full_register().number() as u8, 1)
        }
        () => return None,
    })
}

/// Bytes of the vector that a broadcast fills; 0 for those that the destination's width tells.
fn broadcast_bytes(size: MemorySize) -> u8 {
    match size {
        MemorySize::Broadcast128_Float64 | MemorySize::Broadcast128_Int64 => 16,
        MemorySize::Broadcast256_Float64 | MemorySize::Broadcast256_Int64 => 32,
        MemorySize::Broadcast512_Float64 | MemorySize::Broadcast512_Int64 => 64,
        _ => 0,
    }
}

fn memory(instruction: &Instruction, insn: &mut Insn) -> Option<()> {
    let gpr = |register: Register| (register != Register::None).then(|| register.number() as u8);
    let base = instruction.memory_base();
    let index = instruction.memory_index();
    insn.mem.disp = instruction.memory_displacement64() as i64;
    if base != Register::RIP {
        if base != Register::None && !base.is_gpr64() {
            return None;
        }
        insn.mem.base = gpr(base);
    }
    insn.mem.index = gpr(index);
    insn.mem.index_is_vector = index.is_vector_register();
    if insn.mem.index_is_vector {
        insn.width = insn.width.max(index.size() as u8);
    }
    insn.mem.scale = instruction.memory_index_scale() as u8;
    let size = instruction.memory_size();
    insn.mem_bytes = if size == MemorySize::Unknown { 0 } else { size.size() as u8 };
    // Narrowing conversions have a memory operand that is wider than their destination.
    insn.width =
        insn.width.max(if insn.broadcast { broadcast_bytes(size) } else { insn.mem_bytes });
    Some(())
}
