//! The exact scalar arithmetic that all interpreters share.
//!
//! Everything here is defined by IEEE 754 alone: round to nearest even, denormals kept, no dependence on the
//! math library that the host links. NaN payloads are outside the promise. The two [`Real`] types, `f32` and
//! `f64`, carry every operation of vector IR's float lanes, so an interpreter is written once over both.
//!
//! The fused multiply-add is done without the host's instruction unless the crate is compiled for a target that
//! has it: for `f32` in `f64` with the sum rounded to odd (Boldo and Melquiond, "Emulation of FMA and correctly
//! rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57, 2008), for `f64`
//! in 128-bit integers.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A float type of lanes: `f32` or `f64`.
pub trait Real:
    Copy
    + PartialOrd
    + Debug
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// `a * b + c`, rounded once.
    fn fma(a: Self, b: Self, c: Self) -> Self;
    /// The sign bit cleared, NaN too.
    fn abs(self) -> Self;
    /// Correctly rounded square root; NaN below zero, `-0` for `-0`.
    fn sqrt(self) -> Self;
    /// The nearest integer, ties to even; keeps the sign of zero.
    fn round(self) -> Self;
    /// The largest integer not above; keeps the sign of zero.
    fn floor(self) -> Self;
    /// `self * 2^(n >> 1) * 2^(n - (n >> 1))`; `|n|` is at most 252 (`f32`) or 2044 (`f64`), which
    /// [`Real::SCALE_LIMIT`] says.
    ///
    /// # Panics
    /// In debug builds if `n` is out of range.
    fn scale_pow2(self, n: i64) -> Self;
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// The nearest value of this type.
    fn from_i64(value: i64) -> Self;
    /// The value with these bits in its low half or whole.
    fn from_bits64(bits: u64) -> Self;
    /// Its bits, in the low half or whole.
    fn to_bits64(self) -> u64;
    /// Largest `|n|` of [`Real::scale_pow2`].
    const SCALE_LIMIT: i64;
}

impl Real for f32 {
    const SCALE_LIMIT: i64 = 252;

    fn fma(a: f32, b: f32, c: f32) -> f32 {
        fma_f32(a, b, c)
    }
    fn abs(self) -> f32 {
        f32::from_bits(self.to_bits() & 0x7fff_ffff)
    }
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    fn round(self) -> f32 {
        // Adding 2^23 leaves no bits for a fraction; the sum rounds to nearest even. Larger values, infinities
        // and NaN have no fraction to lose.
        const BIG: f32 = 8_388_608.0;
        let magnitude = Real::abs(self);
        if magnitude < BIG { ((magnitude + BIG) - BIG).copysign(self) } else { self }
    }
    fn floor(self) -> f32 {
        let nearest = Real::round(self);
        if nearest > self { (nearest - 1.0).copysign(self) } else { nearest }
    }
    fn scale_pow2(self, n: i64) -> f32 {
        debug_assert!(n.abs() <= Self::SCALE_LIMIT, "2^{n} is out of the range of scale_pow2");
        let half = n >> 1;
        let power = |n: i64| f32::from_bits(((n + 127) as u32) << 23);
        self * power(half) * power(n - half)
    }
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_i64(value: i64) -> f32 {
        value as f32
    }
    fn from_bits64(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    fn to_bits64(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Real for f64 {
    const SCALE_LIMIT: i64 = 2044;

    fn fma(a: f64, b: f64, c: f64) -> f64 {
        fma_f64(a, b, c)
    }
    fn abs(self) -> f64 {
        f64::from_bits(self.to_bits() & !(1 << 63))
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn round(self) -> f64 {
        const BIG: f64 = 4_503_599_627_370_496.0;
        let magnitude = Real::abs(self);
        if magnitude < BIG { ((magnitude + BIG) - BIG).copysign(self) } else { self }
    }
    fn floor(self) -> f64 {
        let nearest = Real::round(self);
        if nearest > self { (nearest - 1.0).copysign(self) } else { nearest }
    }
    fn scale_pow2(self, n: i64) -> f64 {
        debug_assert!(n.abs() <= Self::SCALE_LIMIT, "2^{n} is out of the range of scale_pow2");
        let half = n >> 1;
        let power = |n: i64| f64::from_bits(((n + 1023) as u64) << 52);
        self * power(half) * power(n - half)
    }
    fn from_f64(value: f64) -> f64 {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn from_i64(value: i64) -> f64 {
        value as f64
    }
    fn from_bits64(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn to_bits64(self) -> u64 {
        self.to_bits()
    }
}

/// `a > b ? a : b`: the second operand wins for NaN and for equal zeros.
#[inline(always)]
pub fn max<T: PartialOrd>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// `a < b ? a : b`: the second operand wins for NaN and for equal zeros.
#[inline(always)]
pub fn min<T: PartialOrd>(a: T, b: T) -> T {
    if a < b { a } else { b }
}

/// One step of a maximum that keeps NaN: `x` if it is greater or NaN, else `acc`; of equal values the first wins.
#[inline(always)]
#[allow(clippy::eq_op, reason = "a value that differs from itself is NaN, in every type")]
pub fn fold_max<T: PartialOrd>(acc: T, x: T) -> T {
    if x > acc || x != x { x } else { acc }
}

/// One step of a minimum that keeps NaN: `x` if it is less or NaN, else `acc`; of equal values the first wins.
#[inline(always)]
#[allow(clippy::eq_op, reason = "a value that differs from itself is NaN, in every type")]
pub fn fold_min<T: PartialOrd>(acc: T, x: T) -> T {
    if x < acc || x != x { x } else { acc }
}

/// `a * b + c` in single precision, rounded once.
#[inline(always)]
pub fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_feature = "fma") {
        return a.mul_add(b, c);
    }
    // The product of two 24-bit significands is exact in 53 bits; only the sum rounds.
    let product = f64::from(a) * f64::from(b);
    let sum = product + f64::from(c);
    let bits = sum.to_bits();
    // Rounding the rounded sum again is wrong only if the first rounding ended on a tie of the second. For results
    // that are normal in f32 a tie has exactly the first discarded bit set.
    let tie = bits & 0x1fff_ffff == 0x1000_0000;
    let normal = bits & (0x7ff << 52) >= 897 << 52;
    if !tie && normal { sum as f32 } else { fma_f32_by_odd(product, f64::from(c), sum) }
}

/// Rounds `product + c` to odd before it is rounded to single precision.
fn fma_f32_by_odd(product: f64, c: f64, sum: f64) -> f32 {
    // Knuth's two-sum: `product + c = sum + error` exactly.
    let virtual_c = sum - product;
    let error = (product - (sum - virtual_c)) + (c - virtual_c);
    if error == 0.0 || error.is_nan() {
        return sum as f32;
    }
    let bits = sum.to_bits();
    let odd = if bits & 1 == 1 {
        bits
    } else if (error > 0.0) == (sum > 0.0) {
        bits + 1
    } else {
        bits - 1
    };
    f64::from_bits(odd) as f32
}

/// `a * b + c` in double precision, rounded once.
#[inline(always)]
pub fn fma_f64(a: f64, b: f64, c: f64) -> f64 {
    if cfg!(target_feature = "fma") { a.mul_add(b, c) } else { fma_f64_in_integers(a, b, c) }
}

/// A finite nonzero double as `(-1)^sign * significand * 2^exponent`.
#[derive(Clone, Copy)]
struct Unpacked {
    negative: bool,
    significand: u64,
    exponent: i32,
}

fn unpack(x: f64) -> Unpacked {
    let bits = x.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (significand, exponent) =
        if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    Unpacked { negative: bits >> 63 == 1, significand, exponent }
}

fn fma_f64_in_integers(a: f64, b: f64, c: f64) -> f64 {
    let finite = a.is_finite() && b.is_finite() && c.is_finite();
    if !finite || a == 0.0 || b == 0.0 {
        // Without rounding of a finite nonzero product the two operations agree with the fused one. An infinite `c`
        // must not meet a product that overflows to the other infinity.
        let product =
            if a.is_finite() && b.is_finite() { 0.0_f64.copysign(a) * b.signum() } else { a * b };
        return product + c;
    }
    let (ua, ub) = (unpack(a), unpack(b));
    let negative = ua.negative != ub.negative;
    let product = u128::from(ua.significand) * u128::from(ub.significand);
    let exponent = ua.exponent + ub.exponent;
    if c == 0.0 {
        return round_to_f64(negative, product, exponent);
    }
    let uc = unpack(c);
    // Both terms with their leading bit at bit 125: room above for a carry, and at least 20 zero bits below the
    // longer term, so that a bit shifted out far below can be kept as one sticky bit.
    let (p, p_exponent) = normalise(product, exponent);
    let (q, q_exponent) = normalise(u128::from(uc.significand), uc.exponent);
    let (big, big_exponent, big_negative, small, small_exponent, small_negative) =
        if (p_exponent, p) >= (q_exponent, q) {
            (p, p_exponent, negative, q, q_exponent, uc.negative)
        } else {
            (q, q_exponent, uc.negative, p, p_exponent, negative)
        };
    let small = shift_right_sticky(small, (big_exponent - small_exponent) as u32);
    if big_negative == small_negative {
        round_to_f64(big_negative, big + small, big_exponent)
    } else if big == small {
        // An exact difference of equals is +0 when rounding to nearest.
        0.0
    } else {
        round_to_f64(big_negative, big - small, big_exponent)
    }
}

/// Moves the leading bit to bit 125.
fn normalise(significand: u128, exponent: i32) -> (u128, i32) {
    let shift = significand.leading_zeros() as i32 - 2;
    (significand << shift, exponent - shift)
}

/// Shifts right; any bit lost sets the lowest bit.
fn shift_right_sticky(x: u128, by: u32) -> u128 {
    if by == 0 {
        x
    } else if by >= 128 {
        u128::from(x != 0)
    } else {
        (x >> by) | u128::from(x << (128 - by) != 0)
    }
}

/// Rounds `significand * 2^exponent` to nearest even; the significand is not zero.
fn round_to_f64(negative: bool, significand: u128, exponent: i32) -> f64 {
    let top = 127 - significand.leading_zeros() as i32;
    // The unit in the last place of the result; -1074 is that of denormals.
    let unit = (exponent + top - 52).max(-1074);
    let drop = unit - exponent;
    let rounded = if drop <= 0 {
        (significand << -drop) as u64
    } else {
        let kept = shift_right_sticky(significand, (drop - 2).max(0) as u32);
        // Two guard bits: the first discarded bit and the sticky rest.
        let kept = if drop == 1 { kept << 1 } else { kept };
        let (whole, guard) = ((kept >> 2) as u64, kept as u64 & 3);
        whole + u64::from(guard == 3 || (guard == 2 && whole & 1 == 1))
    };
    // A carry into bit 53 is a power of two, which the addition below turns into the next exponent.
    let bits = if unit == -1074 {
        rounded
    } else {
        let biased = unit + 1075;
        if biased >= 0x7ff { 0x7ff << 52 } else { ((biased as u64 - 1) << 52) + rounded }
    };
    f64::from_bits(bits.min(0x7ff << 52) | u64::from(negative) << 63)
}

/// A bfloat16's bits, widened.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounded to bfloat16, to nearest even.
pub fn f32_to_bf16(value: f32) -> u16 {
    half::bf16::from_f32(value).to_bits()
}

/// An IEEE half's bits, widened.
pub fn f16_to_f32(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

/// Rounded to IEEE half precision, to nearest even; overflows to infinity.
pub fn f32_to_f16(value: f32) -> u16 {
    half::f16::from_f32(value).to_bits()
}

/// Truncated to a 32-bit integer; `None` for NaN and values out of range, on which targets differ.
#[inline(always)]
pub fn to_i32(value: f64) -> Option<i32> {
    (value > -2_147_483_649.0 && value < 2_147_483_648.0).then_some(value as i32)
}

/// Truncated to a 64-bit integer; `None` for NaN and values out of range, on which targets differ.
#[inline(always)]
pub fn to_i64(value: f64) -> Option<i64> {
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&value)
        .then_some(value as i64)
}

/// Upper 32 bits of the 64-bit product of two lanes read as unsigned.
#[inline(always)]
pub fn mul_high_u32(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splitmix64, seeded by the caller.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn same64(a: f64, b: f64) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    fn same32(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    /// Values at which a rounding or a special rule changes.
    fn edges64() -> Vec<f64> {
        let positive = [
            0.0,
            f64::from_bits(1),
            f64::from_bits(3),
            f64::from_bits((1 << 52) - 1),
            f64::MIN_POSITIVE,
            f64::from_bits((1 << 52) + 1),
            2f64.powi(-540),
            2f64.powi(-537) * 1.5,
            2f64.powi(-53),
            f64::EPSILON,
            1.0 - f64::EPSILON / 2.0,
            1.0,
            1.0 + f64::EPSILON,
            1.5,
            2f64.powi(52) + 1.0,
            2f64.powi(53),
            2f64.powi(511),
            2f64.powi(512) * (1.0 + f64::EPSILON),
            f64::MAX / 2.0,
            f64::MAX,
            f64::INFINITY,
        ];
        let mut all: Vec<f64> = positive.iter().flat_map(|&x| [x, -x]).collect();
        all.push(f64::NAN);
        all
    }

    fn edges32() -> Vec<f32> {
        let positive = [
            0.0,
            f32::from_bits(1),
            f32::from_bits(3),
            f32::from_bits(0x007f_ffff),
            f32::MIN_POSITIVE,
            f32::from_bits(0x0080_0001),
            2f32.powi(-75),
            2f32.powi(-74) * 1.5,
            2f32.powi(-24),
            f32::EPSILON,
            1.0 - f32::EPSILON / 2.0,
            1.0,
            1.0 + f32::EPSILON,
            1.5,
            2f32.powi(23) + 1.0,
            2f32.powi(24),
            2f32.powi(63),
            2f32.powi(64) * (1.0 + f32::EPSILON),
            f32::MAX / 2.0,
            f32::MAX,
            f32::INFINITY,
        ];
        let mut all: Vec<f32> = positive.iter().flat_map(|&x| [x, -x]).collect();
        all.push(f32::NAN);
        all
    }

    #[test]
    fn fma_agrees_with_the_host_at_all_triples_of_edges() {
        for &a in &edges64() {
            for &b in &edges64() {
                for &c in &edges64() {
                    let (ours, host) = (fma_f64_in_integers(a, b, c), a.mul_add(b, c));
                    assert!(
                        same64(ours, host),
                        "fma({a:e}, {b:e}, {c:e}) is {host:e}, not {ours:e}"
                    );
                }
            }
        }
        for &a in &edges32() {
            for &b in &edges32() {
                for &c in &edges32() {
                    let (ours, host) = (fma_f32(a, b, c), a.mul_add(b, c));
                    assert!(
                        same32(ours, host),
                        "fma({a:e}, {b:e}, {c:e}) is {host:e}, not {ours:e}"
                    );
                }
            }
        }
    }

    /// An addend near the negated product makes cancellation, ties and sticky bits likely.
    #[test]
    fn fma_agrees_with_the_host_at_random_values() {
        let mut state = 1;
        for i in 0..400_000 {
            let a = f64::from_bits(next(&mut state));
            let b = match i % 3 {
                0 => f64::from_bits(next(&mut state)),
                // The product lands in any range, denormals often.
                1 => f64::from_bits(next(&mut state) & !(0x7ff << 52) | (i % 0x7ff) << 52),
                _ => 1.0 / a,
            };
            let near = -(a * b) * (1.0 + (next(&mut state) % 64) as f64 * f64::EPSILON);
            let distance = 2f64.powi((next(&mut state) % 240) as i32 - 120);
            for c in [f64::from_bits(next(&mut state)), near, near * distance, a] {
                let (ours, host) = (fma_f64_in_integers(a, b, c), a.mul_add(b, c));
                assert!(same64(ours, host), "fma({a:e}, {b:e}, {c:e}) is {host:e}, not {ours:e}");
            }
        }
        for i in 0..400_000_u32 {
            let a = f32::from_bits(next(&mut state) as u32);
            let b = match i % 3 {
                0 => f32::from_bits(next(&mut state) as u32),
                1 => f32::from_bits(next(&mut state) as u32 & !(0xff << 23) | (i % 0xff) << 23),
                _ => 1.0 / a,
            };
            let near = -(a * b) * (1.0 + (next(&mut state) % 64) as f32 * f32::EPSILON);
            let distance = 2f32.powi((next(&mut state) % 120) as i32 - 60);
            for c in [f32::from_bits(next(&mut state) as u32), near, near * distance, a] {
                let (ours, host) = (fma_f32(a, b, c), a.mul_add(b, c));
                assert!(same32(ours, host), "fma({a:e}, {b:e}, {c:e}) is {host:e}, not {ours:e}");
            }
        }
    }

    /// Cases whose answer follows by hand, so the test does not rest on the host's library alone.
    #[test]
    fn fma_of_known_cases() {
        // (1 + e)^2 - 1 - 2e = e^2, which a separate product loses.
        let e = f64::EPSILON;
        assert_eq!(fma_f64(1.0 + e, 1.0 + e, -1.0 - 2.0 * e), e * e);
        let e = f32::EPSILON;
        assert_eq!(fma_f32(1.0 + e, 1.0 + e, -1.0 - 2.0 * e), e * e);
        // The product overflows, the sum does not.
        assert_eq!(fma_f64(f64::MAX, 2.0, -f64::MAX), f64::MAX);
        assert_eq!(fma_f32(f32::MAX, 2.0, -f32::MAX), f32::MAX);
        // Ties at the smallest denormals.
        let tiny = f32::from_bits(1);
        assert_eq!(fma_f32(1.5, tiny, 0.0), f32::from_bits(2));
        assert_eq!(fma_f64(1.5, f64::from_bits(1), 0.0), f64::from_bits(2));
        assert_eq!(fma_f64(0.5, f64::from_bits(1), 0.0), 0.0);
        assert_eq!(fma_f64(0.75, f64::from_bits(1), 0.0), f64::from_bits(1));
        // The product is 2^-24 (1 - 2^-46): the sum lies just below a tie of single precision, and double precision
        // rounds it onto the tie, from where a second rounding would go up to the even neighbour.
        let e = f32::EPSILON;
        assert_eq!(
            fma_f32(2f32.powi(-12) * (1.0 + e), 2f32.powi(-12) * (1.0 - e), 1.0 + e),
            1.0 + e
        );
        // Signs of zero.
        assert!(fma_f64(1.0, -0.0, -0.0).is_sign_negative());
        assert!(fma_f64(1.0, 0.0, -0.0).is_sign_positive());
        assert!(fma_f64(1.0, 1.0, -1.0).is_sign_positive());
        assert!(fma_f64(f64::INFINITY, 0.0, 1.0).is_nan());
        assert_eq!(fma_f64(f64::MAX, f64::MAX, f64::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn second_operand_wins_and_folds_keep_nan() {
        assert_eq!(max(f32::NAN, 1.0), 1.0);
        assert!(max(1.0, f32::NAN).is_nan());
        assert!(max(0.0_f32, -0.0).is_sign_negative());
        assert!(min(-0.0_f64, 0.0).is_sign_positive());
        assert!(fold_max(f32::NAN, 1.0).is_nan());
        assert!(fold_max(1.0, f32::NAN).is_nan());
        assert!(fold_max(-0.0_f32, 0.0).is_sign_negative());
        assert!(fold_min(f64::NAN, 1.0).is_nan() && fold_min(1.0, f64::NAN).is_nan());
        assert_eq!(fold_max(3, 5), 5);
    }

    #[test]
    fn rounding_agrees_with_the_host() {
        let mut state = 2;
        let ties = (-20..20).map(|i| f64::from(i) / 2.0);
        let random = (0..100_000).map(|_| f64::from_bits(next(&mut state))).collect::<Vec<_>>();
        let near_big = (-9..9).map(|i| 2f64.powi(52) + f64::from(i) / 2.0);
        for x in edges64().into_iter().chain(ties).chain(random).chain(near_big) {
            assert!(same64(Real::round(x), x.round_ties_even()), "round({x:e})");
            assert!(same64(Real::floor(x), f64::floor(x)), "floor({x:e})");
            let x = x as f32;
            assert!(same32(Real::round(x), x.round_ties_even()), "round({x:e})");
            assert!(same32(Real::floor(x), f32::floor(x)), "floor({x:e})");
        }
    }

    #[test]
    fn scaling_is_two_products() {
        assert_eq!(Real::scale_pow2(1.0_f32, 127), 2f32.powi(127));
        assert_eq!(Real::scale_pow2(0.75_f32, 128), 0.75 * 2f32.powi(64) * 2f32.powi(64));
        assert_eq!(Real::scale_pow2(1.0_f32, -149), f32::from_bits(1));
        assert_eq!(Real::scale_pow2(1.5_f32, -252), 0.0);
        assert_eq!(Real::scale_pow2(1.0_f32, 252), f32::INFINITY);
        assert_eq!(Real::scale_pow2(1.0_f64, -1074), f64::from_bits(1));
        assert_eq!(Real::scale_pow2(1.0_f64, 1023), 2f64.powi(1023));
        assert_eq!(Real::scale_pow2(1.0_f64, -2044), 0.0);
    }

    #[test]
    fn half_formats_round_to_nearest_even() {
        assert_eq!(f32_to_bf16(1.0), 0x3f80);
        // Ties: below an odd and above an even last bit.
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
        assert_eq!(f32_to_f16(65519.0), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(2f32.powi(-25)), 0);
        assert_eq!(f32_to_f16(2f32.powi(-25) * 1.001), 1);
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16_to_f32(bits), bf16_to_f32(bits));
            assert!(half.is_nan() || f32_to_f16(half) == bits);
            assert!(brain.is_nan() || f32_to_bf16(brain) == bits);
        }
    }

    #[test]
    fn conversions_refuse_what_targets_do_differently() {
        assert_eq!(to_i32(-2_147_483_648.9), Some(i32::MIN));
        assert_eq!(to_i32(2_147_483_647.9), Some(i32::MAX));
        assert_eq!(to_i32(2_147_483_648.0), None);
        assert_eq!(to_i32(f64::NAN), None);
        assert_eq!(to_i64(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        assert_eq!(to_i64(9_223_372_036_854_775_808.0), None);
        assert_eq!(to_i64(-1.9), Some(-1));
    }
}
