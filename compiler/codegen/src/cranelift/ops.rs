//! Scalar integers and lane-wise operations.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use dlc_ir::vector::{
    Compare, Elem, FoldOp, Inst, IntOp, MaskOp, ShiftOp, Type, Val, VecBinary, VecUnary,
};

use super::control::{Lowering, register_type};

impl Lowering<'_> {
    /// Lowers an operation whose result has type `ty`.
    pub(super) fn inst(&mut self, ty: Type, inst: &Inst) -> Value {
        match inst {
            Inst::IntConst(value) => self.iconst(*value),
            Inst::Int(op, a, b) => self.int_op(*op, *a, *b),
            Inst::IntTrailingZeros(a) => {
                let a = self.val(*a);
                self.b.ins().ctz(a)
            }
            Inst::IntLoad(width, addr) => self.int_load(*width, addr),
            Inst::IntFromLane(a) => self.int_from_lane(*a),
            Inst::Const { bits, .. } => self.constant(ty, |_| *bits),
            Inst::Iota { .. } => self.constant(ty, |lane| lane),
            Inst::Splat { value, .. } => self.splat(ty, *value),
            Inst::SplatLane { value, .. } => self.splat_lane(ty, *value),
            Inst::Load { storage, addr, mask, .. } => self.load(ty, *storage, addr, *mask),
            Inst::Broadcast { storage, addr, .. } => self.broadcast(*storage, addr),
            Inst::Gather { storage, addr, index, mask, .. } => {
                self.gather(ty, *storage, addr, *index, *mask)
            }
            Inst::Unary(op, a) => self.unary(*op, *a),
            Inst::Binary(op, a, b) => self.binary(*op, *a, *b),
            Inst::Shift(op, a, by) => self.shift(*op, *a, *by),
            Inst::Fma { a, b, c, negate } => {
                let (mut a, b, c) = (self.val(*a), self.val(*b), self.val(*c));
                if *negate {
                    a = self.b.ins().fneg(a);
                }
                match ty {
                    Type::Vec { elem: Elem::F32, lanes } if !self.has_fma => {
                        self.fused_by_odd(lanes, [a, b, c])
                    }
                    // In double precision without the instruction this becomes a call, which is refused.
                    _ => self.b.ins().fma(a, b, c),
                }
            }
            Inst::Compare(op, a, b) => self.compare(*op, *a, *b),
            Inst::Mask(op, a, b) => self.mask_op(*op, *a, *b),
            Inst::MaskNot(a) => {
                let a = self.val(*a);
                self.b.ins().bnot(a)
            }
            Inst::MaskFirst { count, .. } => self.mask_first(ty, *count),
            Inst::MaskBits(a) => {
                let bits = self.mask_bits(*a);
                self.b.ins().uextend(types::I64, bits)
            }
            Inst::MaskResize { mask, .. } => self.mask_resize(ty, *mask),
            Inst::Select { mask, a, b } => {
                let (mask, a, b) = (self.val(*mask), self.val(*a), self.val(*b));
                self.blend(mask, a, b)
            }
            Inst::Convert(elem, a) => self.convert(*elem, *a),
            Inst::Bitcast(_, a) => {
                let a = self.val(*a);
                self.cast(register_type(ty), a)
            }
            Inst::ScalePow2 { p, n } => self.scale_pow2(ty, *p, *n),
            Inst::Fold(op, a) => self.fold(*op, *a),
            Inst::Lane(a, lane) => self.lane(*a, *lane),
        }
    }

    fn int_op(&mut self, op: IntOp, a: Val, b: Val) -> Value {
        let (a, b) = (self.val(a), self.val(b));
        match op {
            IntOp::Add => self.b.ins().iadd(a, b),
            IntOp::Sub => self.b.ins().isub(a, b),
            IntOp::Mul => self.b.ins().imul(a, b),
            // Dividend and divisor are not negative, and unsigned division is the faster one.
            IntOp::Div => self.b.ins().udiv(a, b),
            IntOp::Rem => self.b.ins().urem(a, b),
            IntOp::Min => self.b.ins().smin(a, b),
            IntOp::Max => self.b.ins().smax(a, b),
            IntOp::And => self.b.ins().band(a, b),
            IntOp::Shl => self.b.ins().ishl(a, b),
            IntOp::Shr => self.b.ins().sshr(a, b),
            IntOp::Less | IntOp::Equal => {
                let code = match op {
                    IntOp::Less => IntCC::SignedLessThan,
                    _ => IntCC::Equal,
                };
                let holds = self.b.ins().icmp(code, a, b);
                self.b.ins().uextend(types::I64, holds)
            }
        }
    }

    fn int_from_lane(&mut self, a: Val) -> Value {
        let value = self.val(a);
        let lane = self.b.ins().extractlane(value, 0);
        match self.elem(a) {
            Elem::I64 | Elem::F64 => lane,
            Elem::I32 | Elem::F32 => self.b.ins().sextend(types::I64, lane),
        }
    }

    fn unary(&mut self, op: VecUnary, a: Val) -> Value {
        let (elem, a) = (self.elem(a), self.val(a));
        match op {
            VecUnary::Neg if elem.is_float() => self.b.ins().fneg(a),
            VecUnary::Neg => self.b.ins().ineg(a),
            VecUnary::Abs if elem.is_float() => self.b.ins().fabs(a),
            VecUnary::Abs => self.b.ins().iabs(a),
            VecUnary::Sqrt => self.b.ins().sqrt(a),
            VecUnary::Round => self.b.ins().nearest(a),
            VecUnary::Floor => self.b.ins().floor(a),
        }
    }

    fn binary(&mut self, op: VecBinary, a: Val, b: Val) -> Value {
        let (elem, a, b) = (self.elem(a), self.val(a), self.val(b));
        let float = elem.is_float();
        match op {
            VecBinary::Add if float => self.b.ins().fadd(a, b),
            VecBinary::Add => self.b.ins().iadd(a, b),
            VecBinary::Sub if float => self.b.ins().fsub(a, b),
            VecBinary::Sub => self.b.ins().isub(a, b),
            VecBinary::Mul if float => self.b.ins().fmul(a, b),
            VecBinary::Mul => self.b.ins().imul(a, b),
            VecBinary::Div => self.b.ins().fdiv(a, b),
            // Exactly these forms become one `minps` or `maxps` on x86.
            VecBinary::Min if float => {
                let less = self.b.ins().fcmp(FloatCC::LessThan, a, b);
                self.blend(less, a, b)
            }
            VecBinary::Max if float => {
                let less = self.b.ins().fcmp(FloatCC::LessThan, b, a);
                self.blend(less, a, b)
            }
            VecBinary::Min => self.b.ins().smin(a, b),
            VecBinary::Max => self.b.ins().smax(a, b),
            VecBinary::And => self.b.ins().band(a, b),
            VecBinary::Or => self.b.ins().bor(a, b),
            VecBinary::Xor => self.b.ins().bxor(a, b),
            VecBinary::MulHighUnsigned => self.mul_high(a, b),
        }
    }

    /// Products of 64 bits from the lower and the upper two lanes, of which the odd words are taken.
    fn mul_high(&mut self, a: Value, b: Value) -> Value {
        let (a_low, b_low) = (self.b.ins().uwiden_low(a), self.b.ins().uwiden_low(b));
        let low = self.b.ins().imul(a_low, b_low);
        let (a_high, b_high) = (self.b.ins().uwiden_high(a), self.b.ins().uwiden_high(b));
        let high = self.b.ins().imul(a_high, b_high);
        self.pick_words(types::I32X4, low, high, [1, 3, 5, 7])
    }

    fn shift(&mut self, op: ShiftOp, a: Val, by: u8) -> Value {
        let a = self.val(a);
        let by = self.b.ins().iconst(types::I32, i64::from(by));
        match op {
            ShiftOp::Left => self.b.ins().ishl(a, by),
            ShiftOp::RightLogical => self.b.ins().ushr(a, by),
            ShiftOp::RightArithmetic => self.b.ins().sshr(a, by),
        }
    }

    fn compare(&mut self, op: Compare, a: Val, b: Val) -> Value {
        let (elem, a, b) = (self.elem(a), self.val(a), self.val(b));
        if elem.is_float() {
            let code = match op {
                Compare::Eq => FloatCC::Equal,
                Compare::Ne => FloatCC::NotEqual,
                Compare::Lt => FloatCC::LessThan,
                Compare::Le => FloatCC::LessThanOrEqual,
            };
            self.b.ins().fcmp(code, a, b)
        } else {
            let code = match op {
                Compare::Eq => IntCC::Equal,
                Compare::Ne => IntCC::NotEqual,
                Compare::Lt => IntCC::SignedLessThan,
                Compare::Le => IntCC::SignedLessThanOrEqual,
            };
            self.b.ins().icmp(code, a, b)
        }
    }

    fn mask_op(&mut self, op: MaskOp, a: Val, b: Val) -> Value {
        let (a, b) = (self.val(a), self.val(b));
        match op {
            MaskOp::And => self.b.ins().band(a, b),
            MaskOp::Or => self.b.ins().bor(a, b),
            MaskOp::Xor => self.b.ins().bxor(a, b),
            MaskOp::AndNot => self.b.ins().band_not(a, b),
        }
    }

    /// `p * 2^(n >> 1) * 2^(n - (n >> 1))`: both powers are normal numbers, made from their exponent bits.
    fn scale_pow2(&mut self, ty: Type, p: Val, n: Val) -> Value {
        let (bits_type, bias, mantissa_bits) = match ty {
            Type::Vec { elem: Elem::F32, lanes } => (Type::Vec { elem: Elem::I32, lanes }, 127, 23),
            Type::Vec { lanes, .. } => (Type::Vec { elem: Elem::I64, lanes }, 1023, 52),
            Type::Int | Type::Mask { .. } => unreachable!("scaled lanes are floats"),
        };
        let (p, n) = (self.val(p), self.val(n));
        let one = self.b.ins().iconst(types::I32, 1);
        let shift = self.b.ins().iconst(types::I32, mantissa_bits);
        let bias = self.constant(bits_type, |_| bias);
        let half = self.b.ins().sshr(n, one);
        let rest = self.b.ins().isub(n, half);
        let mut scaled = p;
        for exponent in [half, rest] {
            let biased = self.b.ins().iadd(exponent, bias);
            let bits = self.b.ins().ishl(biased, shift);
            let power = self.cast(register_type(ty), bits);
            scaled = self.b.ins().fmul(scaled, power);
        }
        scaled
    }

    /// Folds the upper half of the lanes onto the lower half until one is left.
    fn fold(&mut self, op: FoldOp, a: Val) -> Value {
        let (elem, mut lanes) = (self.elem(a), self.lanes(a));
        let mut value = self.val(a);
        while lanes > 1 {
            lanes /= 2;
            let upper = self.lanes_down(value, elem, lanes);
            value = self.fold_step(op, elem, value, upper);
        }
        value
    }

    fn fold_step(&mut self, op: FoldOp, elem: Elem, a: Value, b: Value) -> Value {
        match (op, elem.is_float()) {
            (FoldOp::Add, true) => self.b.ins().fadd(a, b),
            (FoldOp::Add, false) => self.b.ins().iadd(a, b),
            (FoldOp::Max, false) => self.b.ins().smax(a, b),
            (FoldOp::Min, false) => self.b.ins().smin(a, b),
            (FoldOp::Max | FoldOp::Min, true) => {
                let (low, high) = if op == FoldOp::Max { (a, b) } else { (b, a) };
                let wins = self.b.ins().fcmp(FloatCC::LessThan, low, high);
                let is_nan = self.b.ins().fcmp(FloatCC::Unordered, b, b);
                let takes = self.b.ins().bor(wins, is_nan);
                self.blend(takes, b, a)
            }
        }
    }
}
