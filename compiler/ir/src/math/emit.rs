//! Vector IR as an instance of [`Arith`].

use super::arith::Arith;
use super::format::{F32, F64, Format};
use super::{UnaryMath, apply};
use crate::vector::{
    Compare, Elem, FunctionBuilder, Inst, ShiftOp, Type, Val, VecBinary, VecUnary,
};

/// Appends the operations of a function of one vector to the open block, and returns the result.
///
/// # Panics
/// If `x` is not a vector of floats.
pub fn emit(builder: &mut FunctionBuilder, fun: UnaryMath, x: Val) -> Val {
    let ty = builder.ty(x);
    let Type::Vec { elem, lanes } = ty else { panic!("{} of a {ty:?}", fun.name()) };
    let (format, int_elem) = match elem {
        Elem::F32 => (&F32, Elem::I32),
        Elem::F64 => (&F64, Elem::I64),
        Elem::I32 | Elem::I64 => panic!("{} of integer lanes", fun.name()),
    };
    let int_ty = Type::Vec { elem: int_elem, lanes };
    apply(&mut Emitter { builder, format, ty, int_ty, constants: Vec::new() }, fun, x)
}

/// Appends to one block of a function.
struct Emitter<'a> {
    builder: &'a mut FunctionBuilder,
    format: &'static Format,
    ty: Type,
    int_ty: Type,
    /// Constants made so far, so that each stands once in the block.
    constants: Vec<(Type, u64, Val)>,
}

impl Emitter<'_> {
    fn constant(&mut self, ty: Type, bits: u64) -> Val {
        let known = self.constants.iter().find(|known| known.0 == ty && known.1 == bits);
        if let Some(&(_, _, val)) = known {
            return val;
        }
        let val = self.builder.inst(Inst::Const { ty, bits });
        self.constants.push((ty, bits, val));
        val
    }

    fn int_elem(&self) -> Elem {
        if self.format.bits == 32 { Elem::I32 } else { Elem::I64 }
    }

    fn float_elem(&self) -> Elem {
        if self.format.bits == 32 { Elem::F32 } else { Elem::F64 }
    }
}

impl Arith for Emitter<'_> {
    type F = Val;
    type I = Val;
    type M = Val;

    fn format(&self) -> &'static Format {
        self.format
    }
    fn float(&mut self, value: f64) -> Val {
        let bits = match self.format.bits {
            32 => u64::from((value as f32).to_bits()),
            _ => value.to_bits(),
        };
        self.constant(self.ty, bits)
    }
    fn int(&mut self, value: i64) -> Val {
        let bits = match self.format.bits {
            32 => u64::from(value as u32),
            _ => value as u64,
        };
        self.constant(self.int_ty, bits)
    }
    fn add(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Add, a, b)
    }
    fn sub(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Sub, a, b)
    }
    fn mul(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Mul, a, b)
    }
    fn div(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Div, a, b)
    }
    fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.builder.inst(Inst::Fma { a, b, c, negate: false })
    }
    fn fnma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.builder.inst(Inst::Fma { a, b, c, negate: true })
    }
    fn abs(&mut self, a: Val) -> Val {
        self.builder.inst(Inst::Unary(VecUnary::Abs, a))
    }
    fn neg(&mut self, a: Val) -> Val {
        self.builder.inst(Inst::Unary(VecUnary::Neg, a))
    }
    fn min(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Min, a, b)
    }
    fn max(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Max, a, b)
    }
    fn scale_pow2(&mut self, p: Val, n: Val) -> Val {
        self.builder.inst(Inst::ScalePow2 { p, n })
    }
    fn less(&mut self, a: Val, b: Val) -> Val {
        self.builder.inst(Inst::Compare(Compare::Lt, a, b))
    }
    fn equal(&mut self, a: Val, b: Val) -> Val {
        self.builder.inst(Inst::Compare(Compare::Eq, a, b))
    }
    fn int_equal(&mut self, a: Val, b: Val) -> Val {
        self.builder.inst(Inst::Compare(Compare::Eq, a, b))
    }
    fn select(&mut self, mask: Val, a: Val, b: Val) -> Val {
        self.builder.inst(Inst::Select { mask, a, b })
    }
    fn to_bits(&mut self, a: Val) -> Val {
        self.builder.inst(Inst::Bitcast(self.int_elem(), a))
    }
    fn with_bits(&mut self, a: Val) -> Val {
        self.builder.inst(Inst::Bitcast(self.float_elem(), a))
    }
    fn int_add(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Add, a, b)
    }
    fn int_sub(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Sub, a, b)
    }
    fn int_and(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::And, a, b)
    }
    fn int_xor(&mut self, a: Val, b: Val) -> Val {
        self.builder.binary(VecBinary::Xor, a, b)
    }
    fn int_shl(&mut self, a: Val, by: u8) -> Val {
        self.builder.inst(Inst::Shift(ShiftOp::Left, a, by))
    }
    fn int_shr(&mut self, a: Val, by: u8) -> Val {
        self.builder.inst(Inst::Shift(ShiftOp::RightLogical, a, by))
    }
}
