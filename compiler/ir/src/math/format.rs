//! The two float formats: where their bits lie, their limits and their polynomials.

use super::coefficients::{DOUBLE, SINGLE};

/// Constants and polynomials that depend on the precision; lowest powers first.
#[derive(Debug)]
pub(super) struct Polynomials {
    /// 1 / log(2).
    pub(super) log2e: f64,
    /// log(2) in two parts.
    pub(super) ln2: [f64; 2],
    /// (exp(r) - 1 - r) / r^2 for |r| up to log(2) / 2.
    pub(super) exp: &'static [f64],
    /// (2 atanh(s) / s - 2) / s^2 in s^2, for s = f / (2 + f) and 1 + f between the roots of 1/2 and 2.
    pub(super) log: &'static [f64],
    /// Where tanh changes from a polynomial to an exponential.
    pub(super) tanh_edge: f64,
    /// (tanh(x) / x - 1) / x^2 in x^2 up to `tanh_edge`.
    pub(super) tanh: &'static [f64],
    /// Where erf changes from a polynomial to an exponential.
    pub(super) erf_edge: f64,
    /// From here on erf rounds to 1.
    pub(super) erf_end: f64,
    /// Subtracted from the argument of `erf_tail`.
    pub(super) erf_mid: f64,
    /// erf(x) / x - 1 in x^2 up to `erf_edge`.
    pub(super) erf: &'static [f64],
    /// -log(1 - erf(x)) in x - `erf_mid`, between `erf_edge` and `erf_end`.
    pub(super) erf_tail: &'static [f64],
    /// 2 / pi.
    pub(super) two_over_pi: f64,
    /// pi / 2 in three parts.
    pub(super) half_pi: [f64; 3],
    /// (sin(x) / x - 1) / x^2 in x^2 for |x| up to pi / 4.
    pub(super) sin: &'static [f64],
    /// (cos(x) - 1 + x^2 / 2) / x^4 in x^2 for |x| up to pi / 4.
    pub(super) cos: &'static [f64],
}

/// A float format.
#[derive(Debug)]
pub struct Format {
    /// Width of a value in bits: 32 or 64.
    pub bits: u8,
    /// Bits of the stored fraction: 23 or 52.
    pub fraction_bits: u8,
    /// Exponent bias: 127 or 1023.
    pub bias: i64,
    /// Below this exponential rounds to zero.
    pub exp_lowest: f64,
    /// Above this exponential rounds to infinity.
    pub exp_highest: f64,
    /// From here on tanh rounds to 1.
    pub tanh_end: f64,
    /// Smallest normal value.
    pub min_positive: f64,
    /// See [`super::reduction_limit`].
    pub reduction_limit: f64,
    pub(super) polynomials: &'static Polynomials,
}

impl Format {
    /// 1.5 * 2^fraction_bits: added to a small value it leaves the nearest integer in the lowest bits.
    pub const fn magic(&self) -> f64 {
        1.5 * (1_u64 << self.fraction_bits) as f64
    }

    /// The bits of [`Format::magic`].
    pub const fn magic_bits(&self) -> i64 {
        // Its exponent is that of 2^fraction_bits, and the highest bit of its fraction is set.
        ((self.bias + self.fraction_bits as i64) << self.fraction_bits)
            | 1 << (self.fraction_bits - 1)
    }

    /// The bits of the root of 1/2, rounded down.
    pub const fn root_half_bits(&self) -> i64 {
        match self.bits {
            32 => 0x3f35_04f3,
            _ => 0x3fe6_a09e_667f_3bcc,
        }
    }

    /// A one in each bit of the fraction.
    pub const fn fraction_mask(&self) -> i64 {
        (1 << self.fraction_bits) - 1
    }

    /// The sign bit.
    pub const fn sign_mask(&self) -> i64 {
        1_i64 << (self.bits - 1)
    }
}

/// Single precision.
pub static F32: Format = Format {
    bits: 32,
    fraction_bits: 23,
    bias: 127,
    exp_lowest: -104.0,
    exp_highest: 89.0,
    tanh_end: 10.0,
    min_positive: f32::MIN_POSITIVE as f64,
    // The reduction counts quarter turns in 22 bits.
    reduction_limit: 6_500_000.0,
    polynomials: &SINGLE,
};

/// Double precision.
pub static F64: Format = Format {
    bits: 64,
    fraction_bits: 52,
    bias: 1023,
    exp_lowest: -746.0,
    exp_highest: 710.0,
    tanh_end: 20.0,
    min_positive: f64::MIN_POSITIVE,
    reduction_limit: 1e15,
    polynomials: &DOUBLE,
};

/// A type with a [`Format`]: `f32` or `f64`.
pub trait HasFormat {
    /// Its format.
    const FORMAT: &'static Format;
}

impl HasFormat for f32 {
    const FORMAT: &'static Format = &F32;
}

impl HasFormat for f64 {
    const FORMAT: &'static Format = &F64;
}
