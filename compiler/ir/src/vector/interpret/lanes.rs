//! Operations of lanes on a frame's registers.

use super::code::Frame;
use super::run::Fault;
use crate::scalar::{self, Real};
use crate::vector::data::*;

/// A lane type, kept as bits in one of the two lane files.
pub(super) trait Lane: Copy + PartialOrd + Default {
    fn get(frame: &Frame, slot: usize) -> [Self; 16];
    fn set(frame: &mut Frame, slot: usize, lanes: [Self; 16]);
}

impl Lane for f32 {
    #[inline(always)]
    fn get(frame: &Frame, slot: usize) -> [f32; 16] {
        frame.lanes32[slot].map(f32::from_bits)
    }
    #[inline(always)]
    fn set(frame: &mut Frame, slot: usize, lanes: [f32; 16]) {
        frame.lanes32[slot] = lanes.map(f32::to_bits);
    }
}

impl Lane for i32 {
    #[inline(always)]
    fn get(frame: &Frame, slot: usize) -> [i32; 16] {
        frame.lanes32[slot].map(|bits| bits as i32)
    }
    #[inline(always)]
    fn set(frame: &mut Frame, slot: usize, lanes: [i32; 16]) {
        frame.lanes32[slot] = lanes.map(|lane| lane as u32);
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn get(frame: &Frame, slot: usize) -> [f64; 16] {
        frame.lanes64[slot].map(f64::from_bits)
    }
    #[inline(always)]
    fn set(frame: &mut Frame, slot: usize, lanes: [f64; 16]) {
        frame.lanes64[slot] = lanes.map(f64::to_bits);
    }
}

impl Lane for i64 {
    #[inline(always)]
    fn get(frame: &Frame, slot: usize) -> [i64; 16] {
        frame.lanes64[slot].map(|bits| bits as i64)
    }
    #[inline(always)]
    fn set(frame: &mut Frame, slot: usize, lanes: [i64; 16]) {
        frame.lanes64[slot] = lanes.map(|lane| lane as u64);
    }
}

/// Applies `f` to the first `n` lanes; whole registers take a loop of constant length.
#[inline(always)]
fn each<T: Lane, U: Lane>(x: [T; 16], n: usize, f: impl Fn(T) -> U) -> [U; 16] {
    let mut y = [U::default(); 16];
    if n == 16 {
        for i in 0..16 {
            y[i] = f(x[i]);
        }
    } else {
        for i in 0..n {
            y[i] = f(x[i]);
        }
    }
    y
}

#[inline(always)]
fn map<T: Lane>(frame: &mut Frame, to: usize, a: usize, n: usize, f: impl Fn(T) -> T) {
    let lanes = each(T::get(frame, a), n, f);
    T::set(frame, to, lanes);
}

#[inline(always)]
fn zip<T: Lane>(frame: &mut Frame, to: usize, a: usize, b: usize, n: usize, f: impl Fn(T, T) -> T) {
    let (x, y) = (T::get(frame, a), T::get(frame, b));
    let mut z = [T::default(); 16];
    if n == 16 {
        for i in 0..16 {
            z[i] = f(x[i], y[i]);
        }
    } else {
        for i in 0..n {
            z[i] = f(x[i], y[i]);
        }
    }
    T::set(frame, to, z);
}

/// `±(a * b) + c`.
pub(super) fn fma<T: Lane + Real>(
    frame: &mut Frame,
    to: usize,
    [a, b, c]: [usize; 3],
    n: usize,
    negate: bool,
) {
    let (x, y, mut z) = (T::get(frame, a), T::get(frame, b), T::get(frame, c));
    for i in 0..n {
        let factor = if negate { -x[i] } else { x[i] };
        z[i] = T::fma(factor, y[i], z[i]);
    }
    T::set(frame, to, z);
}

/// Unary operations of float lanes.
pub(super) fn float_unary<T: Lane + Real>(
    frame: &mut Frame,
    op: VecUnary,
    to: usize,
    a: usize,
    n: usize,
) {
    match op {
        VecUnary::Neg => map(frame, to, a, n, |x: T| -x),
        VecUnary::Abs => map(frame, to, a, n, |x: T| x.abs()),
        VecUnary::Sqrt => map(frame, to, a, n, |x: T| x.sqrt()),
        VecUnary::Round => map(frame, to, a, n, |x: T| x.round()),
        VecUnary::Floor => map(frame, to, a, n, |x: T| x.floor()),
    }
}

/// Binary operations of float lanes.
pub(super) fn float_binary<T: Lane + Real>(
    frame: &mut Frame,
    op: VecBinary,
    to: usize,
    [a, b]: [usize; 2],
    n: usize,
) {
    match op {
        VecBinary::Add => zip(frame, to, a, b, n, |x: T, y| x + y),
        VecBinary::Sub => zip(frame, to, a, b, n, |x: T, y| x - y),
        VecBinary::Mul => zip(frame, to, a, b, n, |x: T, y| x * y),
        VecBinary::Div => zip(frame, to, a, b, n, |x: T, y| x / y),
        VecBinary::Min => zip(frame, to, a, b, n, scalar::min::<T>),
        VecBinary::Max => zip(frame, to, a, b, n, scalar::max::<T>),
        VecBinary::And | VecBinary::Or | VecBinary::Xor | VecBinary::MulHighUnsigned => {
            unreachable!("the verifier asks for integer lanes")
        }
    }
}

/// Unary operations of integer lanes.
pub(super) fn int_unary(
    frame: &mut Frame,
    op: VecUnary,
    elem: Elem,
    to: usize,
    a: usize,
    n: usize,
) {
    let wide = elem.bits() == 64;
    match op {
        VecUnary::Neg if wide => map(frame, to, a, n, i64::wrapping_neg),
        VecUnary::Neg => map(frame, to, a, n, i32::wrapping_neg),
        VecUnary::Abs if wide => map(frame, to, a, n, i64::wrapping_abs),
        VecUnary::Abs => map(frame, to, a, n, i32::wrapping_abs),
        VecUnary::Sqrt | VecUnary::Round | VecUnary::Floor => {
            unreachable!("the verifier asks for float lanes")
        }
    }
}

/// Binary operations of 32-bit integer lanes.
pub(super) fn i32_binary(
    frame: &mut Frame,
    op: VecBinary,
    to: usize,
    [a, b]: [usize; 2],
    n: usize,
) {
    match op {
        VecBinary::Add => zip(frame, to, a, b, n, i32::wrapping_add),
        VecBinary::Sub => zip(frame, to, a, b, n, i32::wrapping_sub),
        VecBinary::Mul => zip(frame, to, a, b, n, i32::wrapping_mul),
        VecBinary::Min => zip(frame, to, a, b, n, scalar::min::<i32>),
        VecBinary::Max => zip(frame, to, a, b, n, scalar::max::<i32>),
        VecBinary::And => zip(frame, to, a, b, n, |x: i32, y| x & y),
        VecBinary::Or => zip(frame, to, a, b, n, |x: i32, y| x | y),
        VecBinary::Xor => zip(frame, to, a, b, n, |x: i32, y| x ^ y),
        VecBinary::MulHighUnsigned => {
            zip(frame, to, a, b, n, |x: i32, y| scalar::mul_high_u32(x as u32, y as u32) as i32)
        }
        VecBinary::Div => unreachable!("the verifier asks for float lanes"),
    }
}

/// Binary operations of 64-bit integer lanes.
pub(super) fn i64_binary(
    frame: &mut Frame,
    op: VecBinary,
    to: usize,
    [a, b]: [usize; 2],
    n: usize,
) {
    match op {
        VecBinary::Add => zip(frame, to, a, b, n, i64::wrapping_add),
        VecBinary::Sub => zip(frame, to, a, b, n, i64::wrapping_sub),
        VecBinary::Mul => zip(frame, to, a, b, n, i64::wrapping_mul),
        VecBinary::Min => zip(frame, to, a, b, n, scalar::min::<i64>),
        VecBinary::Max => zip(frame, to, a, b, n, scalar::max::<i64>),
        VecBinary::And => zip(frame, to, a, b, n, |x: i64, y| x & y),
        VecBinary::Or => zip(frame, to, a, b, n, |x: i64, y| x | y),
        VecBinary::Xor => zip(frame, to, a, b, n, |x: i64, y| x ^ y),
        VecBinary::Div | VecBinary::MulHighUnsigned => {
            unreachable!("the verifier asks for other lanes")
        }
    }
}

/// Shifts; `by` is below the width.
pub(super) fn shift(
    frame: &mut Frame,
    op: ShiftOp,
    elem: Elem,
    to: usize,
    a: usize,
    n: usize,
    by: u8,
) {
    match (op, elem.bits()) {
        (ShiftOp::Left, 32) => map(frame, to, a, n, |x: i32| x << by),
        (ShiftOp::RightLogical, 32) => map(frame, to, a, n, |x: i32| (x as u32 >> by) as i32),
        (ShiftOp::RightArithmetic, 32) => map(frame, to, a, n, |x: i32| x >> by),
        (ShiftOp::Left, _) => map(frame, to, a, n, |x: i64| x << by),
        (ShiftOp::RightLogical, _) => map(frame, to, a, n, |x: i64| (x as u64 >> by) as i64),
        (ShiftOp::RightArithmetic, _) => map(frame, to, a, n, |x: i64| x >> by),
    }
}

/// A comparison's mask.
pub(super) fn compare<T: Lane>(frame: &Frame, op: Compare, [a, b]: [usize; 2], n: usize) -> u16 {
    let (x, y) = (T::get(frame, a), T::get(frame, b));
    let mut mask = 0;
    for i in 0..n {
        let holds = match op {
            Compare::Eq => x[i] == y[i],
            Compare::Ne => x[i] != y[i],
            Compare::Lt => x[i] < y[i],
            Compare::Le => x[i] <= y[i],
        };
        mask |= u16::from(holds) << i;
    }
    mask
}

/// `mask ? a : b` on one file.
pub(super) fn select<T: Copy + Default>(mask: u16, a: [T; 16], b: [T; 16], n: usize) -> [T; 16] {
    let mut y = [T::default(); 16];
    for i in 0..n {
        y[i] = if mask >> i & 1 == 1 { a[i] } else { b[i] };
    }
    y
}

/// Multiplies by powers of two.
pub(super) fn scale_pow2<T: Lane + Real>(
    frame: &mut Frame,
    to: usize,
    p: usize,
    powers: [i64; 16],
    n: usize,
) -> Result<(), Fault> {
    let mut x = T::get(frame, p);
    for i in 0..n {
        if powers[i].unsigned_abs() > T::SCALE_LIMIT as u64 {
            return Err(Fault::ScaleRange(powers[i]));
        }
        x[i] = x[i].scale_pow2(powers[i]);
    }
    T::set(frame, to, x);
    Ok(())
}

/// All lanes folded into lane 0.
pub(super) fn fold<T: Lane>(
    frame: &mut Frame,
    op: FoldOp,
    to: usize,
    a: usize,
    n: usize,
    add: fn(T, T) -> T,
) {
    let mut x = T::get(frame, a);
    let mut half = n / 2;
    while half > 0 {
        for i in 0..half {
            x[i] = match op {
                FoldOp::Add => add(x[i], x[i + half]),
                FoldOp::Max => scalar::fold_max(x[i], x[i + half]),
                FoldOp::Min => scalar::fold_min(x[i], x[i + half]),
            };
        }
        half /= 2;
    }
    let mut y = [T::default(); 16];
    y[0] = x[0];
    T::set(frame, to, y);
}

/// Converts lanes from one element type to another.
pub(super) fn convert(
    frame: &mut Frame,
    from: Elem,
    target: Elem,
    to: usize,
    a: usize,
    n: usize,
) -> Result<(), Fault> {
    match from {
        Elem::F32 => convert_float(frame, each(f32::get(frame, a), n, f64::from), target, to, n),
        Elem::F64 => convert_float(frame, f64::get(frame, a), target, to, n),
        Elem::I32 => {
            let wide = each(i32::get(frame, a), n, i64::from);
            convert_int(frame, wide, target, to, n);
            Ok(())
        }
        Elem::I64 => {
            convert_int(frame, i64::get(frame, a), target, to, n);
            Ok(())
        }
    }
}

/// Widening to double precision first is exact, so one set of conversions serves both floats.
fn convert_float(
    frame: &mut Frame,
    x: [f64; 16],
    target: Elem,
    to: usize,
    n: usize,
) -> Result<(), Fault> {
    match target {
        Elem::F32 => f32::set(frame, to, each(x, n, |x| x as f32)),
        Elem::F64 => f64::set(frame, to, x),
        Elem::I32 => {
            let mut y = [0; 16];
            for i in 0..n {
                y[i] = scalar::to_i32(x[i]).ok_or(Fault::ConvertRange(x[i]))?;
            }
            i32::set(frame, to, y);
        }
        Elem::I64 => {
            let mut y = [0; 16];
            for i in 0..n {
                y[i] = scalar::to_i64(x[i]).ok_or(Fault::ConvertRange(x[i]))?;
            }
            i64::set(frame, to, y);
        }
    }
    Ok(())
}

fn convert_int(frame: &mut Frame, x: [i64; 16], target: Elem, to: usize, n: usize) {
    match target {
        Elem::F32 => f32::set(frame, to, each(x, n, |x| x as f32)),
        Elem::F64 => f64::set(frame, to, each(x, n, |x| x as f64)),
        Elem::I32 => i32::set(frame, to, each(x, n, |x| x as i32)),
        Elem::I64 => i64::set(frame, to, x),
    }
}
