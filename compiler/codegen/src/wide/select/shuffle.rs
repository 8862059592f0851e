//! Values that cross lanes: splats, single lanes, folds, transpositions.

use super::*;
use crate::wide::machine::Inst as Machine;
use dlc_ir::vector::{FoldOp, VecBinary};

impl Selector<'_> {
    pub(super) fn iota(&mut self, val: Val, ty: Type) {
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        let mem = self.iota_mem(bytes, width);
        let reg = self.load(Op::Load32, width, Class::Vec, mem);
        self.bind(val, reg);
    }

    /// The constant 0, 1, 2, .. over a register.
    pub(super) fn iota_mem(&mut self, bytes: i64, width: Width) -> Mem {
        let lanes = width.bytes() / bytes;
        let constant =
            (0..lanes).flat_map(|lane| lane.to_le_bytes()[..bytes as usize].to_vec()).collect();
        self.pool(constant)
    }

    pub(super) fn splat(&mut self, val: Val, ty: Type, value: Val) {
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        if let Some(value) = self.int_value(value) {
            let bits = if bytes == 4 { u64::from(value as u32) } else { value as u64 };
            self.bindings[val] = Binding::Const { bits, bytes, width };
            return;
        }
        let scalar = self.gpr(value);
        let result = if self.evex {
            let op = if bytes == 4 { Op::SplatGpr32 } else { Op::SplatGpr64 };
            self.vec1(op, width, scalar)
        } else {
            let op = if bytes == 4 { Op::MovFromGpr32 } else { Op::MovFromGpr64 };
            let low = self.vec1(op, Width::X, scalar);
            if total_bytes(ty) == bytes { low } else { self.splat_low(low, bytes, width) }
        };
        self.bind(val, result);
    }

    pub(super) fn splat_lane(&mut self, val: Val, ty: Type, value: Val) {
        let (bytes, width) = (elem_bytes(ty), width_of(ty));
        if let Binding::Const { bits, .. } = self.bindings[value] {
            self.bindings[val] = Binding::Const { bits, bytes, width };
            return;
        }
        let low = self.vec(value);
        let result = self.splat_low(low, bytes, width);
        self.bind(val, result);
    }

    /// The lowest element in every lane.
    pub(super) fn splat_low(&mut self, low: VReg, bytes: i64, width: Width) -> VReg {
        self.vec1(if bytes == 4 { Op::Splat32 } else { Op::Splat64 }, width, low)
    }

    pub(super) fn lane(&mut self, val: Val, a: Val, lane: u8) {
        let (bytes, width) = (self.elem(a).bytes(), self.width(a));
        let reg = self.vec(a);
        let result = self.lane_low(reg, width, bytes, lane);
        self.bind(val, result);
    }

    /// One lane at the bottom of an xmm register; what lies above is unspecified.
    pub(super) fn lane_low(&mut self, reg: VReg, width: Width, bytes: i64, lane: u8) -> VReg {
        let at = i64::from(lane) * bytes;
        let mut low = reg;
        if at >= 16 {
            low = self.extract_128(reg, width, at / 16);
        }
        match (at % 16, bytes) {
            (0, _) => low,
            (_, 4) => self.vec1_imm(Op::Shuffle32, Width::X, low, at % 16 / 4),
            _ => self.vec1_imm(Op::Shuffle32, Width::X, low, 0xee),
        }
    }

    fn extract_128(&mut self, reg: VReg, width: Width, piece: i64) -> VReg {
        self.extract(Op::Extract128, Width::X, reg, width, piece)
    }

    fn extract(&mut self, op: Op, to: Width, reg: VReg, width: Width, piece: i64) -> VReg {
        let dst = self.code.reg(Class::Vec, to);
        let mut inst = Machine::new(op, width);
        inst.dst = Some(dst);
        inst.srcs[0] = Some(reg);
        inst.imm = Some(piece);
        self.push(inst);
        dst
    }

    // Folds.

    pub(super) fn fold(&mut self, val: Val, op: FoldOp, a: Val) -> Result<(), String> {
        let (elem, mut lanes) = (self.elem(a), self.lanes(a));
        let bytes = elem.bytes();
        let mut low = self.vec(a);
        while lanes > 1 {
            lanes /= 2;
            let half = bytes * i64::from(lanes);
            let high = match half {
                32 => self.extract(Op::Extract256, Width::Y, low, Width::Z, 1),
                16 => self.extract_128(low, Width::Y, 1),
                8 => self.vec1_imm(Op::Shuffle32, Width::X, low, 0xee),
                4 => self.vec1_imm(Op::Shuffle32, Width::X, low, 0x55),
                _ => return Err(format!("a fold of {} bytes", 2 * half)),
            };
            low = self.fold_step(op, elem, Width::of_bytes(half), low, high);
        }
        self.bind(val, low);
        Ok(())
    }

    /// Lane i with the lane above the half.
    fn fold_step(&mut self, op: FoldOp, elem: Elem, width: Width, low: VReg, high: VReg) -> VReg {
        match (op, elem) {
            (FoldOp::Add, Elem::F32) => self.vec2(Op::AddF32, width, low, high),
            (FoldOp::Add, Elem::F64) => self.vec2(Op::AddF64, width, low, high),
            (FoldOp::Add, Elem::I32) => self.vec2(Op::AddI32, width, low, high),
            (FoldOp::Add, Elem::I64) => self.vec2(Op::AddI64, width, low, high),
            (FoldOp::Max, Elem::F32) => self.fold_float(Op::MaxF32, 4, width, low, high),
            (FoldOp::Max, Elem::F64) => self.fold_float(Op::MaxF64, 8, width, low, high),
            (FoldOp::Min, Elem::F32) => self.fold_float(Op::MinF32, 4, width, low, high),
            (FoldOp::Min, Elem::F64) => self.fold_float(Op::MinF64, 8, width, low, high),
            (FoldOp::Max, Elem::I32) => self.vec2(Op::MaxI32, width, low, high),
            (FoldOp::Min, Elem::I32) => self.vec2(Op::MinI32, width, low, high),
            (FoldOp::Max, Elem::I64) if self.evex => self.vec2(Op::MaxI64, width, low, high),
            (FoldOp::Min, Elem::I64) if self.evex => self.vec2(Op::MinI64, width, low, high),
            (FoldOp::Max, Elem::I64) => self.binary_sequence(VecBinary::Max, width, low, high),
            (FoldOp::Min, Elem::I64) => self.binary_sequence(VecBinary::Min, width, low, high),
        }
    }

    /// `high op low ? high : low`, and `high` where that is NaN: the machine's maximum gives `low` for NaN and ties.
    fn fold_float(&mut self, op: Op, bytes: i64, width: Width, low: VReg, high: VReg) -> VReg {
        const UNORDERED: i64 = 3;
        let best = self.vec2(op, width, high, low);
        if !self.evex {
            let compare = if bytes == 4 { Op::CmpF32 } else { Op::CmpF64 };
            let is_nan = self.vec2_imm(compare, width, high, high, UNORDERED);
            return self.blend_lanes(bytes, width, best, Rm::Reg(high), is_nan);
        }
        let (compare, blend) = if bytes == 4 {
            (Op::CmpMaskF32, Op::BlendMask32)
        } else {
            (Op::CmpMaskF64, Op::BlendMask64)
        };
        let is_nan =
            self.op2_imm(compare, Class::Mask, width, high, Rm::Reg(high), Some(UNORDERED));
        let dst = self.code.reg(Class::Vec, width);
        let mut inst = Machine::new(blend, width);
        inst.dst = Some(dst);
        inst.srcs = [Some(best), Some(high), None];
        inst.mask = Some(is_nan);
        self.push(inst);
        dst
    }

    // Transpositions.

    pub(super) fn transpose(&mut self, inputs: &[Val], results: &[Val]) -> Result<(), String> {
        let bytes = self.elem(inputs[0]).bytes();
        let width = self.width(inputs[0]);
        let rows: Vec<VReg> = inputs.iter().map(|&input| self.vec(input)).collect();
        let columns = match (bytes, rows.len()) {
            (_, 1) => rows,
            (4, 2) => {
                let both = self.vec2(Op::UnpackLow32, Width::X, rows[0], rows[1]);
                let second = self.vec1_imm(Op::Shuffle32, Width::X, both, 0xee);
                vec![both, second]
            }
            (4, 4 | 8 | 16) => {
                let quads: Vec<[VReg; 4]> =
                    rows.chunks(4).map(|rows| self.transpose_in_pieces(width, rows)).collect();
                self.gather_pieces(width, &quads, 4)
            }
            (8, 2 | 4 | 8) => {
                let pairs: Vec<[VReg; 2]> = rows
                    .chunks(2)
                    .map(|rows| {
                        [Op::UnpackLow64, Op::UnpackHigh64]
                            .map(|op| self.vec2(op, width, rows[0], rows[1]))
                    })
                    .collect();
                self.gather_pieces(width, &pairs, 2)
            }
            (bytes, n) => {
                return Err(format!("a transposition of {n} vectors of {bytes}-byte elements"));
            }
        };
        for (&result, column) in results.iter().zip(columns) {
            self.bind(result, column);
        }
        Ok(())
    }

    /// Transposes the 4x4 blocks in each 128-bit piece of four rows.
    fn transpose_in_pieces(&mut self, width: Width, rows: &[VReg]) -> [VReg; 4] {
        let low_01 = self.vec2(Op::UnpackLow32, width, rows[0], rows[1]);
        let high_01 = self.vec2(Op::UnpackHigh32, width, rows[0], rows[1]);
        let low_23 = self.vec2(Op::UnpackLow32, width, rows[2], rows[3]);
        let high_23 = self.vec2(Op::UnpackHigh32, width, rows[2], rows[3]);
        [
            self.vec2(Op::UnpackLow64, width, low_01, low_23),
            self.vec2(Op::UnpackHigh64, width, low_01, low_23),
            self.vec2(Op::UnpackLow64, width, high_01, high_23),
            self.vec2(Op::UnpackHigh64, width, high_01, high_23),
        ]
    }

    /// `groups[g][j]` holds in its 128-bit piece `l` the part of column `l * per_piece + j` that comes from row group
    /// `g`; returns the columns.
    fn gather_pieces<const N: usize>(
        &mut self,
        width: Width,
        groups: &[[VReg; N]],
        per_piece: usize,
    ) -> Vec<VReg> {
        let n_pieces = groups.len();
        let mut columns = vec![groups[0][0]; n_pieces * per_piece];
        for j in 0..per_piece {
            let parts: Vec<VReg> = groups.iter().map(|group| group[j]).collect();
            let pieces = match parts[..] {
                [only] => vec![only],
                [a, b] => {
                    let (low, high) = if self.evex { (0x00, 0x03) } else { (0x20, 0x31) };
                    vec![
                        self.vec2_imm(Op::Shuffle128, width, a, b, low),
                        self.vec2_imm(Op::Shuffle128, width, a, b, high),
                    ]
                }
                _ => self.transpose_128(&parts),
            };
            for (piece, column) in pieces.into_iter().enumerate() {
                columns[piece * per_piece + j] = column;
            }
        }
        columns
    }

    /// A 4x4 transposition of 128-bit pieces (zmm).
    fn transpose_128(&mut self, parts: &[VReg]) -> Vec<VReg> {
        let mut shuffle = |a, b, imm| self.vec2_imm(Op::Shuffle128, Width::Z, a, b, imm);
        let low_01 = shuffle(parts[0], parts[1], 0x44);
        let low_23 = shuffle(parts[2], parts[3], 0x44);
        let high_01 = shuffle(parts[0], parts[1], 0xee);
        let high_23 = shuffle(parts[2], parts[3], 0xee);
        vec![
            shuffle(low_01, low_23, 0x88),
            shuffle(low_01, low_23, 0xdd),
            shuffle(high_01, high_23, 0x88),
            shuffle(high_01, high_23, 0xdd),
        ]
    }
}
