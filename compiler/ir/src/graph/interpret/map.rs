//! Operations without a reduction: element by element, views, gathers, random numbers.

use super::dual::Dual;
use super::element::{Element, Number};
use super::philox::uniform_24;
use super::value::{Value, with_element, with_number};
use super::walk::{Owner, Place, Walk, each_point};
use super::{InterpretError, Site};
use crate::affine::Affine;
use crate::graph::{BinaryOp, Compare, Gather, UnaryOp};
use crate::scalar;
use dlc_abi::ElemType;

/// A function of one element.
pub(super) fn unary(op: UnaryOp, a: &Value) -> Value {
    if let (UnaryOp::Not, Value::Bool(a)) = (op, a) {
        return Value::Bool(a.iter().map(|x| !x).collect());
    }
    with_number!(a, T => {
        let a = T::slice(a).iter();
        T::wrap(match op {
            UnaryOp::Neg => a.map(|&x| Number::neg(x)).collect(),
            UnaryOp::Abs => a.map(|&x| Number::abs(x)).collect(),
            UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Log1p
            | UnaryOp::Sqrt
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Sigmoid
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Floor
            | UnaryOp::Not => a.map(|&x| T::function(op, x)).collect(),
        })
    })
}

fn zip<T: Element, U>(a: &Value, b: &Value, f: impl Fn(T, T) -> U) -> Vec<U> {
    T::slice(a).iter().zip(T::slice(b)).map(|(&a, &b)| f(a, b)).collect()
}

/// A function of two elements.
pub(super) fn binary(
    op: BinaryOp,
    a: &Value,
    b: &Value,
    site: &Site,
) -> Result<Value, InterpretError> {
    match op {
        BinaryOp::And => return Ok(Value::Bool(zip(a, b, |a: bool, b| a && b))),
        BinaryOp::Or => return Ok(Value::Bool(zip(a, b, |a: bool, b| a || b))),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max => {}
    }
    with_number!(a, T => numbers::<T>(op, a, b, site))
}

fn numbers<T: Number>(
    op: BinaryOp,
    a: &Value,
    b: &Value,
    site: &Site,
) -> Result<Value, InterpretError> {
    if matches!(op, BinaryOp::Div | BinaryOp::Rem)
        && let Some(element) = T::slice(b).iter().position(|b| b.is_integer_zero())
    {
        return Err(InterpretError::DivisionByZero { site: site.clone(), element });
    }
    Ok(T::wrap(match op {
        BinaryOp::Add => zip(a, b, T::add),
        BinaryOp::Sub => zip(a, b, T::sub),
        BinaryOp::Mul => zip(a, b, T::mul),
        BinaryOp::Div => zip(a, b, T::div),
        BinaryOp::Rem => zip(a, b, |a: T, b: T| a.sub(a.div(b).mul(b))),
        BinaryOp::Min => zip(a, b, scalar::min::<T>),
        BinaryOp::Max => zip(a, b, scalar::max::<T>),
        BinaryOp::And | BinaryOp::Or => unreachable!("truth values are handled above"),
    }))
}

/// A comparison.
pub(super) fn compare(op: Compare, a: &Value, b: &Value) -> Value {
    with_number!(a, T => Value::Bool(match op {
        Compare::Eq => zip(a, b, |a: T, b| a == b),
        Compare::Ne => zip(a, b, |a: T, b| a != b),
        Compare::Lt => zip(a, b, |a: T, b| a < b),
        Compare::Le => zip(a, b, |a: T, b| a <= b),
    }))
}

/// `condition ? a : b`.
pub(super) fn select(condition: &Value, a: &Value, b: &Value) -> Value {
    let condition = bool::slice(condition);
    with_element!(a, T => {
        let pairs = T::slice(a).iter().zip(T::slice(b));
        T::wrap(condition.iter().zip(pairs).map(|(&c, (&a, &b))| if c { a } else { b }).collect())
    })
}

/// `a * b + c`, rounded once.
pub(super) fn fma(a: &Value, b: &Value, c: &Value) -> Value {
    with_number!(a, T => {
        let pairs = T::slice(a).iter().zip(T::slice(b));
        T::wrap(pairs.zip(T::slice(c)).map(|((&a, &b), &c)| T::fma(a, b, c)).collect())
    })
}

/// The index along an axis of a shape, as numbers like those of `sample`.
pub(super) fn iota(axis: usize, shape: &[i64], sample: &Value) -> Value {
    let n: i64 = shape.iter().product();
    let inner: i64 = shape[axis + 1..].iter().product();
    with_number!(sample, T => {
        T::wrap((0..n).map(|e| T::of(e / inner % shape[axis])).collect())
    })
}

/// Uniform numbers in [0, 1) as the graph's documentation says.
pub(super) fn random(seed: i32, step: i32, draw: u32, n: i64, sample: &Value) -> Value {
    let numbers = (0..n as u64).map(|element| {
        f64::from(uniform_24(element, seed as u32, step as u32, draw)) / f64::from(1 << 24)
    });
    match sample {
        Value::F32(_) => Value::F32(numbers.map(|x| x as f32).collect()),
        Value::F64(_) => Value::F64(numbers.collect()),
        Value::Dual(_) => Value::Dual(numbers.map(Dual::still).collect()),
        Value::I32(_) | Value::I64(_) | Value::U8(_) | Value::Bool(_) => {
            unreachable!("the verifier asks for floats")
        }
    }
}

/// To another element type; `dual` asks for dual numbers in place of double precision.
pub(super) fn convert(
    a: &Value,
    elem: ElemType,
    dual: bool,
    site: &Site,
) -> Result<Value, InterpretError> {
    match a {
        Value::F32(a) => from_float(a.iter().map(|&x| f64::from(x)), elem, dual, site),
        Value::F64(a) => from_float(a.iter().copied(), elem, dual, site),
        Value::Dual(duals) if elem == ElemType::F64 => Ok(Value::Dual(duals.clone())),
        Value::Dual(a) => from_float(a.iter().map(|x| x.value), elem, dual, site),
        Value::I32(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual, site),
        Value::I64(a) => from_integer(a.iter().copied(), elem, dual, site),
        Value::U8(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual, site),
        Value::Bool(a) => from_integer(a.iter().map(|&x| i64::from(x)), elem, dual, site),
    }
}

fn from_float(
    a: impl Iterator<Item = f64>,
    elem: ElemType,
    dual: bool,
    site: &Site,
) -> Result<Value, InterpretError> {
    let refused = |(element, value)| InterpretError::BadConversion {
        site: site.clone(),
        element,
        value: format!("{value:?}"),
    };
    // Truncation is asked for element by element, so that the error names the guilty one.
    fn all<T>(
        a: impl Iterator<Item = f64>,
        to: impl Fn(f64) -> Option<T>,
    ) -> Result<Vec<T>, (usize, f64)> {
        a.enumerate().map(|(at, x)| to(x).ok_or((at, x))).collect()
    }
    let byte = |x: f64| scalar::to_i32(x).and_then(|x| u8::try_from(x).ok());
    Ok(match elem {
        ElemType::F32 => Value::F32(a.map(|x| x as f32).collect()),
        ElemType::F64 if dual => Value::Dual(a.map(Dual::still).collect()),
        ElemType::F64 => Value::F64(a.collect()),
        ElemType::I32 => Value::I32(all(a, scalar::to_i32).map_err(refused)?),
        ElemType::I64 => Value::I64(all(a, scalar::to_i64).map_err(refused)?),
        ElemType::U8 => Value::U8(all(a, byte).map_err(refused)?),
        ElemType::Bool => Value::Bool(a.map(|x| x != 0.0).collect()),
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(InterpretError::Unsupported { site: site.clone(), elem });
        }
    })
}

fn from_integer(
    a: impl Iterator<Item = i64>,
    elem: ElemType,
    dual: bool,
    site: &Site,
) -> Result<Value, InterpretError> {
    Ok(match elem {
        ElemType::F32 => Value::F32(a.map(|x| x as f32).collect()),
        ElemType::F64 if dual => Value::Dual(a.map(Dual::of).collect()),
        ElemType::F64 => Value::F64(a.map(|x| x as f64).collect()),
        ElemType::I32 => Value::I32(a.map(|x| x as i32).collect()),
        ElemType::I64 => Value::I64(a.collect()),
        ElemType::U8 => Value::U8(a.map(|x| x as u8).collect()),
        ElemType::Bool => Value::Bool(a.map(|x| x != 0).collect()),
        ElemType::Bf16 | ElemType::F16 | ElemType::I8 => {
            return Err(InterpretError::Unsupported { site: site.clone(), elem });
        }
    })
}

/// Elements read through affine subscripts, or the fill (of one element) outside.
pub(super) fn view(
    operand: &Value,
    from: &[i64],
    subs: &[Affine],
    fill: Option<&Value>,
    shape: &[i64],
) -> Value {
    with_element!(operand, T => {
        let fill = fill.map(|fill| T::slice(fill)[0]);
        T::wrap(view_of::<T>(T::slice(operand), from, subs, fill, shape))
    })
}

fn view_of<T: Element>(
    operand: &[T],
    from: &[i64],
    subs: &[Affine],
    fill: Option<T>,
    shape: &[i64],
) -> Vec<T> {
    let mut walk = Walk::new(shape.to_vec());
    walk.tensor(from, subs, Owner::Read(0));
    let mut out = Vec::with_capacity(shape.iter().product::<i64>() as usize);
    let axis = shape.len().checked_sub(1);
    let stride = walk.stride(0, axis);
    each_line(&walk, shape, |place, line| {
        walk.pieces(place, axis, line, |piece| {
            let n = piece.end - piece.start;
            match fill {
                Some(fill) if !piece.inside[0] => {
                    out.extend(std::iter::repeat_n(fill, n as usize));
                }
                _ => {
                    let first = place.offsets[0] + piece.start * stride;
                    out.extend((0..n).map(|at| operand[(first + at * stride) as usize]));
                }
            }
        });
        Ok(())
    })
    .expect("copying elements cannot fail");
    out
}

/// Calls `visit` with the place of the first element of every line of a shape, and the line's length.
fn each_line(
    walk: &Walk,
    shape: &[i64],
    mut visit: impl FnMut(&Place, i64) -> Result<(), InterpretError>,
) -> Result<(), InterpretError> {
    let mut high = shape.to_vec();
    let line = high.last_mut().map_or(1, |last| std::mem::replace(last, 1));
    let mut place = Place::default();
    each_point(&vec![0; shape.len()], &high, |point| {
        walk.go(point, &mut place);
        visit(&place, line)
    })
}

/// Reads by data-dependent index.
pub(super) fn gather(
    gather: &Gather,
    operand: (&Value, &[i64]),
    index: (&Value, &[i64]),
    shape: &[i64],
    site: &Site,
) -> Result<Value, InterpretError> {
    let mut walk = Walk::new(shape.to_vec());
    walk.tensor(operand.1, &gather.subs, Owner::Term);
    walk.tensor(index.1, &gather.index_subs, Owner::Term);
    let axis = shape.len().checked_sub(1);
    let strides = [walk.stride(0, axis), walk.stride(1, axis)];
    let along = super::walk::strides(operand.1)[gather.axis];
    let extent = operand.1[gather.axis];
    let indices = i32::slice(index.0);
    let mut offsets = Vec::with_capacity(shape.iter().product::<i64>() as usize);
    each_line(&walk, shape, |place, line| {
        for at in 0..line {
            let value = i64::from(indices[(place.offsets[1] + at * strides[1]) as usize]);
            if !(0..extent).contains(&value) {
                let element = offsets.len();
                return Err(InterpretError::BadIndex {
                    site: site.clone(),
                    element,
                    value,
                    extent,
                });
            }
            offsets.push((place.offsets[0] + at * strides[0] + value * along) as usize);
        }
        Ok(())
    })?;
    Ok(with_element!(operand.0, T => {
        let elements = T::slice(operand.0);
        T::wrap(offsets.into_iter().map(|at| elements[at]).collect())
    }))
}
