//! Appending nodes to a graph, with element types and shapes inferred.
//!
//! The builder checks every law of the node it appends. Its callers are front ends and passes, which have reported errors of
//! the user before they build, so a broken law here is a fault of the compiler and panics with the node's text.

use super::data::{
    BinaryOp, Combine, Compare, Contract, Exchange, Fill, Gather, Graph, InputRole, Literal,
    NodeId, Op, Origin, Output, OutputKind, Read, Stage, UnaryOp,
};
use super::ops::elem_name;
use super::{infer, range};
use crate::affine::Affine;
use dlc_abi::{Dim, ElemType};

/// Appends nodes of one stage and origin to a graph.
pub struct GraphBuilder<'g> {
    /// The graph.
    pub graph: &'g mut Graph,
    /// Stage of the nodes to come.
    pub stage: Stage,
    /// Origin of the nodes to come.
    pub origin: Origin,
}

impl Graph {
    /// A builder that appends nodes of this stage and origin.
    pub fn build(&mut self, stage: Stage, origin: Origin) -> GraphBuilder<'_> {
        GraphBuilder { graph: self, stage, origin }
    }

    /// Hands a value out under a name.
    pub fn result(&mut self, name: impl Into<String>, value: NodeId) {
        self.outputs.push(Output { kind: OutputKind::Result(name.into()), value });
    }

    /// Makes a value the new value of a parameter or state leaf.
    ///
    /// # Panics
    /// When `leaf` is no such leaf or differs from `value` in element type or shape.
    pub fn assign(&mut self, leaf: NodeId, value: NodeId) {
        let (to, from) = (&self.nodes[leaf], &self.nodes[value]);
        let kept = matches!(&to.op, Op::Input { role, .. } if *role != InputRole::Data);
        assert!(
            kept && to.elem == from.elem && to.shape == from.shape,
            "graph `{}`: {value} ({}{}) cannot be assigned to {leaf} ({}{})",
            self.name,
            elem_name(from.elem),
            infer::shape_text(&from.shape),
            elem_name(to.elem),
            infer::shape_text(&to.shape),
        );
        self.outputs.push(Output { kind: OutputKind::Assign(leaf), value });
    }

    /// Makes a value what a recurrence carries from step to step.
    ///
    /// # Panics
    /// When `recur` is no recurrence or differs from `value` in element type or shape.
    pub fn carry(&mut self, recur: NodeId, value: NodeId) {
        let (to, from) = (&self.nodes[recur], &self.nodes[value]);
        assert!(
            matches!(to.op, Op::Recur { .. }) && to.elem == from.elem && to.shape == from.shape,
            "graph `{}`: {recur} ({}{}) cannot carry {value} ({}{})",
            self.name,
            elem_name(to.elem),
            infer::shape_text(&to.shape),
            elem_name(from.elem),
            infer::shape_text(&from.shape),
        );
        self.outputs.push(Output { kind: OutputKind::Carry(recur), value });
    }
}

impl Read {
    /// A read that never leaves the operand.
    pub fn in_range(value: NodeId, subs: Vec<Affine>) -> Self {
        Read { value, subs, fill: Fill::InRange }
    }

    /// A read by axes: axis `k` of the operand is axis `axes[k]` of the space.
    pub fn axes(value: NodeId, axes: &[usize]) -> Self {
        Read::in_range(value, axes.iter().map(|&axis| Affine::axis(axis)).collect())
    }
}

impl Contract {
    /// A contraction in normal form without guards or order: the first `n_out` axes of the space are the result's.
    pub fn normal(combine: Combine, space: Vec<Dim>, n_out: usize, reads: Vec<Read>) -> Self {
        Contract {
            space,
            out: Affine::identity(n_out),
            reads,
            combine,
            guards: Vec::new(),
            congruences: Vec::new(),
            order: None,
        }
    }
}

/// # Panics
/// Every method panics when the new node would break a law.
impl GraphBuilder<'_> {
    /// Appends a node after checking its laws. Other methods are shorter where they fit.
    pub fn node(&mut self, op: Op, elem: ElemType, shape: Vec<Dim>) -> NodeId {
        let problems = infer::check(&self.graph.nodes, &op, elem, &shape);
        assert!(
            problems.is_empty(),
            "graph `{}`, node for `{}`: {op:?} as {}{} breaks laws: {problems:?}",
            self.graph.name,
            self.origin.name,
            elem_name(elem),
            infer::shape_text(&shape),
        );
        self.graph.push(op, elem, shape, self.stage, self.origin.clone())
    }

    /// Appends a node whose type the operation decides.
    fn inferred(&mut self, op: Op) -> NodeId {
        let signature = infer::signature(&self.graph.nodes, &op);
        let elem = signature.elem.expect("the operation decides the element type");
        let shape = signature.shape.expect("the operation decides the shape");
        self.node(op, elem, shape)
    }

    /// The element type of a node.
    pub fn elem(&self, id: NodeId) -> ElemType {
        self.graph.nodes[id].elem
    }

    /// The shape of a node.
    pub fn shape(&self, id: NodeId) -> &[Dim] {
        &self.graph.nodes[id].shape
    }

    /// A leaf.
    pub fn input(
        &mut self,
        name: impl Into<String>,
        role: InputRole,
        elem: ElemType,
        shape: Vec<Dim>,
    ) -> NodeId {
        self.node(Op::Input { name: name.into(), role }, elem, shape)
    }

    /// One value in every element.
    pub fn constant(&mut self, value: Literal, elem: ElemType, shape: Vec<Dim>) -> NodeId {
        self.node(Op::Const(value), elem, shape)
    }

    /// A number in every element of a tensor of the type and shape of `like`; integers truncate it.
    pub fn number_like(&mut self, value: f64, like: NodeId) -> NodeId {
        let (elem, shape) = (self.elem(like), self.shape(like).to_vec());
        self.constant(number_literal(value, elem), elem, shape)
    }

    /// A float scalar.
    pub fn float(&mut self, value: f64, elem: ElemType) -> NodeId {
        self.constant(Literal::Float(value), elem, Vec::new())
    }

    /// The index along an axis.
    pub fn iota(&mut self, axis: usize, elem: ElemType, shape: Vec<Dim>) -> NodeId {
        self.node(Op::Iota { axis }, elem, shape)
    }

    /// The actual value of an extent, as a scalar.
    pub fn extent(&mut self, dim: Dim, elem: ElemType) -> NodeId {
        self.node(Op::Extent(dim), elem, Vec::new())
    }

    /// Uniform numbers in [0, 1).
    pub fn random(
        &mut self,
        seed: NodeId,
        step: NodeId,
        draw: u32,
        elem: ElemType,
        shape: Vec<Dim>,
    ) -> NodeId {
        self.node(Op::Random { seed, step, draw, first: None }, elem, shape)
    }

    /// What others give for what is given to them.
    pub fn exchange(&mut self, exchange: Exchange) -> NodeId {
        self.inferred(Op::Exchange(exchange))
    }

    /// A function of one element.
    pub fn unary(&mut self, op: UnaryOp, a: NodeId) -> NodeId {
        self.inferred(Op::Unary(op, a))
    }

    /// A function of two elements; shapes must agree.
    pub fn binary(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> NodeId {
        self.inferred(Op::Binary(op, a, b))
    }

    /// `a + b`.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryOp::Add, a, b)
    }

    /// `a - b`.
    pub fn sub(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryOp::Sub, a, b)
    }

    /// `a * b`.
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryOp::Mul, a, b)
    }

    /// `a / b`.
    pub fn div(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(BinaryOp::Div, a, b)
    }

    /// `-a`.
    pub fn neg(&mut self, a: NodeId) -> NodeId {
        self.unary(UnaryOp::Neg, a)
    }

    /// A comparison; shapes must agree.
    pub fn compare(&mut self, op: Compare, a: NodeId, b: NodeId) -> NodeId {
        self.inferred(Op::Compare(op, a, b))
    }

    /// `condition ? a : b`; shapes must agree.
    pub fn select(&mut self, condition: NodeId, a: NodeId, b: NodeId) -> NodeId {
        self.inferred(Op::Select(condition, a, b))
    }

    /// `a * b + c`, rounded once.
    pub fn fma(&mut self, a: NodeId, b: NodeId, c: NodeId) -> NodeId {
        self.inferred(Op::Fma(a, b, c))
    }

    /// To another element type; the operand itself when it has it already.
    pub fn convert(&mut self, a: NodeId, elem: ElemType) -> NodeId {
        if self.elem(a) == elem {
            return a;
        }
        let shape = self.shape(a).to_vec();
        self.node(Op::Convert(a), elem, shape)
    }

    /// `out[o] = operand[subs(o)]`, `o` over `shape`.
    pub fn view(
        &mut self,
        operand: NodeId,
        subs: Vec<Affine>,
        fill: Fill,
        shape: Vec<Dim>,
    ) -> NodeId {
        let elem = self.elem(operand);
        self.node(Op::View { operand, subs, fill }, elem, shape)
    }

    /// Repeats a tensor: its axes are the last axes of `shape`, with equal extents or extent 1. The operand itself when
    /// it has the shape already.
    pub fn broadcast_to(&mut self, a: NodeId, shape: &[Dim]) -> NodeId {
        let rank = self.shape(a).len();
        assert!(rank <= shape.len(), "{a} has more axes than {}", infer::shape_text(shape));
        let axes: Vec<usize> = (shape.len() - rank..shape.len()).collect();
        self.broadcast_axes(a, &axes, shape)
    }

    /// Repeats a tensor: its axis `k` is axis `axes[k]` of `shape`, with equal extent or extent 1. The operand itself when
    /// nothing changes.
    pub fn broadcast_axes(&mut self, a: NodeId, axes: &[usize], shape: &[Dim]) -> NodeId {
        let from = self.shape(a).to_vec();
        if from == shape && axes.iter().enumerate().all(|(at, &axis)| at == axis) {
            return a;
        }
        assert_eq!(axes.len(), from.len(), "one target for each axis of {a}");
        let subs = axes
            .iter()
            .zip(&from)
            .map(
                |(&axis, &extent)| {
                    if extent == Dim::fixed(1) { Affine::constant(0) } else { Affine::axis(axis) }
                },
            )
            .collect();
        self.view(a, subs, Fill::InRange, shape.to_vec())
    }

    /// Axis `k` of the result is axis `order[k]` of the operand.
    pub fn transpose(&mut self, a: NodeId, order: &[usize]) -> NodeId {
        let from = self.shape(a).to_vec();
        let mut subs = vec![Affine::constant(0); from.len()];
        for (at, &axis) in order.iter().enumerate() {
            subs[axis] = Affine::axis(at);
        }
        let shape = order.iter().map(|&axis| from[axis]).collect();
        self.view(a, subs, Fill::InRange, shape)
    }

    /// `extent` elements along an axis from `start`, every `step`-th; a negative step walks backwards.
    pub fn slice(&mut self, a: NodeId, axis: usize, start: i64, extent: Dim, step: i64) -> NodeId {
        let mut shape = self.shape(a).to_vec();
        let mut subs = Affine::identity(shape.len());
        shape[axis] = extent;
        subs[axis] = Affine::new([(axis, step)], start);
        self.view(a, subs, Fill::InRange, shape)
    }

    /// One index along an axis, which disappears.
    pub fn select_index(&mut self, a: NodeId, axis: usize, index: i64) -> NodeId {
        let mut shape = self.shape(a).to_vec();
        let rank = shape.len();
        shape.remove(axis);
        let subs = (0..rank)
            .map(|at| match at.cmp(&axis) {
                std::cmp::Ordering::Less => Affine::axis(at),
                std::cmp::Ordering::Equal => Affine::constant(index),
                std::cmp::Ordering::Greater => Affine::axis(at - 1),
            })
            .collect();
        self.view(a, subs, Fill::InRange, shape)
    }

    /// Adds `(before, after)` elements of `value` along each axis; negative numbers cut.
    pub fn pad(&mut self, a: NodeId, widths: &[(i64, i64)], value: Literal) -> NodeId {
        let from = self.shape(a).to_vec();
        assert_eq!(widths.len(), from.len(), "one width for each axis of {a}");
        let subs = (0..from.len()).map(|axis| Affine::new([(axis, 1)], -widths[axis].0)).collect();
        let shape = from
            .iter()
            .zip(widths)
            .map(|(dim, (before, after))| Dim { constant: dim.constant + before + after, ..*dim })
            .collect();
        self.view(a, subs, Fill::Value(value), shape)
    }

    /// The first elements along an axis, with zeros behind them where there are fewer; the operand itself where there are as many.
    pub fn resized(&mut self, a: NodeId, axis: usize, extent: i64) -> NodeId {
        let found = self.shape(a)[axis];
        if found == Dim::fixed(extent) {
            return a;
        }
        if found.constant > extent {
            return self.slice(a, axis, 0, Dim::fixed(extent), 1);
        }
        let mut widths = vec![(0, 0); self.shape(a).len()];
        widths[axis].1 = extent - found.constant;
        let zero = number_literal(0.0, self.elem(a));
        self.pad(a, &widths, zero)
    }

    /// The same elements in row-major order; the operand itself when it has the shape already.
    pub fn reshape(&mut self, a: NodeId, shape: Vec<Dim>) -> NodeId {
        if self.shape(a) == shape {
            return a;
        }
        let elem = self.elem(a);
        self.node(Op::Reshape(a), elem, shape)
    }

    /// A contraction in normal form.
    pub fn contract(&mut self, contract: Contract) -> NodeId {
        self.inferred(Op::Contract(contract))
    }

    /// A contraction with an affine left side into a tensor of this shape.
    pub fn contract_into(&mut self, contract: Contract, shape: Vec<Dim>) -> NodeId {
        let op = Op::Contract(contract);
        let elem = infer::signature(&self.graph.nodes, &op).elem.expect("a contraction reads");
        self.node(op, elem, shape)
    }

    /// A sum into a tensor of this shape, whatever its left side: terms add to the elements that the left side says, and elements that no
    /// term reaches are zero. Guards must keep the left side within the tensor.
    pub fn accumulate(&mut self, mut contract: Contract, shape: &[Dim]) -> NodeId {
        let Some(n_out) = contract.normal_form() else {
            return self.contract_into(contract, shape.to_vec());
        };
        // A left side that is the identity makes a result of the extents of its axes: longer axes are shortened to what may be
        // written, shorter ones are padded with what no term reaches.
        for (axis, &short) in shape.iter().enumerate() {
            let long = contract.space[axis];
            let spare = Dim {
                batch_factor: long.batch_factor - short.batch_factor,
                constant: long.constant - short.constant,
            };
            if range::at_least(spare, 0) {
                contract.space[axis] = short;
            }
        }
        let space = contract.space.clone();
        contract.guards.retain(|guard| !range::in_range(&space, &[], &guard.expr, guard.extent));
        let sum = self.contract(contract);
        if self.shape(sum) == shape {
            return sum;
        }
        let zero = number_literal(0.0, self.elem(sum));
        self.view(sum, Affine::identity(n_out), Fill::Value(zero), shape.to_vec())
    }

    /// Reduces over axes, in the order given; the others remain in theirs.
    pub fn reduce(&mut self, combine: Combine, a: NodeId, axes: &[usize]) -> NodeId {
        let from = self.shape(a).to_vec();
        let mut order: Vec<usize> = (0..from.len()).filter(|axis| !axes.contains(axis)).collect();
        let n_out = order.len();
        order.extend(axes);
        let mut place = vec![usize::MAX; from.len()];
        for (at, &axis) in order.iter().enumerate() {
            place[axis] = at;
        }
        let space = order.iter().map(|&axis| from[axis]).collect();
        self.contract(Contract::normal(combine, space, n_out, vec![Read::axes(a, &place)]))
    }

    /// The sum over axes.
    pub fn sum(&mut self, a: NodeId, axes: &[usize]) -> NodeId {
        self.reduce(Combine::Sum, a, axes)
    }

    /// The sum over all axes: a scalar.
    pub fn sum_all(&mut self, a: NodeId) -> NodeId {
        let axes: Vec<usize> = (0..self.shape(a).len()).collect();
        self.sum(a, &axes)
    }

    /// `a[m, k] * b[k, n]` summed over `k`.
    pub fn matmul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let (m, k, n) = (self.shape(a)[0], self.shape(a)[1], self.shape(b)[1]);
        let reads = vec![Read::axes(a, &[0, 2]), Read::axes(b, &[2, 1])];
        self.contract(Contract::normal(Combine::Sum, vec![m, n, k], 2, reads))
    }

    /// Reads by data-dependent index; `o` runs over `shape`.
    pub fn gather(&mut self, gather: Gather, shape: Vec<Dim>) -> NodeId {
        let elem = self.elem(gather.operand);
        self.node(Op::Gather(gather), elem, shape)
    }

    /// A value carried over so many steps; [`Graph::carry`] says what it carries.
    pub fn recur(&mut self, init: NodeId, steps: i64, reverse: bool) -> NodeId {
        let mut shape = self.shape(init).to_vec();
        shape.insert(0, Dim::fixed(steps));
        let elem = self.elem(init);
        self.node(Op::Recur { init, reverse }, elem, shape)
    }

    /// Rows of a table: `out[index.., rest..] = table[index[..], rest..]`.
    pub fn take_rows(&mut self, table: NodeId, index: NodeId) -> NodeId {
        let (rows, places) = (self.shape(table).to_vec(), self.shape(index).to_vec());
        let mut shape = places.clone();
        shape.extend(&rows[1..]);
        let mut subs = vec![Affine::constant(0)];
        subs.extend((places.len()..shape.len()).map(Affine::axis));
        let index_subs = Affine::identity(places.len());
        self.gather(Gather { operand: table, subs, axis: 0, index, index_subs }, shape)
    }
}

/// A number as a literal of an element type; integers truncate, truth is `!= 0`.
pub fn number_literal(value: f64, elem: ElemType) -> Literal {
    match elem {
        ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16 => Literal::Float(value),
        ElemType::I32 | ElemType::I64 | ElemType::U8 | ElemType::I8 => Literal::Int(value as i64),
        ElemType::Bool => Literal::Bool(value != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(graph: &mut Graph, name: &str, shape: &[i64]) -> NodeId {
        let mut shape: Vec<Dim> = shape.iter().map(|&extent| Dim::fixed(extent)).collect();
        shape.insert(0, Dim::batch());
        graph.build(Stage::Forward, Origin::default()).input(
            name,
            InputRole::Data,
            ElemType::F32,
            shape,
        )
    }

    #[test]
    fn shapes_follow_from_operands() {
        let mut graph = Graph::new("shapes");
        let x = data(&mut graph, "x", &[4, 3]);
        let mut b = graph.build(Stage::Forward, Origin::default());
        let t = b.transpose(x, &[2, 0, 1]);
        assert_eq!(infer::shape_text(b.shape(t)), "[3, batch, 4]");
        let s = b.sum(t, &[1]);
        assert_eq!(infer::shape_text(b.shape(s)), "[3, 4]");
        let p = b.pad(x, &[(0, 0), (1, 2), (0, 0)], Literal::Float(0.0));
        assert_eq!(infer::shape_text(b.shape(p)), "[batch, 7, 3]");
        let flipped = b.slice(x, 1, 3, Dim::fixed(2), -2);
        assert_eq!(infer::shape_text(b.shape(flipped)), "[batch, 2, 3]");
        let wide = b.broadcast_to(s, &[Dim::batch(), Dim::fixed(3), Dim::fixed(4)]);
        assert_eq!(infer::shape_text(b.shape(wide)), "[batch, 3, 4]");
        let flat = b.reshape(x, vec![Dim::batch(), Dim::fixed(12)]);
        let condition = b.compare(Compare::Lt, flat, flat);
        assert_eq!(b.elem(condition), ElemType::Bool);
        let column = b.select_index(flat, 1, 11);
        assert_eq!(infer::shape_text(b.shape(column)), "[batch]");
    }

    #[test]
    #[should_panic(expected = "operands have the result's shape")]
    fn shapes_must_agree() {
        let mut graph = Graph::new("shapes");
        let (x, y) = (data(&mut graph, "x", &[4]), data(&mut graph, "y", &[3]));
        graph.build(Stage::Forward, Origin::default()).add(x, y);
    }

    #[test]
    #[should_panic(expected = "subscripts stay in range")]
    fn slices_must_stay_inside() {
        let mut graph = Graph::new("slices");
        let x = data(&mut graph, "x", &[4]);
        graph.build(Stage::Forward, Origin::default()).slice(x, 1, 1, Dim::fixed(4), 1);
    }
}
