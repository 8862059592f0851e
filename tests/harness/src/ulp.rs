//! References of the transcendental functions and errors in units of the last place.

use dlc_ir::math::UnaryMath;

/// The function in double precision by the standard library and libm: a reference for single precision, with an
/// error far below its unit.
pub fn reference(fun: UnaryMath, x: f64) -> f64 {
    match fun {
        UnaryMath::Exp => x.exp(),
        UnaryMath::Log => x.ln(),
        UnaryMath::Log1p => x.ln_1p(),
        UnaryMath::Tanh => x.tanh(),
        UnaryMath::Erf => libm::erf(x),
        UnaryMath::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryMath::Sin => x.sin(),
        UnaryMath::Cos => x.cos(),
    }
}

/// How far `got` lies from `exact`, in units of the last place of single precision at `exact` (the distance of its
/// neighbours, that of denormals near zero). Zero if both are NaN or the same infinity, and where `exact` rounds
/// to infinity and so does `got`; infinite if only one is NaN or infinite, or the signs of zeros differ.
pub fn error_f32(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || rounded.is_infinite() {
        // The largest finite value is one unit from infinity.
        let close = got == rounded || got.signum() == rounded.signum() && got.abs() == f32::MAX;
        return if got == rounded {
            0.0
        } else if close {
            1.0
        } else {
            f64::INFINITY
        };
    }
    if got == 0.0 && exact == 0.0 {
        return if got.is_sign_negative() == exact.is_sign_negative() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let exponent = (((rounded.abs().to_bits() >> 23) as i32) - 127).max(-126);
    (f64::from(got) - exact).abs() * f64::from(23 - exponent).exp2()
}

/// The same in double precision, where the exact value is `high + low`.
pub fn error_f64(got: f64, high: f64, low: f64) -> f64 {
    if got.is_nan() || high.is_nan() {
        return if got.is_nan() && high.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || high.is_infinite() {
        return if got == high { 0.0 } else { f64::INFINITY };
    }
    if got == 0.0 && high == 0.0 {
        return if got.is_sign_negative() == high.is_sign_negative() { 0.0 } else { f64::INFINITY };
    }
    let exponent = (((high.abs().to_bits() >> 52) as i32) - 1023).max(-1022);
    // The difference of neighbours is exact. Scaling in two steps keeps the factors finite.
    let scale = 52 - exponent;
    let (first, second) = (scale / 2, scale - scale / 2);
    ((got - high) - low).abs() * f64::from(first).exp2() * f64::from(second).exp2()
}
