//! Runs flat code.

use super::code::{Code, File, Frame, Move, Step, lanes};
use super::lanes as ops;
use super::lanes::Lane;
use crate::entity::EntityRef;
use crate::scalar;
use crate::vector::data::*;
use crate::vector::memory::{AccessError, Memory};

/// What stops an operation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A forbidden access to memory.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A float that does not fit the integer it is converted to; targets differ here.
    #[error("{0:e} does not fit the integer it is converted to")]
    ConvertRange(f64),
    /// A power of two out of the range of `scale_pow2`.
    #[error("2^{0} is out of the range of scale_pow2")]
    ScaleRange(i64),
    /// A division of a negative number or by a number that is not positive.
    #[error("{0} divided by {1}")]
    Division(i64, i64),
    /// A scalar shift by less than 0 or more than 63 bits.
    #[error("a shift by {0} bits")]
    ShiftRange(i64),
    /// A kernel runner's message.
    #[error("the kernel runner failed: {0}")]
    Runner(String),
}

/// Where a run of a function stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    End,
    /// The position after a barrier.
    Barrier(usize),
    /// A call, to be made by the caller, and the position after it.
    Call(usize),
}

/// Runs from a position to the next call or barrier, or to the end. An error comes with its position.
pub(super) fn run(
    code: &Code,
    frame: &mut Frame,
    memory: &mut Memory,
    start: usize,
) -> Result<Stop, (usize, Fault)> {
    let mut at = start;
    while let Some(step) = code.steps.get(at) {
        let here = at;
        at += 1;
        match step {
            Step::Let { to, ty, arg, inst } => {
                inst_step(frame, memory, *to, *ty, *arg, inst).map_err(|fault| (here, fault))?;
            }
            Step::Store { storage, addr, lanes, value, mask } => {
                let at = address(frame, addr);
                let mask = mask.map(|mask| frame.masks[mask]);
                store(frame, memory, *storage, at, *lanes, *value, mask)
                    .map_err(|fault| (here, fault))?;
            }
            Step::IntStore { width, addr, value } => {
                let (at, value) = (address(frame, addr), frame.ints[*value]);
                int_store(memory, *width, at, value).map_err(|fault| (here, fault))?;
            }
            Step::Transpose { file, inputs, results } => transpose(frame, *file, inputs, results),
            Step::Enter { iv, trip, moves, skip, exit } => {
                if frame.ints[*trip] > 0 {
                    moves.iter().for_each(|step| copy(frame, *step));
                    frame.ints[*iv] = 0;
                } else {
                    skip.iter().for_each(|step| copy(frame, *step));
                    at = *exit;
                }
            }
            Step::Repeat { iv, trip, next, crossing, leave, body } => {
                if frame.ints[*iv] + 1 < frame.ints[*trip] {
                    if *crossing {
                        copy_at_once(frame, next);
                    } else {
                        next.iter().for_each(|step| copy(frame, *step));
                    }
                    frame.ints[*iv] += 1;
                    at = *body;
                } else {
                    leave.iter().for_each(|step| copy(frame, *step));
                }
            }
            Step::Unless { cond, exit } => {
                if frame.ints[*cond] == 0 {
                    at = *exit;
                }
            }
            Step::Call { .. } => return Ok(Stop::Call(at)),
            Step::Barrier => return Ok(Stop::Barrier(at)),
        }
    }
    Ok(Stop::End)
}

fn copy(frame: &mut Frame, Move { file, from, to }: Move) {
    match file {
        File::Ints => frame.ints[to] = frame.ints[from],
        File::Lanes32 => frame.lanes32[to] = frame.lanes32[from],
        File::Lanes64 => frame.lanes64[to] = frame.lanes64[from],
        File::Masks => frame.masks[to] = frame.masks[from],
    }
}

/// Reads all sources before it writes; carried values may change places.
fn copy_at_once(frame: &mut Frame, moves: &[Move]) {
    let source = |step: &Move| -> [u64; 16] {
        match step.file {
            File::Ints => [frame.ints[step.from] as u64; 16],
            File::Lanes32 => frame.lanes32[step.from].map(u64::from),
            File::Lanes64 => frame.lanes64[step.from],
            File::Masks => [u64::from(frame.masks[step.from]); 16],
        }
    };
    let sources: Vec<[u64; 16]> = moves.iter().map(source).collect();
    for (step, bits) in moves.iter().zip(sources) {
        match step.file {
            File::Ints => frame.ints[step.to] = bits[0] as i64,
            File::Lanes32 => frame.lanes32[step.to] = bits.map(|bits| bits as u32),
            File::Lanes64 => frame.lanes64[step.to] = bits,
            File::Masks => frame.masks[step.to] = bits[0] as u16,
        }
    }
}

fn address(frame: &Frame, addr: &Addr) -> i64 {
    let base = frame.ints[addr.base.index()].wrapping_add(i64::from(addr.disp));
    match addr.index {
        None => base,
        Some((index, scale)) => {
            base.wrapping_add(frame.ints[index.index()].wrapping_mul(i64::from(scale)))
        }
    }
}

fn int_op(op: IntOp, a: i64, b: i64) -> Result<i64, Fault> {
    let divide = |quotient: bool| {
        if a < 0 || b <= 0 {
            return Err(Fault::Division(a, b));
        }
        Ok(if quotient { a / b } else { a % b })
    };
    let amount = || if (0..64).contains(&b) { Ok(b as u32) } else { Err(Fault::ShiftRange(b)) };
    Ok(match op {
        IntOp::Add => a.wrapping_add(b),
        IntOp::Sub => a.wrapping_sub(b),
        IntOp::Mul => a.wrapping_mul(b),
        IntOp::Div => divide(true)?,
        IntOp::Rem => divide(false)?,
        IntOp::Min => a.min(b),
        IntOp::Max => a.max(b),
        IntOp::And => a & b,
        IntOp::Shl => a << amount()?,
        IntOp::Shr => a >> amount()?,
        IntOp::Less => i64::from(a < b),
        IntOp::Equal => i64::from(a == b),
    })
}

fn all(n: usize) -> u16 {
    if n == 16 { u16::MAX } else { (1 << n) - 1 }
}

/// One operation. `arg` is the type of its first operand that is not an Int.
fn inst_step(
    frame: &mut Frame,
    memory: &mut Memory,
    to: usize,
    ty: Type,
    arg: Type,
    inst: &Inst,
) -> Result<(), Fault> {
    let n = lanes(ty);
    match *inst {
        Inst::IntConst(value) => frame.ints[to] = value,
        Inst::Int(op, a, b) => {
            frame.ints[to] = int_op(op, frame.ints[a.index()], frame.ints[b.index()])?;
        }
        Inst::IntTrailingZeros(a) => {
            frame.ints[to] = i64::from(frame.ints[a.index()].trailing_zeros());
        }
        Inst::IntLoad(width, ref addr) => {
            let at = address(frame, addr);
            frame.ints[to] = match width {
                IntWidth::I32 => i64::from(memory.read_i32(at)?),
                IntWidth::I64 => memory.read_i64(at)?,
            };
        }
        Inst::IntFromLane(a) => {
            let bits = lane_bits(frame, arg, a.index(), 0);
            let wide = File::of(arg) == File::Lanes64;
            frame.ints[to] = if wide { bits as i64 } else { i64::from(bits as i32) };
        }
        Inst::Const { bits, .. } => spread(frame, ty, to, bits),
        Inst::Iota { .. } => set_bits(frame, File::of(ty), to, std::array::from_fn(|i| i as u64)),
        Inst::Splat { value, .. } => spread(frame, ty, to, frame.ints[value.index()] as u64),
        Inst::SplatLane { value, .. } => {
            let bits = lane_bits(frame, ty, value.index(), 0);
            spread(frame, ty, to, bits);
        }
        Inst::Load { storage, ref addr, mask, .. } => {
            let mask = mask.map(|mask| frame.masks[mask.index()]);
            let at = address(frame, addr);
            load(frame, memory, storage, at, n, to, mask)?;
        }
        Inst::Broadcast { storage, ref addr, .. } => {
            let at = address(frame, addr);
            let bits = decode(storage, memory.read(at, storage.bytes() as usize)?);
            spread(frame, ty, to, bits);
        }
        Inst::Gather { storage, ref addr, index, mask, .. } => {
            let mask = mask.map_or(all(n), |mask| frame.masks[mask.index()]);
            let bits = gather(frame, memory, storage, addr, index.index(), n, mask)?;
            set_bits(frame, File::of(ty), to, bits);
        }
        Inst::Mask(op, a, b) => {
            frame.masks[to] = mask_op(op, frame.masks[a.index()], frame.masks[b.index()]);
        }
        Inst::MaskNot(a) => frame.masks[to] = !frame.masks[a.index()] & all(n),
        Inst::MaskFirst { count, .. } => {
            frame.masks[to] = all(frame.ints[count.index()].clamp(0, n as i64) as usize);
        }
        Inst::MaskBits(a) => frame.ints[to] = i64::from(frame.masks[a.index()]),
        Inst::MaskResize { mask, .. } => frame.masks[to] = frame.masks[mask.index()],
        Inst::Select { mask, a, b } => {
            let (mask, a, b) = (frame.masks[mask.index()], a.index(), b.index());
            match File::of(ty) {
                File::Lanes64 => {
                    frame.lanes64[to] = ops::select(mask, frame.lanes64[a], frame.lanes64[b], n);
                }
                File::Lanes32 | File::Ints | File::Masks => {
                    frame.lanes32[to] = ops::select(mask, frame.lanes32[a], frame.lanes32[b], n);
                }
            }
        }
        Inst::Bitcast(_, a) => match File::of(ty) {
            File::Lanes64 => frame.lanes64[to] = frame.lanes64[a.index()],
            File::Lanes32 | File::Ints | File::Masks => {
                frame.lanes32[to] = frame.lanes32[a.index()]
            }
        },
        Inst::Lane(a, lane) => {
            let mut bits = [0; 16];
            bits[0] = lane_bits(frame, ty, a.index(), usize::from(lane));
            set_bits(frame, File::of(ty), to, bits);
        }
        Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Shift(..)
        | Inst::Fma { .. }
        | Inst::Compare(..)
        | Inst::Convert(..)
        | Inst::ScalePow2 { .. }
        | Inst::Fold(..) => {
            let Type::Vec { elem, lanes } = arg else { unreachable!("verified: lanes come in") };
            return arithmetic(frame, to, elem, usize::from(lanes), inst);
        }
    }
    Ok(())
}

/// Arithmetic of lanes of `elem`, `n` of them in the operands.
fn arithmetic(
    frame: &mut Frame,
    to: usize,
    elem: Elem,
    n: usize,
    inst: &Inst,
) -> Result<(), Fault> {
    match *inst {
        Inst::Unary(op, a) => match elem {
            Elem::F32 => ops::float_unary::<f32>(frame, op, to, a.index(), n),
            Elem::F64 => ops::float_unary::<f64>(frame, op, to, a.index(), n),
            Elem::I32 | Elem::I64 => ops::int_unary(frame, op, elem, to, a.index(), n),
        },
        Inst::Binary(op, a, b) => {
            let operands = [a.index(), b.index()];
            match elem {
                Elem::F32 => ops::float_binary::<f32>(frame, op, to, operands, n),
                Elem::F64 => ops::float_binary::<f64>(frame, op, to, operands, n),
                Elem::I32 => ops::i32_binary(frame, op, to, operands, n),
                Elem::I64 => ops::i64_binary(frame, op, to, operands, n),
            }
        }
        Inst::Shift(op, a, by) => ops::shift(frame, op, elem, to, a.index(), n, by),
        Inst::Fma { a, b, c, negate } => {
            let operands = [a.index(), b.index(), c.index()];
            if elem == Elem::F32 {
                ops::fma::<f32>(frame, to, operands, n, negate);
            } else {
                ops::fma::<f64>(frame, to, operands, n, negate);
            }
        }
        Inst::Compare(op, a, b) => {
            let operands = [a.index(), b.index()];
            frame.masks[to] = match elem {
                Elem::F32 => ops::compare::<f32>(frame, op, operands, n),
                Elem::F64 => ops::compare::<f64>(frame, op, operands, n),
                Elem::I32 => ops::compare::<i32>(frame, op, operands, n),
                Elem::I64 => ops::compare::<i64>(frame, op, operands, n),
            };
        }
        Inst::Convert(target, a) => ops::convert(frame, elem, target, to, a.index(), n)?,
        Inst::ScalePow2 { p, n: powers } => {
            if elem == Elem::F32 {
                let powers = i32::get(frame, powers.index()).map(i64::from);
                ops::scale_pow2::<f32>(frame, to, p.index(), powers, n)?;
            } else {
                let powers = i64::get(frame, powers.index());
                ops::scale_pow2::<f64>(frame, to, p.index(), powers, n)?;
            }
        }
        Inst::Fold(op, a) => match elem {
            Elem::F32 => ops::fold::<f32>(frame, op, to, a.index(), n, |x, y| x + y),
            Elem::F64 => ops::fold::<f64>(frame, op, to, a.index(), n, |x, y| x + y),
            Elem::I32 => ops::fold::<i32>(frame, op, to, a.index(), n, i32::wrapping_add),
            Elem::I64 => ops::fold::<i64>(frame, op, to, a.index(), n, i64::wrapping_add),
        },
        Inst::IntConst(_)
        | Inst::Int(..)
        | Inst::IntTrailingZeros(_)
        | Inst::IntLoad(..)
        | Inst::IntFromLane(_)
        | Inst::Const { .. }
        | Inst::Iota { .. }
        | Inst::Splat { .. }
        | Inst::SplatLane { .. }
        | Inst::Load { .. }
        | Inst::Broadcast { .. }
        | Inst::Gather { .. }
        | Inst::Mask(..)
        | Inst::MaskNot(_)
        | Inst::MaskFirst { .. }
        | Inst::MaskBits(_)
        | Inst::MaskResize { .. }
        | Inst::Select { .. }
        | Inst::Bitcast(..)
        | Inst::Lane(..) => unreachable!("run by the caller"),
    }
    Ok(())
}

fn mask_op(op: MaskOp, a: u16, b: u16) -> u16 {
    match op {
        MaskOp::And => a & b,
        MaskOp::Or => a | b,
        MaskOp::Xor => a ^ b,
        MaskOp::AndNot => a & !b,
    }
}

/// Lanes of elements at `addr + index * size`; zero where the mask does not hold.
fn gather(
    frame: &Frame,
    memory: &mut Memory,
    storage: Storage,
    addr: &Addr,
    index: usize,
    n: usize,
    mask: u16,
) -> Result<[u64; 16], Fault> {
    let origin = address(frame, addr);
    let index = i32::get(frame, index);
    let mut bits = [0; 16];
    for i in (0..n).filter(|i| mask >> i & 1 == 1) {
        let at = origin.wrapping_add(i64::from(index[i]).wrapping_mul(storage.bytes()));
        bits[i] = decode(storage, memory.read(at, storage.bytes() as usize)?);
    }
    Ok(bits)
}

/// The bits of one lane of a vector, in the low half or whole.
fn lane_bits(frame: &Frame, ty: Type, slot: usize, lane: usize) -> u64 {
    match File::of(ty) {
        File::Lanes64 => frame.lanes64[slot][lane],
        File::Lanes32 | File::Ints | File::Masks => u64::from(frame.lanes32[slot][lane]),
    }
}

/// The low bits in every lane.
fn spread(frame: &mut Frame, ty: Type, to: usize, bits: u64) {
    match File::of(ty) {
        File::Lanes64 => frame.lanes64[to] = [bits; 16],
        File::Lanes32 | File::Ints | File::Masks => frame.lanes32[to] = [bits as u32; 16],
    }
}

fn set_bits(frame: &mut Frame, file: File, to: usize, bits: [u64; 16]) {
    match file {
        File::Lanes64 => frame.lanes64[to] = bits,
        File::Lanes32 | File::Ints | File::Masks => {
            frame.lanes32[to] = bits.map(|bits| bits as u32)
        }
    }
}

/// The bits of a lane from an element in memory.
fn decode(storage: Storage, bytes: &[u8]) -> u64 {
    let word16 = || u16::from_le_bytes([bytes[0], bytes[1]]);
    match storage {
        Storage::F64 | Storage::I64 => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        Storage::F32 | Storage::I32 => {
            u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        }
        Storage::U8 => u64::from(bytes[0]),
        Storage::I8 => u64::from(i32::from(bytes[0] as i8) as u32),
        Storage::Bf16 => u64::from(scalar::bf16_to_f32(word16()).to_bits()),
        Storage::F16 => u64::from(scalar::f16_to_f32(word16()).to_bits()),
    }
}

/// Writes a lane's bits as an element in memory.
fn encode(storage: Storage, bits: u64, bytes: &mut [u8]) {
    let single = f32::from_bits(bits as u32);
    match storage {
        Storage::F64 | Storage::I64 => bytes.copy_from_slice(&bits.to_le_bytes()),
        Storage::F32 | Storage::I32 => bytes.copy_from_slice(&(bits as u32).to_le_bytes()),
        Storage::U8 | Storage::I8 => bytes[0] = bits as u8,
        Storage::Bf16 => bytes.copy_from_slice(&scalar::f32_to_bf16(single).to_le_bytes()),
        Storage::F16 => bytes.copy_from_slice(&scalar::f32_to_f16(single).to_le_bytes()),
    }
}

fn load(
    frame: &mut Frame,
    memory: &mut Memory,
    storage: Storage,
    at: i64,
    n: usize,
    to: usize,
    mask: Option<u16>,
) -> Result<(), Fault> {
    let size = storage.bytes() as usize;
    let wide = storage.elem().bits() == 64;
    if let Some(mask) = mask {
        let mut bits = [0; 16];
        for i in (0..n).filter(|i| mask >> i & 1 == 1) {
            bits[i] = decode(storage, memory.read(at.wrapping_add((i * size) as i64), size)?);
        }
        set_bits(frame, if wide { File::Lanes64 } else { File::Lanes32 }, to, bits);
        return Ok(());
    }
    let bytes = memory.read(at, n * size)?;
    if wide {
        let lanes = &mut frame.lanes64[to];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(size)) {
            *lane = decode(storage, bytes);
        }
    } else if size == 4 {
        let lanes = &mut frame.lanes32[to];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(4)) {
            *lane = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
    } else {
        let lanes = &mut frame.lanes32[to];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(size)) {
            *lane = decode(storage, bytes) as u32;
        }
    }
    Ok(())
}

fn store(
    frame: &Frame,
    memory: &mut Memory,
    storage: Storage,
    at: i64,
    n: usize,
    value: usize,
    mask: Option<u16>,
) -> Result<(), Fault> {
    let size = storage.bytes() as usize;
    let wide = storage.elem().bits() == 64;
    let lane = |i: usize| {
        if wide { frame.lanes64[value][i] } else { u64::from(frame.lanes32[value][i]) }
    };
    if let Some(mask) = mask {
        for i in (0..n).filter(|i| mask >> i & 1 == 1) {
            encode(storage, lane(i), memory.write(at.wrapping_add((i * size) as i64), size)?);
        }
        return Ok(());
    }
    let bytes = memory.write(at, n * size)?;
    if size == 4 {
        for (lane, bytes) in frame.lanes32[value].iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&lane.to_le_bytes());
        }
    } else {
        for (i, bytes) in bytes.chunks_exact_mut(size).enumerate() {
            encode(storage, lane(i), bytes);
        }
    }
    Ok(())
}

fn int_store(memory: &mut Memory, width: IntWidth, at: i64, value: i64) -> Result<(), Fault> {
    match width {
        IntWidth::I32 => memory.write(at, 4)?.copy_from_slice(&(value as i32).to_le_bytes()),
        IntWidth::I64 => memory.write(at, 8)?.copy_from_slice(&value.to_le_bytes()),
    }
    Ok(())
}

fn transpose(frame: &mut Frame, file: File, inputs: &[usize], results: &[usize]) {
    let n = inputs.len();
    let mut columns = vec![[0_u64; 16]; n];
    for (j, &input) in inputs.iter().enumerate() {
        for (i, column) in columns.iter_mut().enumerate() {
            column[j] = match file {
                File::Lanes64 => frame.lanes64[input][i],
                File::Lanes32 | File::Ints | File::Masks => u64::from(frame.lanes32[input][i]),
            };
        }
    }
    for (&result, column) in results.iter().zip(columns) {
        set_bits(frame, file, result, column);
    }
}
