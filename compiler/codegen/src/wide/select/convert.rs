//! Conversions between element types.

use super::*;
use crate::wide::machine::Inst as Machine;

impl Selector<'_> {
    pub(super) fn convert(&mut self, val: Val, to: Elem, a: Val) -> Result<(), String> {
        let from = self.elem(a);
        let (narrow, wide) =
            (self.width(a).min(self.width(val)), self.width(a).max(self.width(val)));
        let _ = narrow;
        let single = match (from, to) {
            (Elem::F32, Elem::I32) => Some(Op::CvtF32I32),
            (Elem::I32, Elem::F32) => Some(Op::CvtI32F32),
            (Elem::F32, Elem::F64) => Some(Op::CvtF32F64),
            (Elem::F64, Elem::F32) => Some(Op::CvtF64F32),
            (Elem::I32, Elem::F64) => Some(Op::CvtI32F64),
            (Elem::F64, Elem::I32) => Some(Op::CvtF64I32),
            (Elem::I32, Elem::I64) => Some(Op::CvtI32I64),
            (Elem::I64, Elem::I32) if self.evex => Some(Op::CvtI64I32),
            (Elem::I64, Elem::F64) if self.evex => Some(Op::CvtI64F64),
            (Elem::F64, Elem::I64) if self.evex => Some(Op::CvtF64I64),
            (Elem::I64, Elem::F32) if self.evex => Some(Op::CvtI64F32),
            (Elem::F32, Elem::I64) if self.evex => Some(Op::CvtF32I64),
            (Elem::I64, Elem::I32 | Elem::F64 | Elem::F32) | (Elem::F64 | Elem::F32, Elem::I64) => {
                None
            }
            (Elem::F32, Elem::F32)
            | (Elem::F64, Elem::F64)
            | (Elem::I32, Elem::I32)
            | (Elem::I64, Elem::I64) => {
                return Err("a conversion to its own type that is no alias".to_owned());
            }
        };
        let result = match single {
            Some(op) => {
                // Only full registers are read from memory, and `Put` forms would write it.
                let source =
                    if op == Op::CvtI64I32 { Rm::Reg(self.vec(a)) } else { self.rm(a, op) };
                let dst = self.code.reg(Class::Vec, self.width(val));
                let mut inst = Machine::new(op, wide);
                inst.dst = Some(dst);
                Self::place(&mut inst, 0, source);
                self.push(inst);
                dst
            }
            None => {
                let (width, lanes) = (self.width(a), self.lanes(a));
                let reg = self.vec(a);
                match (from, to) {
                    (Elem::I64, Elem::I32) => self.narrow_lanes_64(reg, width),
                    (Elem::I64, Elem::F64) => self.i64_to_f64(reg, width),
                    _ => self.convert_by_lane(from, to, reg, width, lanes),
                }
            }
        };
        self.bind(val, result);
        Ok(())
    }

    /// The low halves of 64-bit lanes side by side (AVX2).
    pub(super) fn narrow_lanes_64(&mut self, reg: VReg, from: Width) -> VReg {
        if from == Width::X {
            return self.vec1_imm(Op::Shuffle32, Width::X, reg, 0x08);
        }
        let high = self.op1_imm(Op::Extract128, Class::Vec, from, Rm::Reg(reg), Some(1));
        self.vec2_imm(Op::ShufflePair32, Width::X, reg, high, 0x88)
    }

    /// Both halves become exact floats above a power of two; their sum is rounded once.
    /// Source: the bits of 2^52 and 2^84 as biased holders of 32-bit integers.
    fn i64_to_f64(&mut self, reg: VReg, width: Width) -> VReg {
        let high = self.vec1_imm(Op::Shr64, width, reg, 32);
        // 2^84 + (high + 2^31) * 2^32
        let high = self.vec2_const(Op::Xor64, width, high, 0x4530_0000_8000_0000, 8);
        // 2^52 + low
        let holder = self.const_rm(0x4330_0000_0000_0000, 8, width, Op::BlendImm32);
        let low = self.op2_imm(Op::BlendImm32, Class::Vec, width, reg, holder, Some(0xaa));
        // minus 2^84 + 2^63 + 2^52
        let high = self.vec2_const(Op::SubF64, width, high, 0x4530_0000_8010_0000, 8);
        self.vec2(Op::AddF64, width, high, low)
    }

    /// Conversions that AVX2 has for scalars only.
    fn convert_by_lane(
        &mut self,
        from: Elem,
        to: Elem,
        reg: VReg,
        width: Width,
        lanes: u8,
    ) -> VReg {
        let results: Vec<VReg> = (0..lanes)
            .map(|lane| {
                let low = self.lane_low(reg, width, from.bytes(), lane);
                match from {
                    Elem::F64 => self.op1(Op::ScalarF64ToI64, Class::Gpr, Width::X, Rm::Reg(low)),
                    Elem::F32 => self.op1(Op::ScalarF32ToI64, Class::Gpr, Width::X, Rm::Reg(low)),
                    Elem::I64 | Elem::I32 => {
                        let scalar = self.op1(Op::MovToGpr64, Class::Gpr, Width::X, Rm::Reg(low));
                        let zero = self.const_reg(0, 4, Width::X);
                        let float = self.op2(
                            Op::ScalarI64ToF32,
                            Class::Vec,
                            Width::X,
                            zero,
                            Rm::Reg(scalar),
                        );
                        self.op1(Op::MovToGpr32, Class::Gpr, Width::X, Rm::Reg(float))
                    }
                }
            })
            .collect();
        self.lanes_from_scalars(&results, to.bytes())
    }

    /// A vector from scalars in general registers, at most 256 bits.
    fn lanes_from_scalars(&mut self, scalars: &[VReg], bytes: i64) -> VReg {
        let per_half = (16 / bytes) as usize;
        let (first, insert) = if bytes == 8 {
            (Op::MovFromGpr64, Op::InsertLane64)
        } else {
            (Op::MovFromGpr32, Op::InsertLane32)
        };
        let halves: Vec<VReg> = scalars
            .chunks(per_half)
            .map(|chunk| {
                let mut half = self.op1(first, Class::Vec, Width::X, Rm::Reg(chunk[0]));
                for (at, &scalar) in chunk.iter().enumerate().skip(1) {
                    half = self.op2_imm(
                        insert,
                        Class::Vec,
                        Width::X,
                        half,
                        Rm::Reg(scalar),
                        Some(at as i64),
                    );
                }
                half
            })
            .collect();
        match halves[..] {
            [low, high] => {
                self.op2_imm(Op::Insert128, Class::Vec, Width::Y, low, Rm::Reg(high), Some(1))
            }
            _ => halves[0],
        }
    }
}
