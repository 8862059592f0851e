//! Proofs about affine subscripts for every batch size at once.
//!
//! An extent is `a*batch + b`, so the ends of an affine expression over a box are linear in the batch, and
//! a linear function is non-negative for all batches from 1 on exactly when it is so at 1 and does not fall.

use super::data::{Contract, Fill, Guard, Node, NodeId};
use crate::affine::Affine;
use crate::entity::IndexVec;
use dlc_abi::Dim;

/// `factor * batch + constant`, wide enough for sums of products of 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Linear {
    factor: i128,
    constant: i128,
}

impl Linear {
    fn of(dim: Dim) -> Linear {
        Linear { factor: dim.batch_factor.into(), constant: dim.constant.into() }
    }

    fn plus(self, other: Linear) -> Linear {
        Linear {
            factor: self.factor.saturating_add(other.factor),
            constant: self.constant.saturating_add(other.constant),
        }
    }

    fn plus_constant(self, constant: i64) -> Linear {
        self.plus(Linear { factor: 0, constant: constant.into() })
    }

    fn times(self, factor: i64) -> Linear {
        let by = i128::from(factor);
        Linear {
            factor: self.factor.saturating_mul(by),
            constant: self.constant.saturating_mul(by),
        }
    }

    /// Whether it is at least zero for every batch size from 1 on.
    fn never_negative(self) -> bool {
        self.factor >= 0 && self.factor.saturating_add(self.constant) >= 0
    }
}

/// Whether an extent is at least `least` for every batch size from 1 on.
pub fn at_least(dim: Dim, least: i64) -> bool {
    Linear::of(dim).plus_constant(least.saturating_neg()).never_negative()
}

/// Bounds of an expression over a box: the smallest and the largest value.
fn bounds(expr: &Affine, space: &[Dim]) -> (Linear, Linear) {
    let start = Linear { factor: 0, constant: expr.offset().into() };
    expr.terms().iter().fold((start, start), |(low, high), &(axis, coefficient)| {
        let end = Linear::of(space[axis]).plus_constant(-1).times(coefficient);
        if coefficient < 0 { (low.plus(end), high) } else { (low, high.plus(end)) }
    })
}

/// Whether `0 <= expr < extent` at every point of the box where all guards hold, for every batch size from 1 on.
///
/// The proof looks at the corners of the box and at guards that differ from `expr` by a constant; `false` means that
/// it found no proof. Axes of `expr` must be axes of `space`, and extents at least 1.
pub fn in_range(space: &[Dim], guards: &[Guard], expr: &Affine, extent: Dim) -> bool {
    let (low, high) = bounds(expr, space);
    let last = Linear::of(extent).plus_constant(-1);
    let below = |value: Linear| last.plus(value.times(-1)).never_negative();
    let mut low_proven = low.never_negative();
    let mut high_proven = below(high);
    for guard in guards {
        let Some(shift) = expr.minus(&guard.expr).as_constant() else { continue };
        low_proven |= shift >= 0;
        high_proven |= below(Linear::of(guard.extent).plus_constant(-1).plus_constant(shift));
    }
    low_proven && high_proven
}

/// The guards of a contraction, and those that its skipping reads amount to.
pub fn effective_guards(nodes: &IndexVec<NodeId, Node>, contract: &Contract) -> Vec<Guard> {
    let mut guards = contract.guards.clone();
    for read in &contract.reads {
        if read.fill == Fill::Skip {
            let shape = &nodes[read.value].shape;
            guards.extend(
                read.subs
                    .iter()
                    .zip(shape)
                    .map(|(expr, &extent)| Guard { expr: expr.clone(), extent }),
            );
        }
    }
    guards
}

/// The number of elements of a shape as a polynomial in the batch, lowest power first; `None` when a coefficient
/// leaves 64 bits.
pub fn element_count(shape: &[Dim]) -> Option<Vec<i64>> {
    let mut count = vec![1i64];
    for dim in shape {
        let mut product = vec![0i64; count.len() + 1];
        for (power, &coefficient) in count.iter().enumerate() {
            for (at, factor) in [(power, dim.constant), (power + 1, dim.batch_factor)] {
                product[at] = product[at].checked_add(coefficient.checked_mul(factor)?)?;
            }
        }
        while product.len() > 1 && product.last() == Some(&0) {
            product.pop();
        }
        count = product;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Dim = Dim::batch();

    #[test]
    fn ranges_hold_for_every_batch_or_are_refused() {
        let space = [B, Dim::fixed(3)];
        let sub = Affine::new([(0, 1), (1, 1)], -1);
        assert!(!in_range(&space, &[], &sub, B));
        let wide = Dim { batch_factor: 1, constant: 2 };
        assert!(in_range(&space, &[], &sub.plus(&Affine::constant(1)), wide));
        assert!(!in_range(&space, &[], &sub.plus(&Affine::constant(1)), B));
        // At batch 1 the box of two batches has one more row than the operand, later fewer.
        assert!(!in_range(&[B], &[], &Affine::axis(0), Dim::fixed(1000)));
    }

    #[test]
    fn guards_prove_what_the_box_does_not() {
        let space = [Dim::fixed(8), Dim::fixed(3)];
        let sub = Affine::new([(0, 1), (1, 1)], -1);
        let guard = Guard { expr: sub.clone(), extent: Dim::fixed(8) };
        assert!(!in_range(&space, &[], &sub, Dim::fixed(8)));
        assert!(in_range(&space, std::slice::from_ref(&guard), &sub, Dim::fixed(8)));
        assert!(!in_range(&space, std::slice::from_ref(&guard), &sub, Dim::fixed(7)));
        let shifted = sub.plus(&Affine::constant(2));
        assert!(in_range(&space, &[guard], &shifted, Dim::fixed(10)));
    }

    #[test]
    fn element_counts_compare_as_polynomials() {
        let twice = Dim { batch_factor: 2, constant: 0 };
        assert_eq!(element_count(&[B, Dim::fixed(4)]), element_count(&[twice, Dim::fixed(2)]));
        assert_ne!(element_count(&[B, B]), element_count(&[B]));
        assert_eq!(element_count(&[Dim::fixed(i64::MAX), Dim::fixed(2)]), None);
        assert_eq!(element_count(&[]), Some(vec![1]));
    }
}
