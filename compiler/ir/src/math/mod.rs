//! One definition of every transcendental function, for interpreters and for machine code.
//!
//! Each function is written once over [`Arith`], a builder of exact operations, and instantiated twice: with
//! scalars ([`eval_f32`], [`eval_f64`]) for the interpreters, and with [`crate::vector::FunctionBuilder`]
//! ([`emit`]) for vectors of any number of lanes. Every operation is exact or correctly rounded and none is
//! contracted or reordered, so both give the same bits (NaN payloads aside). There are no tables and no
//! processor estimates; products are fused into sums only where [`Arith::fma`] says so.
//!
//! # Accuracy
//! In units of the last place, over all arguments for `f32` (swept completely) and over dense samples for `f64`:
//! at most 2 for `f32`, at most 4 for `f64`. [`UnaryMath::Sin`] and [`UnaryMath::Cos`] keep this for `|x|` up to
//! 1e5 (`f32`) and 1e9 (`f64`). Beyond, results near their zeros lose relative accuracy as the reduced argument
//! runs out of digits; from [`reduction_limit`] on there is nothing left to reduce with and the result is NaN.
//!
//! # Limits
//! NaN gives NaN. Denormal arguments and results are exact to the unit of denormals. `-0` stays `-0` in odd
//! functions and in `log1p`.
//!
//! | function | -inf | below the domain | edge | +inf |
//! | --- | --- | --- | --- | --- |
//! | exp | +0 | | | +inf |
//! | log | NaN | NaN | -inf at 0 and -0 | +inf |
//! | log1p | NaN | NaN | -inf at -1 | +inf |
//! | tanh, erf | -1 | | | 1 |
//! | sigmoid | +0 | | | 1 |
//! | sin, cos | NaN | | | NaN |
//!
//! # Sources
//! Argument reduction by two or three parts of a constant: Cody and Waite, "Software Manual for the Elementary
//! Functions", 1980; with fused multiply-add: Muller et al., "Handbook of Floating-Point Arithmetic", 2nd edition,
//! 2018, chapter 10. Rounding to an integer by adding a large constant: the same, section 10.2.
//! Error-free sums: Dekker 1971, Knuth, TAOCP volume 2, section 4.2.2. Polynomials: `tests/math/minimax.py`.

mod arith;
mod coefficients;
mod emit;
mod exponential;
mod format;
mod logarithm;
mod scalar;
mod trigonometric;

pub use arith::Arith;
pub use emit::emit;
pub use format::Format;

use self::scalar::Scalar;
use crate::scalar::Real;

/// A transcendental function of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnaryMath {
    /// e to the power x.
    Exp,
    /// Natural logarithm.
    Log,
    /// `log(1 + x)`, accurate near zero.
    Log1p,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Sine of an angle in radians.
    Sin,
    /// Cosine of an angle in radians.
    Cos,
}

impl UnaryMath {
    /// All functions.
    pub const ALL: [UnaryMath; 8] = [
        UnaryMath::Exp,
        UnaryMath::Log,
        UnaryMath::Log1p,
        UnaryMath::Tanh,
        UnaryMath::Erf,
        UnaryMath::Sigmoid,
        UnaryMath::Sin,
        UnaryMath::Cos,
    ];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            UnaryMath::Exp => "exp",
            UnaryMath::Log => "log",
            UnaryMath::Log1p => "log1p",
            UnaryMath::Tanh => "tanh",
            UnaryMath::Erf => "erf",
            UnaryMath::Sigmoid => "sigmoid",
            UnaryMath::Sin => "sin",
            UnaryMath::Cos => "cos",
        }
    }

    /// The function of that name.
    pub fn from_name(name: &str) -> Option<UnaryMath> {
        Self::ALL.into_iter().find(|fun| fun.name() == name)
    }
}

/// Applies a function with any instance of [`Arith`].
pub fn apply<A: Arith>(a: &mut A, fun: UnaryMath, x: A::F) -> A::F {
    match fun {
        UnaryMath::Exp => exponential::exp(a, x),
        UnaryMath::Log => logarithm::log(a, x),
        UnaryMath::Log1p => logarithm::log1p(a, x),
        UnaryMath::Tanh => exponential::tanh(a, x),
        UnaryMath::Erf => exponential::erf(a, x),
        UnaryMath::Sigmoid => exponential::sigmoid(a, x),
        UnaryMath::Sin => trigonometric::sin(a, x),
        UnaryMath::Cos => trigonometric::cos(a, x),
    }
}

/// Evaluates a function in single precision.
pub fn eval_f32(fun: UnaryMath, x: f32) -> f32 {
    apply(&mut Scalar::<f32>::new(), fun, x)
}

/// Evaluates a function in double precision.
pub fn eval_f64(fun: UnaryMath, x: f64) -> f64 {
    apply(&mut Scalar::<f64>::new(), fun, x)
}

/// Evaluates a function in the precision of its argument.
pub fn eval<T: Real + format::HasFormat>(fun: UnaryMath, x: T) -> T {
    apply(&mut Scalar::<T>::new(), fun, x)
}

/// The magnitude from which sine and cosine are NaN, in the given format.
pub const fn reduction_limit(format: &Format) -> f64 {
    format.reduction_limit
}
