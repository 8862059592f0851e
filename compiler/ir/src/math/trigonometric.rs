//! sin and cos.

use super::arith::Arith;
use super::exponential::with_sign_of;

/// `|x| = n pi / 2 + r`: the sine and cosine of r, and bits whose lowest two are those of n.
struct Reduced<A: Arith> {
    sin: A::F,
    cos: A::F,
    quarters: A::I,
}

fn reduce<A: Arith>(a: &mut A, magnitude: A::F) -> Reduced<A> {
    let format = a.format();
    let polynomials = format.polynomials;
    let (two_over_pi, magic) = (a.float(polynomials.two_over_pi), a.float(format.magic()));
    let shifted = a.fma(magnitude, two_over_pi, magic);
    let whole = a.sub(shifted, magic);
    let quarters = a.to_bits(shifted);
    let mut r = magnitude;
    for part in polynomials.half_pi {
        let part = a.float(part);
        r = a.fnma(whole, part, r);
    }
    let z = a.mul(r, r);
    let q = a.polynomial(z, polynomials.sin);
    let cube = a.mul(r, z);
    let sin = a.fma(cube, q, r);
    let (half, one) = (a.float(0.5), a.float(1.0));
    let q = a.polynomial(z, polynomials.cos);
    let fourth = a.mul(z, z);
    let cos = a.fnma(half, z, one);
    let cos = a.fma(fourth, q, cos);
    Reduced { sin, cos, quarters }
}

/// The sine of `|x| + turned pi / 2`.
fn sin_of_magnitude<A: Arith>(a: &mut A, x: A::F, turned: i64) -> A::F {
    let format = a.format();
    let magnitude = a.abs(x);
    let Reduced { sin, cos, quarters } = reduce(a, magnitude);
    let quarters = if turned == 0 {
        quarters
    } else {
        let turned = a.int(turned);
        a.int_add(quarters, turned)
    };
    let (zero, one, two) = (a.int(0), a.int(1), a.int(2));
    let odd = a.int_and(quarters, one);
    let even = a.int_equal(odd, zero);
    let y = a.select(even, sin, cos);
    let half_turn = a.int_and(quarters, two);
    let sign = a.int_shl(half_turn, format.bits - 2);
    let bits = a.to_bits(y);
    let bits = a.int_xor(bits, sign);
    let y = a.with_bits(bits);
    let (limit, nan) = (a.float(format.reduction_limit), a.float(f64::NAN));
    let reducible = a.less(magnitude, limit);
    a.select(reducible, y, nan)
}

pub(super) fn sin<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let y = sin_of_magnitude(a, x, 0);
    with_sign_of(a, y, x)
}

pub(super) fn cos<A: Arith>(a: &mut A, x: A::F) -> A::F {
    sin_of_magnitude(a, x, 1)
}
