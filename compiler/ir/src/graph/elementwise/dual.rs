//! Dual numbers: a value and its derivative in one direction, carried through every operation.
//!
//! The rules are those of calculus on single numbers and share nothing with the reverse table of autodiff, which they check.
//! At kinks the branch that gives the value gives the derivative.

use super::element::Number;
use crate::graph::UnaryOp;
use std::cmp::Ordering;

/// `value + derivative * epsilon`, with `epsilon` squared zero.
#[derive(Debug, Clone, Copy)]
pub(in crate::graph) struct Dual {
    /// The value.
    pub value: f64,
    /// The derivative.
    pub derivative: f64,
}

impl Dual {
    /// A value that does not move.
    pub(in crate::graph) const fn still(value: f64) -> Dual {
        Dual { value, derivative: 0.0 }
    }

    fn chain(self, value: f64, slope: f64) -> Dual {
        // A zero direction stays zero where the slope is infinite.
        let derivative = if self.derivative == 0.0 { 0.0 } else { slope * self.derivative };
        Dual { value, derivative }
    }
}

impl PartialEq for Dual {
    fn eq(&self, other: &Dual) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Dual {
    fn partial_cmp(&self, other: &Dual) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Number for Dual {
    const ZERO: Dual = Dual::still(0.0);
    const LOWEST: Dual = Dual::still(f64::NEG_INFINITY);
    const HIGHEST: Dual = Dual::still(f64::INFINITY);

    fn add(self, other: Dual) -> Dual {
        Dual { value: self.value + other.value, derivative: self.derivative + other.derivative }
    }
    fn sub(self, other: Dual) -> Dual {
        Dual { value: self.value - other.value, derivative: self.derivative - other.derivative }
    }
    fn mul(self, other: Dual) -> Dual {
        Dual {
            value: self.value * other.value,
            derivative: self.derivative * other.value + self.value * other.derivative,
        }
    }
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        let derivative = (self.derivative - value * other.derivative) / other.value;
        Dual { value, derivative }
    }
    fn neg(self) -> Dual {
        Dual { value: -self.value, derivative: -self.derivative }
    }
    fn abs(self) -> Dual {
        if self.value < 0.0 { self.neg() } else { self }
    }
    fn fma(a: Dual, b: Dual, c: Dual) -> Dual {
        a.mul(b).add(c)
    }
    fn is_nan(self) -> bool {
        self.value.is_nan()
    }
    fn of(count: i64) -> Dual {
        Dual::still(count as f64)
    }
    fn function(op: UnaryOp, x: Dual) -> Dual {
        let v = x.value;
        let f = f64::function(op, v);
        match op {
            UnaryOp::Exp => x.chain(f, f),
            UnaryOp::Log => x.chain(f, 1.0 / v),
            UnaryOp::Log1p => x.chain(f, 1.0 / (1.0 + v)),
            UnaryOp::Sqrt => x.chain(f, 0.5 / f),
            // 1 - tanh^2, without the cancellation where tanh is near 1.
            UnaryOp::Tanh => {
                let c = f64::function(UnaryOp::Exp, -2.0 * v.abs());
                x.chain(f, 4.0 * c / ((1.0 + c) * (1.0 + c)))
            }
            UnaryOp::Erf => {
                let slope = std::f64::consts::FRAC_2_SQRT_PI;
                x.chain(f, slope * f64::function(UnaryOp::Exp, -v * v))
            }
            UnaryOp::Sigmoid => x.chain(f, f * f64::function(UnaryOp::Sigmoid, -v)),
            UnaryOp::Sin => x.chain(f, f64::function(UnaryOp::Cos, v)),
            UnaryOp::Cos => x.chain(f, -f64::function(UnaryOp::Sin, v)),
            UnaryOp::Floor => Dual::still(f),
            UnaryOp::Neg => x.neg(),
            UnaryOp::Abs => x.abs(),
            UnaryOp::Not => unreachable!("the verifier refuses `not` of floats"),
        }
    }
    fn is_integer_zero(self) -> bool {
        false
    }
}
