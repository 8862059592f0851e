//! Half precision and bfloat16 as integer operations, exact for denormals, infinities and ties.
//!
//! Lanes are 32-bit integers throughout: the 16 bits of a half in the low part, or the bits of an `f32`.
//! Source: IEEE 754-2019, 3.4 (formats) and 4.3.1 (round to nearest, ties to even).

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use dlc_ir::vector::{Elem, Type};

use super::control::Lowering;

/// Sign bit of an `f32`.
const SIGN: u32 = 0x8000_0000;
/// Bits of positive infinity as an `f32`.
const INFINITY: u32 = 0x7f80_0000;

impl Lowering<'_> {
    fn word(&mut self, bits: u32) -> Value {
        self.constant(Type::Vec { elem: Elem::I32, lanes: 4 }, |_| u64::from(bits))
    }

    fn and_word(&mut self, value: Value, bits: u32) -> Value {
        let bits = self.word(bits);
        self.b.ins().band(value, bits)
    }

    fn add_word(&mut self, value: Value, bits: u32) -> Value {
        let bits = self.word(bits);
        self.b.ins().iadd(value, bits)
    }

    fn left(&mut self, value: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ishl(value, by)
    }

    fn right(&mut self, value: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ushr(value, by)
    }

    /// Both operands are below 2^31, so that the signed comparison is the unsigned one.
    fn above_word(&mut self, value: Value, bits: u32) -> Value {
        let bits = self.word(bits);
        self.b.ins().icmp(IntCC::SignedGreaterThan, value, bits)
    }

    /// The bits of the `f32` that equals a bfloat16.
    pub(super) fn single_from_bf16(&mut self, half: Value) -> Value {
        self.left(half, 16)
    }

    /// The bits of the `f32` that equals a half.
    ///
    /// Exponent and mantissa, moved into place, read as an `f32` are too small by 2^112; the product is exact, also for
    /// denormals of the half, which become normal numbers.
    pub(super) fn single_from_f16(&mut self, half: Value) -> Value {
        let magnitude = self.and_word(half, 0x7fff);
        let magnitude = self.left(magnitude, 13);
        let sign = self.and_word(half, 0x8000);
        let sign = self.left(sign, 16);
        let float = self.cast(types::F32X4, magnitude);
        let factor = self.word((127 + 112) << 23);
        let factor = self.cast(types::F32X4, factor);
        let scaled = self.b.ins().fmul(float, factor);
        let scaled = self.cast(types::I32X4, scaled);
        // The largest exponent means infinity or NaN and becomes the largest of an f32.
        let special = self.above_word(magnitude, (0x7c00 << 13) - 1);
        let special = self.and_word(special, INFINITY);
        let bits = self.b.ins().bor(scaled, special);
        self.b.ins().bor(bits, sign)
    }

    /// The bfloat16 nearest to an `f32`, from and to bits.
    pub(super) fn bf16_from_single(&mut self, single: Value) -> Value {
        let odd = self.right(single, 16);
        let odd = self.and_word(odd, 1);
        let rounded = self.add_word(single, 0x7fff);
        let rounded = self.b.ins().iadd(rounded, odd);
        let rounded = self.right(rounded, 16);
        // A NaN must not be rounded up into an infinity or a zero.
        let quiet = self.right(single, 16);
        let bit = self.word(0x40);
        let quiet = self.b.ins().bor(quiet, bit);
        let magnitude = self.and_word(single, !SIGN);
        let is_nan = self.above_word(magnitude, INFINITY);
        self.blend(is_nan, quiet, rounded)
    }

    /// The half nearest to an `f32`, from and to bits.
    pub(super) fn f16_from_single(&mut self, single: Value) -> Value {
        let magnitude = self.and_word(single, !SIGN);
        let sign = self.and_word(single, SIGN);
        let sign = self.right(sign, 16);
        // Normal halves: the exponent is rebased and 13 mantissa bits are rounded away; a carry may reach infinity.
        let odd = self.right(magnitude, 13);
        let odd = self.and_word(odd, 1);
        let normal = self.add_word(magnitude, (15u32.wrapping_sub(127) << 23).wrapping_add(0xfff));
        let normal = self.b.ins().iadd(normal, odd);
        let normal = self.right(normal, 13);
        // Below 2^-14: adding 0.5, whose last bit weighs 2^-24 like that of a denormal half, rounds in the adder.
        let float = self.cast(types::F32X4, magnitude);
        let half = self.word(0x3f00_0000);
        let magic = self.cast(types::F32X4, half);
        let small = self.b.ins().fadd(float, magic);
        let small = self.cast(types::I32X4, small);
        let small = self.b.ins().isub(small, half);
        let is_normal = self.above_word(magnitude, ((127 - 14) << 23) - 1);
        let finite = self.blend(is_normal, normal, small);
        // From 2^16 on: infinity, or a quiet NaN.
        let is_large = self.above_word(magnitude, ((127 + 16) << 23) - 1);
        let is_nan = self.above_word(magnitude, INFINITY);
        let nan_bit = self.and_word(is_nan, 0x0200);
        let infinity = self.word(0x7c00);
        let special = self.b.ins().bor(infinity, nan_bit);
        let bits = self.blend(is_large, special, finite);
        self.b.ins().bor(bits, sign)
    }
}
