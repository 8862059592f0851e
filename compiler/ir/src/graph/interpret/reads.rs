//! Operations that say where an element comes from: views, gathers, indices, random numbers.

use super::walk::{Owner, Place, Walk, each_point};
use super::{InterpretError, Site};
use crate::affine::Affine;
use crate::graph::Gather;
use crate::graph::elementwise::{Dual, Element, Number, Value, with_element, with_number};
use crate::graph::philox::uniform_24;

/// The index along an axis of a shape, as numbers like those of `sample`.
pub(super) fn iota(axis: usize, shape: &[i64], sample: &Value) -> Value {
    let n: i64 = shape.iter().product();
    let inner: i64 = shape[axis + 1..].iter().product();
    with_number!(sample, T => {
        T::wrap((0..n).map(|e| T::of(e / inner % shape[axis])).collect())
    })
}

/// Uniform numbers in [0, 1) as the graph's documentation says.
pub(super) fn random(
    (seed, step, draw): (i32, i32, u32),
    first: i64,
    n: i64,
    sample: &Value,
) -> Value {
    let numbers = (first as u64..(first + n) as u64).map(|element| {
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
