//! exp, and tanh, erf and sigmoid built on its reduced argument.

use super::arith::Arith;

/// `exp(x) = (1 + tail) * 2^n` with `|tail|` below 0.42.
struct Reduced<A: Arith> {
    tail: A::F,
    n: A::I,
}

/// Writes x as n log(2) + r and applies the polynomial in r. `x` lies within a few units of the range in which
/// exp is finite and nonzero, or is NaN; `n_highest` is at least the largest n.
fn reduce<A: Arith>(a: &mut A, x: A::F, n_highest: f64) -> Reduced<A> {
    let format = a.format();
    let polynomials = format.polynomials;
    let (log2e, magic) = (a.float(polynomials.log2e), a.float(format.magic()));
    let shifted = a.fma(x, log2e, magic);
    let whole = a.sub(shifted, magic);
    // NaN goes on in `whole`, but the integer that a machine may see is a number.
    let highest = a.float(format.magic() + n_highest);
    let shifted = a.min(shifted, highest);
    let shifted = a.to_bits(shifted);
    let magic_bits = a.int(format.magic_bits());
    let n = a.int_sub(shifted, magic_bits);
    let (high, low) = (a.float(polynomials.ln2[0]), a.float(polynomials.ln2[1]));
    // The first difference is exact: it is a multiple of the last bit of `high` and shorter than a significand.
    let r = a.fnma(whole, high, x);
    let r = a.fnma(whole, low, r);
    let square = a.mul(r, r);
    let q = a.polynomial(r, polynomials.exp);
    let tail = a.fma(square, q, r);
    Reduced { tail, n }
}

/// Both bounds keep NaN: a comparison with it is false and takes the second operand.
fn clamp<A: Arith>(a: &mut A, x: A::F, lowest: f64, highest: f64) -> A::F {
    let highest = a.float(highest);
    let x = a.min(highest, x);
    let lowest = a.float(lowest);
    a.max(lowest, x)
}

pub(super) fn exp<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let format = a.format();
    let x = clamp(a, x, format.exp_lowest, format.exp_highest);
    let Reduced { tail, n } = reduce(a, x, format.bias as f64 + 2.0);
    let one = a.float(1.0);
    let p = a.add(one, tail);
    a.scale_pow2(p, n)
}

/// With e = exp(-|x|): `e / (1 + e)` below zero, `1 / (1 + e)` above. Neither overflows. The rounding errors of e
/// and of 1 + e are known exactly and are put right to first order after the division; without this the error
/// comes to 2.5 units.
pub(super) fn sigmoid<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let format = a.format();
    let magnitude = a.abs(x);
    let minus = a.neg(magnitude);
    let lowest = a.float(format.exp_lowest);
    let minus = a.max(lowest, minus);
    let Reduced { tail, n } = reduce(a, minus, 1.0);
    let (zero, one) = (a.float(0.0), a.float(1.0));
    let power = a.scale_pow2(one, n);
    let p = a.add(one, tail);
    let e = a.mul(p, power);
    // What the addition of 1 rounded away (Dekker's fast two-sum; 1 is the larger term).
    let lost = a.sub(p, one);
    let lost = a.sub(tail, lost);
    let e_low = a.mul(lost, power);
    let d = a.add(one, e);
    let lost = a.sub(d, one);
    let lost = a.sub(e, lost);
    let d_low = a.add(lost, e_low);
    let negative = a.less(x, zero);
    let numerator = a.select(negative, e, one);
    let numerator_low = a.select(negative, e_low, zero);
    let quotient = a.div(numerator, d);
    let residual = a.fnma(quotient, d_low, numerator_low);
    // 1 / d within 5 percent for d in 1..2, enough for a residual of one unit.
    let (slope, offset) = (a.float(0.5), a.float(1.457));
    let inverse = a.fnma(slope, d, offset);
    a.fma(residual, inverse, quotient)
}

/// An odd polynomial near zero, `1 - 2 / (exp(2|x|) + 1)` beyond, where the quotient is less than the result
/// and so are its errors.
pub(super) fn tanh<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let format = a.format();
    let polynomials = format.polynomials;
    let magnitude = a.abs(x);
    let square = a.mul(magnitude, magnitude);
    let q = a.polynomial(square, polynomials.tanh);
    let cube = a.mul(magnitude, square);
    let near = a.fma(cube, q, magnitude);

    let end = a.float(format.tanh_end);
    let t = a.min(end, magnitude);
    let t = a.add(t, t);
    let Reduced { tail, n } = reduce(a, t, 64.0);
    let (one, two) = (a.float(1.0), a.float(2.0));
    let p = a.add(one, tail);
    let e = a.scale_pow2(p, n);
    let d = a.add(e, one);
    let quotient = a.div(two, d);
    let far = a.sub(one, quotient);

    let edge = a.float(polynomials.tanh_edge);
    let is_near = a.less(magnitude, edge);
    let y = a.select(is_near, near, far);
    with_sign_of(a, y, x)
}

/// An odd polynomial near zero; beyond, `1 - exp(-q)` with a polynomial q for the negated logarithm of the
/// complement, whose errors count only as much as the complement.
pub(super) fn erf<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let polynomials = a.format().polynomials;
    let magnitude = a.abs(x);
    let square = a.mul(magnitude, magnitude);
    let q = a.polynomial(square, polynomials.erf);
    let near = a.fma(magnitude, q, magnitude);

    let end = a.float(polynomials.erf_end);
    let t = a.min(end, magnitude);
    let mid = a.float(polynomials.erf_mid);
    let u = a.sub(t, mid);
    let q = a.polynomial(u, polynomials.erf_tail);
    let minus = a.neg(q);
    let Reduced { tail, n } = reduce(a, minus, 64.0);
    let one = a.float(1.0);
    let p = a.add(one, tail);
    let complement = a.scale_pow2(p, n);
    let far = a.sub(one, complement);

    let edge = a.float(polynomials.erf_edge);
    let is_near = a.less(magnitude, edge);
    let y = a.select(is_near, near, far);
    with_sign_of(a, y, x)
}

/// A value without sign with the sign of another.
pub(super) fn with_sign_of<A: Arith>(a: &mut A, magnitude: A::F, sign: A::F) -> A::F {
    let mask = a.format().sign_mask();
    let mask = a.int(mask);
    let sign = a.to_bits(sign);
    let sign = a.int_and(sign, mask);
    let bits = a.to_bits(magnitude);
    let bits = a.int_xor(bits, sign);
    a.with_bits(bits)
}
