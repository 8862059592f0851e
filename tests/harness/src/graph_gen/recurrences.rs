//! Loops: one or two carried values, in either direction, with products, moves and reads from outside in the body.

use super::{LARGEST_TENSOR, Maker, count, fixed};
use dlc_abi::ElemType;
use dlc_ir::affine::Affine;
use dlc_ir::graph::{BinaryOp, Combine, Contract, Fill, Literal, NodeId, Read, UnaryOp};

impl Maker<'_> {
    /// A loop; the value is one of its members, one slice of it, or a sum over the steps.
    pub(super) fn recurrence(&mut self) -> NodeId {
        let Some(init) =
            self.any(ElemType::F32, |shape| shape.len() < 4 && count(shape) <= LARGEST_TENSOR / 8)
        else {
            return self.unary();
        };
        let steps = self.rng.in_range(2, 4);
        let reverse = self.rng.one_in(2);
        let first = self.b.recur(init, steps, reverse);
        let mut carried = vec![first];
        if self.rng.one_in(2) {
            let half = self.b.number_like(0.5, init);
            let init = if self.rng.one_in(2) { half } else { self.b.mul(init, half) };
            carried.push(self.b.recur(init, steps, reverse));
        }
        let mut known = carried.clone();
        for _ in 0..self.rng.in_range(1, 4) {
            let of = self.rng.pick(&known);
            let made = self.member(of, &known, steps);
            known.push(made);
        }
        for &recur in &carried {
            let mut sum = self.rng.pick(&known);
            if self.rng.one_in(2) {
                let other = *known.last().expect("there is a member");
                sum = self.b.add(sum, other);
            }
            // Bounded, so that values stay near one over all steps.
            let op = self.rng.pick(&[UnaryOp::Tanh, UnaryOp::Sin, UnaryOp::Erf]);
            let next = self.b.unary(op, sum);
            known.push(next);
            self.b.graph.carry(recur, next);
        }
        let value = self.rng.pick(&known);
        match self.rng.below(4) {
            0 => self.b.select_index(value, 0, if reverse { 0 } else { steps - 1 }),
            1 => self.b.sum(value, &[0]),
            2 => {
                let mut widths = vec![(0, 0); self.b.shape(value).len()];
                widths[0] = (1, -1);
                self.b.pad(value, &widths, Literal::Float(0.25))
            }
            _ => value,
        }
    }

    /// Something of the shape of `x`, a member, at each of its steps.
    fn member(&mut self, x: NodeId, known: &[NodeId], steps: i64) -> NodeId {
        let shape = self.b.shape(x).to_vec();
        let last = shape.len() - 1;
        let inner = shape[last].as_fixed().filter(|_| last > 0);
        match (self.rng.below(6), inner) {
            (0, Some(extent)) => {
                let w = self.param(vec![fixed(extent), fixed(extent)]);
                let mut space = shape.clone();
                space.push(fixed(extent));
                let mut axes: Vec<usize> = (0..last).collect();
                axes.push(last + 1);
                let reads = vec![Read::axes(x, &axes), Read::axes(w, &[last + 1, last])];
                self.b.contract(Contract::normal(Combine::Sum, space, last + 1, reads))
            }
            (1, Some(extent)) => self.b.slice(x, last, extent - 1, fixed(extent), -1),
            (2, Some(_)) => {
                let combine = if self.config.smooth { Combine::Sum } else { Combine::Max };
                let whole = self.b.reduce(combine, x, &[last]);
                let bounded = self.b.unary(UnaryOp::Tanh, whole);
                let axes: Vec<usize> = (0..last).collect();
                self.b.broadcast_axes(bounded, &axes, &shape)
            }
            (3, Some(extent)) => {
                // A part of the last axis, with what lies outside.
                let mut subs = Affine::identity(shape.len());
                subs[last] = Affine::new([(last, 1)], self.rng.in_range(1 - extent, extent - 1));
                let fill = Fill::Value(Literal::Float(0.5));
                self.b.view(x, subs, fill, shape)
            }
            (4, _) => {
                // From outside: the same for every example, another one each step, read forwards or backwards.
                let table = self.param(vec![fixed(steps)]);
                let at = if self.rng.one_in(2) {
                    Affine::axis(0)
                } else {
                    Affine::new([(0, -1)], steps - 1)
                };
                let outer = self.b.view(table, vec![at], Fill::InRange, shape);
                self.b.mul(x, outer)
            }
            _ => {
                let y = self.rng.pick(known);
                let op = self.rng.pick(&[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul]);
                self.b.binary(op, x, y)
            }
        }
    }
}
