//! Sums in which an index says which place each term belongs to: `out[k, ..] = sum over r of (index(r) = k ? value(r, ..) : 0)`.
//!
//! This is what the gradient of a read by index is, and what a sum over a one-hot condition is. It is stated as any other sum; this
//! module finds that a term counts at one place along an axis, so that a schedule may sort the terms by their index
//! ([`super::Schedule::sorted_axis`]) instead of trying every term at every place. No bit depends on which of the two is done: a chain
//! starts from +0 and so never holds -0, to which alone the +0 of a term of another place would make a difference.

use super::data::{Expr, ExprId, Phase};
use crate::affine::Affine;
use crate::entity::EntityRef;
use crate::graph::{Combine, Compare, Fill, Literal, OrderKind};
use dlc_abi::ElemType;

/// A sum that adds at each place of an axis the terms whose index is the place's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The space axis.
    pub axis: usize,
    /// What is added to the axis's place before it is compared.
    pub offset: i64,
    /// Which place a term belongs to, an `i32` that does not change along the axis.
    pub index: ExprId,
    /// What a term adds, which does not change along the axis.
    pub value: ExprId,
}

impl Phase {
    /// The selection that the phase's sum is, if it is one whose terms all exist and can be told apart by an index.
    pub fn selection(&self) -> Option<Selection> {
        let reduction = self.reduction.as_ref()?;
        let [factor] = reduction.factors[..] else { return None };
        let in_chains =
            reduction.combine == Combine::Sum && reduction.order.kind == OrderKind::Chain;
        if !in_chains
            || reduction.of_shard.is_some()
            || !reduction.guards.is_empty()
            || self.axes.len() == self.n_space
        {
            return None;
        }
        let Expr::Select(condition, value, zero) = self.exprs[factor].expr else { return None };
        let Expr::Compare(Compare::Eq, a, b) = self.exprs[condition].expr else { return None };
        if !self.is_positive_zero(zero) || self.drops_or_checks(factor) {
            return None;
        }
        [(a, b), (b, a)].into_iter().find_map(|(index, place)| {
            let Expr::Index(place) = &self.exprs[place].expr else { return None };
            let [(axis, 1)] = place.terms() else { return None };
            let steps = usize::from(self.step.is_some());
            let fits = (steps..self.n_space).contains(axis)
                && self.exprs[index].elem == ElemType::I32
                && !self.depends_on(index, *axis)
                && !self.depends_on(value, *axis);
            fits.then(|| Selection { axis: *axis, offset: place.offset(), index, value })
        })
    }

    /// Whether the lanes of vectors may run along an axis while terms are sorted: all lanes are then of one place and take the same terms.
    pub fn may_be_lanes(&self, selection: &Selection, axis: usize) -> bool {
        axis < self.n_space && axis != selection.axis && !self.depends_on(selection.index, axis)
    }

    /// Whether an expression changes along an axis.
    fn depends_on(&self, expr: ExprId, axis: usize) -> bool {
        let mentions = |affine: &Affine| affine.coefficient(axis) != 0;
        self.is_any_below(expr, |node| match node {
            Expr::Index(index) => mentions(index),
            Expr::Load { subs, .. } | Expr::Gather { subs, .. } => subs.iter().any(mentions),
            Expr::Reduced => axis < self.n_space,
            Expr::Const(_)
            | Expr::Extent(_)
            | Expr::Random { .. }
            | Expr::Unary(..)
            | Expr::Binary(..)
            | Expr::Compare(..)
            | Expr::Select(..)
            | Expr::Fma(..)
            | Expr::Convert(_) => false,
        })
    }

    fn is_positive_zero(&self, expr: ExprId) -> bool {
        match self.exprs[expr].expr {
            Expr::Const(Literal::Float(x)) => x.to_bits() == 0,
            Expr::Const(Literal::Int(n)) => n == 0,
            _ => false,
        }
    }

    /// Whether below an expression terms are dropped, or indices checked: a check is made for every term, wherever it belongs.
    fn drops_or_checks(&self, expr: ExprId) -> bool {
        self.is_any_below(expr, |node| {
            matches!(node, Expr::Gather { .. } | Expr::Load { fill: Fill::Skip, .. })
        })
    }

    /// Whether something holds for an expression or one that it needs.
    fn is_any_below(&self, expr: ExprId, holds: impl Fn(&Expr) -> bool) -> bool {
        let mut below = vec![false; self.exprs.len()];
        below[expr.index()] = true;
        self.exprs.iter().rev().any(|(id, node)| {
            if below[id.index()] {
                node.expr.operands().iter().for_each(|operand| below[operand.index()] = true);
            }
            below[id.index()] && holds(&node.expr)
        })
    }
}
