//! Scalars as an instance of [`Arith`].

use std::marker::PhantomData;

use super::arith::Arith;
use super::format::{Format, HasFormat};
use crate::scalar::{self, Real};

/// Evaluates on plain values. Integers live in the low bits of a `u64`; the bits above are zero.
pub(super) struct Scalar<T>(PhantomData<T>);

impl<T: Real + HasFormat> Scalar<T> {
    pub(super) fn new() -> Self {
        Scalar(PhantomData)
    }

    /// Keeps the bits of the format's width.
    #[inline(always)]
    fn wrap(value: u64) -> u64 {
        if T::FORMAT.bits == 32 { value & 0xffff_ffff } else { value }
    }
}

impl<T: Real + HasFormat> Arith for Scalar<T> {
    type F = T;
    type I = u64;
    type M = bool;

    #[inline(always)]
    fn format(&self) -> &'static Format {
        T::FORMAT
    }
    #[inline(always)]
    fn float(&mut self, value: f64) -> T {
        T::from_f64(value)
    }
    #[inline(always)]
    fn int(&mut self, value: i64) -> u64 {
        Self::wrap(value as u64)
    }
    #[inline(always)]
    fn add(&mut self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn sub(&mut self, a: T, b: T) -> T {
        a - b
    }
    #[inline(always)]
    fn mul(&mut self, a: T, b: T) -> T {
        a * b
    }
    #[inline(always)]
    fn div(&mut self, a: T, b: T) -> T {
        a / b
    }
    #[inline(always)]
    fn fma(&mut self, a: T, b: T, c: T) -> T {
        T::fma(a, b, c)
    }
    #[inline(always)]
    fn fnma(&mut self, a: T, b: T, c: T) -> T {
        T::fma(-a, b, c)
    }
    #[inline(always)]
    fn abs(&mut self, a: T) -> T {
        a.abs()
    }
    #[inline(always)]
    fn neg(&mut self, a: T) -> T {
        -a
    }
    #[inline(always)]
    fn min(&mut self, a: T, b: T) -> T {
        scalar::min(a, b)
    }
    #[inline(always)]
    fn max(&mut self, a: T, b: T) -> T {
        scalar::max(a, b)
    }
    #[inline(always)]
    fn scale_pow2(&mut self, p: T, n: u64) -> T {
        let unused = 64 - u32::from(T::FORMAT.bits);
        p.scale_pow2(((n << unused) as i64) >> unused)
    }
    #[inline(always)]
    fn less(&mut self, a: T, b: T) -> bool {
        a < b
    }
    #[inline(always)]
    fn equal(&mut self, a: T, b: T) -> bool {
        a == b
    }
    #[inline(always)]
    fn int_equal(&mut self, a: u64, b: u64) -> bool {
        a == b
    }
    #[inline(always)]
    fn select(&mut self, mask: bool, a: T, b: T) -> T {
        if mask { a } else { b }
    }
    #[inline(always)]
    fn to_bits(&mut self, a: T) -> u64 {
        a.to_bits64()
    }
    #[inline(always)]
    fn with_bits(&mut self, a: u64) -> T {
        T::from_bits64(a)
    }
    #[inline(always)]
    fn int_add(&mut self, a: u64, b: u64) -> u64 {
        Self::wrap(a.wrapping_add(b))
    }
    #[inline(always)]
    fn int_sub(&mut self, a: u64, b: u64) -> u64 {
        Self::wrap(a.wrapping_sub(b))
    }
    #[inline(always)]
    fn int_and(&mut self, a: u64, b: u64) -> u64 {
        a & b
    }
    #[inline(always)]
    fn int_xor(&mut self, a: u64, b: u64) -> u64 {
        a ^ b
    }
    #[inline(always)]
    fn int_shl(&mut self, a: u64, by: u8) -> u64 {
        Self::wrap(a << by)
    }
    #[inline(always)]
    fn int_shr(&mut self, a: u64, by: u8) -> u64 {
        a >> by
    }
}
