//! Affine subscripts turned into offsets that move by fixed steps.
//!
//! A *walk* goes over a space of axes; at each point every tensor has an offset, and every bound (a guard, or a subscript that
//! may leave its tensor) has a value, all affine in the point. One axis, the *line*, is handed out in whole pieces, so the
//! price of a point is paid once for many elements.

use crate::affine::Affine;
use crate::graph::{Congruence, Guard};

/// Whose business a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Outside it the term does not exist.
    Term,
    /// Outside it this read gives its fill.
    Read(usize),
}

/// An affine value with its step along each axis.
#[derive(Debug, Clone)]
struct Linear {
    base: i64,
    step: Vec<i64>,
}

impl Linear {
    fn new(expr: &Affine, rank: usize) -> Linear {
        let step = (0..rank).map(|axis| expr.coefficient(axis)).collect();
        Linear { base: expr.offset(), step }
    }

    fn at(&self, point: &[i64]) -> i64 {
        self.step.iter().zip(point).fold(self.base, |sum, (step, at)| sum + step * at)
    }
}

#[derive(Debug, Clone)]
struct Bound {
    value: Linear,
    extent: i64,
    owner: Owner,
}

/// The offsets and bounds of a computation.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    extents: Vec<i64>,
    offsets: Vec<Linear>,
    bounds: Vec<Bound>,
    congruences: Vec<(Linear, i64)>,
}

/// Where a walk is.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// Offset of each tensor, in the order in which they were added.
    pub offsets: Vec<i64>,
    bounds: Vec<i64>,
    congruences: Vec<i64>,
}

/// A piece of a line where nothing changes but the offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// First element.
    pub start: i64,
    /// First element after it.
    pub end: i64,
    /// Which reads lie inside their tensors.
    pub inside: [bool; 2],
}

/// Row-major steps of a shape.
pub(super) fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

impl Walk {
    /// A walk over a space of these extents.
    pub(super) fn new(extents: Vec<i64>) -> Walk {
        Walk { extents, offsets: Vec::new(), bounds: Vec::new(), congruences: Vec::new() }
    }

    /// Adds a tensor of this shape, read or written at these subscripts. Subscripts that can leave it are bounds of `owner`.
    pub(super) fn tensor(&mut self, shape: &[i64], subs: &[Affine], owner: Owner) {
        let rank = self.extents.len();
        let strides = strides(shape);
        let flat = subs
            .iter()
            .zip(&strides)
            .fold(Affine::constant(0), |sum, (sub, &stride)| sum.plus(&sub.times(stride)));
        self.offsets.push(Linear::new(&flat, rank));
        for (sub, &extent) in subs.iter().zip(shape) {
            self.bound(sub, extent, owner);
        }
    }

    fn bound(&mut self, expr: &Affine, extent: i64, owner: Owner) {
        let (low, high) = expr.range(&self.extents);
        if low < 0 || high >= extent {
            let value = Linear::new(expr, self.extents.len());
            self.bounds.push(Bound { value, extent, owner });
        }
    }

    /// Adds a condition of the terms.
    pub(super) fn guard(&mut self, guard: &Guard, batch: i64) {
        self.bound(&guard.expr, guard.extent.at(batch), Owner::Term);
    }

    /// Adds a condition of the terms.
    pub(super) fn congruence(&mut self, congruence: &Congruence) {
        let value = Linear::new(&congruence.expr, self.extents.len());
        self.congruences.push((value, congruence.modulus));
    }

    /// Goes to a point.
    pub(super) fn go(&self, point: &[i64], place: &mut Place) {
        place.offsets.clear();
        place.offsets.extend(self.offsets.iter().map(|offset| offset.at(point)));
        place.bounds.clear();
        place.bounds.extend(self.bounds.iter().map(|bound| bound.value.at(point)));
        place.congruences.clear();
        place.congruences.extend(self.congruences.iter().map(|(value, _)| value.at(point)));
    }

    /// Goes one step along an axis.
    pub(super) fn step(&self, axis: usize, place: &mut Place) {
        for (at, offset) in place.offsets.iter_mut().zip(&self.offsets) {
            *at += offset.step[axis];
        }
        for (at, bound) in place.bounds.iter_mut().zip(&self.bounds) {
            *at += bound.value.step[axis];
        }
        for (at, (value, _)) in place.congruences.iter_mut().zip(&self.congruences) {
            *at += value.step[axis];
        }
    }

    /// How far a tensor's offset moves along an axis.
    pub(super) fn stride(&self, tensor: usize, axis: Option<usize>) -> i64 {
        axis.map_or(0, |axis| self.offsets[tensor].step[axis])
    }

    /// Cuts the line of `n` points along an axis from here into pieces; points where no term exists are left out.
    pub(super) fn pieces(
        &self,
        place: &Place,
        axis: Option<usize>,
        n: i64,
        mut piece: impl FnMut(Piece),
    ) {
        if self.bounds.is_empty() && self.congruences.is_empty() {
            return piece(Piece { start: 0, end: n, inside: [true; 2] });
        }
        let mut term = (0, n);
        let mut reads = [(0, n); 2];
        for (bound, &value) in self.bounds.iter().zip(&place.bounds) {
            let step = axis.map_or(0, |axis| bound.value.step[axis]);
            let within = interval(value, step, bound.extent);
            let target = match bound.owner {
                Owner::Term => &mut term,
                Owner::Read(read) => &mut reads[read],
            };
            *target = (target.0.max(within.0), target.1.min(within.1));
        }
        let mut cuts = [term.0, reads[0].0, reads[0].1, reads[1].0, reads[1].1, term.1];
        for cut in &mut cuts {
            *cut = (*cut).min(term.1).max(term.0);
        }
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            if start < end {
                let inside = reads.map(|(low, high)| low <= start && end <= high);
                self.existing(place, axis, Piece { start, end, inside }, &mut piece);
            }
        }
    }

    /// Hands out the points of a piece that meet all congruences, one by one if there are any.
    fn existing(
        &self,
        place: &Place,
        axis: Option<usize>,
        whole: Piece,
        piece: &mut impl FnMut(Piece),
    ) {
        if self.congruences.is_empty() {
            return piece(whole);
        }
        for at in whole.start..whole.end {
            let meets =
                self.congruences.iter().zip(&place.congruences).all(|((value, modulus), &here)| {
                    let step = axis.map_or(0, |axis| value.step[axis]);
                    (here + at * step) % modulus == 0
                });
            if meets {
                piece(Piece { start: at, end: at + 1, ..whole });
            }
        }
    }
}

/// For which `t` holds `0 <= value + t * step < extent`.
fn interval(value: i64, step: i64, extent: i64) -> (i64, i64) {
    // The divisors below are positive, so Euclid's division rounds down.
    let up = |a: i64, b: i64| -(-a).div_euclid(b);
    match step {
        0 if (0..extent).contains(&value) => (i64::MIN, i64::MAX),
        0 => (0, 0),
        step if step > 0 => (up(-value, step), up(extent - value, step)),
        step => {
            let down = -step;
            ((value - extent).div_euclid(down) + 1, value.div_euclid(down) + 1)
        }
    }
}

/// Calls `visit` at every point of a box in lexicographic order.
pub(super) fn each_point(
    low: &[i64],
    high: &[i64],
    mut visit: impl FnMut(&[i64]) -> Result<(), super::InterpretError>,
) -> Result<(), super::InterpretError> {
    if low.iter().zip(high).any(|(low, high)| low >= high) {
        return Ok(());
    }
    let mut point = low.to_vec();
    loop {
        visit(&point)?;
        let mut axis = point.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            point[axis] += 1;
            if point[axis] < high[axis] {
                break;
            }
            point[axis] = low[axis];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_exactly_the_points_in_range() {
        for value in -7..8 {
            for step in -3..4 {
                for extent in 0..6 {
                    let (low, high) = interval(value, step, extent);
                    for t in -12..12 {
                        let holds = (0..extent).contains(&(value + t * step));
                        assert_eq!((low..high).contains(&t), holds, "{value} {step} {extent} {t}");
                    }
                }
            }
        }
    }
}
