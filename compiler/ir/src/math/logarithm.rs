//! log and log1p.

use super::arith::Arith;

/// `x = 2^k (1 + f)` with 1 + f between the roots of 1/2 and 2, for a positive normal x. Returns the biased
/// exponent as an integer and 1 + f.
fn split<A: Arith>(a: &mut A, x: A::F) -> (A::I, A::F) {
    let format = a.format();
    // Adding moves the border between two exponents from a power of two down to the root of 1/2.
    let root = format.root_half_bits();
    let shift = a.int((format.bias << format.fraction_bits) - root);
    let bits = a.to_bits(x);
    let moved = a.int_add(bits, shift);
    let exponent = a.int_shr(moved, format.fraction_bits);
    let (mask, root) = (a.int(format.fraction_mask()), a.int(root));
    let fraction = a.int_and(moved, mask);
    let fraction = a.int_add(fraction, root);
    (exponent, a.with_bits(fraction))
}

/// `k log(2) + log(1 + f)` from a biased exponent: with s = f / (2 + f), log(1 + f) = 2 atanh(s) =
/// f - s (f - tail) with tail = 2 atanh(s) - 2 s over s, so that f itself enters without error.
fn assemble<A: Arith>(a: &mut A, exponent: A::I, bias: A::F, f: A::F) -> A::F {
    let format = a.format();
    let polynomials = format.polynomials;
    let magic_bits = a.int(format.magic_bits());
    let k = a.int_add(exponent, magic_bits);
    let k = a.with_bits(k);
    let k = a.sub(k, bias);
    let two = a.float(2.0);
    let d = a.add(two, f);
    let s = a.div(f, d);
    let z = a.mul(s, s);
    let q = a.polynomial(z, polynomials.log);
    let tail = a.mul(z, q);
    let rest = a.sub(f, tail);
    let (high, low) = (a.float(polynomials.ln2[0]), a.float(polynomials.ln2[1]));
    let low = a.mul(k, low);
    let low = a.fnma(s, rest, low);
    let y = a.add(f, low);
    a.fma(k, high, y)
}

/// Puts in the limits: `y` above `pole`, minus infinity at it, NaN below, `x` for plus infinity and NaN.
fn limits<A: Arith>(a: &mut A, x: A::F, pole: f64, y: A::F) -> A::F {
    let (pole, infinity) = (a.float(pole), a.float(f64::INFINITY));
    let (minus_infinity, nan) = (a.float(f64::NEG_INFINITY), a.float(f64::NAN));
    let finite = a.less(x, infinity);
    let y = a.select(finite, y, x);
    let at_pole = a.equal(x, pole);
    let outside = a.select(at_pole, minus_infinity, nan);
    let inside = a.less(pole, x);
    a.select(inside, y, outside)
}

pub(super) fn log<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let format = a.format();
    // Denormals are scaled to normal values. Zeros, negative values and NaN come out as anything, until `limits`.
    let up = f64::from(format.fraction_bits) + 2.0;
    let (least, scale) = (a.float(format.min_positive), a.float(up.exp2()));
    let denormal = a.less(x, least);
    let scaled = a.mul(x, scale);
    let normal = a.select(denormal, scaled, x);
    let (exponent, one_plus_f) = split(a, normal);
    let one = a.float(1.0);
    let f = a.sub(one_plus_f, one);
    let bias = format.magic() + format.bias as f64;
    let (plain, raised) = (a.float(bias), a.float(bias + up));
    let bias = a.select(denormal, raised, plain);
    let y = assemble(a, exponent, bias, f);
    limits(a, x, 0.0, y)
}

/// The exponent k comes from the rounded 1 + x, but f = x 2^-k + (2^-k - 1) is rounded only once.
pub(super) fn log1p<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let format = a.format();
    let (zero, one) = (a.float(0.0), a.float(1.0));
    let u = a.add(one, x);
    // Only arguments outside the domain and NaN are raised: -1 is the neighbour of a value two units below 1.
    let least = a.float((-f64::from(format.fraction_bits) - 2.0).exp2());
    let u = a.max(u, least);
    let (exponent, _) = split(a, u);
    let bias = a.int(format.bias);
    let minus_k = a.int_sub(bias, exponent);
    let scaled = a.scale_pow2(x, minus_k);
    let power = a.scale_pow2(one, minus_k);
    let power = a.sub(power, one);
    let f = a.add(scaled, power);
    let bias = a.float(format.magic() + format.bias as f64);
    let y = assemble(a, exponent, bias, f);
    let y = limits(a, x, -1.0, y);
    // 1 + -0 has lost the sign.
    let is_zero = a.equal(x, zero);
    a.select(is_zero, x, y)
}
