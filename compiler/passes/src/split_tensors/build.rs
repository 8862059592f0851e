//! The graph of one slice, node by node as planned, with the exchanges that bring values where they are needed.

use super::TensorMap;
use super::plan::{Placed, Plan};
use super::ways::{Form, Gives, narrowed};
use crate::split_batch::{Block, tree};
use dlc_abi::{Among, AxisCut, Dim, ExchangeKind, slice_name};
use dlc_ir::affine::Affine;
use dlc_ir::entity::EntityRef;
use dlc_ir::graph::{
    Combine, Exchange, Fill, Graph, GraphBuilder, Node, NodeId, Op, OutputKind, number_literal,
};
use dlc_ir::layout::Layout;
use rustc_hash::FxHashMap;

/// The graph of a slice, and how many exchanges it has.
pub(super) fn build(old: &Graph, plan: &Plan, map: &TensorMap, slice: u32) -> (Graph, u64) {
    let new = Graph { nodes: Default::default(), outputs: Vec::new(), ..old.clone() };
    let forms = FxHashMap::default();
    let mut slicer = Slicer { plan, map, slice, new, forms, exchanges: 0 };
    for (id, node) in old.nodes.iter() {
        slicer.place(id, node);
    }
    for output in &old.outputs {
        let mut output = output.clone();
        let mut form = None;
        if let OutputKind::Assign(leaf) = &mut output.kind {
            form = plan.nodes[leaf.index()].has;
            *leaf = slicer.get(*leaf, form);
        }
        output.value = slicer.get(output.value, form);
        slicer.new.outputs.push(output);
    }
    let mut new = slicer.new;
    new.prune();
    (new, slicer.exchanges)
}

struct Slicer<'a> {
    plan: &'a Plan,
    map: &'a TensorMap,
    slice: u32,
    new: Graph,
    /// What stands for the old nodes, in each form in which they are wanted. For looking up only.
    forms: FxHashMap<(NodeId, Form), NodeId>,
    exchanges: u64,
}

impl Slicer<'_> {
    fn get(&self, old: NodeId, form: Form) -> NodeId {
        self.forms[&(old, form)]
    }

    fn place(&mut self, id: NodeId, node: &Node) {
        let plan = self.plan;
        let Placed { way, has, wanted } = &plan.nodes[id.index()];
        let is_leaf = matches!(node.op, Op::Input { .. });
        if wanted.nothing() && !is_leaf {
            return;
        }
        let computed = match (&node.op, has) {
            (Op::Input { name, role }, Some(cut)) => {
                let op = Op::Input { name: slice_name(name), role: *role };
                let mut shape = node.shape.clone();
                shape[cut.axis] = self.own(&node.shape, *cut);
                self.push(node, op, shape)
            }
            _ => {
                let operands = node.op.operands();
                let mut brought =
                    operands.iter().zip(&way.operands).map(|(old, form)| self.get(*old, *form));
                let range = way.space.map_or(0..0, |cut| {
                    let space = match &node.op {
                        Op::Contract(contract) => &contract.space,
                        _ => &node.shape,
                    };
                    cut.range(fixed(space, cut.axis), self.slice)
                });
                let first = range.start;
                let (op, shape) = narrowed(node, way, range);
                let op = op.map_operands(|_| brought.next().expect("one for each operand"));
                let along =
                    matches!((&op, way.space), (Op::Iota { axis }, Some(cut)) if *axis == cut.axis);
                let own = self.push(node, op, shape);
                if along { self.counted_from(node, own, first) } else { own }
            }
        };
        let computed = match way.gives(node) {
            Gives::Result(_) => computed,
            Gives::Partial => self.meet(node, computed, *has),
        };
        self.forms.insert((id, *has), computed);
        let mut whole = has.is_none().then_some(computed);
        if let (true, Some(cut)) = (wanted.whole, has) {
            let own = self.gathered(node, computed, *cut);
            self.forms.insert((id, None), own);
            whole = Some(own);
        }
        for &cut in wanted.cuts.iter().filter(|cut| Some(**cut) != *has) {
            let own = match (whole, *has) {
                (Some(whole), _) => self.slice_of(node, whole, cut),
                (None, Some(from)) => self.turned(node, computed, from, cut),
                (None, None) => unreachable!("what is not cut is whole"),
            };
            self.forms.insert((id, Some(cut)), own);
        }
    }

    fn push(&mut self, node: &Node, op: Op, shape: Vec<Dim>) -> NodeId {
        let layout = Layout::row_major(shape.len());
        self.new.nodes.push(Node { op, shape, layout, ..node.clone() })
    }

    /// How much of an axis this slice has.
    fn own(&self, shape: &[Dim], cut: AxisCut) -> Dim {
        let range = cut.range(fixed(shape, cut.axis), self.slice);
        Dim::fixed(range.end - range.start)
    }

    fn build(&mut self, node: &Node) -> GraphBuilder<'_> {
        self.new.build(node.stage, node.origin.clone())
    }

    /// Indices along a cut axis, which begin with that of the slice.
    fn counted_from(&mut self, node: &Node, own: NodeId, first: i64) -> NodeId {
        let mut g = self.build(node);
        let first = g.number_like(first as f64, own);
        g.add(own, first)
    }

    /// The slice of a value that is here whole.
    fn slice_of(&mut self, node: &Node, whole: NodeId, cut: AxisCut) -> NodeId {
        let range = cut.range(fixed(&node.shape, cut.axis), self.slice);
        let extent = Dim::fixed(range.end - range.start);
        self.build(node).slice(whole, cut.axis, range.start, extent, 1)
    }

    fn exchange(&mut self, node: &Node, kind: ExchangeKind, operand: NodeId) -> NodeId {
        self.exchanges += 1;
        let (parts, among) = (self.map.slices, Among::Slices);
        self.build(node).exchange(Exchange { kind, operand, parts, among, round: 0 })
    }

    /// All of a value of which each rank has a slice.
    fn gathered(&mut self, node: &Node, own: NodeId, cut: AxisCut) -> NodeId {
        let own = self.build(node).resized(own, cut.axis, cut.block);
        let all = self.exchange(node, ExchangeKind::AllGather, own);
        self.joined(node, all, cut)
    }

    /// A slice along one axis of what each rank has a slice of along another.
    fn turned(&mut self, node: &Node, own: NodeId, from: AxisCut, to: AxisCut) -> NodeId {
        let own = self.build(node).resized(own, from.axis, from.block);
        let pieces = self.pieces(node, own, to);
        let taken = self.exchange(node, ExchangeKind::AllToAll, pieces);
        let joined = self.joined(node, taken, from);
        let extent = self.own(&node.shape, to);
        self.build(node).resized(joined, to.axis, extent.constant)
    }

    /// Partial results meet in the tree in which their chunks would have.
    fn meet(&mut self, node: &Node, own: NodeId, has: Form) -> NodeId {
        let Op::Contract(contract) = &node.op else {
            unreachable!("contractions alone have partial results")
        };
        let combine = contract.combine;
        match has {
            None => {
                let all = self.exchange(node, ExchangeKind::AllGather, own);
                self.tree(node, all, combine)
            }
            Some(cut) => {
                let pieces = self.pieces(node, own, cut);
                let taken = self.exchange(node, ExchangeKind::AllToAll, pieces);
                let met = self.tree(node, taken, combine);
                let extent = self.own(&node.shape, cut);
                self.build(node).resized(met, cut.axis, extent.constant)
            }
        }
    }

    fn tree(&mut self, node: &Node, rows: NodeId, combine: Combine) -> NodeId {
        let blocks: Vec<Block> =
            (0..self.map.slices).map(|first| Block { first, count: 1 }).collect();
        tree(&mut self.build(node), rows, combine, &blocks)
    }

    /// A value as rows of equal size, one for each slice, with zeros where the last slice has less.
    fn pieces(&mut self, node: &Node, value: NodeId, cut: AxisCut) -> NodeId {
        let slices = i64::from(self.map.slices);
        let mut g = self.build(node);
        let mut shape = g.shape(value).to_vec();
        let mut subs: Vec<Affine> = (1..=shape.len()).map(Affine::axis).collect();
        subs[cut.axis] = Affine::new([(0, cut.block), (cut.axis + 1, 1)], 0);
        let fill = if shape[cut.axis] == Dim::fixed(slices * cut.block) {
            Fill::InRange
        } else {
            Fill::Value(number_literal(0.0, g.elem(value)))
        };
        shape[cut.axis] = Dim::fixed(cut.block);
        shape.insert(0, Dim::fixed(slices));
        g.view(value, subs, fill, shape)
    }

    /// Rows, one from each slice, side by side along the axis that was cut.
    fn joined(&mut self, node: &Node, rows: NodeId, cut: AxisCut) -> NodeId {
        let slices = i64::from(self.map.slices);
        let extent = fixed(&node.shape, cut.axis);
        let mut g = self.build(node);
        let mut order: Vec<usize> = (1..g.shape(rows).len()).collect();
        order.insert(cut.axis, 0);
        let side_by_side = if cut.axis == 0 { rows } else { g.transpose(rows, &order) };
        let mut shape = g.shape(side_by_side).to_vec();
        shape.remove(cut.axis);
        shape[cut.axis] = Dim::fixed(slices * cut.block);
        let all = g.reshape(side_by_side, shape);
        g.resized(all, cut.axis, extent)
    }
}

/// The extent of an axis that is cut.
fn fixed(shape: &[Dim], axis: usize) -> i64 {
    shape[axis].as_fixed().expect("axes with the batch are cut into parts, not slices")
}
