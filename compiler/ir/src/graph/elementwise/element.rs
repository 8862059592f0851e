//! The element types of the interpreter and their arithmetic.

use super::dual::Dual;
use super::value::Value;
use crate::graph::UnaryOp;
use crate::math::{self, UnaryMath};
use crate::scalar::{self, Real};

/// A type of elements.
pub(in crate::graph) trait Element: Copy + 'static {
    /// The elements of a value of this type.
    fn slice(value: &Value) -> &[Self];
    /// A value of these elements.
    fn wrap(elements: Vec<Self>) -> Value;
}

/// A type that is computed with.
pub(in crate::graph) trait Number: Element + PartialOrd {
    const ZERO: Self;
    /// Where a maximum starts.
    const LOWEST: Self;
    /// Where a minimum starts.
    const HIGHEST: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Integers round towards minus infinity; their divisor is not zero.
    fn div(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    /// `a * b + c` with one rounding of floats.
    fn fma(a: Self, b: Self, c: Self) -> Self;
    fn is_nan(self) -> bool;
    /// The number nearest to a count.
    fn of(count: i64) -> Self;
    /// Functions of floats; integers have none.
    fn function(op: UnaryOp, x: Self) -> Self;
    /// Whether a division by this must be refused.
    fn is_integer_zero(self) -> bool;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn slice(value: &Value) -> &[Self] {
                match value {
                    Value::$variant(elements) => elements,
                    _ => unreachable!("the verifier has compared element types"),
                }
            }
            fn wrap(elements: Vec<Self>) -> Value {
                Value::$variant(elements)
            }
        }
    };
}

element!(f32, F32);
element!(f64, F64);
element!(i32, I32);
element!(i64, I64);
element!(u8, U8);
element!(bool, Bool);
element!(Dual, Dual);

macro_rules! float_number {
    ($type:ident, $fma:path, $eval:path) => {
        impl Number for $type {
            const ZERO: Self = 0.0;
            const LOWEST: Self = $type::NEG_INFINITY;
            const HIGHEST: Self = $type::INFINITY;
            fn add(self, other: Self) -> Self {
                self + other
            }
            fn sub(self, other: Self) -> Self {
                self - other
            }
            fn mul(self, other: Self) -> Self {
                self * other
            }
            fn div(self, other: Self) -> Self {
                self / other
            }
            fn neg(self) -> Self {
                -self
            }
            fn abs(self) -> Self {
                Real::abs(self)
            }
            #[inline(always)]
            fn fma(a: Self, b: Self, c: Self) -> Self {
                $fma(a, b, c)
            }
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }
            fn of(count: i64) -> Self {
                Real::from_i64(count)
            }
            fn function(op: UnaryOp, x: Self) -> Self {
                real_function(op, x, $eval)
            }
            fn is_integer_zero(self) -> bool {
                false
            }
        }
    };
}

float_number!(f32, scalar::fma_f32, math::eval_f32);
float_number!(f64, scalar::fma_f64, math::eval_f64);

/// The functions of floats; `eval` gives the transcendental ones.
fn real_function<T: Real>(op: UnaryOp, x: T, eval: impl Fn(UnaryMath, T) -> T) -> T {
    match op {
        UnaryOp::Exp => eval(UnaryMath::Exp, x),
        UnaryOp::Log => eval(UnaryMath::Log, x),
        UnaryOp::Log1p => eval(UnaryMath::Log1p, x),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Tanh => eval(UnaryMath::Tanh, x),
        UnaryOp::Erf => eval(UnaryMath::Erf, x),
        UnaryOp::Sigmoid => eval(UnaryMath::Sigmoid, x),
        UnaryOp::Sin => eval(UnaryMath::Sin, x),
        UnaryOp::Cos => eval(UnaryMath::Cos, x),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Not => unreachable!("the verifier refuses `not` of floats"),
    }
}

macro_rules! integer_number {
    ($type:ident) => {
        impl Number for $type {
            const ZERO: Self = 0;
            const LOWEST: Self = $type::MIN;
            const HIGHEST: Self = $type::MAX;
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn div(self, other: Self) -> Self {
                let quotient = self.wrapping_div(other);
                let inexact = self.wrapping_rem(other) != 0;
                if inexact && (self < 0) != (other < 0) { quotient - 1 } else { quotient }
            }
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            fn abs(self) -> Self {
                self.wrapping_abs()
            }
            #[inline(always)]
            fn fma(a: Self, b: Self, c: Self) -> Self {
                a.wrapping_mul(b).wrapping_add(c)
            }
            fn is_nan(self) -> bool {
                false
            }
            fn of(count: i64) -> Self {
                count as $type
            }
            fn function(op: UnaryOp, _: Self) -> Self {
                unreachable!("the verifier refuses {op:?} of integers")
            }
            fn is_integer_zero(self) -> bool {
                self == 0
            }
        }
    };
}

integer_number!(i32);
integer_number!(i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_divide_downwards_and_wrap() {
        assert_eq!(Number::div(-7i32, 2), -4);
        assert_eq!(Number::div(7i32, -2), -4);
        assert_eq!(Number::div(-6i32, 2), -3);
        assert_eq!(Number::div(i32::MIN, -1), i32::MIN);
        assert_eq!(Number::abs(i64::MIN), i64::MIN);
    }
}
