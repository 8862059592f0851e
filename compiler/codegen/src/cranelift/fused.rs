//! `a * b + c` rounded once, in single precision, on processors without the instruction.
//!
//! In double precision the product of two `f32` is exact. The sum is rounded to odd: where it is not exact, its last bit is set.
//! Rounding that to single precision gives what rounding the exact sum once would give, denormals included. Source: Boldo and
//! Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008, theorem 1.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use dlc_ir::vector::{Elem, Type};

use super::control::Lowering;

/// Two lanes of 64 bits.
const PAIR: Type = Type::Vec { elem: Elem::I64, lanes: 2 };

impl Lowering<'_> {
    /// Lanes of `f32`, up to four.
    pub(super) fn fused_by_odd(&mut self, lanes: u8, operands: [Value; 3]) -> Value {
        let low = self.fused_pair(operands);
        if lanes <= 2 {
            return low;
        }
        let high = operands.map(|x| self.pick_words(types::F32X4, x, x, [2, 3, 2, 3]));
        let high = self.fused_pair(high);
        self.pick_doubles(types::F32X4, low, high, [0, 2])
    }

    /// The two lowest lanes.
    fn fused_pair(&mut self, operands: [Value; 3]) -> Value {
        let [a, b, c] = operands.map(|x| self.b.ins().fvpromote_low(x));
        let product = self.b.ins().fmul(a, b);
        let sum = self.b.ins().fadd(product, c);
        // Knuth's two-sum: `product + c = sum + error` exactly.
        let virtual_c = self.b.ins().fsub(sum, product);
        let virtual_product = self.b.ins().fsub(sum, virtual_c);
        let lost_product = self.b.ins().fsub(product, virtual_product);
        let lost_c = self.b.ins().fsub(c, virtual_c);
        let error = self.b.ins().fadd(lost_product, lost_c);
        // Both are false for NaN, which the error is where the sum is infinite or NaN.
        let zero = self.constant(PAIR, |_| 0);
        let zero = self.cast(types::F64X2, zero);
        let below = self.b.ins().fcmp(FloatCC::LessThan, error, zero);
        let above = self.b.ins().fcmp(FloatCC::LessThan, zero, error);
        let inexact = self.b.ins().bor(below, above);

        let bits = self.cast(types::I64X2, sum);
        let error_bits = self.cast(types::I64X2, error);
        let one = self.constant(PAIR, |_| 1);
        // Away from zero where the error has the sign of the sum, else towards it: 1 or -1 in the last place.
        let signs = self.b.ins().bxor(bits, error_bits);
        let by = self.b.ins().iconst(types::I32, 63);
        let inward = self.b.ins().ushr(signs, by);
        let twice = self.b.ins().iadd(inward, inward);
        let step = self.b.ins().isub(one, twice);
        // All ones where the last bit is clear.
        let last = self.b.ins().band(bits, one);
        let is_even = self.b.ins().isub(last, one);
        let step = self.b.ins().band(step, inexact);
        let step = self.b.ins().band(step, is_even);
        let odd = self.b.ins().iadd(bits, step);
        let odd = self.cast(types::F64X2, odd);
        self.b.ins().fvdemote(odd)
    }
}
