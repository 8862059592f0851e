//! The operations that functions are written with.

use super::format::Format;

/// A builder of exact operations on floats of one format and integers as wide.
///
/// Each method stands for one operation of vector IR and has its meaning, NaN and signed zero included.
/// Integers wrap; shifts to the right bring in zeros.
pub trait Arith {
    /// A float or a vector of floats.
    type F: Copy;
    /// An integer or a vector of integers, as wide as the floats.
    type I: Copy;
    /// A truth value or a mask.
    type M: Copy;

    /// The float format and its constants.
    fn format(&self) -> &'static Format;
    /// A constant, rounded to the format.
    fn float(&mut self, value: f64) -> Self::F;
    /// A constant; its low bits if the format is narrower.
    fn int(&mut self, value: i64) -> Self::I;

    /// `a + b`.
    fn add(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(&mut self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `-(a * b) + c`, rounded once.
    fn fnma(&mut self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The sign bit cleared.
    fn abs(&mut self, a: Self::F) -> Self::F;
    /// The sign bit flipped.
    fn neg(&mut self, a: Self::F) -> Self::F;
    /// `a < b ? a : b`.
    fn min(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`.
    fn max(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `p * 2^(n >> 1) * 2^(n - (n >> 1))`, within [`crate::vector::Inst::ScalePow2`]'s range of `n`.
    fn scale_pow2(&mut self, p: Self::F, n: Self::I) -> Self::F;

    /// `a < b`.
    fn less(&mut self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`.
    fn equal(&mut self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b` of integers.
    fn int_equal(&mut self, a: Self::I, b: Self::I) -> Self::M;
    /// `mask ? a : b`.
    fn select(&mut self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    /// The bits of a float.
    fn to_bits(&mut self, a: Self::F) -> Self::I;
    /// The float with these bits.
    fn with_bits(&mut self, a: Self::I) -> Self::F;
    /// `a + b`.
    fn int_add(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`.
    fn int_sub(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise and.
    fn int_and(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn int_xor(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifted left.
    fn int_shl(&mut self, a: Self::I, by: u8) -> Self::I;
    /// Shifted right, zeros brought in.
    fn int_shr(&mut self, a: Self::I, by: u8) -> Self::I;

    /// The polynomial with these coefficients, lowest power first, by Horner's rule.
    fn polynomial(&mut self, x: Self::F, coefficients: &[f64]) -> Self::F {
        let (&last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
        let mut sum = self.float(last);
        for &coefficient in rest.iter().rev() {
            let coefficient = self.float(coefficient);
            sum = self.fma(sum, x, coefficient);
        }
        sum
    }
}
